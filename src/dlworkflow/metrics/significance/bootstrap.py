"""Confidence intervals of any score of a run, or of a difference on the same samples, by drawing the samples again.

The percentile interval, of samples to which two are added that nobody drew, one right and one wrong (where a score is
one of right and wrong), moved by twice the bias that the resamples show. It is chosen by simulation, which
the tests repeat: the corrected ones (BCa, bootstrap-t) hold the truth less often
where few samples make the whole difference of two runs.
Source: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from dlworkflow.metrics.significance.answers import Interval
from dlworkflow.metrics.significance.scores import Score

_DRAWN_AT_ONCE = 2_000_000


def bootstrap_interval(score: Score, *, resamples: int = 2_000, seed: int = 0, level: float = 0.95) -> Interval | None:
    """Return a score and its confidence interval, None where it is not defined or not finite.

    It is an interval over other samples like these: for the same training run. With 75 samples it holds the truth
    about 93 to 97 times in 100 for F1 and AUC, 90 for a mean loss and, where a few samples have most of the loss, 83;
    from 300 samples on 92 to 96.
    """
    return bootstrap_intervals({"score": score}, resamples=resamples, seed=seed, level=level).get("score")


def bootstrap_difference(
    a: Score, b: Score, *, resamples: int = 2_000, seed: int = 0, level: float = 0.95
) -> Interval | None:
    """Return the score of b less that of a, both of the same samples, and its interval as `bootstrap_interval` does."""
    return bootstrap_interval(b - a, resamples=resamples, seed=seed, level=level)


def bootstrap_intervals(
    scores: Mapping[str, Score], *, resamples: int = 2_000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return the interval of each score, as `bootstrap_interval` does; those without one are left out.

    All are of the same draws, which are made once. Raises ValueError for scores of different numbers of samples.
    """
    sizes = {score.n for score in scores.values()}
    if len(sizes) > 1:
        raise ValueError(f"scores of {' and '.join(map(str, sorted(sizes)))} samples: give those of the same samples")
    drawn: dict[str, list[np.ndarray]] = {
        name: [] for name, score in scores.items() if score.n and np.isfinite(score.value)
    }
    if not drawn:
        return {}
    for weights in _weights(max(sizes), resamples, seed):
        for name, found in drawn.items():
            found.append(scores[name].of_weights(weights))
    return {name: _interval(scores[name], np.concatenate(found), level) for name, found in drawn.items()}


def _weights(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw how often each of n samples and two that nobody drew is in each resample of n: (some, n + 2) at a time."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _DRAWN_AT_ONCE // n)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(0, n + 2, size=(rows, n), dtype=np.int32) + np.arange(rows)[:, None] * (n + 2)
        yield np.bincount(drawn.reshape(-1), minlength=rows * (n + 2)).reshape(rows, n + 2).astype(np.float64)


def _interval(score: Score, drawn: np.ndarray, level: float) -> Interval:
    known = drawn[np.isfinite(drawn)]  # a resample may lack every sample of what a score is of
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) - 2 * (known.mean() - score.centre)
    value, (lowest, highest) = score.value, score.bounds
    return Interval(value, float(max(lowest, min(low, value))), float(min(highest, max(high, value))))
