"""The training loop: a model and batches in, numbers out; no settings, no disk, no terminal.

Every mean is over samples unless `averaging="batch"` asks for the notes' mean over batches. Sums stay on the device
until an epoch ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from timeit import default_timer
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dlworkflow.engine.batch_check import explained_errors
from dlworkflow.engine.data_parallel import Group
from dlworkflow.engine.scores import AccuracyFn, Averaging, Scores, Total
from dlworkflow.engine.tasks import LossFn, Task, get_task, outputs_of
from dlworkflow.engine.update import Stepper
from dlworkflow.errors import DivergedError

Batch = tuple[Tensor, Tensor]
Device = str | torch.device


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training data gave; `number` counts from 1, `seconds` includes the evaluation.

    `over_samples` are the scores by split where those beside them are means over batches, None where they are not.
    """

    number: int
    lr: float
    seconds: float
    train: Scores
    test: Scores
    val: Scores | None = None
    over_samples: Mapping[str, Scores] | None = None

    @property
    def compared(self) -> Scores:
        """What runs are compared by: the scores over samples of the validation split, else of the test split."""
        split = "val" if self.val is not None else "test"
        return self.over_samples[split] if self.over_samples is not None else self.val or self.test


@dataclass(frozen=True)
class Evaluation:
    """What a model says of a split: mean loss, accuracy, and every raw score (n, ...) with its label, on the CPU."""

    loss: float
    acc: float
    logits: Tensor
    y: Tensor


def train_step(
    model: nn.Module,
    dataloader: Iterable[Batch] | None = None,
    loss_fn: LossFn | None = None,
    optimizer: Optimizer | None = None,
    device: Device | None = None,
    *,
    data_loader: Iterable[Batch] | None = None,
    accuracy_fn: AccuracyFn | None = None,
    task: Task | str | None = None,
    averaging: Averaging = "sample",
) -> Scores:
    """Go once through the batches and improve `model` after each.

    A batch is inputs (n, *in_shape) float32 and labels (n,) int64 (multiclass), (n,) float32 (binary) or (n, 1)
    float32 (regression). The scores are those of each batch before its update. `device` moves the model; None is
    where it is. The task follows from the loss function unless given, and so does whether the model gives raw scores,
    probabilities (`nn.BCELoss`) or their logs (`nn.NLLLoss`): with another loss, the model's last operation tells (a
    sigmoid, softmax or log_softmax). Raises DataError if there is no batch,
    BatchError for one that does not go into the model or the loss, TypeError for both or neither of `dataloader` and
    `data_loader`, and DivergedError when the loss becomes nan or infinite: at once on the CPU, at the end of the epoch
    elsewhere.
    """
    batches = _one_loader(dataloader, data_loader)
    if loss_fn is None or optimizer is None:
        raise TypeError("train_step() needs loss_fn and optimizer")
    device, total = _place(model, device), Total(get_task(task, loss_fn), averaging, loss_fn, accuracy_fn)
    return _learn(model, batches, loss_fn, Stepper(optimizer), device, total)


def test_step(
    model: nn.Module,
    dataloader: Iterable[Batch] | None = None,
    loss_fn: LossFn | None = None,
    device: Device | None = None,
    *,
    data_loader: Iterable[Batch] | None = None,
    accuracy_fn: AccuracyFn | None = None,
    task: Task | str | None = None,
    averaging: Averaging = "sample",
) -> Scores:
    """Score `model` on every batch without touching its weights; arguments as in `train_step`.

    Leaves `model` in evaluation mode.
    """
    batches = _one_loader(dataloader, data_loader)
    if loss_fn is None:
        raise TypeError("test_step() needs loss_fn")
    device, total = _place(model, device), Total(get_task(task, loss_fn), averaging, loss_fn, accuracy_fn)
    return _score(model, batches, loss_fn, device, total)


test_step.__test__ = False  # type: ignore[attr-defined] # pytest takes a function of this name for a test


