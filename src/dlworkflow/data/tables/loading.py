"""A CSV file with a header as splits: rows are cut into training and test, then columns become inputs.

Means, deviations, fillings and categories are those of the training rows alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from dlworkflow.data.columns import Column, Columns
from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.folders.listing import split_named
from dlworkflow.data.partition import random_split, shuffled_split, stratified_split
from dlworkflow.data.splits import Splits
from dlworkflow.data.tables.reading import TableRows, read_table
from dlworkflow.data.tables.roles import Roles, TaskSetting, find_roles
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.errors import DataError, MissingDataError
from dlworkflow.files.paths import user_path
from dlworkflow.registry import Fraction, Seed

Filling = Literal["error", "mean", "median", "most_frequent"]


def load_csv_table(
    *,
    path: str,
    target: str | None = None,
    task: TaskSetting = "auto",
    split_column: str | None = None,
    group: str | None = None,
    drop: list[str] | None = None,
    categorical: list[str] | None = None,
    missing: Filling = "error",
    standardize: bool = True,
    stratify: bool = True,
    test_fraction: Fraction = 0.2,
    random_state: Seed = 42,
) -> Splits:
    """Load a CSV file with a header; see the guide's page on tables for what each setting does."""
    return splits_of(
        roles_of(
            path=path,
            target=target,
            task=task,
            split_column=split_column,
            group=group,
            drop=drop,
            categorical=categorical,
            missing=missing,
        ),
        missing=missing,
        standardize=standardize,
        stratify=stratify,
        test_fraction=test_fraction,
        random_state=random_state,
    )


def roles_of(
    *,
    path: str,
    target: str | None = None,
    task: TaskSetting = "auto",
    split_column: str | None = None,
    group: str | None = None,
    drop: Sequence[str] | None = None,
    categorical: Sequence[str] | None = None,
    missing: Filling = "error",
    **_: object,
) -> Roles:
    """Read a table and return what its columns are, by the settings of `load_csv_table`."""
    file = user_path(path)
    if not file.is_file():
        raise MissingDataError(f"data.path: no file {path!r}")
    return find_roles(
        read_table(file),
        target=target,
        task=task,
        split_column=split_column,
        group=group,
        drop=drop or (),
        categorical=categorical or (),
        may_lack=missing != "error",
    )


def splits_of(
    roles: Roles,
    *,
    missing: Filling = "error",
    standardize: bool = True,
    stratify: bool = True,
    test_fraction: float = 0.2,
    random_state: int = 42,
) -> Splits:
    """Cut the rows of a table into splits and turn its columns into inputs."""
    file, notes = roles.table.file, list(roles.notes)
    if roles.split is not None:
        indices = _given_splits(roles, notes)
        if (test_fraction, random_state) != (0.2, 42):
            notes.append(
                f"data.test_fraction and data.random_state are not used: column {roles.split!r} splits the rows"
            )
    else:
        indices = dict(zip(("train", "test"), _cut(roles, stratify, test_fraction, random_state), strict=True))
    columns = _fitted(roles, indices["train"], missing, standardize, notes)
    notes += _unknown_categories(roles, columns, indices)
    values: dict[str, Any] = {
        **roles.categories,
        **{name: _filled(roles.numbers[name], columns, name) for name in roles.numbers},
    }
    for column in columns.inputs:
        if column.categories is not None:
            values[column.name] = [cell or column.fill for cell in roles.categories[column.name]]
    inputs = torch.from_numpy(columns.inputs_of(values, len(roles.table.lines)))
    labels, scale = _labels(roles, indices["train"], standardize)
    parts: dict[str, Any] = {name: TensorData(inputs[rows], labels[rows]) for name, rows in indices.items()}
    for name, rows in indices.items():
        parts[name].table_rows = TableRows(file, [roles.table.lines[row] for row in rows])
        parts[name].groups = None if roles.groups is None else [roles.groups[row] for row in rows]
    return Splits(
        file.stem,
        roles.task,
        **parts,
        in_shape=(columns.width,),
        classes=roles.classes,
        indices=indices,
        source=str(file.resolve()),
        notes=tuple(notes),
        columns=columns,
        **scale,
    )


