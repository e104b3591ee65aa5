"""The rows of a CSV file of images: path, split and label of each, errors name their line. Opens no image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlworkflow.data.folders.class_names import nfc
from dlworkflow.data.folders.listing import absolute, split_named
from dlworkflow.data.folders.tables import Line, as_number
from dlworkflow.files.text import LABEL_SEPARATOR

Target = str | tuple[str, ...] | float
"""What an image is labelled with: its class, all its classes, or a number."""

_WRONG_SEPARATORS = (";", ",")


def names_in(target: Target) -> tuple[str, ...]:
    """Return the classes that a label names; none for a number."""
    if isinstance(target, float):
        return ()
    return (target,) if isinstance(target, str) else target


def one_spelling(target: Target) -> Target:
    """Return a label with names in the form in which two that look the same are the same."""
    if isinstance(target, float):
        return target
    return nfc(target) if isinstance(target, str) else tuple(map(nfc, target))


def target_text(target: Target) -> str:
    """Return a label as it is shown: a class, `cat|dog`, or a number."""
    return f"{target:g}" if isinstance(target, float) else LABEL_SEPARATOR.join(names_in(target))


def label_faults(given: Mapping[str, Sequence[tuple[Path, Target]]]) -> list[str]:
    """Return which image of {split: [(image, label)]} has two labels, the first of them alone."""
    labels: dict[str, Target] = {}
    for image, label in (row for rows in given.values() for row in rows):
        if (other := labels.setdefault(absolute(image), label)) != label:
            pair = f"{target_text(other)!r} and {target_text(label)!r}"
            if isinstance(label, tuple):
                return [f"{str(image)!r} is in two rows with other labels, {pair}; write its labels in one row"]
            return [f"{str(image)!r} has two labels, {pair}; an image has one"]
    return []


@dataclass
class RowReader:
    """Reads lines into (split, path, label), and notes what is wrong with each in `faults`.

    `path` and `labels` are the names of columns; with `one_hot`, those of `labels` hold 0 and 1 for a class each. With
    `may_be_empty`, an empty cell of a multilabel task is a sample without any label.
    """

    header: Sequence[str]
    path: str
    labels: Sequence[str]
    task: str
    one_hot: bool = False
    may_be_empty: bool = False
    faults: list[str] = field(default_factory=list)
    _lacks_labels: bool = False

    @property
    def way_out(self) -> str:
        """What may be done about the faults, "" where they have to be mended."""
        may_be = self._lacks_labels and self.task == "multilabel" and not self.one_hot
        return "; data.empty_labels=none reads an empty cell as none of the classes" if may_be else ""

    @property
    def _may_be_empty(self) -> bool:
        return self.may_be_empty and self.task == "multilabel" and not self.one_hot

    def read(self, line: Line) -> tuple[str, str, Target] | None:
        """Return split (`all` without such a column), path and label of a line; None where one of them is wrong."""
        cells = {name: cell for name, cell in zip(self.header, line.cells, strict=False) if name}
        has_split = "split" in self.header
        needed = [self.path, *(() if self._may_be_empty else self.labels), *(["split"] if has_split else [])]
        if empty := [name for name in needed if not cells.get(name)]:
            self.faults.append(f"line {line.number}: no {' and no '.join(empty)}")
            self._lacks_labels |= self.labels[0] in empty
            return None
        faults: list[str] = []
        target = self._target(cells, faults)
        split = split_named(cells["split"]) if has_split else "all"
        if split is None:
            faults.append(f"split {cells['split']!r} is none of train, test, val")
        self.faults += [f"line {line.number}: {fault}" for fault in faults]
        return None if split is None or faults else (split, cells[self.path], target)

    def _target(self, cells: Mapping[str, str], faults: list[str]) -> Target:
        if self.one_hot:
            values = {name: as_number(cells[name]) for name in self.labels}
            faults += [f"{name} {cells[name]!r} is neither 0 nor 1" for name in values if values[name] not in (0, 1)]
            return tuple(name for name, value in values.items() if value)
        [name] = self.labels
        cell = cells.get(name, "")
        if self.task == "multiclass":
            return cell
        if self.task == "regression":
            number = as_number(cell)
            if number is None or not math.isfinite(number):
                faults.append(f"{name} {cell!r} is no number")
            return math.nan if number is None else number
        names = [part.strip() for part in cell.split(LABEL_SEPARATOR)] if cell else []
        if not all(names):
            faults.append(f"{name} {cell!r} has an empty label")
        return tuple(dict.fromkeys(names))

    def separator_fault(self, lines: Sequence[Line]) -> str | None:
        """Return the error of labels that another sign than `|` separates, where no line has a `|`."""
        if self.task != "multilabel" or self.one_hot:
            return None
        place = self.header.index(self.labels[0])
        cells = [(line.number, line.cells[place]) for line in lines if place < len(line.cells)]
        if any(LABEL_SEPARATOR in cell for _, cell in cells):
            return None
        for number, cell in cells:
            for sign in _WRONG_SEPARATORS:
                if sign in cell:
                    way = LABEL_SEPARATOR.join(part.strip() for part in cell.split(sign))
                    return f"line {number}: {self.labels[0]} {cell!r}: separate labels by {LABEL_SEPARATOR}, as {way!r}"
        return None