def train(
    model: nn.Module,
    train_dataloader: Iterable[Batch],
    test_dataloader: Iterable[Batch],
    optimizer: Optimizer,
    loss_fn: LossFn = nn.CrossEntropyLoss(),  # noqa: B008 - the notes' signature; it has no state
    epochs: int = 5,
    device: Device | None = None,
    *,
    task: Task | str | None = None,
    averaging: Averaging = "sample",
    scheduler: Any = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    val_dataloader: Iterable[Batch] | None = None,
    epochs_done: int = 0,
    stepper: Stepper | None = None,
    enough: Callable[[], bool] | None = None,
    scored: nn.Module | None = None,
    training_loss: LossFn | None = None,
    group: Group | None = None,
) -> dict[str, list[float]]:
    """Train for `epochs` passes in all, `epochs_done` of them before this call, and test after each.

    Returns {"train_loss", "train_acc", "test_loss", "test_acc"}, a number an epoch each ("val_loss" and "val_acc"
    with `val_dataloader`). `stepper` is what a loss does to the weights, where that is more than a step of the
    optimizer; `group` are the processes that share the batches. `scheduler.step()` is called after each epoch, then
    `on_epoch` with the epoch's record; `enough` is asked before each, and ends training where it says so. `scored` is
    what is tested instead of the model itself, an average of its weights for one, and `training_loss` what is minimised
    instead of `loss_fn`.
    """
    device, task = _place(model, device), get_task(task, loss_fn)
    step, scored = stepper or Stepper(optimizer), model if scored is None else scored
    minimised = loss_fn if training_loss is None else training_loss
    results: dict[str, list[float]] = {}
    for number in range(epochs_done + 1, epochs + 1):
        if enough is not None and enough():
            break
        start, lr = default_timer(), optimizer.param_groups[0]["lr"]
        totals = {"train": Total(task, averaging, minimised, group=group)}
        try:
            scores = {"train": _learn(model, train_dataloader, minimised, step, device, totals["train"])}
        except DivergedError as error:
            raise error.within(number, lr) from None
        for split, batches in (("test", test_dataloader), ("val", val_dataloader)):
            if batches is not None:
                totals[split] = Total(task, averaging, loss_fn, group=group)
                scores[split] = _score(scored, batches, loss_fn, device, totals[split])
        for split, (loss, _) in scores.items():
            if not math.isfinite(loss):
                raise DivergedError(loss, split=split, epoch=number, lr=lr)
        if scheduler is not None:
            scheduler.step()
        for split, (loss, acc) in scores.items():
            results.setdefault(f"{split}_loss", []).append(loss)
            results.setdefault(f"{split}_acc", []).append(acc)
        if on_epoch is not None:
            more = {split: total.over_samples for split, total in totals.items()} if averaging == "batch" else None
            on_epoch(Epoch(number, lr, default_timer() - start, **scores, over_samples=more))
    return results


def evaluate(
    model: nn.Module,
    dataloader: Iterable[Batch],
    loss_fn: LossFn,
    device: Device | None = None,
    *,
    task: Task | str | None = None,
    averaging: Averaging = "sample",
) -> Evaluation:
    """Score `model` as `test_step` does and keep what it said of every sample, in the loader's order."""
    device, task = _place(model, device), get_task(task, loss_fn)
    kept: list[Batch] = []
    scores = _score(model, dataloader, loss_fn, device, Total(task, averaging, loss_fn), kept.append)
    return Evaluation(scores.loss, scores.acc, *(torch.cat(parts) for parts in zip(*kept, strict=True)))


def _learn(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_fn: LossFn,
    step: Stepper,
    device: torch.device,
    total: Total,
) -> Scores:
    """Improve the model, which is on `device`, after each batch."""
    read, task = _reader(device), total.task
    model.train()
    with explained_errors(model, loss_fn, task) as keep:
        for number, (X, y) in enumerate(batches, start=1):
            X, y = keep(X.to(device, non_blocking=True), y.to(device, non_blocking=True))
            if task.outputs is None:
                task = total.task = _asked(task, model, X)
            logits = task.align(model(X), y)
            loss = loss_fn(logits, y)
            value = read(loss)
            if isinstance(value, float) and not math.isfinite(value):
                raise DivergedError(value, number, largest_gradient=_largest_gradient(model))
            step(loss, y, loss_fn)
            total.add(value, logits.detach(), y)
        step.finish()
        return total.scores(finite=True)


def _score(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_fn: LossFn,
    device: torch.device,
    total: Total,
    tell: Callable[[Batch], object] | None = None,
) -> Scores:
    """Score the model, which is on `device`; `tell` is given each batch's raw scores and labels on the CPU."""
    task = total.task
    model.eval()
    with torch.inference_mode(), explained_errors(model, loss_fn, task) as keep:
        for X, y in batches:
            X, y = keep(X.to(device, non_blocking=True), y.to(device, non_blocking=True))
            if task.outputs is None:
                task = total.task = _asked(task, model, X)
            logits = task.align(model(X), y)
            total.add(loss_fn(logits, y), logits, y)
            if tell is not None:
                tell((logits.cpu(), y.cpu()))
        return total.scores()


def _asked(task: Task, model: nn.Module, X: Tensor) -> Task:
    """Return the task with what the model gives, where the loss does not say whether these are raw scores."""
    return replace(task, outputs=outputs_of(model, X[:1])[0])


def _reader(device: torch.device) -> Callable[[Tensor], Tensor | float]:
    """Return how to take a loss: as a number on the CPU; elsewhere that would make every batch wait for the device."""
    return Tensor.item if device.type == "cpu" else Tensor.detach


def _largest_gradient(model: nn.Module) -> float | None:
    """Return the largest absolute gradient that the last batch left, None before the first."""
    gradients = [parameter.grad.abs().max() for parameter in model.parameters() if parameter.grad is not None]
    return float(torch.stack(gradients).max()) if gradients else None


def _one_loader(dataloader: Iterable[Batch] | None, data_loader: Iterable[Batch] | None) -> Iterable[Batch]:
    if (dataloader is None) == (data_loader is None):
        raise TypeError("pass the batches as dataloader or as data_loader: one of the two")
    batches = dataloader if dataloader is not None else data_loader
    assert batches is not None
    return batches


def _place(model: nn.Module, device: Device | None) -> torch.device:
    """Move the model to `device`; None is where its first parameter is."""
    if device is not None:
        model.to(device)
        return torch.device(device)
    first = next(model.parameters(), None)
    return first.device if first is not None else torch.device("cpu")
