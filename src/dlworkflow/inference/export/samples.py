"""Samples on which an exported model is compared with its run: raw, as the file takes them, and as the run does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dlworkflow.data.columns import Columns
from dlworkflow.inference.export.description import CATEGORIES, IMAGES, NUMBERS, RANDOM, ROWS
from dlworkflow.inference.predictor import Predictor


@dataclass(frozen=True)
class Samples:
    """The same n samples twice: `raw` as `Description.inputs` names them, and `inputs` (n, *in_shape) float32.

    `source` is what they are, in words.
    """

    raw: Mapping[str, np.ndarray]
    inputs: Tensor
    source: str

    def __len__(self) -> int:
        return len(self.inputs)


def samples_of(predictor: Predictor, inputs: Tensor, source: str) -> Samples:
    """Return preprocessed samples (n, *in_shape) as the raw ones that they were made of.

    Rows of a table with a category that training did not have are left out: a run predicts nothing for them.
    """
    if predictor.transform is not None:
        return _of_images(predictor, _pixels(predictor, inputs), source)
    if predictor.columns is not None:
        return _of_table(predictor.columns, predictor.columns.decode(inputs), source)
    return Samples({ROWS: inputs.numpy()}, inputs, source)


def random_samples(predictor: Predictor, n: int) -> Samples:
    """Return n random samples, the same every time: noise for images, values of a table's mean and deviation."""
    draw = torch.Generator().manual_seed(0)
    shape = (n, *predictor.in_shape)
    if predictor.transform is not None:
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw)
        return _of_images(predictor, images, RANDOM)
    if (columns := predictor.columns) is None:
        return samples_of(predictor, torch.randn(shape, generator=draw), RANDOM)
    cells = {
        column.name: [column.mean + column.scale * value for value in torch.randn(n, generator=draw).tolist()]
        if column.categories is None
        else [column.categories[i] for i in torch.randint(len(column.categories), (n,), generator=draw).tolist()]
        for column in columns.inputs
    }
    rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    return _of_table(columns, rows, RANDOM)


def _of_images(predictor: Predictor, images: Tensor, source: str) -> Samples:
    assert predictor.transform is not None
    return Samples({IMAGES: images.numpy()}, predictor.transform.to_float(images), source)


def _pixels(predictor: Predictor, inputs: Tensor) -> Tensor:
    """Return the uint8 images that `Pipeline.to_float` made these inputs of."""
    assert predictor.transform is not None
    if predictor.transform.mean:
        mean, std = (
            torch.tensor(values).view(-1, 1, 1) for values in (predictor.transform.mean, predictor.transform.std)
        )
        inputs = inputs * std + mean
    return (inputs * 255).round().clamp(0, 255).to(torch.uint8)


def _of_table(columns: Columns, rows: list[dict[str, float | str | None]], source: str) -> Samples:
    known = [row for row in rows if None not in row.values()]
    numbers, texts, _ = columns.raw(known)
    inputs, _ = columns.encode(known)
    given = {NUMBERS: numbers, CATEGORIES: texts}
    return Samples({k: v for k, v in given.items() if v.shape[1]}, torch.from_numpy(inputs), source)
