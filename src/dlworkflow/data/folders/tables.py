"""CSV files as numbered lines of cells, errors name their line; knows neither images nor models."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from dlworkflow.errors import DataError, MissingDataError, few, system_reason
from dlworkflow.files.paths import read_small_text

_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "pipes (|)"}
"""What some programs write between the columns of a CSV file instead of commas."""


class Line(NamedTuple):
    """A line's number in its file, the first being 1, and its cells, without the space around them."""

    number: int
    cells: list[str]


def read_lines(file: Path) -> list[Line]:
    """Return the lines of a CSV file that are not blank, none with more cells than the first.

    Raises MissingDataError for a file that is not there, and DataError for one that is no CSV in UTF-8, and naming the
    line that has a cell too many: it would be read as another text than was meant.
    """
    where, lines, number = repr(str(file)), [], 1
    try:
        reader = csv.reader(io.StringIO(read_small_text(file), newline=""), strict=True, skipinitialspace=True)
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                lines.append(Line(number, cells))
            number = reader.line_num + 1
    except FileNotFoundError:
        raise MissingDataError(f"no file {where}") from None
    except UnicodeDecodeError:
        raise DataError(f"cannot read {where}: it is no UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise DataError(f"cannot read {where}: line {number}: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {where}: {system_reason(error)}") from None
    if not lines:
        return []
    check_separator(file, lines[0].cells)
    width = len(lines[0].cells)
    for number, cells in lines:
        if any(cells[width:]):
            raise DataError(
                f"{where} line {number}: {len(cells)} cells, where line {lines[0].number} has {width}; "
                f'quote a cell that has a comma in it, as in "{", ".join(cells[width - 1 :])}"; decimals have a point'
            )
    return [Line(number, cells[:width]) for number, cells in lines]


def first_lines(file: Path, n: int = 2) -> list[list[str]]:
    """Return the cells of the first lines of a CSV file, as far as they can be read."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            rows = csv.reader(stream, skipinitialspace=True)
            found = [[cell.strip() for cell in row] for row, _ in zip(filter(None, rows), range(n), strict=False)]
    except (OSError, csv.Error):
        return []
    return found


def check_separator(file: Path, cells: Sequence[str]) -> None:
    """Raise DataError for a line of one cell that another character than a comma cuts into columns."""
    for sign, name in _OTHER_SEPARATORS.items():
        if len(cells) == 1 and sign in cells[0]:
            raise DataError(f"{str(file)!r} separates its columns by {name}; separate them by commas")


def check_columns(file: Path, columns: Sequence[str]) -> None:
    """Raise DataError for two columns of one name; some programs leave a column without any, which is no name."""
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise DataError(f"{str(file)!r} has more than one column named {few(twice)}; rename or remove one")


def read_records(
    file: Path, needed: Sequence[str], optional: Sequence[str] = (), *, may_be_empty: Collection[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file with a header: (line number, {column: cell}) of these columns.

    Raises DataError as `read_lines` does, and naming a column that is missing or there twice, or a line with an empty
    cell in one of them, but for those that `may_be_empty`.
    """
    lines = read_lines(file)
    columns = lines[0].cells if lines else []
    if missing := [name for name in needed if name not in columns]:
        found = f"it has {few(columns)}" if columns else "it is empty"
        raise DataError(f"{str(file)!r} lacks the column(s) {few(missing)}; {found}")
    check_columns(file, columns)
    places = {name: columns.index(name) for name in (*needed, *optional) if name in columns}
    rows = []
    for number, cells in lines[1:]:
        row = {name: cells[place] if place < len(cells) else "" for name, place in places.items()}
        if empty := [name for name, cell in row.items() if not cell and name not in may_be_empty]:
            raise DataError(f"{str(file)!r} line {number}: no {' and no '.join(empty)}")
        rows.append((number, row))
    return rows


def as_number(text: str) -> float | None:
    """Return the number that a text is, or None; 1_000 is a number to Python alone."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None
