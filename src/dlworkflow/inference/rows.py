"""Rows of numbers, in a CSV file with or without a header, or given in Python; knows no model."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlworkflow.data.folders.tables import Line, as_number, check_columns, check_separator, read_lines
from dlworkflow.errors import DataError, short


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


def rows_of(given: Any, width: int, *, owner: str) -> tuple[Iterable[list[float]], bool]:
    """Return the rows in what a caller in Python gave, and whether that is several; a flat sequence is one row.

    Takes numbers, sequences, arrays and tensors, and any iterable of rows, which are taken one by one. Raises DataError
    for what is no row of `width` numbers; `owner` is how to call the model.
    """
    given = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(given, int | float):
        return [_checked([given], width, owner)], False
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise DataError(f"{owner} takes numbers, {width} a row, not {type(given).__name__}")
    if isinstance(given, Sequence) and not any(map(_is_row, given)):
        return [_checked(given, width, owner)], False
    return _each(given, width, owner), True


def _each(given: Iterable[Any], width: int, owner: str) -> Iterator[list[float]]:
    for row in given:
        yield _checked(row.tolist() if hasattr(row, "tolist") else row, width, owner)


def _is_row(given: object) -> bool:
    return isinstance(given, Iterable) and not isinstance(given, str)


def _checked(row: Any, width: int, owner: str) -> list[float]:
    """Return a row as numbers. Raises DataError for one of another length or of something else."""
    if not isinstance(row, Sequence) or isinstance(row, str | bytes):
        raise DataError(f"{owner} takes numbers, {width} a row, not {type(row).__name__} {short(repr(row), 40)}")
    if len(row) != width:
        raise DataError(f"{owner} takes {width} number(s) a row, not {len(row)}")
    try:
        return [float(number) for number in row]
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"not all of a row are numbers: {short(repr(row), 80)}") from None


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
