"""What each column of a table is: target, split, group, input or left out; a number or a category."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dlworkflow.data.columns import MISSING, category_of, is_missing, number_fault, numbers_of
from dlworkflow.data.folders.listing import split_named
from dlworkflow.data.tables.reading import Table
from dlworkflow.errors import ConfigError, DataError, few, short, unknown

TaskSetting = Literal["auto", "regression", "binary", "multiclass"]

_MOST_LINES = 3  # that an error names of one column
_MOST_CLASSES = 20  # whole numbers in the target that are taken for classes
_MOST_CATEGORIES = 1_000


@dataclass
class Roles:
    """The columns of a table by what they are used for.

    `numbers` has the inputs that are numbers, nan where one is missing; `categories` those that are categories, ""
    where one is missing. `target` is a number per row, or the label of its class. `left_out` are columns that are no
    input, with the reason.
    """

    table: Table
    target_name: str
    split: str | None = None
    group: str | None = None
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    categories: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    task: str = ""
    target: np.ndarray = field(default_factory=lambda: np.zeros(0))
    classes: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, in the order of the file."""
        return [name for name in self.table.columns if name in self.numbers or name in self.categories]

    @property
    def groups(self) -> list[str] | None:
        """The group of each row, where there are any."""
        return None if self.group is None else self.table.cells[self.group]

    @property
    def missing(self) -> dict[str, int]:
        """The number of missing values of each input."""
        found = {name: int(np.isnan(values).sum()) for name, values in self.numbers.items()}
        return found | {name: cells.count("") for name, cells in self.categories.items()}


def find_roles(
    table: Table,
    *,
    target: str | None = None,
    task: TaskSetting = "auto",
    split_column: str | None = None,
    group: str | None = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    may_lack: bool = False,
) -> Roles:
    """Return what each column of a table is. The target is the last column where none is named.

    Raises ConfigError for names of columns that are not there, and DataError with everything that is wrong in the
    cells: by line and column. Missing inputs are wrong unless the table `may_lack` some.
    """
    roles = _named(table, target, split_column, group, drop, categorical)
    faults = list(_read_inputs(roles, categorical, may_lack))
    faults += _read_target(roles, task)
    if not faults and not roles.inputs:
        faults.append(f"no column is left beside the target {roles.target_name!r}")
    if faults:
        raise DataError(f"{str(table.file)!r}: {'; '.join(faults[:_MOST_FAULTS])}{_more(faults)}")
    return roles


_MOST_FAULTS = 20


def _more(faults: Sequence[str]) -> str:
    return f"; and {len(faults) - _MOST_FAULTS:,} more" if len(faults) > _MOST_FAULTS else ""


def _named(
    table: Table,
    target: str | None,
    split: str | None,
    group: str | None,
    drop: Sequence[str],
    categorical: Sequence[str],
) -> Roles:
    """Return the roles that settings give. Raises ConfigError for columns that are not there or have two."""
    given = [("target", target), ("split_column", split), ("group", group)]
    given += [("drop", name) for name in drop] + [("categorical", name) for name in categorical]
    faults = [
        f"--set data.{setting}: {unknown('column', name, table.columns)}"
        for setting, name in given
        if name is not None and name not in table.columns
    ]
    if split is None and "split" not in (target, group, *drop) and _are_splits(table.cells.get("split", [])):
        split = "split"
    taken = [name for name in (split, group, *drop) if name is not None]
    rest = [name for name in table.columns if name not in taken]
    if target is None and not rest:
        faults.append("--set data.target: no column is left for it")
    of_column: dict[str, str] = {}
    for setting, name in given:
        if name is None or setting == "categorical":
            continue
        if (other := of_column.setdefault(name, setting)) != setting:
            faults.append(f"--set data.{setting}: column {name!r} is data.{other} already")
    if faults:
        raise ConfigError(*faults)
    return Roles(
        table,
        target if target is not None else rest[-1],
        split,
        group,
        left_out=dict.fromkeys(drop, "data.drop"),
    )


def _are_splits(cells: Sequence[str]) -> bool:
    return bool(cells) and all(split_named(cell) is not None for cell in set(cells))


def _read_inputs(roles: Roles, categorical: Sequence[str], may_lack: bool) -> Iterator[str]:
    """Fill in numbers and categories; yield what is wrong in them."""
    lacking: list[str] = []
    for name, cells in roles.table.cells.items():
        if name in (roles.target_name, roles.split, roles.group, *roles.left_out):
            continue
        numbers = None if name in categorical else _mostly_numbers(cells)
        absent = [
            place
            for place, value in enumerate(cells if numbers is None else numbers)
            if value is not None and is_missing(value)
        ]
        if len(absent) == len(cells):
            roles.left_out[name] = "it has no value"
        elif numbers is not None:
            yield from _number_faults(roles.table, name, cells, numbers)
            roles.numbers[name] = np.array([math.nan if value is None else value for value in numbers])
        elif fault := _text_fault(name, cells):
            yield fault
        else:
            roles.categories[name] = ["" if is_missing(cell) else category_of(cell) for cell in cells]
        if absent and not may_lack and (name in roles.numbers or name in roles.categories):
            yield f"column {name!r} has {len(absent):,} missing value(s): {_at([roles.table.lines[i] for i in absent])}"
            lacking.append(name)
    if lacking:
        yield (
            "--set data.missing=median fills them (mean, most_frequent), "
            f"--set data.drop=[{','.join(lacking)}] leaves the columns out"
        )
    roles.notes += [f"column {name!r} is left out: {why}" for name, why in roles.left_out.items() if why != "data.drop"]


