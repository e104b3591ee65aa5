"""Ratios of repeated pairs with their interval, and whether one set is higher than another by more than noise.

Distribution-free: order statistics, and the pairwise quotients of the Mann-Whitney test. Source: M. Hollander,
D. A. Wolfe, E. Chicken, Nonparametric Statistical Methods (2014), chapters 3 and 4.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

LEVEL = 0.95
ONE_SIDED, MOST_ONE_SIDED = 0.01, 0.05
"""Chance that a row which is as fast as before is named; 1 in 20 where there are three pairs on each side."""


class Ratio(NamedTuple):
    """The median of ratios, and the interval that holds the true median at least 95 times in 100.

    Of fewer than six ratios it is the range, which holds it 75 (of three) to 94 times (of five).
    """

    median: float
    low: float
    high: float


def ratio_of(values: Sequence[float]) -> Ratio:
    """Return the median of ratios with its interval."""
    ordered, n = sorted(values), len(values)
    left_out = 0
    while 2 * sum(math.comb(n, k) for k in range(left_out + 2)) / 2**n <= 1 - LEVEL:
        left_out += 1
    return Ratio(statistics.median(ordered), ordered[left_out], ordered[n - 1 - left_out])


def times_higher(now: Sequence[float], then: Sequence[float]) -> tuple[float, float]:
    """Return by which factor ratios are higher than others: the middle one, and the least that noise leaves possible.

    The least is above 1 where even it is a rise; of fewer than three pairs on each side it is 0.
    """
    quotients = sorted(a / b for a, b in product(now, then))
    few = math.comb(len(now) + len(then), len(now)) < 1 / MOST_ONE_SIDED
    return statistics.median(quotients), 0.0 if few else quotients[_rank(len(now), len(then))]


def _rank(n: int, m: int) -> int:
    """Return how many of the n * m quotients may lie below the limit: the Mann-Whitney distribution at `ONE_SIDED`."""
    every = math.comb(n + m, n)
    allowed = max(ONE_SIDED, 1 / every) * every
    rank, below = 0, 0
    while (below := below + _counts(n, m)[rank]) <= allowed:
        rank += 1
    return max(rank - 1, 0)


@cache
def _counts(n: int, m: int) -> list[int]:
    """Return in how many orders of n and m values the first kind is above the second u times, for each u."""
    ways = {(0, 0): [1]}
    for a, b in product(range(n + 1), range(m + 1)):
        if a or b:
            found = [0] * (a * b + 1)
            for u, count in enumerate(ways.get((a - 1, b), ())):
                found[u + b] += count
            for u, count in enumerate(ways.get((a, b - 1), ())):
                found[u] += count
            ways[a, b] = found
    return ways[n, m]
