"""Rows as a text table, Markdown, CSV or JSON. Knows no run; names cannot send control codes to a terminal."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import Annotated, Any

import typer

from dlworkflow.cli.colours import BEST, echo, painted
from dlworkflow.cli.fitting import fitted, output_width
from dlworkflow.cli.options import say
from dlworkflow.errors import few
from dlworkflow.files.numbers import is_number
from dlworkflow.files.text import csv_cell, display_width, json_text, padded, printable

Row = Mapping[str, Any]
_BEST = "\0best"
"""Beside the columns of a row that is in colour."""


class Format(StrEnum):
    """How rows are printed; `csv-bom` is CSV with a byte order mark, without which Excel misreads Chinese."""

    table = "table"
    md = "md"
    csv = "csv"
    csv_bom = "csv-bom"
    json = "json"


FORMAT_HELP = "Format of what is printed; csv-bom is CSV that Excel opens with all its letters."

FormatOption = Annotated[Format, typer.Option("--format", help=FORMAT_HELP)]


def print_table(
    rows: Sequence[Row],
    columns: Mapping[str, str],
    form: Format = Format.table,
    raw: Sequence[Row] = (),
    *,
    first: Sequence[str] = (),
    whole: bool = False,
    headed: bool = True,
    best: Collection[int] = (),
    every: str = "a wider terminal or `--format csv` shows every column",
) -> None:
    """Print rows as `render` does, a table no wider than the terminal.

    Columns that do not fit are left out, last those of `first`; a line on stderr says which, and how to see `every`
    column. With `whole` nothing is left out; without `headed` the table has no headings. The rows with an index
    in `best` are in colour on a terminal that has colours.
    """
    if best:
        rows = [{**row, _BEST: "yes"} if index in best else row for index, row in enumerate(rows)]
    width = output_width() if form is Format.table and not whole else None
    left_out: list[str] = []
    if width is not None:
        cells = [{key: printable(row.get(key, "")) for key in (*columns, *({_BEST} & row.keys()))} for row in rows]
        rows, columns, left_out = fitted(cells, columns, width, first)
    text = render(rows, columns, form, raw)
    lines = text.split("\n") if form is Format.table else []
    for index, row in enumerate(rows if lines else (), start=2):
        if row.get(_BEST):
            lines[index] = painted(lines[index], BEST, sys.stdout)
    text = "\n".join(lines if headed else lines[2:]) if lines else text
    if form is Format.csv_bom:
        typer.echo(text.encode("utf-8-sig"))
    else:
        echo(text, sys.stdout)
    if left_out:
        say(f"note    left out to fit {width} columns of the terminal: {few(left_out, quoted=False)}; {every}")


def render(
    rows: Sequence[Row], columns: Mapping[str, str], form: Format = Format.table, raw: Sequence[Row] = ()
) -> str:
    """Return rows as text; `columns` is {key: heading} in order, `raw` the rows for programs where they differ."""
    if form is Format.json:
        return json_text([dict(row) for row in raw or rows], indent=1)
    if form in (Format.csv, Format.csv_bom):
        return "\n".join(csv_lines(raw or rows, list(columns)))
    cells = [[printable(row.get(key, "")) for key in columns] for row in rows]
    headings = list(columns.values())
    if form is Format.md:
        escaped = [[cell.replace("|", "\\|") for cell in line] for line in [headings, *cells]]
        escaped.insert(1, ["---"] * len(headings))
        return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
    columns_of_text = [_aligned([heading, *column]) for heading, *column in zip(headings, *cells, strict=True)]
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns_of_text, strict=True))


def _aligned(column: Sequence[str]) -> list[str]:
    """Return a heading, a rule and cells of one width on the screen; numbers are aligned to the right."""
    most, right = max(map(display_width, column)), len(column) > 1 and all(map(is_number, column[1:]))
    heading, *cells = [padded(cell, most, right=right) for cell in column]
    return [heading, "-" * most, *cells]


def csv_lines(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[str]:
    """Yield headings and rows as lines of CSV; on a terminal, control characters in names are printed as escapes."""
    import csv

    writer = csv.writer(_Returned(), lineterminator="\n")
    shown = printable if sys.stdout.isatty() else _as_it_is
    for cells in chain([columns], ([row.get(key) for key in columns] for row in rows)):
        yield writer.writerow([shown(csv_cell(cell)) for cell in cells]).removesuffix("\n")


class _Returned:
    """A file whose lines are returned to the caller of csv's `writerow`, which returns what `write` does."""

    def write(self, line: str) -> str:
        return line


def _as_it_is(value: object) -> object:
    return value
