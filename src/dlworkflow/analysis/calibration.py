"""How true a run's probabilities are, the temperature that makes them so, and when its answers may be given."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlworkflow.analysis.evaluation import evaluate_part
from dlworkflow.analysis.nearest import MOST_STORED, known_samples
from dlworkflow.analysis.scored_data import Part, load_part
from dlworkflow.engine.loop import Evaluation
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import ConfigError, DataError, MissingSplitError, ModelError, RunError
from dlworkflow.inference.caution import Caution
from dlworkflow.inference.features import features_of
from dlworkflow.inference.known_samples import DistanceFrom, KnownSamples
from dlworkflow.inference.predictor import Predictor
from dlworkflow.metrics import calibration, selective
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.runs import Run
from dlworkflow.runs.calibration import CALIBRATED_ON, CalibrationSummary, Kept, Measured
from dlworkflow.runs.evaluation import Answered

_MOST_DISTANCES = 1000
_NOTHING_UNKNOWN = "note    `dlw predict --reject-unknown` will not work: %s"
_log = logging.getLogger(__name__)


def calibrate(
    run: Run,
    *,
    weights: str = "best",
    data: str | None = None,
    device: str = "auto",
    data_dir: str | None = None,
    offline: bool = False,
) -> CalibrationSummary:
    """Find the temperature of a run's weights on its validation split, or on other labelled `data`, and store it.

    Of other data that is the split `val`, or `test` where there is no `val`.
    What is stored also has what `--max-error` and `--reject-unknown` need; predictions use it from then on. Raises
    ConfigError for a task without one class per sample and for a run without a validation split, and DataError where
    that split has changed since training and where the model returns no finite numbers.
    """
    summary = run.summary()
    if summary.task not in ("binary", "multiclass"):
        raise ConfigError(f"dlw calibrate: for one class per sample; the task of {run.name} is {summary.task}")
    if data is None and not summary.samples.get("val"):
        raise ConfigError(
            f"{run.name} has no validation split to calibrate on; train with --val-fraction 0.2, or name labelled data "
            "that training has not seen with --data"
        )
    part = _part(run, data, data_dir=data_dir, offline=offline)
    predictor = Predictor.from_run(run, weights=weights, device=device, calibrated=False)
    logits, truth, features = _scored(predictor, part)
    if part.changed:
        raise DataError(
            f"the validation split is no longer what {run.name} was trained with, and may hold training samples; name "
            "labelled data that training has not seen with --data"
        )
    logits, y = logits.reshape(len(truth), -1), truth.reshape(-1).numpy().astype(int)
    if broken := int((~logits.isfinite().all(dim=1)).sum()):
        raise DataError(f"{run.name} returns no finite numbers for {broken:,} of {len(y):,} samples; is it trained?")
    probabilities = get_task(summary.task).probabilities(logits).numpy()
    epoch, best = summary.row(weights)["epoch"], summary.row("best").get("epoch")
    found = CalibrationSummary(
        run=run.name,
        weights=weights,
        epoch=epoch,
        split=CALIBRATED_ON[weights],
        samples=len(y),
        chosen_on_it=data is None and summary.chosen_on == "val" and epoch == best,
        data=part.name if data is not None else None,
        **_temperature(calibration.class_scores(logits.numpy()), y),
        steps=[Kept(threshold=s.threshold, answered=s.answered, wrong=s.wrong) for s in _steps(probabilities, y)],
        distances=_distances(predictor, features, data_dir),
    )
    run.write_found(found)
    return found


def _temperature(scores: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return the temperature with its interval, and what it does to the calibration, as it is stored."""
    before = _measured(calibration.probabilities_at(scores), y)
    if (scores.argmax(axis=1) == y).all():  # whatever the temperature, the lower the better
        return {"temperature": None, "interval": None, "before": before, "after": before}
    found = calibration.fit_temperature(scores, y)
    held_out = calibration.held_out_temperatures(scores, y)
    after = _measured(calibration.probabilities_at(scores, held_out), y)
    return {"temperature": found.value, "interval": [found.low, found.high], "before": before, "after": after}


def _measured(p: np.ndarray, y: np.ndarray) -> Measured:
    found = calibration.measure(p, y)
    nll, brier, error = (list(values) for values in (found.nll, found.brier, found.error))
    return {"nll": nll, "brier": brier, "error": error, "error_by_chance": found.error_by_chance}


def _steps(probabilities: np.ndarray, y: np.ndarray) -> list[selective.Step]:
    return selective.steps(selective.certainty(probabilities), probabilities.argmax(axis=1) == y)


def _part(run: Run, data: str | None, **options: Any) -> Part:
    """Return the validation split of a run, or of other data; where that has none, its test split, with a note."""
    try:
        return load_part(run, "val", other=data, **options)
    except MissingSplitError as error:
        if data is None:
            raise
        part = load_part(run, "test", other=data, **options)
        _log.info("note    %s: its test split is taken", error)
        return part


def _scored(predictor: Predictor, part: Part) -> tuple[Tensor, Tensor, np.ndarray | None]:
    """Return raw scores and labels of samples with their features, None where the model has none, with a note."""
    try:
        found = features_of(predictor, part.dataset)
    except ModelError as error:
        _log.info(_NOTHING_UNKNOWN, error)
        assert predictor.run is not None
        device = str(predictor.device)
        result = evaluate_part(predictor.run, part, weights=predictor.weights, device=device, calibrated=False)
        return result.logits, result.y, None
    return torch.from_numpy(found.logits), torch.from_numpy(found.labels), found.features


def _distances(predictor: Predictor, features: np.ndarray | None, data_dir: str | None) -> list[float] | None:
    """Return the distances of features (n, d) to the nearest training sample, rising, at most a thousand of them.

    None, with a note, where the run cannot keep the features of its training data.
    """
    run = predictor.run
    assert run is not None
    if features is None:
        return None
    try:
        if run.summary().samples.get("train", 0) * features[0].nbytes > MOST_STORED:
            raise DataError(f"features of the training data take more than the {MOST_STORED / 1e6:.0f} MB a run keeps")
        known_samples(predictor, data_dir=data_dir)
        if (known := KnownSamples.of_run(run, predictor.weights)) is None:
            raise DataError("the features of the training data are not kept in the run")
    except (DataError, ModelError, RunError) as error:
        _log.info(_NOTHING_UNKNOWN, error)
        return None
    found = np.sort(DistanceFrom(known)(features))
    if len(found) > _MOST_DISTANCES:
        found = found[np.linspace(0, len(found) - 1, _MOST_DISTANCES).round().astype(int)]
    kept: list[float] = found.tolist()
    return kept


def answered(result: Evaluation, limits: Caution, *, task: str, by: str) -> Answered:
    """Return how many samples of an evaluation are answered within the limits that the option `by` set, and how."""
    probabilities = get_task(task).probabilities(result.logits).numpy()
    given = ~limits.is_unsure(probabilities, result.temperature)
    right = given & (probabilities.argmax(axis=1) == result.y.reshape(-1).numpy())
    n, n_right = int(given.sum()), int(right.sum())
    interval = list(wilson_interval(n_right, n)) if n else [0.0, 1.0]
    return Answered(by=by, count=n, right=n_right, accuracy_interval_95=interval)
