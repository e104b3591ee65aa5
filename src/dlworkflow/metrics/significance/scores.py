"""Scores of a run that can be computed again for any weights of its samples: sums over samples, and a value of them.

Each agrees with the metric of its name where every sample has weight 1, and the area under the ROC curve to first order
where weights differ. Knows no sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_MOST_DENSE = 150  # columns: beyond that most are zero

Values = Callable[[np.ndarray], np.ndarray]
"""Takes sums (r, m) over weighted samples, returns r scores; nan where a score is not defined."""


@dataclass(frozen=True)
class Score:
    """What a score sums of each sample, and the value of the sums. `b - a` is the difference on the same samples.

    `rows` is float64 (n + 2, m), dense or a sparse array of scipy: what the n samples add to the sums, then two that
    nobody drew, the first answered right and the second wrong, which give an interval a width where all samples are
    right; zeros where a score has no such bound. `value_of` turns sums into scores, which are within `bounds`. In a
    difference one of a pair answers right what nobody drew where the other does not, unless not `opposed`: then
    there is none.
    """

    rows: Any
    value_of: Values
    bounds: tuple[float, float] = (-np.inf, np.inf)
    opposed: bool = True

    @property
    def n(self) -> int:
        return int(self.rows.shape[0] - 2)

    @property
    def value(self) -> float:
        """The score of the samples as they are."""
        return self._of_one([0.0, 0.0])

    @property
    def centre(self) -> float:
        """The score of the samples and the two that nobody drew, around which resamples are drawn."""
        return self._of_one([1.0, 1.0])

    def _of_one(self, nobody: list[float]) -> float:
        return float(self.value_of(np.append(np.ones(self.n), nobody)[None] @ self.rows)[0])

    def of_weights(self, weights: np.ndarray) -> np.ndarray:
        """Return the scores (r,) for r weights of the n samples and the two that nobody drew: float32 (r, n + 2)."""
        return self.value_of((weights @ self._in_single).astype(np.float64))

    def on_both_sides(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores for weights as they are within a difference: as what is subtracted, and as the other."""
        n, rows = self.n, self._in_single
        sums = (weights[:, :n] @ rows[:n]).astype(np.float64)
        if not self.opposed:
            return (self.value_of(sums),) * 2
        nobody = weights[:, n:]
        return self.value_of(sums + nobody[:, ::-1] @ rows[n:]), self.value_of(sums + nobody @ rows[n:])

    @cached_property
    def _in_single(self) -> Any:
        return self.rows.astype(np.float32)

    def __sub__(self, other: Score) -> Score:
        if self.n != other.n:
            raise ValueError(f"scores of {self.n} and {other.n} samples: a difference is one on the same samples")
        m, every = self.rows.shape[1], range(self.n)
        rows = _beside(self.rows, other.rows[[*every, self.n + 1, self.n]])
        if not (self.opposed and other.opposed):
            rows[self.n :] = 0
        (low, high), (other_low, other_high) = self.bounds, other.bounds
        return Score(
            rows,
            lambda sums: self.value_of(sums[:, :m]) - other.value_of(sums[:, m:]),
            (low - other_high, high - other_low),
        )


def of_mean(values: ArrayLike) -> Score:
    """Return the mean of `values` (n,): accuracy of bool (whether right), else loss, absolute or squared error."""
    given = np.asarray(values)
    is_right = given.dtype == bool
    nobody = np.array([[1, 1], [0, 1]] if is_right else [[0, 0], [0, 0]], np.float64)
    rows = np.column_stack([given.astype(np.float64).reshape(-1), np.ones(given.size)])
    bounds = (0.0, 1.0) if is_right else (-np.inf, np.inf)
    return Score(np.vstack([rows, nobody]), lambda sums: _ratio(sums[:, 0], sums[:, 1]), bounds)


def of_root_mean(values: ArrayLike) -> Score:
    """Return the root of the mean of `values` (n,): RMSE of squared errors."""
    mean = of_mean(np.asarray(values, np.float64))
    return Score(mean.rows, lambda sums: np.sqrt(mean.value_of(sums)))


def of_r2(targets: ArrayLike, values: ArrayLike) -> Score:
    """Return the coefficient of determination of targets and predicted values, (n,) each."""
    y, predicted = (np.asarray(each, np.float64).reshape(-1) for each in (targets, values))
    centred = y - y.mean() if y.size else y
    rows = np.column_stack([(predicted - y) ** 2, centred, centred**2, np.ones(y.size)])

    def value_of(sums: np.ndarray) -> np.ndarray:
        spread = sums[:, 2] - _ratio(sums[:, 1] ** 2, sums[:, 3])
        return 1 - _ratio(sums[:, 0], np.where(spread > 0, spread, 0))

    return Score(np.vstack([rows, np.zeros((2, 4))]), value_of, (-np.inf, 1.0))