def _labels(roles: Roles, train: Sequence[int], standardize: bool) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return the labels as the task takes them; of a regression, standardised, with the scale that undoes it."""
    if roles.task != "regression":
        return torch.from_numpy(roles.target).to(torch.float32 if roles.task == "binary" else torch.int64), {}
    targets = torch.from_numpy(roles.target).reshape(-1, 1)
    if not standardize:
        return targets.to(torch.float32), {}
    scale = TargetScale.of(targets[train])
    return scale.scaled(targets).to(torch.float32), {"target": scale}


def _given_splits(roles: Roles, notes: list[str]) -> dict[str, list[int]]:
    """Return the rows of each split by the column that names them. Raises DataError with all that is wrong."""
    assert roles.split is not None
    table, cells = roles.table, roles.table.cells[roles.split]
    where = f"{str(table.file)!r}, column {roles.split!r}"
    named = [split_named(cell) for cell in cells]
    if wrong := [place for place, name in enumerate(named) if name is None]:
        shown = "; ".join(f"line {table.lines[place]}: {cells[place]!r}" for place in wrong[:3])
        raise DataError(f"{where}: {len(wrong):,} value(s) are none of train, test, val: {shown}")
    rows: dict[str, list[int]] = {
        split: [place for place, name in enumerate(named) if name == split]
        for split in ("train", "val", "test")
        if split in named
    }
    if "test" not in rows and "val" in rows:
        rows["test"] = rows.pop("val")
        notes.append(f"no row is named 'test' in column {roles.split!r}: 'val' is used as the test split")
    faults = [f"no row is named {split!r}" for split in ("train", "test") if split not in rows]
    if not faults:
        faults = [*_new_classes(roles, rows)]
    if faults:
        raise DataError(f"{where}: {'; '.join(faults)}")
    return rows


def _new_classes(roles: Roles, rows: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Yield which classes the training rows lack."""
    known = {int(label) for label in roles.target[rows["train"]]} if roles.classes else set()
    for label, name in enumerate(roles.classes):
        if label not in known:
            yield f"class {name!r} has no row in train"


def _cut(roles: Roles, stratify: bool, fraction: float, random_state: int) -> tuple[list[int], list[int]]:
    """Return the rows of training and test: groups whole, classes with their share, else at random."""
    n = len(roles.table.lines)
    if n < 2:
        raise DataError(f"{str(roles.table.file)!r} has one row; training and test need one each")
    how: Any = {"test_fraction": fraction, "random_state": random_state, "groups": roles.groups}
    if roles.classes and stratify:
        return stratified_split(roles.target.tolist(), names=roles.classes, **how)
    if stratify or roles.groups is not None:
        return random_split(n, **how)
    n_test = math.ceil(n * fraction)
    if n_test >= n:
        raise DataError(f"data.test_fraction: {fraction:g} of {n} rows leaves training without any")
    return shuffled_split(n, n_test, random_state)  # as points are split


def _fitted(roles: Roles, train: Sequence[int], missing: Filling, standardize: bool, notes: list[str]) -> Columns:
    """Return the columns with what the training rows say of them; a column with one value there is left out."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    found = []
    for name in roles.inputs:
        if name in roles.categories:
            counts = Counter(cell for place in train if (cell := roles.categories[name][place]))
            known = tuple(sorted(counts))
            fill = None if missing == "error" else max(known, key=counts.__getitem__, default=None)
            column = Column(name, fill=fill, categories=known)
            varies = len(known) > 1
        else:
            own = roles.numbers[name][train].reshape(-1, 1)
            varies = len(np.unique(own[~np.isnan(own)])) > 1
            column = Column(name)
            if varies:
                imputer = SimpleImputer(strategy="mean" if missing == "error" else missing).fit(own)
                scaler = StandardScaler().fit(imputer.transform(own))
                place: dict[str, Any] = (
                    {"mean": float(scaler.mean_[0]), "scale": float(scaler.scale_[0])} if standardize else {}
                )
                column = Column(name, **place, fill=None if missing == "error" else float(imputer.statistics_[0]))
        if varies:
            found.append(column)
        else:
            notes.append(f"column {name!r} is left out: it has one value in all training rows")
    if not found:
        raise DataError(f"{str(roles.table.file)!r}: every column has one value in all training rows")
    return Columns(tuple(found), roles.target_name)


def _filled(numbers: np.ndarray, columns: Columns, name: str) -> np.ndarray:
    fill = next((column.fill for column in columns.inputs if column.name == name), None)
    return numbers if fill is None else np.where(np.isnan(numbers), fill, numbers)


def _unknown_categories(roles: Roles, columns: Columns, indices: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Yield notes on categories that the training rows do not have."""
    for column in columns.inputs:
        known = {*(column.categories or ()), ""}
        for split in indices if column.categories is not None else ():
            cells = roles.categories[column.name]
            rows = [place for place in indices[split] if cells[place] not in known]
            if rows:
                yield (
                    f"{len(rows):,} {split} row(s) have a category of column {column.name!r} that no training row "
                    f"has, such as {cells[rows[0]]!r} in line {roles.table.lines[rows[0]]}: it counts as none"
                )
