"""What each sample of a part is, beside what is predicted for it: its class, what its image shows, its columns."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlworkflow.analysis.scored_data import Part
from dlworkflow.data.columns import is_missing, numbers_of
from dlworkflow.data.folders.image_table import path_column
from dlworkflow.data.folders.listing import absolute
from dlworkflow.data.folders.tables import read_lines
from dlworkflow.data.images.decoding import decoded
from dlworkflow.data.images.measured import MEASURED_SIDE, Measured, measured
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_bytes
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.protocol import AnswersBatches, batch_of, labels_of
from dlworkflow.data.tables.reading import read_table
from dlworkflow.errors import ConfigError, unknown
from dlworkflow.files.paths import user_path
from dlworkflow.inference.stored import stored_columns, stored_transform
from dlworkflow.runs import Run, Summary

CLUSTER = "cluster"
_AT_ONCE = 256
_FEW_VALUES = 5
"""Numbers with no more distinct values are categories, as a column of 0 and 1 is."""


@dataclass(frozen=True)
class Property:
    """What each of n samples is, by number or by name.

    `numbers` (n,) has nan where it is not known; `names` has one or several for each sample, none where it is not
    known.
    """

    name: str
    numbers: np.ndarray | None = None
    names: Sequence[Sequence[str]] = ()


def properties_of(
    run: Run, part: Part, *, wanted: Sequence[str] | None = None, data: str | None = None
) -> tuple[list[Property], bool]:
    """Return what is known of each sample of a part, and whether clusters of features are asked for.

    `wanted` are the names of those that are wanted, all that fit by default; `data` is where a part comes from that is
    not of the run's own data. Raises ConfigError for a name that is not among them.
    """
    summary, found = run.summary(), dict[str, Property]()
    loaded = _Loaded(part, stored_transform(summary))
    if summary.classes:
        found["class"] = Property("class", names=_classes(summary, loaded))
    images = [*Measured._fields, "folder"] if summary.kind == "image" else []
    columns = _columns(summary, part, data or summary.config["data"].get("path"))
    columns = _beside(columns, {*found, *images, CLUSTER})
    if wanted is not None:
        known = [*found, *images, *columns, CLUSTER]
        if wrong := [name for name in wanted if name not in known]:
            raise ConfigError(*(f"--slice-by: {unknown('property', name, known)}" for name in wrong))
    chosen = set(images if wanted is None else wanted)
    if chosen & set(Measured._fields):
        values = np.array(_of_files(part) if part.files is not None else loaded.measured, float).reshape(-1, 4)
        found |= {name: Property(name, own) for name, own in zip(Measured._fields, values.T, strict=True)}
    if "folder" in chosen and part.files is not None:
        found["folder"] = Property("folder", names=[[name] for name in _folders(part.files, found.get("class"))])
    found |= columns
    clusters = summary.kind == "image" if wanted is None else CLUSTER in wanted
    return [each for each in found.values() if wanted is None or each.name in wanted], clusters


class _Loaded:
    """The samples of a part as the model takes them: all that is known of images without files, shards among them."""

    def __init__(self, part: Part, pipeline: Pipeline | None) -> None:
        self._part, self._pipeline = part, pipeline

    @property
    def labels(self) -> Tensor:
        """The label of each sample; where they are with the samples, these are read."""
        labels = labels_of(self._part.dataset)
        return self._read[0] if labels is None else labels

    @property
    def measured(self) -> list[Measured]:
        """What is measured in each image."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[Tensor, list[Measured]]:
        labels, found = list[Tensor](), list[Measured]()
        for X, y in make_loader(self._part.dataset, _AT_ONCE, generator=torch.Generator()):
            labels.append(y)
            found += map(measured, self._pixels(X))
        return torch.cat(labels), found

    def _pixels(self, X: Tensor) -> np.ndarray:
        if self._pipeline is None:
            return np.empty((0,))
        return self._pipeline.to_pixels(X).numpy()


