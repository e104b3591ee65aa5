"""Makes a table as narrow as a terminal: long cells over several lines, and the columns that matter first."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

from dlworkflow.files.numbers import is_number
from dlworkflow.files.text import display_width

Cells = Mapping[str, str]

GAP = 2
"""Spaces between two columns."""

_NARROW = 20
"""A column of text that is wrapped for the others' sake keeps this width."""


def output_width() -> int | None:
    """Return how wide a table may be: COLUMNS, else the terminal's width, else None, as in a pipe or a file."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):  # no terminal, or no file: a test's, or a notebook's
        return None


def fitted(
    rows: Sequence[Cells], columns: Mapping[str, str], width: int, first: Sequence[str] = ()
) -> tuple[list[Cells], dict[str, str], list[str]]:
    """Return rows and {key: heading} that take at most `width` columns of a terminal, and the keys left out for that.

    Without `first` text is wrapped to make room. With it, or where that is not enough, columns are kept as they fit:
    the leftmost, `first`, those in which the rows differ, the others. A cell over several lines becomes several rows;
    what a row has beside the columns, each of them has.
    """
    by_column = {key: [row.get(key, "") for row in rows] for key in columns}
    least = {key: display_width(heading) for key, heading in columns.items()}
    widths = {key: max([least[key], *map(display_width, cells)]) for key, cells in by_column.items()}
    excess = sum(widths.values()) + GAP * (len(widths) - 1) - width
    if excess <= 0:
        return [*rows], {**columns}, []
    texts = [key for key, cells in by_column.items() if not all(map(is_number, cells))]
    narrowed = dict(widths)
    for key in sorted(texts, key=lambda key: -widths[key]):
        narrowed[key] -= max(0, min(excess, widths[key] - max(_NARROW, least[key])))
        excess -= widths[key] - narrowed[key]
    kept = list(columns)
    if first or excess > 0:
        leftmost = kept[0]
        for key in texts:
            room = max(24, width * 2 // 5) if key == leftmost else max(12, width // 5)
            narrowed[key] = min(widths[key], width, max(room, least[key]))
        differing = [key for key, cells in by_column.items() if len(set(cells)) > 1]
        kept = _kept(dict.fromkeys([leftmost, *first, *differing, *columns]), narrowed, width)
    wrapped_rows: list[Cells] = []
    for row in rows:
        beside = {key: row[key] for key in row.keys() - columns.keys()}
        lines = _over_lines({key: row.get(key, "") for key in kept}, narrowed)
        wrapped_rows += [{**line, **beside} for line in lines]
    return wrapped_rows, {key: columns[key] for key in columns if key in kept}, [k for k in columns if k not in kept]


def _kept(keys: Iterable[str], widths: Mapping[str, int], width: int) -> list[str]:
    """Return the keys that fit, earlier ones first; the first in any case."""
    kept: list[str] = []
    for key in keys:
        if key in widths and (not kept or sum(widths[other] + GAP for other in kept) + widths[key] <= width):
            kept.append(key)
    return kept


def _over_lines(row: Cells, widths: Mapping[str, int]) -> Iterator[Cells]:
    """Yield a row as rows of one line each."""
    for cells in zip_longest(*(wrapped(cell, widths[key]) for key, cell in row.items()), fillvalue=""):
        yield dict(zip(row, cells, strict=True))


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines of at most `width`: broken at spaces, a longer word after `_`, `/`, `-` or `,`."""
    lines = [""]
    for word in re.findall(r"\S+\s*", text):
        fits = display_width(word.rstrip()) <= width
        for part in [word] if fits else re.findall(r".+?(?:[_/,-]+\s*|$)", word):
            if lines[-1] and display_width(lines[-1] + part.rstrip()) > width:
                lines.append("")
            *whole, rest = _pieces(part, width)
            lines[-1:] = [*whole, lines[-1] + rest]
    return [line.rstrip() for line in lines]


def _pieces(text: str, width: int) -> list[str]:
    """Cut a text that offers no place to break it."""
    pieces = [""]
    for letter in text:
        if pieces[-1] and display_width((pieces[-1] + letter).rstrip()) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces
