"""The training loop: a model and batches in, numbers out. Knows no settings, no run folder and no terminal.

Means are over samples unless `averaging="batch"` asks for the notes' mean over batches. Sums stay on the device until
an epoch ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from timeit import default_timer
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dlworkflow.engine.arguments import check_epochs, check_holds_parameters, checked_loader, one_loader, place
from dlworkflow.engine.batch_check import explained_errors, not_finite
from dlworkflow.engine.data_parallel import Group
from dlworkflow.engine.device import Device
from dlworkflow.engine.gathered import Gathered
from dlworkflow.engine.scores import AccuracyFn, Averaging, Scores, Total
from dlworkflow.engine.tasks import LossFn, Task, get_task, outputs_of
from dlworkflow.engine.update import Update
from dlworkflow.errors import DivergedError
from dlworkflow.files.notebook import HEADLINE, Shown, named
from dlworkflow.registry.user_files import refuse_while_importing

_UNTRAINED = Scores(math.nan, math.nan)
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch; `number` counts from 1, `seconds` includes the evaluation.

    Epoch 0 is the untrained model; its scores of training are nan.
    `over_samples` has the scores over samples by split where `train`, `test` and `val` are means over batches.
    `metrics` are further numbers by column, such as "test_f1_macro".
    """

    number: int
    lr: float
    seconds: float
    train: Scores
    test: Scores
    val: Scores | None = None
    over_samples: Mapping[str, Scores] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, Scores]:
        """The scores by split: train, test, and val where there is one."""
        found = {"train": self.train, "test": self.test}
        return found if self.val is None else found | {"val": self.val}

    @property
    def monitored_loss(self) -> float:
        """The loss that schedule, early stopping and the choice of the best epoch go by: validation, else test."""
        return (self.val or self.test).loss

    @property
    def compared(self) -> Scores:
        """The scores by which runs are compared: over samples, of the validation split, else of the test split."""
        split = "val" if self.val is not None else "test"
        return (self.over_samples or self.scores)[split]


EpochHandler = Callable[[Epoch], object]
"""What is called with each epoch as it ends. One that raises ends training."""

BatchHandler = Callable[[str, int, int, Callable[[], float]], object]
"""What is called with each batch as it ends: the split, the number of the batch from 1, how many batches there are, and
a function that returns the mean loss of the latest batches: that waits for the device."""


@dataclass(frozen=True)
class Evaluation(Shown):
    """The result of `evaluate`: mean loss, accuracy, and all raw scores (n, ...) with their labels, on the CPU.

    `temperature` is by what the scores of a calibrated model are divided already; None: by nothing.
    """

    loss: float
    acc: float
    logits: Tensor
    y: Tensor
    temperature: float | None = None

    def __repr__(self) -> str:
        [row] = self.shown_rows()
        return f"Evaluation({named(row, HEADLINE)})"

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return what a notebook shows: one row of scores."""
        return [{"samples": len(self.y), "loss": self.loss, "acc": self.acc}]


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
    """Train `model` for one pass over the batches, with an update after each.

    A batch is inputs (n, *in_shape) float32 and labels (n,) int64 (multiclass), (n,) float32 (binary) or (n, 1)
    float32 (regression). The scores are those of each batch before its update. `device` moves the model; by default
    it stays where it is. The task follows from the loss function unless given. So does whether the model returns raw
    scores, probabilities (`nn.BCELoss`) or their logs (`nn.NLLLoss`); with any other loss, this follows from the
    model's last operation (a sigmoid, softmax or log_softmax).
    Raises DataError for what is no loader or has no batch, ConfigError for a device that is not there, ModelError for
    an optimizer that holds no parameter of the model, BatchError for a batch that does not fit the model or the loss,
    TypeError for both or neither of `dataloader` and `data_loader`, and DivergedError when the loss becomes nan or
    infinite: immediately on the CPU, at the end of the epoch elsewhere.
    """
    batches = one_loader(dataloader, data_loader)
    if loss_fn is None or optimizer is None:
        raise TypeError("train_step() needs loss_fn and optimizer")
    one = Pass(model, loss_fn, get_task(task, loss_fn), place(model, device), averaging, accuracy_fn)
    check_holds_parameters(optimizer, model)
    return one.train(batches, Update(optimizer))[0]


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
    """Evaluate `model` on every batch without changing its weights; arguments as in `train_step`.

    Leaves `model` in evaluation mode.
    """
    batches = one_loader(dataloader, data_loader)
    if loss_fn is None:
        raise TypeError("test_step() needs loss_fn")
    one = Pass(model, loss_fn, get_task(task, loss_fn), place(model, device), averaging, accuracy_fn)
    return one.test(batches)[0]


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
    on_epoch: EpochHandler | None = None,
    val_dataloader: Iterable[Batch] | None = None,
) -> dict[str, list[float]]:
    """Train for `epochs` passes over the training data and evaluate after each.

    Returns {"train_loss", "train_acc", "test_loss", "test_acc"}, each a list with one number per epoch, and "val_loss"
    and "val_acc" with `val_dataloader`. After each epoch `scheduler.step()` is called, then `on_epoch` with the epoch.
    """
    loaders = {"train": train_dataloader, "test": test_dataloader}
    loaders |= {"val": val_dataloader} if val_dataloader is not None else {}
    check_epochs(epochs)
    batches = {split: checked_loader(f"{split}_dataloader", loader, epochs) for split, loader in loaders.items()}
    one = Pass(model, loss_fn, get_task(task, loss_fn), place(model, device), averaging)
    check_holds_parameters(optimizer, model)
    results: dict[str, list[float]] = {}
    for epoch in train_epochs(range(1, epochs + 1), one, one, batches, Update(optimizer)):
        if scheduler is not None:
            scheduler.step()
        for split, (loss, acc) in epoch.scores.items():
            results.setdefault(f"{split}_loss", []).append(loss)
            results.setdefault(f"{split}_acc", []).append(acc)
        if on_epoch is not None:
            on_epoch(epoch)
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
    """Evaluate `model` as `test_step` does and keep its output for every sample, in the loader's order."""
    batches = checked_loader("dataloader", dataloader)
    one = Pass(model, loss_fn, get_task(task, loss_fn), place(model, device), averaging)
    kept = Gathered()
    scores, _ = one.test(batches, lambda batch: kept.add(*batch))
    logits, y = (whole.cpu() for whole in kept.joined())
    return Evaluation(scores.loss, scores.acc, logits, y)


def train_epochs(
    numbers: Iterable[int],
    trained: Pass,
    tested: Pass,
    batches: Mapping[str, Iterable[Batch]],
    update: Update,
    observer: Callable[[str], Callable[[Batch], object] | None] = lambda _: None,
) -> Iterator[Epoch]:
    """Yield an epoch for each of `numbers`: train on the split "train" of `batches`, evaluate on "test" and "val".

    `observer` returns, for a split that is evaluated, what is called with the raw scores and labels of each batch,
    on their device.

    The next epoch begins when the caller asks for it: what it does in between is part of no epoch. `tested` may be
    of another model than `trained`, such as the average of its weights. Epoch 0 is evaluated and not trained.
    Raises DivergedError when a mean loss is nan or infinite; that epoch is not yielded.
    """
    refuse_while_importing("trains")
    by_batch = trained.averaging == "batch"
    for number in numbers:
        start, lr = default_timer(), update.optimizer.param_groups[0]["lr"]
        try:
            found = {"train": trained.train(batches["train"], update) if number else (_UNTRAINED, _UNTRAINED)}
        except DivergedError as error:
            raise error.within(number, lr) from None
        found |= {split: tested.test(batches[split], observer(split)) for split in ("test", "val") if split in batches}
        scores = {split: result for split, (result, _) in found.items()}
        for split, (loss, _) in scores.items():
            if not math.isfinite(loss) and scores[split] is not _UNTRAINED:
                raise DivergedError(loss, split=split, epoch=number, lr=lr)
        over_samples = {split: result for split, (_, result) in found.items()} if by_batch else None
        yield Epoch(number, lr, default_timer() - start, **scores, over_samples=over_samples, metrics={})


@dataclass(frozen=True)
class Pass:
    """All that one pass over batches needs besides the batches: a model on its `device`, a loss, what to average.

    `group` are the processes that share each batch. The total of the pass that runs is put into `running`, if any.
    """

    model: nn.Module
    loss_fn: LossFn
    task: Task
    device: torch.device
    averaging: Averaging = "sample"
    accuracy_fn: AccuracyFn | None = None
    group: Group | None = None
    running: list[Total] | None = None

    def train(self, batches: Iterable[Batch], update: Update) -> tuple[Scores, Scores]:
        """Call `update` with the loss of each batch; return the scores before the updates, and those over samples."""
        model, loss_fn, device, task = self.model, self.loss_fn, self.device, self.task
        read, total = _reader(device), self._total()
        model.train()
        with explained_errors(model, loss_fn, task) as keep:
            for number, (X, y) in enumerate(batches, start=1):
                X, y = keep(X.to(device, non_blocking=True), y.to(device, non_blocking=True))
                if task.outputs is None:
                    task = total.task = _with_outputs(task, model, X)
                logits = task.align(model(X), y)
                loss = loss_fn(logits, y)
                value = read(loss)
                if isinstance(value, float) and not math.isfinite(value):
                    wrong = not_finite("X", X) or not_finite("y", y)
                    raise wrong or DivergedError(value, number, largest_gradient=_largest_gradient(model))
                update(loss, y, loss_fn)
                total.add(value, logits.detach(), y)
            update.finish()
            return total.scores(finite=True), total.over_samples

    def test(
        self, batches: Iterable[Batch], on_batch: Callable[[Batch], object] | None = None
    ) -> tuple[Scores, Scores]:
        """Return the scores, and those over samples; `on_batch` gets each batch's raw scores and labels."""
        model, loss_fn, device, task = self.model, self.loss_fn, self.device, self.task
        read, total = _reader(device), self._total()
        model.eval()
        with torch.inference_mode(), explained_errors(model, loss_fn, task) as keep:
            for X, y in batches:
                X, y = keep(X.to(device, non_blocking=True), y.to(device, non_blocking=True))
                if task.outputs is None:
                    task = total.task = _with_outputs(task, model, X)
                logits = task.align(model(X), y)
                total.add(read(loss_fn(logits, y)), logits, y)
                if on_batch is not None:
                    on_batch((logits, y))
            return total.scores(), total.over_samples

    def _total(self) -> Total:
        total = Total(self.task, self.averaging, self.loss_fn, self.accuracy_fn, self.group)
        if self.running is not None:
            self.running[:] = [total]
        return total


def _with_outputs(task: Task, model: nn.Module, X: Tensor) -> Task:
    """Return the task with the kind of output that the model has, where the loss does not imply it."""
    return replace(task, outputs=outputs_of(model, X[:1])[0])


def _reader(device: torch.device) -> Callable[[Tensor], Tensor | float]:
    """Return how to take a loss: as a number on the CPU; elsewhere that would make every batch wait for the device."""
    return Tensor.item if device.type == "cpu" else Tensor.detach


def _largest_gradient(model: nn.Module) -> float | None:
    """Return the largest absolute gradient that the last batch left, None before the first."""
    gradients = [parameter.grad.abs().max() for parameter in model.parameters() if parameter.grad is not None]
    return float(torch.stack(gradients).max()) if gradients else None
