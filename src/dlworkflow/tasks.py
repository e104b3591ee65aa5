"""Regression, binary and multiclass: which loss, how scores become probabilities and labels, what counts as right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlworkflow.errors import ConfigError, ModelError, unknown

LossFn = Callable[[Tensor, Tensor], Tensor]

_LOSSES: dict[str, type[nn.Module]] = {
    "l1": nn.L1Loss,
    "mse": nn.MSELoss,
    "huber": nn.HuberLoss,
    "smooth_l1": nn.SmoothL1Loss,
    "binary_cross_entropy": nn.BCEWithLogitsLoss,
    "cross_entropy": nn.CrossEntropyLoss,
    "multi_margin": nn.MultiMarginLoss,
}


@dataclass(frozen=True)
class Task:
    """What a model is asked: `losses` are the names of those that fit, the usual one first."""

    name: str
    losses: tuple[str, ...]
    has_accuracy: bool = True

    def align(self, logits: Tensor, y: Tensor) -> Tensor:
        """Give raw scores the shape of the labels, so that no loss broadcasts (n, 1) against (n,).

        Raises ModelError when they cannot be brought together.
        """
        if self.name == "multiclass" or logits.shape == y.shape:
            return logits
        if logits.numel() == y.numel():
            return logits.reshape(y.shape)
        raise ModelError(
            f"{self.name}: the model gives {tuple(logits.shape)} for labels of shape {tuple(y.shape)}; "
            "one output a label is needed"
        )

    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn raw scores (n, classes) into probabilities (n, classes); of one score, (n, 2) or the value itself."""
        if self.name == "multiclass":
            return torch.softmax(logits, dim=1)
        if self.name == "binary":
            p = torch.sigmoid(logits.reshape(-1))
            return torch.stack([1 - p, p], dim=1)
        return logits

    def labels(self, logits: Tensor) -> Tensor:
        """Turn raw scores into the label each stands for: (n,) classes, or the value itself for a regression."""
        if self.name == "multiclass":
            return logits.argmax(dim=1)
        if self.name == "binary":
            return torch.round(torch.sigmoid(logits))
        return logits

    def is_correct(self, logits: Tensor, y: Tensor) -> Tensor:
        """Tell which samples are answered rightly, (n,) bool on the device, without waiting for it."""
        right = self.labels(logits) == y
        return right if right.ndim == 1 else right.flatten(start_dim=1).all(dim=1)


REGRESSION = Task("regression", ("l1", "mse", "huber", "smooth_l1"), has_accuracy=False)
BINARY = Task("binary", ("binary_cross_entropy",))
MULTICLASS = Task("multiclass", ("cross_entropy", "multi_margin"))
TASKS = {task.name: task for task in (REGRESSION, BINARY, MULTICLASS)}

_TASK_OF_LOSS: dict[object, Task] = {
    nn.L1Loss: REGRESSION,
    nn.MSELoss: REGRESSION,
    nn.SmoothL1Loss: REGRESSION,
    nn.HuberLoss: REGRESSION,
    nn.BCEWithLogitsLoss: BINARY,
    nn.CrossEntropyLoss: MULTICLASS,
    nn.MultiMarginLoss: MULTICLASS,
    F.l1_loss: REGRESSION,
    F.mse_loss: REGRESSION,
    F.smooth_l1_loss: REGRESSION,
    F.huber_loss: REGRESSION,
    F.binary_cross_entropy_with_logits: BINARY,
    F.cross_entropy: MULTICLASS,
    F.multi_margin_loss: MULTICLASS,
}


def get_task(task: Task | str | None, loss_fn: LossFn | None = None) -> Task:
    """Return the task by name, or the one that a loss function implies.

    Raises ConfigError for an unknown name, and for a loss function that implies none.
    """
    if isinstance(task, Task):
        return task
    if task is not None:
        if task not in TASKS:
            raise ConfigError(unknown("task", task, TASKS))
        return TASKS[task]
    kinds = [*type(loss_fn).__mro__, *([loss_fn] if callable(loss_fn) else [])]
    found = next((_TASK_OF_LOSS[kind] for kind in kinds if kind in _TASK_OF_LOSS), None)
    if found is None:
        name = getattr(loss_fn, "__name__", type(loss_fn).__name__)
        raise ConfigError(f"loss function {name!r} does not say which task it is for; pass task= {', '.join(TASKS)}")
    return found


def build_loss(task: Task, name: str | None = None, *, reduction: str = "mean") -> nn.Module:
    """Return the loss function of a task, the usual one unless named; `reduction="none"` gives a loss a sample.

    Raises ConfigError for a loss that does not fit the task.
    """
    name = name or task.losses[0]
    if name not in task.losses:
        raise ConfigError(f"loss: {name!r} is not for {task.name}; possible: {', '.join(task.losses)}")
    return _LOSSES[name](reduction=reduction)
