"""The first samples of a data set as rows: numbers with their labels, or images with their files and sizes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from dlworkflow.data.protocol import files_of, labels_of, original_of
from dlworkflow.data.splits import Splits

Row = dict[str, Any]


def first_rows(splits: Splits, n: int, split: str | None = None) -> list[Row]:
    """Return the first `n` samples: of all splits, in the order that they had before they were split, or of one.

    Keys: index (from 0), split, then X1, X2, ... of numbers, the columns of a table, file and shape (channels, height,
    width) of images; then label and class, labels as `cat|dog` where there are several, or y of a regression (the
    target of a table).
    """
    parts = {split: splits.part(split)} if split else splits.parts()
    return [
        {"index": index, "split": name, **sample_row(splits, parts[name], place)}
        for index, name, place in _places(splits, {name: len(part) for name, part in parts.items()}, n)  # type: ignore[arg-type]
    ]


def _places(splits: Splits, sizes: dict[str, int], n: int) -> list[tuple[int, str, int]]:
    """Return (index, split, place within the split) of the first samples."""
    if splits.indices is not None and len(sizes) > 1:
        known = ((index, name, place) for name in sizes for place, index in enumerate(splits.indices[name]))
        return heapq.nsmallest(n, known)
    return [(index, *place) for index, place in zip(range(n), _in_turn(sizes), strict=False)]


def _in_turn(sizes: dict[str, int]) -> Iterable[tuple[str, int]]:
    return ((name, place) for name, size in sizes.items() for place in range(size))


def sample_row(splits: Splits, part: Any, place: int) -> Row:
    """Return one sample of a split as a row: its inputs as `first_rows` has them, then its label."""
    given: Row
    files, labels = files_of(part), labels_of(part)
    if splits.kind == "image":
        image = original_of(part, place)
        file = {"file": str(files[place])} if files is not None else {}
        given = {**file, "shape": _shape(image)}
        label = part[place][1] if labels is None else labels[place]
    elif splits.columns is not None:
        X, label = part[place]
        [given] = splits.columns.decode(X[None])
    else:
        X, label = part[place]
        given = {f"X{number}": _shortest(value) for number, value in enumerate(X.flatten(), start=1)}
    if splits.task == "multilabel":
        return given | {"labels": splits.label_text(label)}
    if not splits.classes:
        name = splits.columns.target if splits.columns is not None else "y"
        if splits.target is not None:
            return given | {name: _as_exact(splits.target.undone(label))}
        return given | {name: _as_exact(label) if splits.columns is not None else _shortest(label)}
    return given | {"label": int(label), "class": splits.classes[int(label)]}


def _shape(image: Any) -> str:
    """Return the shape of an image, of a file before it is resized: `3x512x384`."""
    size = tuple(image.shape) if hasattr(image, "shape") else (len(image.getbands()), image.height, image.width)
    return "x".join(map(str, size))


def _as_exact(value: Any) -> float:
    """Return a float32 that was computed, by the digits that are exact."""
    return float(f"{float(value):.6g}")


def _shortest(value: Any) -> float:
    """Return a float32 by the fewest digits that are the same number."""
    return float(str(value.flatten().numpy()[0]))
