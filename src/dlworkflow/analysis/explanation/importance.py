"""Which columns a model of numbers relies on: how much worse it is where the values of one column are shuffled.

Permutation importance (Breiman 2001), with an interval over the samples and over the shuffles. A category is shuffled
as a whole, not the inputs that it became.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlworkflow.analysis.explanation.rows import column_widths
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.data.protocol import all_of
from dlworkflow.errors import ConfigError, few
from dlworkflow.files.notebook import Rows
from dlworkflow.files.numbers import number
from dlworkflow.inference.predictor import Predictor

REPEATS = 10
"""Shuffles of each column."""
_RESAMPLES = 2000
_NUMBERS_AT_ONCE = 2**22  # that resampling holds, however many samples there are
_LEVEL = 0.95


@dataclass(frozen=True)
class Importance:
    """How much each column is worth to a run, on `samples` of a split, the most important first.

    `score` is the accuracy of the run in [0, 1], or its mean absolute error in the unit of the target, as `measure`
    names it. A row of `columns` has `column`, `worse`, by how much that is worse where the column is shuffled, and
    `low` and `high`: intervals that hold for all columns together in 95 % of samples (Bonferroni).
    """

    run: str
    split: str
    samples: int
    measure: str
    score: float
    columns: Rows

    def sentences(self) -> list[str]:
        """Return in words what the numbers mean, and which columns cannot be told from columns that do not matter."""
        is_accuracy = self.measure == "accuracy"
        score = f"{100 * self.score:.2f} %" if is_accuracy else number(self.score)
        unsure = [row["column"] for row in self.columns if row["low"] <= 0]
        found = [
            f"{self.measure} {score} on {self.samples:,} samples of the {self.split} split; worse: by how much "
            f"{'it falls (0.1 is 10 points)' if is_accuracy else 'it rises'} where the values of the column are "
            "shuffled among the samples; low to high: where that lies, for all columns together in 95 % of such samples"
        ]
        if unsure:
            found.append(f"with so few samples these may as well be of no use to the model: {few(unsure, 10)}")
        found.append("columns that hold the same information share it: each alone looks less important")
        return found


def importance_of(
    predictor: Predictor, split: str = "test", *, data_dir: str | None = None, repeats: int = REPEATS, seed: int = 0
) -> Importance:
    """Shuffle each column of a split of a run's own data. Raises ConfigError for images and for a model without a run.

    Imports no package beyond those of a prediction.
    """
    run = predictor.run
    if run is None:
        raise ConfigError(f"explain: {predictor.name} has no data of its own; give an input to explain")
    if predictor.kind == "image":
        raise ConfigError(
            f"{predictor.name} takes images: name one, as in `dlw explain photo.jpg`, or `dlw plot {run.name} why` "
            "draws its errors"
        )
    inputs, labels = all_of(load_part(run, split, data_dir=data_dir).dataset)
    worse = _Worse(predictor, inputs, labels)
    generator = np.random.default_rng(seed)
    widths = column_widths(predictor)
    starts = np.cumsum([0, *widths.values()])
    differences = np.stack(
        [
            [worse.where(int(start), width, generator) for _ in range(repeats)]
            for start, width in zip(starts, widths.values(), strict=False)
        ]
    )
    lows, highs = intervals(differences, generator)
    columns = zip(widths, differences.mean(axis=(1, 2)).tolist(), lows, highs, strict=True)
    rows: list[dict[str, Any]] = [
        {"column": name, "worse": mean, "low": low, "high": high} for name, mean, low, high in columns
    ]
    rows.sort(key=lambda row: -row["worse"])
    measure = "accuracy" if predictor.task.has_accuracy else "mean absolute error"
    found = Rows(rows, first=("column", "worse", "low", "high"))
    return Importance(run.name, split, len(inputs), measure, worse.score, found)


class _Worse:
    """The samples of a split, and how much worse each is answered where a column is shuffled."""

    def __init__(self, predictor: Predictor, inputs: Tensor, labels: Tensor) -> None:
        self.predictor, self.inputs, self.labels = predictor, inputs.flatten(1), labels
        self.shape = inputs.shape
        self.before = self._quality(self.inputs)
        self.score = abs(float(self.before.mean()))

    def where(self, start: int, width: int, generator: np.random.Generator) -> np.ndarray:
        """Return by how much each sample is answered worse (n,) where these inputs come from random other samples."""
        shuffled = self.inputs.clone()
        order = torch.from_numpy(generator.permutation(len(shuffled)))
        shuffled[:, start : start + width] = self.inputs[order, start : start + width]
        return self.before - self._quality(shuffled)

    def _quality(self, inputs: Tensor) -> np.ndarray:
        """Return 1 for a right answer and 0 for a wrong one, or minus the absolute error, (n,)."""
        task, target = self.predictor.task, self.predictor.target
        logits = task.align(self.predictor.logits(inputs.reshape(self.shape)), self.labels)
        if task.has_accuracy:
            return task.is_correct(logits, self.labels).double().numpy()
        errors = (logits.double() - self.labels.double()).abs().reshape(len(inputs), -1).mean(dim=1)
        return (-errors * (target.std if target is not None else 1.0)).numpy()


def intervals(differences: np.ndarray, generator: np.random.Generator) -> tuple[list[float], list[float]]:
    """Return the ends of the bootstrap intervals of means of differences (columns, shuffles, samples).

    Shuffles and samples are both resampled; all intervals together hold in 95 % of such samples.
    """
    columns, repeats, samples = differences.shape
    of_rows = differences.reshape(-1, samples).T / samples
    means = []
    at_once = max(1, _NUMBERS_AT_ONCE // samples)
    for start in range(0, _RESAMPLES, at_once):
        n = min(at_once, _RESAMPLES - start)
        by_sample = generator.multinomial(samples, [1 / samples] * samples, size=n) @ of_rows
        by_repeat = generator.multinomial(repeats, [1 / repeats] * repeats, size=n) / repeats
        means.append((by_sample.reshape(n, columns, repeats) * by_repeat[:, None, :]).sum(axis=2))
    tail = (1 - _LEVEL) / columns / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low.tolist(), high.tolist()
