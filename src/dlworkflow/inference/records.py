"""Rows of a table for a model that takes columns by name: mappings, data frames, CSV files, rows of numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dlworkflow.data.columns import Columns
from dlworkflow.errors import DataError, few, short
from dlworkflow.inference.inputs import Inputs
from dlworkflow.inference.rows import rows_of


class Records(NamedTuple):
    """Rows {column: value}, names for them (None: their values), and whether they are several."""

    rows: Iterable[Mapping[str, Any]]
    sources: Iterable[str] | None
    is_many: bool


def records_of(given: Any, columns: Columns, *, owner: str) -> Records:
    """Return the rows in what a caller in Python gave, for a model called `owner`.

    One row is a mapping {column: value}, or numbers in the order of the columns; several are a data frame, a mapping of
    sequences, CSV files, or an iterable of rows, taken one by one. Raises DataError for what is none of these, and for
    numbers where a column is a category.
    """
    if hasattr(given, "to_dict"):  # a data frame, or one row of it
        given = given.to_dict(orient="records") if hasattr(given, "columns") else given.to_dict()
    if isinstance(given, Mapping):
        if any(_is_sequence(value) for value in given.values()):
            return Records(list(_transposed(given)), None, True)
        return Records([given], None, False)
    names = [given] if isinstance(given, str | os.PathLike) else given
    if isinstance(names, list | tuple) and names and all(map(_is_file, names)):
        sources, rows = Inputs(tuple(map(os.fspath, names))).records(columns, owner=owner)
        return Records(rows, sources, True)
    if isinstance(given, Sequence) and given and all(isinstance(each, Mapping) for each in given):
        return Records(given, None, True)
    if isinstance(given, Iterator):
        return Records((_record(row, columns, owner) for row in given), None, True)
    rows_given, is_many = rows_of(given, _width(columns, owner), owner=owner)
    return Records((dict(zip(columns.names, row, strict=True)) for row in rows_given), None, is_many)


def source_of(row: Mapping[str, Any], columns: Columns) -> str:
    """Return a row's values as its name."""
    values = (row.get(name, "") for name in columns.names)
    return short(" ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values), 60)


def _record(row: Any, columns: Columns, owner: str) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    [[numbers], _] = rows_of(row, _width(columns, owner), owner=owner)
    return dict(zip(columns.names, numbers, strict=True))


def _width(columns: Columns, owner: str) -> int:
    """Return how many numbers a row has. Raises DataError where a column is a category."""
    if columns.are_numbers:
        return len(columns.names)
    texts = [column.name for column in columns.inputs if column.categories is not None]
    raise DataError(f"{owner} takes categories ({few(texts)}); give the columns by name, as in a CSV file")


def _transposed(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of {column: values}. Raises DataError for columns of several lengths."""
    lists = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in given.items()}
    lengths = {len(value) if _is_sequence(value) else 1 for value in lists.values()}
    if len(lengths) > 1:
        raise DataError(f"the columns have {few(sorted(lengths), quoted=False)} values; give as many of each")
    for row in zip(*lists.values(), strict=True):
        yield dict(zip(lists, row, strict=True))


def _is_sequence(value: object) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def _is_file(value: object) -> bool:
    return isinstance(value, os.PathLike) or (isinstance(value, str) and value.casefold().endswith(".csv"))
