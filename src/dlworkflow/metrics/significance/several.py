"""Several comparisons at once: the correction of their p values, and which rows of a table share a letter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_letters


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values corrected for how many they are, in their order: to be compared with the level of all.

    The chance that any of the true null hypotheses is rejected at a level is at most that level, however they depend
    on each other. Source: S. Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def letters(n_rows: int, differing: Iterable[tuple[int, int]]) -> list[str]:
    """Return the letters of each row of a table: two rows share one exactly where they do not differ.

    `differing` are the pairs of row numbers that differ. The first row has an `a`. Each letter is a largest set of rows
    of which no two differ, and none is there that others make superfluous. After 52 letters they are numbered, and
    a row's are joined with commas. Source of the display: H.-P. Piepho, Journal of Computational and Graphical
    Statistics 13 (2004).
    Raises ValueError for a row that differs from itself or is not there.
    """
    differs = {frozenset(pair) for pair in differing}
    if any(len(pair) != 2 or not pair <= set(range(n_rows)) for pair in differs):
        raise ValueError(f"differing has pairs of two of the {n_rows} rows")
    groups = _groups(n_rows, differs)
    names = [*ascii_letters[: len(groups)], *map(str, range(len(ascii_letters) + 1, len(groups) + 1))]
    between = "," if len(names) > len(ascii_letters) else ""
    lettered = list(zip(names, groups, strict=True))
    return [between.join(name for name, group in lettered if row in group) for row in range(n_rows)]


def _groups(n_rows: int, differs: set[frozenset[int]]) -> list[set[int]]:
    """Return sets of rows of which no two differ, such that every such pair, and every row, is in one."""
    groups: list[set[int]] = []
    for row in range(n_rows):
        for other in range(row, n_rows):
            alike = row == other or frozenset((row, other)) not in differs
            if alike and not any(row in group and other in group for group in groups):
                groups.append(_largest(n_rows, differs, row, other))
    return sorted(_needed(groups), key=sorted)


def _largest(n_rows: int, differs: set[frozenset[int]], row: int, other: int) -> set[int]:
    """Return these two rows and all that can be added to them, the upper ones first."""
    group = {row, other}
    for third in range(n_rows):
        if all(third == member or frozenset((third, member)) not in differs for member in group):
            group.add(third)
    return group


def _needed(groups: list[set[int]]) -> list[set[int]]:
    """Return the groups without those whose pairs are all in others."""
    kept = list(groups)
    for group in groups:
        others = [other for other in kept if other is not group]
        if all(any(row in other and mate in other for other in others) for row in group for mate in group):
            kept = others
    return kept
