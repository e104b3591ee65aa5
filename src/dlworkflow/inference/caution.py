"""When an answer is `unsure`: too improbable, not certain enough for a limit of errors, or to an input like no other.

Limits come from the validation split of a run, as `dlw calibrate` stored them. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlworkflow.engine.tasks import Task, get_task
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.inference.known_samples import DistanceFrom, KnownSamples
from dlworkflow.inference.prediction import Prediction
from dlworkflow.inference.stored import stored_calibration
from dlworkflow.metrics.selective import SURE, Step, certainty, chosen_step, least_samples
from dlworkflow.runs.calibration import KNOWN

if TYPE_CHECKING:
    from dlworkflow.runs import Run
    from dlworkflow.runs.calibration import CalibrationSummary


@dataclass(frozen=True, eq=False)
class Caution:
    """When an answer is `unsure`, and why these limits: `notes`.

    An answer is given from the probability `min_confidence` on, and above the certainty `threshold`. `distances` are
    those of validation samples from the training data, rising, by `distance_of`: an input that is farther than `KNOWN`
    of them is unknown.
    """

    min_confidence: float = 0.0
    threshold: float = -np.inf
    distances: np.ndarray | None = None
    distance_of: DistanceFrom | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_measured(self) -> bool:
        """Whether its limits were measured on samples, and hold for predictions that are made in the same way alone."""
        return self.threshold > -np.inf or self.distances is not None

    def is_unsure(
        self, values: np.ndarray, temperature: float | None, familiarity: np.ndarray | None = None
    ) -> np.ndarray:
        """Return which answers are unsure, (n,) bool, of probabilities (n, classes) at a temperature."""
        found = (values.max(axis=1) < self.min_confidence) | (certainty(values, temperature) <= self.threshold)
        result: np.ndarray = found if familiarity is None else found | (familiarity < 1 - KNOWN)
        return result

    def familiarity(self, features: np.ndarray) -> np.ndarray:
        """Return the share of validation samples that are as far from the training data, or farther, (n,).

        Takes the features (n, d) of inputs. Of inputs like those samples, at most 5 % have less than 0.05.
        """
        assert self.distances is not None
        assert self.distance_of is not None
        n = len(self.distances)
        found: np.ndarray = (n - np.searchsorted(self.distances, self.distance_of(features), side="left") + 1) / (n + 1)
        return found

    def applied(
        self,
        predictions: Sequence[Prediction],
        values: np.ndarray,
        temperature: float | None,
        features: np.ndarray | None = None,
    ) -> list[Prediction]:
        """Return predictions of which the unsure ones have no label; those without an answer stay."""
        known = self.familiarity(features) if self.distances is not None and features is not None else None
        unsure = self.is_unsure(values, temperature, known).tolist()
        shares = known.tolist() if known is not None else [None] * len(unsure)
        return [
            each if each.error else replace(each, label=None if doubt else each.label, unsure=doubt, familiarity=share)
            for each, doubt, share in zip(predictions, unsure, shares, strict=True)
        ]


def of_run(run: Run, weights: str, *, min_confidence: float | None = None, max_error: float | None = None) -> Caution:
    """Return when the answers of a run's weights are unsure; raises as `caution` does."""
    asked: dict[str, Any] = {"min_confidence": min_confidence, "max_error": max_error, "reject_unknown": False}
    return caution(get_task(run.summary().task), run.name, run=run, weights=weights, **asked)


def caution(
    task: Task,
    owner: str,
    *,
    run: Run | None,
    weights: str,
    min_confidence: float | None,
    max_error: float | None,
    reject_unknown: bool,
) -> Caution:
    """Return when answers of a model, called `owner`, are unsure, by what its run knows.

    Raises ConfigError for a task without one class per sample, and for a share that is none; RunError where the limits
    are asked for that a calibration of these weights has, and there is none.
    """
    asked = {"--min-confidence": min_confidence, "--max-error": max_error, "--reject-unknown": reject_unknown or None}
    given = [option for option, value in asked.items() if value is not None]
    if task.name not in ("binary", "multiclass"):
        raise ConfigError(f"{given[0]}: for one class per sample; the task of {owner} is {task.name}")
    if min_confidence is not None and max_error is not None:
        raise ConfigError("--min-confidence: not with --max-error, which finds the confidence that is needed")
    for option in ("--min-confidence", "--max-error"):
        if (value := asked[option]) is not None and not 0 < value < 1:
            raise ConfigError(f"{option}: must be between 0 and 1 (0 % and 100 %), not {value:g}")
    if max_error is None and not reject_unknown:
        return Caution(min_confidence or 0.0)
    if run is None:
        raise ConfigError(f"{given[-1]}: takes one run with its validation split, not {owner}")
    found = _calibration(run, weights, given[-1])
    limits = _limited(found, max_error, run.path) if max_error is not None else Caution(min_confidence or 0.0)
    if not reject_unknown:
        return limits
    known = KnownSamples.of_run(run, weights)
    if known is None or found.distances is None:
        raise RunError(
            f"--reject-unknown: {run.name} has not kept what its training data is to its {weights} weights; "
            f"`{_command(run, weights)}` does that, or says why it cannot"
        )
    if found.reach is None:
        raise RunError(f"--reject-unknown: takes 19 samples at least; {owner} is calibrated on {found.source}")
    return replace(limits, distances=np.asarray(found.distances), distance_of=DistanceFrom(known))


def _calibration(run: Run, weights: str, option: str) -> CalibrationSummary:
    if (found := stored_calibration(run, weights)) is None:
        raise RunError(
            f"{option}: {run.name} is not calibrated with its {weights} weights; run `{_command(run, weights)}`"
        )
    return found


def _command(run: Run, weights: str) -> str:
    return f"dlw calibrate {run.path}{f' --weights {weights}' if weights != 'best' else ''}"


def _limited(found: CalibrationSummary, max_error: float, path: Path) -> Caution:
    """Return the limit that keeps errors at most at `max_error`; without one, every answer is unsure."""
    step = chosen_step([Step(**kept) for kept in found.steps], max_error)
    limit = _short(max_error)
    if step is None:
        least = least_samples(max_error)
        why = f"it takes {least:,} samples at least" if found.samples < least else "the model errs too often on them"
        note = f"every answer is unsure: {found.source} cannot promise at most {limit} errors; {why}"
        return Caution(threshold=SURE, notes=(note,))
    wrong, share = _short(step.wrong / step.answered), _short(step.answered / found.samples)
    of_samples = f"{wrong} of the {found.source} are answered wrongly"
    if step.answered < found.samples:
        of_samples = f"of the most certain {share} of the {found.source}, {wrong} are answered wrongly"
    note = (
        f"{of_samples}: of the answers to new data like these, at most {limit} are wrong on average (a threshold that "
        "is found in this way keeps its promise for 95 % of all validation splits)"
    )
    if not found.chosen_on_it:
        return Caution(threshold=step.threshold, notes=(note,))
    doubt = (
        "the best epoch was chosen on the same samples, so that the limit is a little optimistic; "
        f"`dlw calibrate {path} --data PATH` takes labelled data that training has not seen"
    )
    return Caution(threshold=step.threshold, notes=(note, doubt))


def _short(share: float) -> str:
    """Return a share as a percentage with one decimal at most: 5 %, 12.5 %."""
    return f"{round(100 * share, 1):g} %"