def _mostly_numbers(cells: Sequence[str]) -> list[float | None] | None:
    """Return the cells as numbers where half of those with a value are; None for categories."""
    numbers = numbers_of(cells)
    n_text = sum(number is None for number in numbers)
    n_present = sum(number is None or not math.isnan(number) for number in numbers)
    return numbers if n_present and 2 * n_text <= n_present else None


def _number_faults(table: Table, name: str, cells: Sequence[str], numbers: Sequence[float | None]) -> Iterator[str]:
    """Yield what in a column of numbers is none, or not finite."""
    wrong = [place for place, number in enumerate(numbers) if number is None or math.isinf(number)]
    if wrong:
        shown = [
            f"line {table.lines[place]}, column {name!r}: {number_fault(cells[place])}" for place in wrong[:_MOST_LINES]
        ]
        more = f" and {len(wrong) - _MOST_LINES:,} more in this column" if len(wrong) > _MOST_LINES else ""
        yield "; ".join(shown) + more


def _text_fault(name: str, cells: Sequence[str]) -> str | None:
    """Return why a column of text is no category, or None."""
    known = [cell for cell in cells if cell.casefold() not in MISSING]
    distinct = len(set(known))
    if distinct == len(known) > 1 or distinct > max(_MOST_CLASSES, len(known) / 2) or distinct > _MOST_CATEGORIES:
        return (
            f"column {name!r} has {distinct:,} different texts in {len(known):,} rows, which say nothing about new "
            f"rows; leave it out: --set data.drop=[{name}]"
        )
    return None


def _at(lines: Sequence[int]) -> str:
    """Return the first lines: `line 3`, `lines 3, 5, 8, ...`."""
    shown = ", ".join(map(str, lines[:_MOST_LINES]))
    return f"line{'s' if len(lines) > 1 else ''} {shown}{', ...' if len(lines) > _MOST_LINES else ''}"


def _read_target(roles: Roles, task: TaskSetting) -> Iterator[str]:
    """Fill in the target, its classes and the task; yield what is wrong with it."""
    table, name = roles.table, roles.target_name
    cells = table.cells[name]
    if lacking := [line for line, cell in zip(table.lines, cells, strict=True) if cell.casefold() in MISSING]:
        yield f"target {name!r} is missing in {_at(lacking)}: remove these rows"
        return
    numbers = _mostly_numbers(cells)
    counts = Counter(map(category_of, cells) if numbers is None or None in numbers else map(_plain, numbers))
    if len(counts) == 1:
        yield f"target {name!r} is {cells[0]!r} in every row: there is nothing to learn"
        return
    if task == "regression" or (task == "auto" and numbers is not None and not _are_classes(numbers, counts)):
        if numbers is None:
            yield f"target {name!r} has texts such as {cells[0]!r}, which --set data.task=regression cannot take"
            return
        yield from _number_faults(table, name, cells, numbers)
        roles.task, roles.target = "regression", np.array([math.nan if n is None else n for n in numbers])
        return
    if len(counts) > len(cells) / 2:
        yield f"target {name!r} has {len(counts):,} classes in {len(cells):,} rows; a class needs several"
        return
    if task == "binary" and len(counts) != 2:
        yield f"target {name!r} has {len(counts)} classes ({few(sorted(counts))}), not the two of data.task=binary"
        return
    by_number = numbers is not None and None not in numbers
    roles.classes = tuple(sorted(counts, key=float) if by_number else sorted(counts))
    labels = {of_class: label for label, of_class in enumerate(roles.classes)}
    texts = map(_plain, numbers) if by_number and numbers is not None else map(category_of, cells)
    roles.target = np.array([labels[text] for text in texts])
    roles.task = "multiclass" if task == "multiclass" or len(counts) > 2 else "binary"
    if by_number and task == "auto" and len(counts) > 2:
        roles.notes.append(
            f"target {name!r} has {len(counts)} whole numbers, which are classes (--set data.task=regression "
            "predicts a number)"
        )


def _are_classes(numbers: Sequence[float | None], counts: Counter[str]) -> bool:
    """Return whether numbers of a target are labels: two of them, or a few whole ones with five rows each."""
    whole = all(number is None or number == int(number) for number in numbers if number not in (math.inf, -math.inf))
    return len(counts) == 2 or (whole and len(counts) <= _MOST_CLASSES and len(numbers) >= 5 * len(counts))


def _plain(number: float | None) -> str:
    """Return a number as the name of a class: 1 and 1.0 are `1`."""
    assert number is not None
    return short(category_of(number))
