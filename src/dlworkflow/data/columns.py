"""How the columns of a table become the inputs of a model, as plain data; knows no file and no split.

A number is standardised, `(value - mean) / scale`; a category is one input per category, 1 where it is that one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlworkflow.data.folders.tables import as_number
from dlworkflow.errors import few, short

if TYPE_CHECKING:
    import numpy as np

MISSING = frozenset({"", "na", "n/a", "nan", "null", "?"})
"""Cells that are no value, in lower case."""


def is_missing(value: object) -> bool:
    """Return whether a cell, or a value of Python, is none."""
    if value is None or isinstance(value, str):
        return value is None or value.strip().casefold() in MISSING
    return isinstance(value, float) and math.isnan(value)


@dataclass(frozen=True)
class Column:
    """One column: a number with the mean and standard deviation of the training rows, or a category.

    `fill` stands for a missing value; None where none was missing in training, and a missing one is an error.
    """

    name: str
    mean: float = 0.0
    scale: float = 1.0
    fill: float | str | None = None
    categories: tuple[str, ...] | None = None

    @property
    def width(self) -> int:
        """The number of inputs that it becomes."""
        return 1 if self.categories is None else len(self.categories)

    def known(self, value: object) -> float | str:
        """Return the value of a cell as a number, or as one of the categories. Raises ValueError with the reason."""
        if is_missing(value):
            if self.fill is None:
                raise ValueError("the value is missing")
            return self.fill
        if self.categories is None:
            number = as_number(value) if isinstance(value, str) else _float(value)
            if number is None or not math.isfinite(number):
                raise ValueError(number_fault(value))
            return number
        text = category_of(value)
        if text not in self.categories:
            raise ValueError(f"{short(text, 40)!r} is none of the training data's categories {few(self.categories)}")
        return text


@dataclass(frozen=True)
class Columns:
    """The columns that a model takes, in the order of its inputs, and the name of the one that it predicts."""

    inputs: tuple[Column, ...]
    target: str

    @property
    def width(self) -> int:
        """Inputs per sample."""
        return sum(column.width for column in self.inputs)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.inputs]

    @property
    def are_numbers(self) -> bool:
        """Whether no column is a category, so that a row of numbers is a row of the table."""
        return all(column.categories is None for column in self.inputs)

    def lacking(self, given: Collection[str]) -> list[str]:
        """Return the columns that are not among these names."""
        return [name for name in self.names if name not in given]

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, dict[int, str]]:
        """Return inputs (n, width) float32 of n rows, {column: value}, and {index: what is wrong} of invalid rows.

        The inputs of an invalid row are zeros.
        """
        cells, wrong = self._cells(rows)
        inputs = self.inputs_of(dict(zip(self.names, cells, strict=True)), len(rows))
        inputs[list(wrong)] = 0
        return inputs, wrong

    def raw(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
        """Return the values of n rows in the units of the table, as an exported model takes them, and what is wrong.

        They are (n, columns of numbers) float64 and (n, other columns) text, the columns of each in their order.
        Missing values are filled; what is wrong is as for `encode`, and the values of such a row mean nothing.
        """
        import numpy as np

        cells, wrong = self._cells(rows)
        columns = list(zip(self.inputs, cells, strict=True))
        numbers = [values for column, values in columns if column.categories is None]
        texts = [values for column, values in columns if column.categories is not None]
        n = len(rows)
        return (
            np.array(numbers, dtype=np.float64).reshape(len(numbers), n).T,
            np.array(texts, dtype=object).reshape(len(texts), n).T,
            wrong,
        )

    def _cells(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[list[Any]], dict[int, str]]:
        """Return the known values of each column, and {index: what is wrong} of invalid rows."""
        known: list[list[float | str]] = []
        wrong: dict[int, str] = {}
        for index, row in enumerate(rows):
            try:
                known.append([_known(column, row) for column in self.inputs])
            except ValueError:
                wrong[index] = "; ".join(self._faults(row))
                known.append([0.0 if c.categories is None else "" for c in self.inputs])
        return [[row[place] for row in known] for place in range(len(self.inputs))], wrong

    def inputs_of(self, values: Mapping[str, Sequence[Any]], n: int) -> np.ndarray:
        """Return inputs (n, width) float32 of whole columns, {column: n numbers or texts}; none is missing.

        An unknown category is 0 in all of its inputs.
        """
        import numpy as np

        inputs = np.zeros((n, self.width), dtype=np.float32)
        place = 0
        for column in self.inputs:
            if column.categories is None:
                given = np.asarray(values[column.name], dtype=np.float64)
                with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and so the answer is an error
                    inputs[:, place] = (given - column.mean) / column.scale
            else:
                places = {name: number for number, name in enumerate(column.categories)}
                found = np.array([places.get(name, -1) for name in values[column.name]], dtype=int)
                inputs[np.flatnonzero(found >= 0), place + found[found >= 0]] = 1
            place += column.width
        return inputs

    def in_units(self, inputs: Any) -> Any:
        """Return inputs (n, width) of a table of numbers in its units."""
        return inputs * [column.scale for column in self.inputs] + [column.mean for column in self.inputs]

    def decode(self, inputs: Any) -> list[dict[str, float | str | None]]:
        """Return inputs (n, width) as rows in the units of the table; None for an unknown category."""
        return [dict(self._values(row)) for row in inputs.tolist()]

    def _values(self, row: Sequence[float]) -> Iterator[tuple[str, float | str | None]]:
        place = 0
        for column in self.inputs:
            own = row[place : place + column.width]
            place += column.width
            if column.categories is None:
                yield column.name, float(f"{own[0] * column.scale + column.mean:.6g}")  # as exact as float32 is
            else:
                yield column.name, column.categories[own.index(1.0)] if 1.0 in own else None

    def _faults(self, row: Mapping[str, Any]) -> Iterator[str]:
        for column in self.inputs:
            try:
                _known(column, row)
            except ValueError as error:
                yield f"column {column.name!r}: {error}"

    def to_data(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return {"target": self.target, "inputs": [_plain(column) for column in self.inputs]}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Columns:
        """Return the columns that `to_data` gave."""
        return cls(tuple(_column(part) for part in data["inputs"]), data["target"])


def category_of(value: object) -> str:
    """Return the name of a category: 3 and 3.0 are '3'."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _known(column: Column, row: Mapping[str, Any]) -> float | str:
    return column.known(row.get(column.name))


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond 1.8e308
        return math.inf
    except (TypeError, ValueError):
        return None


def number_fault(value: object) -> str:
    """Return why a value is no number that a model can take."""
    text = short(str(value), 40)
    if (_float(value) if not isinstance(value, str) else as_number(value)) is not None:
        return f"{text} is not finite"
    hint = " (write 1234.5: a decimal point, no separator of thousands)" if "," in text else ""
    return f"{text!r} is no number{hint}"


def _plain(column: Column) -> dict[str, Any]:
    if column.categories is None:
        return {"name": column.name, "mean": column.mean, "scale": column.scale, "fill": column.fill}
    return {"name": column.name, "categories": list(column.categories), "fill": column.fill}


def _column(data: Mapping[str, Any]) -> Column:
    categories = data.get("categories")
    return Column(**{**data, "categories": None if categories is None else tuple(categories)})


def numbers_of(cells: Sequence[str]) -> list[float | None]:
    """Return cells as numbers: nan for a missing one, None for what is no number."""
    try:
        values: list[float | None] = [*map(float, cells)]  # fast, where no cell is missing
    except ValueError:
        values = []
    if values and "_" not in "".join(cells):
        return values
    return [math.nan if cell.casefold() in MISSING else as_number(cell) for cell in cells]
