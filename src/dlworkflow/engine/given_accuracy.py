"""Accuracy by a function of the caller, as the notes write one, or by a metric of torchmetrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from dlworkflow.engine.tasks import Task
from dlworkflow.errors import ConfigError

AccuracyFn = Callable[..., Any]
"""Called as accuracy_fn(y_true=labels, y_pred=predicted_labels), or a metric of torchmetrics."""


class GivenAccuracy:
    """Accuracy by `accuracy_fn`, on its own scale.

    A function gets the labels and the predicted labels of each batch. A metric of torchmetrics gets them in its own
    order, predictions first, as int64 unless the task is a regression; it is reset here, moved to their device, and
    holds the whole pass at its end. Raises ConfigError for a function of other arguments, and for a result that is not
    one number.
    """

    def __init__(self, accuracy_fn: AccuracyFn, task: Task) -> None:
        self._fn, self._is_metric = accuracy_fn, is_metric(accuracy_fn)
        self._keeps_floats = not task.has_accuracy
        self._values: list[Any] = []
        if self._is_metric:
            accuracy_fn.reset()  # type: ignore[attr-defined]
        else:
            _check_takes_the_names(accuracy_fn)

    def add(self, y: Tensor, predicted: Tensor) -> None:
        """Add a batch of labels and predicted labels of the same shape."""
        value = self._by_metric(y, predicted) if self._is_metric else self._fn(y_true=y, y_pred=predicted)
        if not self._values:
            _check_is_number(value)
        self._values.append(value)

    def by_batch(self) -> list[float]:
        """Return the accuracy of each batch."""
        return numbers(self._values)

    def over_samples(self, sizes: Sequence[float]) -> float:
        """Return the mean over samples; of a metric, what it computes for all samples as one batch."""
        if self._is_metric:
            return float(self._fn.compute())  # type: ignore[attr-defined]
        return math.fsum(value * size for value, size in zip(self.by_batch(), sizes, strict=True)) / sum(sizes)

    def _by_metric(self, y: Tensor, predicted: Tensor) -> Any:
        if not self._values:
            self._fn.to(y.device)  # type: ignore[attr-defined]
        if not self._keeps_floats:
            y, predicted = y.long(), predicted.long()
        with torch.inference_mode(False), torch.no_grad():  # else the next pass could not change what is kept here
            return self._fn(predicted, y)


def numbers(values: list[Any]) -> list[float]:
    """Fetch the numbers of a whole epoch from the device together."""
    if isinstance(values[0], Tensor):
        fetched: list[float] = torch.stack(values).flatten().tolist()
        return fetched
    return [float(value) for value in values]


def is_metric(accuracy_fn: AccuracyFn) -> bool:
    """Return whether this is an object of torchmetrics, which is not imported for the question: it takes seconds."""
    return isinstance(accuracy_fn, nn.Module) and hasattr(accuracy_fn, "compute") and hasattr(accuracy_fn, "reset")


def _check_takes_the_names(accuracy_fn: AccuracyFn) -> None:
    try:
        given = signature(accuracy_fn)
    except ValueError:  # of a function in C
        return
    try:
        given.bind(y_true=None, y_pred=None)
    except TypeError:
        raise ConfigError(
            f"accuracy_fn is called as accuracy_fn(y_true=labels, y_pred=predicted), and takes {given}; wrap it: "
            "lambda y_true, y_pred: ..."
        ) from None


def _check_is_number(value: Any) -> None:
    shape = getattr(value, "shape", ())
    if isinstance(value, (dict, list, tuple)) or any(size != 1 for size in shape):
        what = f"shape {tuple(shape)}" if shape else type(value).__name__
        raise ConfigError(f"accuracy_fn returns one number, not {what}; a metric of torchmetrics takes average='macro'")
