"""Rows as a text table, Markdown, CSV or JSON. Knows no run; names cannot send control codes to a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from dlworkflow.files.text import csv_cell, json_text, printable

Row = Mapping[str, Any]


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    md = "md"
    csv = "csv"
    json = "json"


def percent(fraction: float | None) -> str:
    """Return 0.7916 as 79.16 %, an empty text for None and nan."""
    return "" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.2f} %"


def number(value: object) -> str:
    """Return a value as a cell: floats with five decimals, integers with thousands separators, None empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return printable(value)
    return f"{value:,}" if isinstance(value, int) else loss(value)


def loss(value: float) -> str:
    """Return a loss with five decimals; a huge one in powers of ten."""
    return f"{value:.5f}" if abs(value) < 1e6 else f"{value:.5e}"


def short(value: float) -> str:
    """Return a number with four decimals, or in powers of ten where that would hide it."""
    return f"{value + 0.0:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


def render(
    rows: Sequence[Row], columns: Mapping[str, str], form: Format = Format.table, raw: Sequence[Row] = ()
) -> str:
    """Return rows as text; `columns` is {key: heading} in order, `raw` the rows for programs where they differ."""
    if form is Format.json:
        return json_text([dict(row) for row in raw or rows], indent=1)
    if form is Format.csv:
        return _csv(raw or rows, list(columns))
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
    widths = [display_width(cell) for cell in column]
    most, right = max(widths), len(column) > 1 and all(map(_is_number, column[1:]))
    gaps = [" " * (most - width) for width in widths]
    heading, *cells = [gap + cell if right else cell + gap for cell, gap in zip(column, gaps, strict=True)]
    return [heading, "-" * most, *cells]


def display_width(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for a Chinese character, none for a combining mark."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(wcswidth(text), 0)


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return CSV; on a terminal, control characters in names are printed as escapes."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    shown = printable if sys.stdout.isatty() else csv_cell
    writer.writerow(shown(csv_cell(column)) for column in columns)
    writer.writerows([shown(csv_cell(row.get(key))) for key in columns] for row in rows)
    return out.getvalue().rstrip("\n")


def _is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit() or (cell[0] == "-" and cell[1:2].isdigit())
