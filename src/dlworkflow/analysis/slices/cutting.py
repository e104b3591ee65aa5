"""Slices of samples by a property: quantiles of numbers, one a category. Knows no run and no score."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dlworkflow.analysis.slices.properties import Property
from dlworkflow.data.folders.tables import as_number

LEAST = 10
"""A slice of fewer samples is shown, but not tested: hardly any difference could be told from chance."""

_MOST_BINS, _MOST_CATEGORIES = 4, 20


@dataclass(frozen=True)
class Slice:
    """Some samples: `mask` (n,) bool, by what they are chosen, and their examples (indices)."""

    property: str
    name: str
    mask: np.ndarray
    examples: tuple[int, ...] = ()


def slices_of(found: Property, n: int) -> tuple[list[Slice], str]:
    """Return the slices of n samples by a property, and why there are none, or an empty text.

    Numbers are cut into quarters, or fewer parts of about `LEAST` samples or more; up to 20 categories are slices, of
    more the 19 most frequent, and the others are one. A property that is the same for all samples, or another for
    nearly each, has none.
    """
    if found.numbers is not None:
        slices = [*_of_numbers(found.name, found.numbers)]
    else:
        each = Counter(name for names in found.names for name in names)
        if len(each) > max(_MOST_CATEGORIES, n / 2):
            return [], f"{found.name} has {len(each):,} values for {n:,} samples: too many to be slices"
        slices = [*_of_names(found.name, found.names, [name for name, _ in each.most_common()])]
    slices = [each for each in slices if 0 < each.mask.sum() < n]
    return slices, "" if slices else f"{found.name} is {_without_slices(found)}"


def _without_slices(found: Property) -> str:
    """Return in words how a property is that has no slices."""
    if found.numbers is None:
        return "the same for all samples" if found.names else "not known of these samples"
    values = found.numbers[np.isfinite(found.numbers)]
    if not len(values):
        return "not known of these samples"
    return "the same for all samples" if (values == values[0]).all() else "the same for nearly all samples"


def _of_numbers(name: str, numbers: np.ndarray) -> Iterator[Slice]:
    known = np.isfinite(numbers)
    values = numbers[known]
    if not len(values):
        return
    bins = min(_MOST_BINS, max(2, len(values) // (LEAST + 2)))  # rounded edges move some samples to the next slice
    inner, digits = _edges(values, bins)
    for low, high in zip([None, *inner], [*inner, None], strict=True):
        mask = known & (numbers >= (-np.inf if low is None else low)) & (numbers < (np.inf if high is None else high))
        yield Slice(name, _between(low, high, digits) or _whole(values), mask)
    if not known.all():
        yield Slice(name, "(missing)", ~known)


def _edges(values: np.ndarray, bins: int) -> tuple[list[float], int]:
    """Return where values are cut, as it is printed, and with how many digits.

    Three digits, or as many as tell the edges apart: longitudes of one town differ in the fifth. Where all quantiles
    are the lowest value, as in a column that is mostly 0, the next larger one is the edge.
    """
    quantiles = np.quantile(values, np.arange(1, bins) / bins).tolist()
    least = max(len(values) / (2 * bins), min(LEAST, len(values) // bins))
    most = len(_large_enough(values, quantiles, least))
    if not most and (larger := values[values > values.min()]).size:
        quantiles = [float(larger.min())]
        most = len(_large_enough(values, quantiles, least))
    edges: list[float] = []
    for digits in range(3, 17):
        edges = _large_enough(values, [float(f"{edge:.{digits}g}") for edge in quantiles], least)
        if len(edges) >= most:
            break
    return edges, digits


def _large_enough(values: np.ndarray, edges: Sequence[float], least: float) -> list[float]:
    """Return the edges with so many values on either side: where many are equal, quantiles are close or the same."""
    kept: list[float] = []
    for edge in sorted({*edges}):
        inside = (values < edge) & (values >= (kept[-1] if kept else -np.inf))
        if min(inside.sum(), (values >= edge).sum()) >= max(1, least):
            kept.append(edge)
    return kept


def _between(low: float | None, high: float | None, digits: int) -> str:
    if low is None:
        return "" if high is None else f"below {_shown(high, digits)}"
    return f"{_shown(low, digits)} or more" if high is None else f"{_shown(low, digits)} to {_shown(high, digits)}"


def _whole(values: np.ndarray) -> str:
    """Return the name of a slice of all values that are known, beside one of those that are missing."""
    return _shown(float(values[0]), 3) if (values == values[0]).all() else "(known)"


def _shown(edge: float, digits: int) -> str:
    if not 1000 <= abs(edge) < 1e9:
        return f"{edge:.{digits}g}"
    return f"{edge:,.{max(0, digits - 1 - math.floor(math.log10(abs(edge))))}f}"


def _by_number(value: str) -> tuple[float, str]:
    """Return what orders values of a column: numbers by size, and names after them."""
    number = as_number(value)
    return (math.inf if number is None else number, value)


def _of_names(name: str, names: Sequence[Sequence[str]], values: Sequence[str]) -> Iterator[Slice]:
    shown = values if len(values) <= _MOST_CATEGORIES else values[: _MOST_CATEGORIES - 1]
    for value in sorted(shown, key=_by_number):
        yield Slice(name, value, np.array([value in own for own in names], bool))
    if rest := set(values) - set(shown):
        mask = np.array([not rest.isdisjoint(own) for own in names], bool)
        yield Slice(name, f"(the {len(rest):,} other values)", mask)
