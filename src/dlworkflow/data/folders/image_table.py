"""A CSV file of images: which columns hold paths and labels, and what the labels are. Opens no image."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dlworkflow.data.folders.class_names import nfc, one_form
from dlworkflow.data.folders.image_rows import RowReader, Target, names_in, one_spelling
from dlworkflow.data.folders.tables import Line, as_number, check_columns, read_lines
from dlworkflow.data.images.formats import is_image
from dlworkflow.errors import ConfigError, DataError, few, unknown
from dlworkflow.files.text import LABEL_SEPARATOR

TaskSetting = Literal["auto", "multiclass", "multilabel", "regression"]
EmptyLabels = Literal["error", "none"]

_TASK_OF_COLUMN = {"label": "multiclass", "labels": "multilabel", "value": "regression"}
"""Columns of labels that are looked for where none is named, and what they hold."""

_MOST_NAMED = 5
"""Wrong lines that one message names."""


@dataclass(frozen=True)
class Columns:
    """What was said of the columns of a CSV file: their names, the task, and what an empty cell of labels means.

    `other` are columns that hold neither paths nor labels.
    """

    path: str | None = None
    label: str | list[str] | None = None
    task: TaskSetting = "auto"
    empty_labels: EmptyLabels = "error"
    other: Collection[str] = ()

    @property
    def labels(self) -> list[str]:
        """The named columns of labels."""
        return [self.label] if isinstance(self.label, str) else list(self.label or ())


@dataclass(frozen=True)
class ImageTable:
    """The rows of a CSV file, {split: [(image, label)]} in its order; the only split is `all` where it names none.

    `classes` are those of the training rows, sorted, or the columns of 0 and 1; none of a regression. `notes` name
    what of the labels may be meant otherwise.
    """

    task: str
    path_column: str
    rows: dict[str, list[tuple[Path, Target]]]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_image_table(file: Path, columns: Columns | None = None) -> ImageTable:
    """Read a CSV file of images with a header. Paths are relative to the file; whether they are there is not checked.

    Where no column is named, images are in `path`, or in the only column with names of images; a class is in `label`,
    several (`cat|dog`) in `labels`, a number in `value`; without these, each column of 0 and 1 is a class. Raises
    ConfigError for named columns that are not there, and DataError that names the columns that are missing and the
    lines that are wrong.
    """
    columns, lines = columns or Columns(), read_lines(file)
    header = lines[0].cells if lines else []
    check_columns(file, header)
    path, labels = _chosen(file, lines, columns)
    if len(lines) < 2:
        raise DataError(f"{str(file)!r} lists no images")
    task = _task_of(lines, labels, columns)
    one_hot = task == "multilabel" and (len(labels) > 1 or columns.label is None) and labels[0] not in _TASK_OF_COLUMN
    if len(labels) > 1 and not one_hot:
        raise ConfigError(f"data.label_column: {task} takes one column, not {few(labels)}")
    reader = RowReader(header, path, labels, task, one_hot, may_be_empty=columns.empty_labels == "none")
    rows: dict[str, list[tuple[Path, Target]]] = {}
    for line in lines[1:]:
        if (read := reader.read(line)) is not None:
            rows.setdefault(read[0], []).append((file.parent / read[1], read[2]))
    faults = [*reader.faults] or [fault for fault in [reader.separator_fault(lines[1:])] if fault]
    if faults:
        more = f"; and {len(faults) - _MOST_NAMED:,} more" if len(faults) > _MOST_NAMED else ""
        raise DataError(f"{str(file)!r} {'; '.join(faults[:_MOST_NAMED])}{more}{reader.way_out}")
    for own in rows.values():
        one_form((name for _, target in own for name in names_in(target)), file)
    rows = {split: [(image, one_spelling(target)) for image, target in own] for split, own in rows.items()}
    trained = [target for _, target in rows.get("train", rows.get("all", []))]
    classes = sorted({name for target in trained for name in names_in(target)})
    if one_hot and (parted := [name for name in labels if LABEL_SEPARATOR in name]):
        raise DataError(f"{str(file)!r}: column(s) {few(parted)}: the name of a class cannot have a {LABEL_SEPARATOR}")
    classes = list(map(nfc, labels)) if one_hot else classes
    return ImageTable(task, path, rows, tuple(classes), tuple(_notes(task, labels[0], trained, classes)))


def path_column(lines: Sequence[Line], named: str | None = None) -> str | None:
    """Return the column of a CSV file that names images: `named`, `path`, or the only one with names of images.

    None where there is no such column.
    """
    header = lines[0].cells if lines else []
    if named is not None or "path" in header:
        return named or "path"
    first = lines[1].cells if len(lines) > 1 else []
    found = [name for name, cell in zip(header, first, strict=False) if name and is_image(cell)]
    return found[0] if len(found) == 1 else None


def images_in(file: Path, named: str | None = None) -> list[Path]:
    """Return the images that a CSV file lists in its column of paths (see `path_column`); none without one."""
    lines = read_lines(file)
    column = path_column(lines, named)
    header = lines[0].cells if lines else []
    if column not in header:
        return []
    place = header.index(column)
    return [file.parent / line.cells[place] for line in lines[1:] if place < len(line.cells)]


def _chosen(file: Path, lines: Sequence[Line], columns: Columns) -> tuple[str, list[str]]:
    """Return the column of the paths and those of the labels."""
    header = lines[0].cells if lines else []
    known = [name for name in header if name]
    asked = [("data.path_column", name) for name in [columns.path] if name]
    asked += [("data.label_column", name) for name in columns.labels]
    if wrong := [f"{key}: {unknown('column', name, known)}" for key, name in asked if name not in known]:
        raise ConfigError(*wrong)
    path = path_column(lines, columns.path)
    labels = columns.labels or [name for name in _TASK_OF_COLUMN if name in header][:1]
    if not labels:
        rest = [name for name in known if name not in (path, "split", *columns.other)]
        binary = [name for name in rest if _is_binary(lines, header.index(name))]
        labels = rest if len(binary) > len(rest) / 2 else []
    missing = [name for name, found in (("path", path), ("label", labels)) if not found]
    if missing or path is None:
        ways = " and ".join(f"--{name}-column NAME" for name in missing)
        found = f"it has {few(known)}; name another with {ways}" if known else "it is empty"
        raise DataError(f"{str(file)!r} lacks the column(s) {few(missing)}; {found}")
    return path, labels


def _is_binary(lines: Sequence[Line], place: int) -> bool:
    cells = [line.cells[place] for line in lines[1:] if place < len(line.cells)]
    return sum(as_number(cell) in (0, 1) for cell in cells) > len(cells) / 2  # the others are errors of a line


def _task_of(lines: Sequence[Line], labels: Sequence[str], columns: Columns) -> str:
    """Return what the labels are: as was said, by the name of their column, or by what is in it."""
    if columns.task != "auto":
        return columns.task
    if labels[0] in _TASK_OF_COLUMN:
        return _TASK_OF_COLUMN[labels[0]]
    if len(labels) > 1 or columns.label is None:
        return "multilabel"
    place = lines[0].cells.index(labels[0])
    cells = [line.cells[place] for line in lines[1:] if place < len(line.cells)]
    if any(LABEL_SEPARATOR in cell for cell in cells):
        return "multilabel"
    numbers = [as_number(cell) for cell in cells]
    whole = [number is not None and number.is_integer() for number in numbers]
    return "multiclass" if None in numbers or all(whole) else "regression"


def _notes(task: str, column: str, trained: Sequence[Target], classes: Sequence[str]) -> Iterator[str]:
    if task == "multiclass" and (joined := [name for name in classes if LABEL_SEPARATOR in name]):
        yield f"labels such as {joined[0]!r} are one class each; data.task=multilabel reads them as several"
    elif task == "multiclass" and len(classes) > len(trained) / 2 and None not in map(as_number, classes):
        yield f"the {len(classes)} numbers in column {column!r} are classes; data.task=regression predicts numbers"
    always = [name for name in classes if all(name in names_in(target) for target in trained)]
    if task == "multilabel" and always:
        yield f"every training image has label(s) {few(always)}: there is nothing to learn about them"