def _classes(summary: Summary, loaded: _Loaded) -> list[list[str]]:
    """Return the true class of each sample, of a multilabel task all its labels."""
    labels = loaded.labels
    if labels.ndim == 2 and summary.task == "multilabel":
        return [[summary.classes[place] for place in row.nonzero().reshape(-1).tolist()] for row in labels]
    return [[summary.classes[label]] for label in labels.reshape(-1).long().tolist()]


def _of_files(part: Part) -> list[Measured]:
    """Measure each image file once, at its own size, on all cores."""
    dataset: Any = part.dataset
    value_range = dataset.pipeline.value_range

    def of_file(path: Path) -> Measured:
        with decoded(path, dataset.channels, value_range=value_range) as image:
            size = image.size
            image.thumbnail((MEASURED_SIDE, MEASURED_SIDE), reducing_gap=2.0)
            return measured(to_bytes(image), size=size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(of_file, part.files or ()))


def _folders(files: Sequence[Path], classes: Property | None) -> list[str]:
    """Return the folder of each file within the folder of all, and within that of its class."""
    parents = [Path(absolute(file)).parent.parts for file in files]  # a CSV file may have both kinds of paths
    differ = (place for place, names in enumerate(zip(*parents, strict=False)) if len({*names}) > 1)
    common = next(differ, min(map(len, parents)))
    inner = [parts[common:] for parts in parents]
    if classes is not None and all(
        parts[:1] == tuple(own[:1]) for parts, own in zip(inner, classes.names, strict=True)
    ):
        inner = [parts[1:] for parts in inner]
    return ["/".join(parts) or "." for parts in inner]


def _columns(summary: Summary, part: Part, source: str | None) -> dict[str, Property]:
    """Return the columns of the table or the CSV file that the samples come from, but what is predicted."""
    rows = getattr(part.dataset, "table_rows", None)
    if rows is not None:
        target = stored_columns(summary).target  # type: ignore[union-attr] # tables have rows
        cells: Mapping[str, Sequence[str]] = {name: own for name, own in rows.cells().items() if name != target}
    elif part.files is not None:
        cells = _cells_of_images(part.files, source, summary.config["data"])
    elif summary.kind == "tabular" and isinstance(part.dataset, AnswersBatches):
        inputs = batch_of(part.dataset, range(len(part.dataset)))[0]
        return {f"input {place}": Property(f"input {place}", own.numpy()) for place, own in enumerate(inputs.T, 1)}
    else:
        return {}
    return {name: _of_cells(name, own) for name, own in cells.items()}


def _beside(columns: Mapping[str, Property], taken: Collection[str]) -> dict[str, Property]:
    """Return the columns by names that are not taken: one that is called `size` as the pixels are is `column size`."""
    names = {name: f"column {name}" if name in taken else name for name in columns}
    return {names[name]: replace(own, name=names[name]) for name, own in columns.items()}


def _cells_of_images(files: Sequence[Path], source: str | None, settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the cells of the CSV file that lists the images, of the columns beside path, label and split."""
    file = user_path(source) if source else None
    if file is None or not file.is_file():
        return {}
    paths = path_column(read_lines(file), settings.get("path_column"))
    table = read_table(file)
    labels = settings.get("label_column") or []
    other = {paths, "split", "label", "labels", "value", *([labels] if isinstance(labels, str) else labels)}
    if paths is None:
        return {}
    places = {file.parent / cell: place for place, cell in enumerate(table.cells[paths])}
    if any(path not in places for path in files):
        return {}
    return {name: [cells[places[path]] for path in files] for name, cells in table.cells.items() if name not in other}


def _of_cells(name: str, cells: Sequence[str]) -> Property:
    """Return a column as numbers where all its cells are, and there are more than a few, else as categories."""
    numbers = numbers_of(cells)
    missing = [is_missing(cell) for cell in cells]
    if all(number is not None or lacks for number, lacks in zip(numbers, missing, strict=True)):
        values = np.array([np.nan if lacks else number for number, lacks in zip(numbers, missing, strict=True)], float)
        if len(np.unique(values[np.isfinite(values)])) > _FEW_VALUES:
            return Property(name, values)
    return Property(name, names=[["(missing)" if lacks else cell] for cell, lacks in zip(cells, missing, strict=True)])
