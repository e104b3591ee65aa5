"""Confidence intervals of any score of a run, or of a difference on the same samples, by drawing the samples again.

The percentile interval, of samples to which two are added that nobody drew, one right and one wrong (where a score is
one of right and wrong), moved by twice the bias that the resamples show. How often it holds the truth is simulated by
the tests. It was chosen over the corrected ones: of paired losses of 75 samples of which few differ, it held the truth
90 times in 100, BCa 77, bootstrap-t 85. How often a sample is drawn has Poisson's distribution, each by itself, so that
many are drawn fast.
Sources: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; J. A. Hanley, B. MacGibbon,
Computer Methods and Programs in Biomedicine 83 (2006).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from dlworkflow.metrics.significance.answers import Interval
from dlworkflow.metrics.significance.scores import Score

_DRAWN_AT_ONCE = 2_000_000


def bootstrap_interval(score: Score, *, resamples: int = 2_000, seed: int = 0, level: float = 0.95) -> Interval | None:
    """Return a score and its confidence interval, None where it is not defined or not finite.

    It is an interval over other samples like these, for the same training run. It holds the truth about as often as it
    says from 300 samples on. With 75 it is so for F1 and AUC; a mean loss is held about 91 times in 100, and 84 where
    a few samples have most of it: `dlw guide significance` has the table.
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
    n = _samples_of(scores.values())
    drawn: dict[str, list[np.ndarray]] = {name: [] for name, score in scores.items() if np.isfinite(score.value)}
    for weights in drawn_weights(n + 2, resamples, seed) if drawn else ():
        for name, found in drawn.items():
            found.append(scores[name].of_weights(weights))
    return {name: _interval(scores[name], np.concatenate(found), level) for name, found in drawn.items()}


def bootstrap_pairs(
    runs: Sequence[Mapping[str, Score]], *, resamples: int = 2_000, seed: int = 0, level: float = 0.95
) -> dict[tuple[int, int], dict[str, Interval]]:
    """Return {(i, j): {name: interval of run j's score less run i's}} of every two runs, i before j.

    The intervals are those of `bootstrap_intervals` for the differences; the scores of each run are computed once.
    """
    n = _samples_of(score for scores in runs for score in scores.values())
    names = [name for name in runs[0] if all(np.isfinite(scores[name].value) for scores in runs)] if runs else []
    drawn: dict[tuple[int, str], list[tuple[np.ndarray, np.ndarray]]] = {
        (run, name): [] for run in range(len(runs)) for name in names
    }
    for weights in drawn_weights(n + 2, resamples, seed) if drawn else ():
        for (run, name), found in drawn.items():
            found.append(runs[run][name].on_both_sides(weights))
    sides = {key: [np.concatenate(side) for side in zip(*found, strict=True)] for key, found in drawn.items()}
    intervals: dict[tuple[int, int], dict[str, Interval]] = {}
    for a, b in combinations(range(len(runs)), 2):
        differences = {name: (runs[b][name] - runs[a][name], sides[b, name][1] - sides[a, name][0]) for name in names}
        intervals[a, b] = {name: _interval(score, found, level) for name, (score, found) in differences.items()}
    return intervals


def _samples_of(scores: Iterable[Score]) -> int:
    """Return of how many samples these scores are. Raises ValueError where they are not of the same."""
    sizes = {score.n for score in scores}
    if len(sizes) > 1:
        raise ValueError(f"scores of {' and '.join(map(str, sorted(sizes)))} samples: give those of the same samples")
    return max(sizes, default=0)


def drawn_weights(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw how often each of n samples is in each resample: float32 (some, n) at a time, of `resamples` in all."""
    likelihoods = [math.exp(-1) / math.factorial(times) for times in range(10)]
    times = np.searchsorted(np.cumsum(likelihoods), (np.arange(2**16) + 0.5) / 2**16).astype(np.float32)
    rng, at_once = np.random.default_rng(seed), max(1, _DRAWN_AT_ONCE // n)
    for start in range(0, resamples, at_once):
        yield times[rng.integers(0, 2**16, size=(min(at_once, resamples - start), n), dtype=np.uint16)]


def _interval(score: Score, drawn: np.ndarray, level: float) -> Interval:
    known = drawn[np.isfinite(drawn)]  # a resample may lack every sample of what a score is of
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) - 2 * (known.mean() - score.centre)
    value, (lowest, highest) = score.value, score.bounds
    return Interval(value, float(max(lowest, min(low, value))), float(min(highest, max(high, value))))
