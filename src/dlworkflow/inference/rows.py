"""Rows of numbers in a CSV file, with or without a header; knows no model."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from dlworkflow.data.folders.tables import Line, as_number, check_columns, check_separator, read_lines
from dlworkflow.errors import DataError


def read_rows(
    path: str | os.PathLike[str], n_features: int, *, on_note: Callable[[str], object] | None = None
) -> list[list[float]]:
    """Read rows of `n_features` numbers from a CSV file; a first line that is no numbers is its header.

    So is a first line 0,1,2,... above numbers with a decimal point, as pandas names columns; `on_note` gets a sentence
    about it.
    Raises DataError naming the line that cannot be read.
    """
    path = Path(path)
    lines = read_lines(path)
    if lines and not any(as_number(cell) is not None for cell in lines[0].cells):
        check_columns(path, lines.pop(0).cells)
    elif _numbers_columns(path, lines):
        if on_note is not None:
            on_note(f"{str(path)!r} line {lines[0].number}: {','.join(lines[0].cells)} is taken as its header")
        lines.pop(0)
    if not lines:
        raise DataError(f"{str(path)!r} holds no numbers")
    return [_row(path, line, n_features) for line in lines]


def _numbers_columns(path: Path, lines: Sequence[Line]) -> bool:
    """Return whether the first line numbers the columns as pandas does.

    Raises DataError where it may as well be numbers like those below it.
    """
    first, below = lines[0].cells if lines else [], lines[1:]
    if not below or len(first) < 2 or first != [str(number) for number in range(len(first))]:
        return False
    if any(cell.lstrip("+-").isdecimal() for line in below for cell in line.cells):
        raise DataError(
            f"{str(path)!r} line {lines[0].number}: {','.join(first)} may be a header or numbers; give the columns "
            f"names, or write {','.join(f'{cell}.0' for cell in first)}"
        )
    return True


def _row(path: Path, line: Line, n_features: int) -> list[float]:
    """Return a line's numbers. Raises DataError naming it where it has others or something else."""
    where, text = f"{str(path)!r} line {line.number}", ",".join(line.cells)
    row = [number for cell in line.cells if (number := as_number(cell)) is not None]
    if len(row) < len(line.cells):
        check_separator(path, [text])  # a comma may stand for a decimal point: 0,5;0,7
        raise DataError(f"{where}: not all cells are numbers: {text}")
    if not all(map(math.isfinite, row)):
        raise DataError(f"{where}: numbers must be finite: {text}")
    if len(row) != n_features:
        raise DataError(f"{where}: {len(row)} number(s) where {n_features} are needed")
    return row