def of_f1_macro(truth: ArrayLike, predicted: ArrayLike, n_classes: int) -> Score:
    """Return the F1, the mean over the classes that occur, of true and predicted labels, int (n,) each."""
    true, answered = (np.asarray(each, np.int64).reshape(-1) for each in (truth, predicted))
    n, right = len(true), np.flatnonzero(true == answered)
    every = np.arange(n)
    sample = np.concatenate([right, every, every])
    column = np.concatenate([true[right], n_classes + answered, 2 * n_classes + true])
    return Score(_table(sample, column, n, _nobody(n_classes)), lambda sums: _f1(sums, n_classes), (0.0, 1.0))


def of_f1_macro_labels(label_sets: ArrayLike, answers: ArrayLike) -> Score:
    """Return the F1, the mean over the classes that occur, of true and answered labels, 0 or 1 (n, classes) each."""
    there, answered = (np.asarray(each, np.float64) for each in (label_sets, answers))
    n_classes = there.shape[1]
    rows = np.vstack([np.hstack([there * answered, answered, there]), _nobody(n_classes)])
    return Score(rows, lambda sums: _f1(sums, n_classes), (0.0, 1.0))


def of_roc_auc(truth: ArrayLike, probabilities: ArrayLike) -> Score:
    """Return the area under the ROC curve, one class against the rest, the mean over the classes that occur.

    `truth` is int (n,) with probabilities (n, classes), or 0 and 1 (n, classes) where a sample has several labels. Of
    weights it is the first order: what each sample's weight changes where the others stay as they are.
    Source: E. R. DeLong et al., Biometrics 44 (1988).
    """
    scores = np.asarray(probabilities, np.float64)
    (n, n_classes), labels = scores.shape, np.asarray(truth)
    is_class = labels.astype(bool) if labels.ndim == 2 else labels[:, None] == np.arange(n_classes)
    defined = np.flatnonzero(is_class.any(axis=0) & ~is_class.all(axis=0))
    influence, areas = np.zeros(n + 2), []
    for each in defined:
        inside, placed, k = is_class[:, each], _placements(scores[:, each], is_class[:, each]), len(defined)
        area, share = placed[inside].mean(), inside.mean()
        influence[:n] += (placed - area) / np.where(inside, share, 1 - share) / k
        influence[n:] += [(1 - area) / k, (1 / 2 - area) / k]  # the second is ranked by chance
        areas.append(area)
    area = float(np.mean(areas)) if areas else np.nan
    rows = np.column_stack([influence, np.ones(n + 2)])
    return Score(rows, lambda sums: area + _ratio(sums[:, 0], sums[:, 1]), (0.0, 1.0), opposed=False)


def _placements(scores: np.ndarray, is_class: np.ndarray) -> np.ndarray:
    """Return which share of the other side each sample is ranked rightly against, ties half: (n,)."""
    inside, outside = np.sort(scores[is_class]), np.sort(scores[~is_class])
    below = np.searchsorted(outside, scores, "left") + np.searchsorted(outside, scores, "right")
    above = 2 * len(inside) - np.searchsorted(inside, scores, "left") - np.searchsorted(inside, scores, "right")
    return np.where(is_class, below / (2 * len(outside)), above / (2 * len(inside)))


def _f1(sums: np.ndarray, n_classes: int) -> np.ndarray:
    right, answered, there = (sums[:, at * n_classes : (at + 1) * n_classes] for at in range(3))
    occurs = there > 0
    f1 = np.where(occurs, 2 * right / np.maximum(answered + there, 1e-9), 0)
    return _ratio(f1.sum(axis=1), occurs.sum(axis=1))


def _nobody(n_classes: int) -> np.ndarray:
    """Return what the two samples that nobody drew add to the sums of F1, of every class in equal parts."""
    share = np.full(n_classes, 1 / n_classes)
    return np.stack([np.tile(share, 3), np.concatenate([0 * share, share, share])])


def _table(sample: np.ndarray, column: np.ndarray, n: int, last: np.ndarray) -> Any:
    """Return n rows of 1 where a sample adds to a column and 0 elsewhere, then `last`; sparse where it is wide."""
    shape = (n, last.shape[1])
    if shape[1] <= _MOST_DENSE:
        rows = np.zeros(shape)
        rows[sample, column] = 1
        return np.vstack([rows, last])
    from scipy import sparse

    return sparse.vstack(
        [sparse.csr_array((np.ones(len(sample)), (sample, column)), shape), sparse.csr_array(last)], "csr"
    )


def _beside(left: Any, right: Any) -> Any:
    """Return two tables side by side."""
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return np.hstack([left, right])
    from scipy import sparse

    return sparse.hstack([sparse.csr_array(left), sparse.csr_array(right)], "csr")


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the quotient, nan where the lower number is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
