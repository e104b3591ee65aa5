"""What `calibration-val.json` and `calibration-val-last.json` hold: how sure the answers of a run's weights may be."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Annotated, ClassVar, TypedDict

from dlworkflow.runs.found import Found
from dlworkflow.runs.stored import Count, Size
from dlworkflow.runs.summary import Summary

CALIBRATED_ON = {"best": "val", "last": "val-last"}
"""What the files of the best and of the last weights are named by, also where other labelled data was given."""
KNOWN = 0.95
"""The share of inputs like those of the validation split that is not taken for unknown."""
Positive = Annotated[float, lambda value: value > 0]
Interval = Annotated[list[float], lambda value: len(value) == 3]
"""A value with the ends of its 95 % interval."""


class Measured(TypedDict):
    """Negative log likelihood, Brier score and calibration error, and the largest one that chance alone explains."""

    nll: Interval
    brier: Interval
    error: Interval
    error_by_chance: float


class Kept(TypedDict):
    """Of the samples with a certainty above `threshold`: how many are `answered`, and how many of these are wrong."""

    threshold: float
    answered: Size
    wrong: Size


@dataclass(frozen=True, kw_only=True)
class CalibrationSummary(Found):
    """What `dlw calibrate` found; see `metrics.calibration` and `metrics.selective`."""

    file: ClassVar[str] = "calibration"

    epoch: float
    samples: Count
    chosen_on_it: bool
    """Whether the epoch of the weights is the best on these very samples."""
    data: str | None = None
    """The name of the labelled data that was given, where it is not the validation split of the run."""
    temperature: Positive | None
    """By which raw scores are divided; None where it cannot be found, and they stay."""
    interval: Annotated[list[float], lambda value: len(value) == 2] | None
    before: Measured
    after: Measured
    """With temperatures that were found on other samples than those that are measured."""
    steps: list[Kept]
    distances: list[float] | None = None
    """From each sample to the training data (`inference.known_samples`), rising, at most 1,000; None of a model without
    features, and where those of the training data cannot be kept."""

    @property
    def reach(self) -> float | None:
        """The distance beyond which an input is unknown, as 5 % of the samples are; None of fewer than 19."""
        distances = self.distances or []
        rank = ceil(KNOWN * (len(distances) + 1))
        return distances[rank - 1] if rank <= len(distances) else None

    @property
    def source(self) -> str:
        """What the samples are, with their number."""
        return f"{self.samples:,} {f'samples of {self.data}' if self.data else 'validation samples'}"

    def is_of_weights(self, summary: Summary, weights: str) -> bool:
        """Return whether these `best` or `last` weights of a run are those that it was found with."""
        return self.epoch == summary.row(weights).get("epoch")
