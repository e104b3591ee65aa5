"""What a user gave to predict: files, folders, patterns, rows of numbers; reads no image."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dlworkflow.data.folders.listing import look_into, read_list
from dlworkflow.data.folders.tables import Line, as_number, check_columns, check_separator, read_lines
from dlworkflow.data.images.formats import IMAGE_EXTENSIONS, left_out
from dlworkflow.errors import DataError, MissingDataError
from dlworkflow.files.paths import matching_paths, user_path


def expand_paths(arguments: Iterable[str], *, on_left_out: Callable[[str], object] | None = None) -> list[Path]:
    """Return the image files that a user means: files as they are, folders with all images below, globs, and what a CSV
    file lists (see `data.listing.read_list`).

    `on_left_out` is told of the other files of each folder, how many of which kind. A file that is not there is left to
    `predict_images`, which makes it a row; so is a folder or a pattern that gives no image, where it stands beside
    others. Raises MissingDataError for the first of these where none gives any.
    """
    paths: list[Path] = []
    missing: list[MissingDataError] = []
    for argument in arguments:
        try:
            paths += _expanded(argument, on_left_out)
        except MissingDataError as error:
            missing.append(error)
            paths.append(user_path(argument))
    if missing and len(missing) == len(paths):
        raise missing[0]
    return paths


def _expanded(argument: str, on_left_out: Callable[[str], object] | None) -> list[Path]:
    named = matching_paths(argument)
    looks = {path: look_into(path) for path in named if path.is_dir()}
    found = [
        picture for path in named for picture in (sorted(looks[path].images) if path in looks else _files_of(path))
    ]
    said = left_out(
        [path for look in looks.values() for path in look.others],
        [path for look in looks.values() for path in look.hidden],
    )
    if not found:
        there = f"; left out: {said}" if said else ""
        raise MissingDataError(f"no pictures in {argument!r}; known are {', '.join(IMAGE_EXTENSIONS)}{there}")
    if said and on_left_out is not None:
        on_left_out(f"left out of {argument!r}: {said}")
    return found


def _files_of(path: Path) -> list[Path]:
    return read_list(path) if path.suffix.casefold() == ".csv" else [path]


def read_rows(
    path: str | os.PathLike[str], n_features: int, *, on_note: Callable[[str], object] | None = None
) -> list[list[float]]:
    """Read rows of `n_features` numbers from a CSV file; a first line that is no numbers is its header.

    So is a first line 0,1,2,... above numbers with a decimal point, as pandas names columns; `on_note` is told of it.
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
    """Tell whether the first line numbers the columns as pandas does.

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
