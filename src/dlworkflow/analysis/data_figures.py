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
from dlworkflow.errors import DataError

HELD = 100
"""So many samples of shards are read to draw some of them."""


def draw_data(splits: Splits, *, what: str = "samples", seed: int = 42) -> Figure:
    """Draw a data set.

    `what` is `samples` (points, a line, or random images), `balance` (classes per split) or `transforms` (images before
    and after the training transform). Raises DataError for what the data does not have.
    """
    return {"samples": _draw_samples, "balance": _draw_balance, "transforms": _draw_transforms}[what](splits, seed)


def _draw_samples(splits: Splits, seed: int) -> Figure:
    if splits.kind == "image":
        train = _held(splits.train)
        plain = train.without_augmentation() if isinstance(train, ImageData) else train
        images: Any = _Unnormalized(plain) if isinstance(plain, ImageData) else plain
        return plotting.display_random_images(images, classes=splits.classes, seed=seed)
    parts = arrays_of(splits)
    if splits.in_shape == (2,) and splits.classes:
        return plotting.plot_points(parts, splits.classes)
    if splits.in_shape == (1,) and not splits.classes:
        return plotting.plot_predictions(*parts["train"], *parts["test"])
    raise DataError(f"data {splits.name!r} has {splits.in_shape[0]} numbers per sample: a figure needs one or two")


def _draw_balance(splits: Splits, _: int) -> Figure:
    if not splits.classes:
        raise DataError(f"data {splits.name!r} has no classes to count")
    counts = class_counts(splits)
    return plotting.plot_class_balance({name: dict(zip(splits.classes, counts[name], strict=True)) for name in counts})


def _draw_transforms(splits: Splits, seed: int, n: int = 3) -> Figure:
    part = _held(splits.train)
    if not isinstance(part, ImageData):
        raise DataError(f"data {splits.name!r} has no images to transform")
    chosen = random.Random(seed).sample(range(len(part)), min(n, len(part)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformed = [part.augmented(index) for index in chosen]
    originals = [original_of(part, index) for index in chosen]
    titles = [splits.classes[int(part.labels[index])] for index in chosen]
    return plotting.plot_image_pairs(originals, transformed, titles)


def arrays_of(splits: Splits) -> dict[str, tuple[Any, Any]]:
    """Return the inputs (n, ...) and labels (n, ...) of every split as arrays."""
    return {name: (X.numpy(), y.numpy()) for name, part in splits.parts().items() for X, y in [all_of(part)]}


def _held(part: Any) -> Any:
    """Return a split of which some samples can be looked at: of shards, which mix the classes, the first."""
    return part.at(range(min(HELD, len(part)))) if isinstance(part, ShardData) else part


class _Unnormalized:
    """Images as (uint8 (c, h, w), label), resized, before the normalization that a model needs."""

    def __init__(self, dataset: ImageData) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._dataset.images[torch.tensor([index])][0], int(self._dataset.labels[index])
