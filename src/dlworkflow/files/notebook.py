"""What a notebook shows of an object: its short `repr` over a table. Knows no object of the library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dlworkflow.files.text import printable

_MOST_ROWS = 20
_LEFT = ' style="text-align: left"'

HEADLINE = (
    "samples",
    "loss",
    "acc",
    "accuracy",
    "f1_macro",
    "mae",
    "r2",
    "val_loss",
    "val_acc",
    "test_loss",
    "test_acc",
)
"""The numbers of an evaluation or an epoch that its `repr` has."""

Row = Mapping[str, Any]


class Shown:
    """An object that a notebook shows as a table: a mixin that asks for `shown_rows`."""

    def shown_rows(self) -> Sequence[Row]:
        """Return the rows of the table, {heading: value}."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return html_table(self.shown_rows(), caption=repr(self))


class Rows(list[dict[str, Any]], Shown):
    """A list of rows; its `repr` shows the columns `first`, a line a row, a notebook all."""

    def __init__(self, rows: Sequence[dict[str, Any]] = (), *, first: Sequence[str] = ()) -> None:
        super().__init__(rows)
        self.first = tuple(first)

    def __repr__(self) -> str:
        lines = [named(row, self.first) for row in self]
        more = [f"... and {len(lines) - _MOST_ROWS} more"] if len(lines) > _MOST_ROWS else []
        return "\n".join([*lines[:_MOST_ROWS], *more]) or "no rows"

    def shown_rows(self) -> Sequence[Row]:
        """Return the rows as they are."""
        return self

    def _repr_html_(self) -> str:
        return html_table(self.shown_rows(), caption=f"{len(self)} row{'' if len(self) == 1 else 's'}")


def html_table(rows: Sequence[Row], *, caption: str = "") -> str:
    """Return rows as an HTML table of the columns that have values, below a caption; of many rows, the first and last.

    All text is escaped: class and file names cannot be markup. Texts are aligned to the left, numbers to the right as
    notebooks do. The caption is no part of the table, which may be narrow.
    """
    half = _MOST_ROWS // 2
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if any(cell(row.get(key)) for row in rows)]
    shown = [*rows] if len(rows) <= _MOST_ROWS else [*rows[:half], dict.fromkeys(keys, "..."), *rows[-half:]]
    left = {key: _LEFT if any(isinstance(row.get(key), str) for row in rows) else "" for key in keys}
    head = "".join(f"<th{left[key]}>{_text(key)}</th>" for key in keys)
    body = "".join(
        f"<tr>{''.join(f'<td{left[key]}>{_text(cell(row.get(key)))}</td>' for key in keys)}</tr>" for row in shown
    )
    title = f'<div style="white-space: pre-wrap">{_text(caption)}</div>' if caption else ""
    return f"<div>{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def named(values: Row, keys: Sequence[str]) -> str:
    """Return values with their names in one line, of these keys those that are there: `loss 0.12345, acc 0.95000`."""
    return ", ".join(f"{key} {text}" for key in keys if (text := cell(values.get(key))))


def cell(value: Any) -> str:
    """Return a value as people read it in a table: floats with five decimals, large numbers with commas, None empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5f}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:.5g}"


def _text(text: str) -> str:
    return "<br/>".join(escape(printable(line)) for line in text.split("\n"))
