"""The figures of a data set: its samples, the balance of its classes, its training transform; knows no run."""

from __future__ import annotations

import random
from typing import Any

import torch
from matplotlib.figure import Figure

from dlworkflow import plotting
from dlworkflow.data.images.dataset import ImageData
from dlworkflow.data.protocol import all_of, original_of
from dlworkflow.data.shards.reading import ShardData
from dlworkflow.data.splits import Splits, class_counts
from dlworkflow.errors import ConfigError, DataError
from dlworkflow.metrics.multilabel import NO_LABELS
from dlworkflow.plotting.dataset import MOST_RANDOM
from dlworkflow.plotting.grid import draw_grid
from dlworkflow.plotting.style import settle

HELD = 100
"""So many samples of shards are read to draw some of them."""


def draw_data(
    splits: Splits, *, what: str = "samples", n: int | None = None, split: str | None = None, seed: int = 42
) -> Figure:
    """Draw a data set.

    `what` is `samples` (points, a line, or random images), `balance` (classes per split) or `transforms` (images before
    and after the transform of their split). `n` images are drawn, by default 10, with a transform 3; they are of
    `split`, by default the training split. Points are of all splits, or of one. Raises DataError for what the data does
    not have,
    ConfigError for a number or a split that has no use there.
    """
    if what == "balance":
        _refuse(n=n, split=split, why="the balance is of all samples")
        return _draw_balance(splits)
    if splits.kind == "image" or what == "transforms":
        part = held_part(splits.part(split or "train"))
        return (
            _draw_images(splits, part, n or 10, seed) if what == "samples" else _draw_pairs(splits, part, n or 3, seed)
        )
    _refuse(n=n, why=f"data {splits.name!r} has no images; all samples are drawn")
    return _draw_numbers(splits, split)


def _refuse(*, n: int | None = None, split: str | None = None, why: str) -> None:
    given = [name for name, value in {"n": n, "split": split}.items() if value is not None]
    if given:
        raise ConfigError(f"--{given[0]}: {why}")


def _draw_images(splits: Splits, part: Any, n: int, seed: int) -> Figure:
    """Draw random images: up to ten with their shapes in rows of five, as the notes do, more in a square."""
    plain = part.without_augmentation() if isinstance(part, ImageData) else part
    images: Any = _Unnormalized(plain) if isinstance(plain, ImageData) else plain
    if n <= MOST_RANDOM and splits.task in ("binary", "multiclass"):
        return plotting.display_random_images(images, classes=splits.classes, n=n, seed=seed)
    chosen = [images[index] for index in random.Random(seed).sample(range(len(images)), min(n, len(images)))]
    titles = [splits.label_text(label) or NO_LABELS for _, label in chosen]
    note = f"{len(chosen)} of {len(images):,} images, seed {seed}"
    return draw_grid([image for image, _ in chosen], titles, note=note, layout="chw")


def _draw_numbers(splits: Splits, split: str | None) -> Figure:
    are_numbers = splits.columns is None or splits.columns.are_numbers
    if splits.in_shape == (2,) and splits.classes and are_numbers:
        parts = arrays_of(splits)
        chosen = {split: parts[split]} if split and splits.part(split) else parts
        return with_names(plotting.plot_points(chosen, splits.classes), splits)
    _refuse(split=split, why="a line is drawn with its training and its test points")
    if splits.in_shape == (1,) and not splits.classes:
        parts = arrays_of(splits)
        return with_names(plotting.plot_predictions(*parts["train"], *parts["test"]), splits)
    raise DataError(f"data {splits.name!r} has {splits.in_shape[0]} numbers per sample: a figure needs one or two")


def _draw_balance(splits: Splits) -> Figure:
    if not splits.classes:
        raise DataError(f"data {splits.name!r} has no classes to count")
    counts = class_counts(splits)
    return plotting.plot_class_balance({name: dict(zip(splits.classes, counts[name], strict=True)) for name in counts})


def _draw_pairs(splits: Splits, part: Any, n: int, seed: int) -> Figure:
    if not isinstance(part, ImageData):
        raise DataError(f"data {splits.name!r} has no images to transform")
    chosen = random.Random(seed).sample(range(len(part)), min(n, len(part)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformed = [part.augmented(index) for index in chosen]
    originals = [original_of(part, index) for index in chosen]
    titles = [splits.label_text(part.labels[index]) or NO_LABELS for index in chosen]
    what = {"multilabel": "labels", "regression": "value"}.get(splits.task, "class")
    return plotting.plot_image_pairs(originals, transformed, titles, what=what)


def arrays_of(splits: Splits) -> dict[str, tuple[Any, Any]]:
    """Return the inputs (n, ...) and labels (n, ...) of every split as arrays, those of a table in its units."""
    found = {name: all_of(part) for name, part in splits.parts().items()}
    if splits.target is not None:
        found = {name: (X, splits.target.undone(y)) for name, (X, y) in found.items()}
    arrays = {name: (X.numpy(), y.numpy()) for name, (X, y) in found.items()}
    if splits.columns is None or not splits.columns.are_numbers:
        return arrays
    return {name: (splits.columns.in_units(X), y) for name, (X, y) in arrays.items()}


def with_names(figure: Figure, splits: Splits) -> Figure:
    """Name the axes of a figure of one or two inputs by the columns of a table."""
    if splits.columns is None:
        return figure
    names = [*splits.columns.names, splits.columns.target][:2]
    for axis in figure.axes:
        axis.set(xlabel=names[0], ylabel=names[1])
        axis.label_outer()
    return settle(figure)


def held_part(part: Any) -> Any:
    """Return a split of which some samples can be looked at: of shards, which mix the classes, the first."""
    return part.at(range(min(HELD, len(part)))) if isinstance(part, ShardData) else part


class _Unnormalized:
    """Images as (uint8 (c, h, w), label), resized, before the normalization that a model needs."""

    def __init__(self, dataset: ImageData) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._dataset.images[torch.tensor([index])][0], self._dataset.labels[index]
