"""A run's model with all that is before and after it in one module: raw inputs in, probabilities or values out."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from dlworkflow.data.columns import Columns
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.inference.predictor import Predictor


class Network(nn.Module):
    """What a predictor computes of inputs that are read already: scaling, normalization, model, activation.

    Takes the inputs that `Description.inputs` names, in that order; the categories of a table are their places among
    `Column.categories`, (n, columns) int64, -1 for an unknown one. Returns probabilities (n, classes) or values (n, 1),
    float32; nan where a value is missing or unknown, and where the model gives infinity.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.model = copy.deepcopy(predictor.model).cpu().to(memory_format=torch.contiguous_format).eval()
        self.task, self.target, self.temperature = predictor.task, predictor.target, predictor.temperature
        self.n_outputs = 1 if predictor.task.name in ("binary", "regression") else len(predictor.classes)
        self.prepared: nn.Module = nn.Identity()
        if predictor.transform is not None:
            self.prepared = Scaled(predictor.transform)
        elif predictor.columns is not None:
            self.prepared = Encoded(predictor.columns)

    def forward(self, *given: Tensor) -> Tensor:
        logits = self.model(self.prepared(*given)).reshape(-1, self.n_outputs)
        if not self.task.has_accuracy:
            return self.target.undone(logits) if self.target else logits
        if self.temperature is not None:
            logits = logits / self.temperature
        # a sigmoid would make a probability of infinity
        return self.task.probabilities(logits.masked_fill(logits.isinf(), math.nan))


class Scaled(nn.Module):
    """Images as `Pipeline.to_float` makes them, in operations that torch.export has: uint8 in, float32 out."""

    mean: Tensor
    std: Tensor

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        for name, values in (("mean", pipeline.mean or (0.0,)), ("std", pipeline.std or (1.0,))):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images.float() / 255 - self.mean) / self.std


class Encoded(nn.Module):
    """The columns of a table as inputs of a model, as `Columns.encode` makes them: standardised, one per category.

    Takes numbers (n, k) float64 and the places of categories (n, m) int64, or the one of them that there is. Returns
    (n, width) float32.
    """

    statistics: Tensor
    order: Tensor

    def __init__(self, columns: Columns) -> None:
        super().__init__()
        self.columns = columns
        numbers = [column for column in columns.inputs if column.categories is None]
        self.sizes = [len(column.categories) for column in columns.inputs if column.categories is not None]
        self.are_filled = any(column.fill is not None for column in numbers)
        statistics = [[column.mean, column.scale, _or_nan(column.fill)] for column in numbers]
        self.register_buffer("statistics", torch.tensor(statistics, dtype=torch.float64).reshape(-1, 3).T.contiguous())
        order = _order(columns)
        self.is_in_order = order == sorted(order)
        self.register_buffer("order", torch.tensor(order))

    def forward(self, *given: Tensor) -> Tensor:
        parts, rest = [], list(given)
        if self.statistics.shape[1]:
            numbers, (mean, scale, fill) = rest.pop(0), self.statistics
            if self.are_filled:
                numbers = torch.where(numbers.isnan(), fill, numbers)
            parts.append(((numbers - mean) / scale).float())
        for place, size in enumerate(self.sizes):
            code = rest[0][:, place : place + 1]
            one = (code == torch.arange(size)).float()
            parts.append(torch.where(code < 0, math.nan, one))
        inputs = torch.cat(parts, dim=1)
        return inputs if self.is_in_order else inputs[:, self.order]


def codes_of(columns: Columns, texts: np.ndarray) -> Tensor:
    """Return the places (n, m) of categories (n, m) text, -1 for an unknown one; see `Columns.raw`."""
    known = [column.categories for column in columns.inputs if column.categories is not None]
    places = [{name: place for place, name in enumerate(names)} for names in known]
    codes = [[places[j].get(text, -1) for j, text in enumerate(row)] for row in texts.tolist()]
    return torch.tensor(codes, dtype=torch.int64).reshape(texts.shape)


def _or_nan(fill: float | str | None) -> float:
    return math.nan if fill is None else float(fill)


def _order(columns: Columns) -> list[int]:
    """Return where each input is among those of all numbers, followed by those of all categories."""
    n_numbers = sum(column.categories is None for column in columns.inputs)
    order: list[int] = []
    number, category = 0, n_numbers
    for column in columns.inputs:
        if column.categories is None:
            order.append(number)
            number += 1
        else:
            order += range(category, category + column.width)
            category += column.width
    return order
