"""Whether one of two settings scores higher over seeds: runs of several seeds each, by pairs or apart."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_MOST_EXACT = 20  # pairs: half of 2^20 sums
_DRAWN_AT_ONCE = 4_000_000

ASSUMES = {
    "permutation": "that without a difference the two runs of a seed could be swapped, and nothing of their spread",
    "welch": "that scores of each row are spread like a bell curve over seeds, of any width",
}


class Pairs(NamedTuple):
    """What a permutation test of n pairs finds; `smallest_p` is the least p that so many pairs can give."""

    n: int
    difference: float
    p: float
    smallest_p: float
    exact: bool


class Welch(NamedTuple):
    """What Welch's t-test finds, with the 95 % interval of the difference of the means and the degrees of freedom."""

    difference: float
    low: float
    high: float
    p: float
    df: float


class SeedTest(NamedTuple):
    """A test over seeds: which one, the difference of the means with its 95 % interval, p, and what it assumes.

    The interval excludes 0 where p is below 0.05, and nowhere else.
    """

    test: Literal["permutation", "welch"]
    difference: float
    low: float
    high: float
    p: float
    smallest_p: float
    n_a: int
    n_b: int
    assumes: str


def permutation_of_pairs(a: ArrayLike, b: ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> Pairs:
    """Test whether the mean of b - a is other than 0, by swapping the two of each pair: two-sided.

    `a` and `b` are scores of the same n seeds, or of the same n samples. `p` is the share of all 2^n swaps that give a
    difference as far from 0; beyond 20 pairs of `resamples` random swaps and the one that was seen. Six pairs are the
    fewest that can give a p below 0.05.
    Source: R. A. Fisher, The Design of Experiments (1935), section 21. Raises ValueError without a pair.
    """
    values = np.stack([np.zeros_like(differences := _differences(a, b)), differences])
    return permutations_of_runs(values, resamples=resamples, seed=seed)[0, 1]


def permutations_of_runs(values: ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> dict[tuple[int, int], Pairs]:
    """Return {(i, j): `permutation_of_pairs` of rows i and j} of every two rows of `values` (rows, n), i before j.

    Beyond 20 samples the swaps are the same for all pairs, and the sums of each row are computed once.
    """
    rows = np.asarray(values, np.float64)
    n, is_exact = rows.shape[1], rows.shape[1] <= _MOST_EXACT
    swapped = None if is_exact else _swapped_sums(rows - rows.mean(axis=0), resamples, seed)
    found = {}
    for i, j in combinations(range(len(rows)), 2):
        differences = rows[j] - rows[i]
        least = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()  # sums in another order are equal
        if swapped is None:
            p, smallest_p = float((np.abs(_all_sums(differences)) >= least).mean()), 2.0 ** (1 - n)
        else:
            further = int((np.abs(swapped[j] - swapped[i]) >= least).sum())
            p, smallest_p = (1 + further) / (1 + resamples), 1 / (1 + resamples)
        found[i, j] = Pairs(n, float(differences.mean()), p, min(1.0, smallest_p), is_exact)
    return found


def _all_sums(differences: np.ndarray) -> np.ndarray:
    """Return the sum of each swap of pairs but the first, which is not swapped: each has its mirror image."""
    sums = differences[:1]
    for each in differences[1:]:
        sums = np.concatenate([sums + each, sums - each])
    return sums


def _swapped_sums(rows: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return the sum of each row with random signs, the same for all rows: (rows, resamples)."""
    rng, n, sums = np.random.default_rng(seed), rows.shape[1], []
    at_once = max(1, _DRAWN_AT_ONCE // n)
    for start in range(0, resamples, at_once):
        draws = min(at_once, resamples - start)
        swapped = np.unpackbits(rng.integers(0, 256, size=(draws, -(-n // 8)), dtype=np.uint8), axis=1)[:, :n]
        sums.append(rows.sum(axis=1)[:, None] - 2 * (rows @ swapped.T))
    return np.concatenate(sums, axis=1)


def welch(a: ArrayLike, b: ArrayLike) -> Welch | None:
    """Test whether the means of a and b differ, n of each need not be equal: Welch's t-test, two-sided.

    It assumes means that are spread like a bell curve: scores that are, or many of them. None where it is not defined:
    fewer than two values on a side, or none that differ on either side.
    Source: B. L. Welch, Biometrika 34 (1947).
    """
    from scipy.special import stdtr, stdtrit

    sides = [np.asarray(each, np.float64).reshape(-1) for each in (a, b)]
    if min(map(len, sides)) < 2:
        return None
    of_a, of_b = (side.var(ddof=1) / len(side) for side in sides)
    error = math.sqrt(of_a + of_b)
    if error <= 1e-12 * max(np.abs(side).max() for side in sides):
        return None
    difference = float(sides[1].mean() - sides[0].mean())
    df = float((of_a + of_b) ** 2 / (of_a**2 / (len(sides[0]) - 1) + of_b**2 / (len(sides[1]) - 1)))
    half = float(stdtrit(df, 0.975)) * error
    return Welch(difference, difference - half, difference + half, float(2 * stdtr(df, -abs(difference) / error)), df)


def seed_rule(
    n_a: int, n_b: int, *, paired: bool, comparisons: int = 1, level: float = 0.05
) -> Literal["permutation", "welch"] | None:
    """Return which test so many seeds allow, None where they are too few: by the design alone, never by the scores.

    The permutation of pairs where both have the same seeds and it can reach `level` after Holm's correction for
    `comparisons`: 6 pairs for one, 7 for 3, 10 for 15. Else Welch's test from 3 seeds on each side on.
    """
    if paired and n_a == n_b and n_a > 0 and comparisons * 2.0 ** (1 - n_a) <= level:
        return "permutation"
    return "welch" if min(n_a, n_b) >= 3 else None


def over_seeds(a: ArrayLike, b: ArrayLike, *, paired: bool, comparisons: int = 1) -> SeedTest | None:
    """Test scores over seeds with the test of `seed_rule`; None where seeds are too few or no score differs.

    `paired` says that a[i] and b[i] are of the same seed. Raises ValueError for pairs of different number.
    """
    left, right = (np.asarray(each, np.float64).reshape(-1) for each in (a, b))
    if paired and len(left) != len(right):
        raise ValueError(f"{len(left)} and {len(right)} scores are no pairs: give those of the same seeds")
    test = seed_rule(len(left), len(right), paired=paired, comparisons=comparisons)
    if test is None:
        return None
    if test == "permutation":
        pairs = permutation_of_pairs(left, right)
        ends, p, smallest_p = _interval_of_pairs(right - left), pairs.p, pairs.smallest_p
        difference = pairs.difference
    else:
        found = welch(left, right)
        if found is None:
            return None
        difference, ends, p, smallest_p = found.difference, (found.low, found.high), found.p, 0.0
    return SeedTest(test, difference, *ends, p, smallest_p, len(left), len(right), ASSUMES[test])


def seeds_needed(a: ArrayLike, b: ArrayLike, *, paired: bool, power: float = 0.8, level: float = 0.05) -> int | None:
    """Return how many seeds on each side find the difference that was seen, None where none was or cannot be known.

    If the difference and the deviations that were seen are the true ones, so many seeds find it at `level` with a
    chance of about `power`. They are estimates: of a difference that may be chance, the number is one as well. At least
    as many as `seed_rule` asks for. For several comparisons divide `level` by how many they are.
    Source: W. C. Guenther, The American Statistician 35 (1981).
    """
    left, right = (np.asarray(each, np.float64).reshape(-1) for each in (a, b))
    difference = right.mean() - left.mean() if left.size and right.size else 0.0
    if min(len(left), len(right)) < 2 or not difference or not math.isfinite(difference):
        return None
    if not paired:
        variances = float(left.var(ddof=1)), float(right.var(ddof=1))
        seeds = max(3, math.ceil(_for_means(sum(variances), difference, power, level, 1 / 4)))
        while any(variances) and _power_of_welch(seeds, variances, difference, level) < power:
            seeds += 1  # of few seeds the approximation is too low
        return seeds
    pairs = math.ceil(1 - math.log2(level))
    while True:  # the p values of few pairs are far apart: the greatest of up to `level` is what they are tested at
        reached = math.floor(level * 2 ** (pairs - 1)) / 2 ** (pairs - 1) if pairs < 50 else level
        needed = _for_means((right - left).var(ddof=1), difference, power, reached, 1 / 2)
        if needed <= pairs:
            return pairs
        pairs = pairs + 1 if pairs < 50 else math.ceil(needed)


def _for_means(variance: float, difference: float, power: float, level: float, unknown: float) -> float:
    """Return how many a test of means needs; `unknown` is the share of z^2 that not knowing the variance costs."""
    z, z_power = NormalDist().inv_cdf(1 - level / 2), NormalDist().inv_cdf(power)
    return float((z + z_power) ** 2 * variance / difference**2 + unknown * z**2)


def _power_of_welch(n: int, variances: tuple[float, float], difference: float, level: float) -> float:
    """Return how often Welch's test with n on each side finds a difference, by the noncentral t distribution."""
    from scipy.special import nctdtr, stdtrit

    df = (n - 1) * sum(variances) ** 2 / sum(each**2 for each in variances)
    return 1 - float(nctdtr(df, abs(difference) / math.sqrt(sum(variances) / n), stdtrit(df, 1 - level / 2)))


def _interval_of_pairs(differences: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the mean differences that the permutation test does not reject at 5 %.

    They lie between the means of some of the pairs: of all choices of pairs, or beyond 20 pairs of 10,000 at random.
    Source: J. A. Hartigan, J. American Statistical Association 64 (1969).
    """
    n = len(differences)
    if n <= _MOST_EXACT:
        sums, counts = np.zeros(1), np.zeros(1)
        for each in differences:
            sums, counts = np.concatenate([sums, sums + each]), np.concatenate([counts, counts + 1])
    else:
        chosen = np.random.default_rng(seed).integers(0, 2, size=(10_000, n))
        sums, counts = chosen @ differences, chosen.sum(axis=1)
    means = np.sort(sums[counts > 0] / counts[counts > 0])
    rejected = int(0.025 * len(sums))
    return float(means[rejected - 1]), float(means[-rejected])


def _differences(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    left, right = (np.asarray(each, np.float64).reshape(-1) for each in (a, b))
    if len(left) != len(right) or not len(left):
        raise ValueError(f"{len(left)} and {len(right)} values are no pairs: give as many of each, at least one")
    return right - left
