"""A table with its target, to score a trained model on: the columns are those of the model's training."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dlworkflow.data.columns import Columns, category_of, number_fault, numbers_of
from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.folders.listing import split_named
from dlworkflow.data.tables.reading import Table, TableRows, read_table
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.errors import DataError, MissingDataError, MissingSplitError, few
from dlworkflow.files.paths import user_path

_MOST_LINES = 10


def load_labelled_table(
    path: str,
    columns: Columns,
    classes: Sequence[str],
    target: TargetScale | None,
    *,
    task: str,
    split: str = "test",
    split_column: str = "split",
) -> TensorData:
    """Load the rows of a CSV file to score a model on, of `split` where a column names the split of each row.

    Raises DataError that names all columns that the file lacks, or all lines that the model cannot take.
    """
    file = user_path(path)
    if not file.is_file():
        raise MissingDataError(f"--data: no file {path!r}")
    table = read_table(file)
    if lacking := [name for name in (*columns.names, columns.target) if name not in table.columns]:
        raise DataError(f"{path!r} lacks the column(s) {few(lacking, 20)}; it has {few(table.columns, 20)}")
    rows, lines = _of_split(table, split, split_column, path)
    inputs, wrong = columns.encode(rows)
    labels, wrong_labels = _labels([row[columns.target] for row in rows], classes, target, task)
    faults = {place: wrong.get(place) or wrong_labels[place] for place in sorted(wrong | wrong_labels)}
    if faults:
        shown = [f"line {lines[place]}: {fault}" for place, fault in faults.items()][:_MOST_LINES]
        more = f"; and {len(faults) - _MOST_LINES:,} more" if len(faults) > _MOST_LINES else ""
        raise DataError(f"{path!r}: {'; '.join(shown)}{more}")
    found = TensorData(torch.from_numpy(inputs), labels).named(classes)
    found.table_rows = TableRows(file, lines)
    return found


def _of_split(table: Table, split: str, column: str, path: str) -> tuple[list[dict[str, str]], list[int]]:
    """Return the rows of a split and their lines; all rows where no column names splits."""
    rows, lines = table.records(), table.lines
    if column in table.columns:
        chosen = [place for place, row in enumerate(rows) if split_named(row[column]) == split]
        rows, lines = [rows[place] for place in chosen], [lines[place] for place in chosen]
        if not rows:
            raise MissingSplitError(f"{path!r}: column {column!r} names no row {split!r}")
    return rows, lines


def _labels(
    cells: Sequence[str], classes: Sequence[str], target: TargetScale | None, task: str
) -> tuple[torch.Tensor, dict[int, str]]:
    """Return the labels as those of training, and {index: what is wrong}."""
    numbers = numbers_of(cells)
    if not classes:
        wrong = {
            place: f"target: {number_fault(cell)}"
            for place, (cell, number) in enumerate(zip(cells, numbers, strict=True))
            if number is None or number - number != 0  # nan and infinity
        }
        values = torch.tensor([0.0 if place in wrong else number for place, number in enumerate(numbers)])
        values = values.reshape(-1, 1)
        return (values if target is None else target.scaled(values)), wrong
    labels = {name: label for label, name in enumerate(classes)}
    names = [
        category_of(cell if number is None or cell in labels else number)
        for cell, number in zip(cells, numbers, strict=True)
    ]
    wrong = {
        place: f"target {name!r} is none of the model's classes {few(classes)}"
        for place, name in enumerate(names)
        if name not in labels
    }
    found = [labels.get(name, 0) for name in names]
    return torch.tensor(found, dtype=torch.float32 if task == "binary" else torch.int64), wrong
