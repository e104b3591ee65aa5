"""A CSV file with a header as columns of text; knows neither target nor splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlworkflow.data.folders.tables import as_number, check_columns, read_lines
from dlworkflow.errors import DataError, few


@dataclass(frozen=True)
class Table:
    """The cells of each column, without the space around them, and the line in the file of each row."""

    file: Path
    cells: dict[str, list[str]]
    lines: list[int]

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [*self.cells]

    def records(self) -> list[dict[str, str]]:
        """Return the rows as {column: cell}."""
        return [dict(zip(self.cells, row, strict=True)) for row in zip(*self.cells.values(), strict=True)]


@dataclass(frozen=True)
class TableRows:
    """Rows of a table by their lines in its file, which is read again for their cells: they may be many."""

    file: Path
    lines: Sequence[int]

    def subset(self, indices: Sequence[int]) -> TableRows:
        """Return some of the rows, in this order."""
        return TableRows(self.file, [self.lines[index] for index in indices])

    def cells(self) -> dict[str, list[str]]:
        """Return the cells of each column of the table. Raises DataError where the file has changed."""
        table = read_table(self.file)
        places = {line: place for place, line in enumerate(table.lines)}
        if any(line not in places for line in self.lines):
            raise DataError(f"{str(self.file)!r} has changed while it was in use; start again")
        return {name: [cells[places[line]] for line in self.lines] for name, cells in table.cells.items()}


def read_table(file: Path) -> Table:
    """Read a CSV file with a header; a shorter row lacks its last values.

    A column without a name that counts the rows, as pandas writes its index, is left out. Raises DataError for a file
    that is no CSV with a header, that has no rows, or two columns of one name.
    """
    lines = read_lines(file)
    where = repr(str(file))
    if not lines:
        raise DataError(
            f"{where} is empty; a table has a header and a row per sample, images the columns 'path', 'label'"
        )
    header, *rows = lines
    numbers = [name for name in header.cells if as_number(name) is not None]
    if len(numbers) == len(header.cells) or any("." in name for name in numbers):
        raise DataError(
            f"{where} has no header: line {header.number} has the numbers {few(numbers, 3)}; put a line with the names "
            "of the columns above it"
        )
    check_columns(file, header.cells)
    if not rows:
        raise DataError(f"{where} has a header and no rows")
    width = len(header.cells)
    padded = [row.cells + [""] * (width - len(row.cells)) for row in rows]
    cells: dict[str, list[str]] = {}
    for place, (name, column) in enumerate(zip(header.cells, zip(*padded, strict=True), strict=True), start=1):
        if name:
            cells[name] = [*column]
        elif any(column) and not _counts(column):
            raise DataError(f"{where}: column {place} has no name; give it one in line {header.number}")
    return Table(file, cells, [row.number for row in rows])


def _counts(cells: Sequence[str]) -> bool:
    """Return whether the cells are 0, 1, 2, ... or 1, 2, 3, ..."""
    return any(all(cell == str(number) for number, cell in enumerate(cells, start)) for start in (0, 1))
