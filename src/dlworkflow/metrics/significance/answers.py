"""Whether one of two models answers more samples right: on the same samples, or on different ones."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlworkflow.metrics.functions import wilson_interval


class Interval(NamedTuple):
    """A value and the ends of its confidence interval."""

    value: float
    low: float
    high: float


class Mcnemar(NamedTuple):
    """What McNemar's test finds on `n` samples: how many only a and only b got right, and the p values."""

    n: int
    only_a: int
    only_b: int
    p: float
    mid_p: float


class Groups(NamedTuple):
    """Two groups of different samples: the fraction of the second less that of the first, its interval, the p value."""

    difference: float
    low: float
    high: float
    p: float


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> Mcnemar:
    """Test whether a and b are right equally often on the same samples: McNemar's exact test, two-sided.

    Both are bool (n,), whether each sample was answered right. Only samples that one of them alone got right count: `p`
    is how often a fair coin gives a split at least as uneven. `p` is at most as often below a level as it says, and for
    few such samples clearly less often; `mid_p` counts the split itself half and is closer to the level, on either
    side.
    Sources: Q. McNemar, Psychometrika 12 (1947); M. W. Fagerland et al., BMC Medical Research Methodology 13 (2013).
    Raises ValueError for arrays of different length or without a sample.
    """
    a, b = _same_samples(right_a, right_b)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n_differing, fewer = only_a + only_b, min(only_a, only_b)
    ways = up_to = 1  # ways to choose k of n, and their sum up to k: whole numbers, so without an error of rounding
    for k in range(1, fewer + 1):
        ways = ways * (n_differing - k + 1) // k
        up_to += ways
    itself, p = ways / 2**n_differing, min(1.0, 2 * up_to / 2**n_differing)
    mid_p = 1 - itself / 2 if only_a == only_b else p - itself
    return Mcnemar(len(a), only_a, only_b, p, mid_p)


def difference_interval(right_a: ArrayLike, right_b: ArrayLike, *, level: float = 0.95) -> Interval:
    """Return the accuracy of b less that of a on the same samples, and its confidence interval.

    A normal interval after one sample is added to each of the two counts that differ, so that it has a width also where
    a and b are right on the same samples. It ends at 0 where it would exclude it and McNemar's exact test does not.
    Source: D. G. Bonett, R. M. Price, J. Educational and Behavioral Statistics 37 (2012). Raises ValueError for arrays
    of different length or without a sample.
    """
    a, b = _same_samples(right_a, right_b)
    n, z = len(a) + 2, NormalDist().inv_cdf((1 + level) / 2)
    only_a, only_b = ((a & ~b).sum() + 1) / n, ((b & ~a).sum() + 1) / n
    middle = only_b - only_a
    half = z * math.sqrt((only_a + only_b - middle**2) / n)
    low, high = max(-1.0, float(middle - half)), min(1.0, float(middle + half))
    if mcnemar(a, b).p > 1 - level:
        low, high = min(low, 0.0), max(high, 0.0)
    return Interval(float(b.mean() - a.mean()), low, high)


def two_groups(right_1: int, n_1: int, right_2: int, n_2: int) -> Groups:
    """Test whether two groups of different samples are answered right equally often: Fisher's exact test, two-sided.

    `right_1` of `n_1` and `right_2` of `n_2`. The 95 % interval of the difference of the fractions is Newcombe's, made
    of both Wilson intervals.
    Sources: R. A. Fisher, J. Royal Statistical Society 98 (1935); R. G. Newcombe, Statistics in Medicine 17 (1998),
    method 10. Raises ValueError for a group without a sample.
    """
    (low_1, high_1), (low_2, high_2) = wilson_interval(right_1, n_1), wilson_interval(right_2, n_2)
    first, second = right_1 / n_1, right_2 / n_2
    low = second - first - math.hypot(second - low_2, high_1 - first)
    high = second - first + math.hypot(high_2 - second, first - low_1)
    n, right = n_1 + n_2, right_1 + right_2
    logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))  # of the factorials
    k = np.arange(max(0, right - n_2), min(right, n_1) + 1)  # right answers of the first group, of all there can be
    log_ways = -logs[k] - logs[n_1 - k] - logs[right - k] - logs[n_2 - right + k]
    probability = np.exp(log_ways - log_ways.max())
    seen = probability[right_1 - k[0]]
    p = probability[probability <= seen * (1 + 1e-7)].sum() / probability.sum()
    return Groups(second - first, low, high, float(min(1.0, p)))


def samples_needed(n: int, only_a: int, only_b: int, *, power: float = 0.8, level: float = 0.05) -> int | None:
    """Return how many samples McNemar's exact test needs to find the difference that was seen, None where none was.

    Of `n` samples `only_a` and `only_b` were answered right by one alone. If these fractions are the true ones, the
    test finds the difference at `level` with a chance of about `power`. They are estimates: of a difference that may
    be chance, the number is one as well. For several comparisons divide `level` by how many they are.
    Source: R. J. Connor, Biometrics 43 (1987), with the correction for continuity of J. L. Fleiss et al., Biometrics 36
    (1980).
    """
    if only_a == only_b:
        return None
    differing, difference = (only_a + only_b) / n, abs(only_a - only_b) / n
    z, z_power = NormalDist().inv_cdf(1 - level / 2), NormalDist().inv_cdf(power)
    needed = ((z * math.sqrt(differing) + z_power * math.sqrt(differing - difference**2)) / difference) ** 2
    return math.ceil(needed / 4 * (1 + math.sqrt(1 + 4 / (needed * difference))) ** 2)


def _same_samples(right_a: ArrayLike, right_b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(right_a, bool).reshape(-1), np.asarray(right_b, bool).reshape(-1)
    if len(a) != len(b) or not len(a):
        raise ValueError(f"answers to {len(a)} and {len(b)} samples: give those of the same samples, at least one")
    return a, b
