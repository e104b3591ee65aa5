"""The notes' training functions: those of `engine` and `training`, called and printing as the notes' own do."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import closing
from types import NoneType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer

from dlworkflow.engine import loop
from dlworkflow.engine.given_accuracy import is_metric
from dlworkflow.engine.loop import Batch, Device, Epoch, EpochHandler
from dlworkflow.engine.scores import AccuracyFn, Averaging, Scores
from dlworkflow.engine.tasks import LossFn, Task
from dlworkflow.metrics.functions import accuracy_fn as percent_right

if TYPE_CHECKING:
    from dlworkflow.runs import Run
    from dlworkflow.training.job import Job


def train_step(
    model: nn.Module,
    dataloader: Iterable[Batch] | None = None,
    loss_fn: LossFn | None = None,
    optimizer: Optimizer | None = None,
    accuracy_fn: AccuracyFn | Device | None = None,
    device: Device | None = None,
    *,
    data_loader: Iterable[Batch] | None = None,
    task: Task | str | None = None,
    averaging: Averaging = "sample",
    verbose: bool = True,
) -> Scores:
    """Train for one pass over the batches; see `dlworkflow.engine.train_step`. The notes call it in two ways:

        train_step(model, data_loader, loss_fn, optimizer, accuracy_fn, device)     # 1-5
        train_step(model, dataloader, loss_fn, optimizer, device)                   # 1-6

    With an `accuracy_fn`, the scores are printed as in 1-5: a function of y_true and y_pred gives percent, a metric of
    torchmetrics is on its own scale. Without one, nothing is printed, as in 1-6. Both return the scores.
    `averaging="batch"` gives the notes' means over batches. `verbose=False` prints nothing.
    """
    accuracy_fn, device = _told_apart(accuracy_fn, device)
    scores = loop.train_step(
        model,
        dataloader,
        loss_fn,
        optimizer,
        device,
        data_loader=data_loader,
        accuracy_fn=accuracy_fn,
        task=task,
        averaging=averaging,
    )
    if verbose and accuracy_fn is not None:
        print(f"Train loss: {scores.loss:.5f} | Train accuracy: {_accuracy(scores.acc, accuracy_fn)}")
    return scores


def test_step(
    first: nn.Module | Iterable[Batch] | None = None,
    second: nn.Module | Iterable[Batch] | None = None,
    /,
    loss_fn: LossFn | None = None,
    accuracy_fn: AccuracyFn | Device | None = None,
    device: Device | None = None,
    *,
    model: nn.Module | None = None,
    dataloader: Iterable[Batch] | None = None,
    data_loader: Iterable[Batch] | None = None,
    task: Task | str | None = None,
    averaging: Averaging = "sample",
    verbose: bool = True,
) -> Scores:
    """Evaluate a model on every batch; see `dlworkflow.engine.test_step`. The notes call it in two ways:

        test_step(data_loader, model, loss_fn, accuracy_fn, device)     # 1-5
        test_step(model, dataloader, loss_fn, device)                   # 1-6

    Prints and returns the scores as `train_step` does.
    """
    accuracy_fn, device = _told_apart(accuracy_fn, device)
    models = [given for given in (first, second, model) if isinstance(given, nn.Module)]
    loaders = [given for given in (first, second, dataloader) if not isinstance(given, (nn.Module, NoneType))]
    if len(models) != 1 or len(loaders) > 1:
        raise TypeError("test_step() takes one model (torch.nn.Module) and one loader of batches")
    scores = loop.test_step(
        models[0],
        loaders[0] if loaders else None,
        loss_fn,
        device,
        data_loader=data_loader,
        accuracy_fn=accuracy_fn,
        task=task,
        averaging=averaging,
    )
    if verbose and accuracy_fn is not None:
        print(f"Test loss: {scores.loss:.5f} | Test accuracy: {_accuracy(scores.acc, accuracy_fn)}\n")
    return scores


test_step.__test__ = False  # type: ignore[attr-defined] # pytest takes a function of this name for a test


def train(
    model: nn.Module,
    train_dataloader: Iterable[Batch],
    test_dataloader: Iterable[Batch],
    optimizer: Optimizer,
    loss_fn: LossFn = nn.CrossEntropyLoss(),  # noqa: B008 - the notes' signature; it has no state
    epochs: int = 5,
    device: Device | None = None,
    writer: Any = None,
    *,
    on_epoch: EpochHandler | None = None,
    verbose: bool = True,
    **settings: Any,
) -> dict[str, list[float]]:
    """Train for `epochs` passes and evaluate after each; return the lists of losses and accuracies by name.

    Shows a bar, and prints a line an epoch as the notes do; `verbose=False` shows nothing. A `writer`, such as
    `create_writer` returns, gets the curves "Loss" and "Accuracy" by epoch, counted from 0 as in the course; it is
    flushed after each epoch and left open. Further `settings` are those of `dlworkflow.engine.train`:
    `averaging="batch"` gives the notes' means over batches.
    """
    handlers: list[EpochHandler | None] = [_scalars_to(writer) if writer is not None else None, on_epoch]
    with closing(_EpochLines(verbose)) as lines:
        lines.start(epochs)
        return loop.train(
            model,
            train_dataloader,
            test_dataloader,
            optimizer,
            loss_fn,
            epochs,
            device,
            on_epoch=_in_turn(lines.show, *handlers),
            **settings,
        )


def eval_model(
    model: nn.Module,
    data_loader: Iterable[Batch],
    loss_fn: LossFn,
    accuracy_fn: AccuracyFn | None = None,
    device: Device | None = None,
) -> dict[str, Any]:
    """Score a model as the notes do: {"model_name", "model_loss", "model_acc"}, accuracy in percent.

    Both are means over batches, so a short last batch weighs as much as a full one; `evaluate` does not do that. With a
    metric of torchmetrics as `accuracy_fn`, accuracy is on its scale.
    """
    chosen = percent_right if accuracy_fn is None else accuracy_fn
    scores = loop.test_step(model, data_loader, loss_fn, device, accuracy_fn=chosen, averaging="batch")
    return {"model_name": type(model).__name__, "model_loss": scores.loss, "model_acc": scores.acc}


def run_training(*args: Any, verbose: bool = True, **settings: Any) -> Run:
    """Train and write a run folder; takes the arguments of `dlworkflow.training.run_training`.

    Shows a bar, prints a line an epoch as `train` does, and where the run is stored, however training ends;
    `verbose=False` shows nothing.
    """
    from dlworkflow import training

    return _shown(training.run_training, verbose, *args, **settings)


def fit(*args: Any, verbose: bool = True, **settings: Any) -> Run:
    """Train a model on data or loaders; takes the arguments of `dlworkflow.training.fit`, prints as `run_training`."""
    from dlworkflow import training

    return _shown(training.fit, verbose, *args, **settings)


def resume_training(*args: Any, verbose: bool = True, **settings: Any) -> Run:
    """Resume a run; takes the arguments of `dlworkflow.training.resume_training` and prints as `run_training` does."""
    from dlworkflow import training

    return _shown(training.resume_training, verbose, *args, **settings)


def _shown(
    train_run: Callable[..., Run],
    verbose: bool,
    *args: Any,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: EpochHandler | None = None,
    **settings: Any,
) -> Run:
    """Call `train_run` with epochs shown as they end, then print where the run is."""
    lines = _EpochLines(verbose)
    started: list[Run] = []

    def start(job: Job, run: Run) -> None:
        started.append(run)
        lines.start(job.config.epochs, len(run.history()))

    handlers = {"on_start": _in_turn(start, on_start), "on_epoch": _in_turn(lines.show, on_epoch)}
    try:
        return train_run(*args, **handlers, **settings)
    finally:
        lines.close()
        if verbose and started:
            print(f"[INFO] Run stored in: {started[0].path}")


class _EpochLines:
    """A bar with a line for each epoch above it; where it is not shown, nothing happens.

    In a notebook, the bar is the notebook's own; elsewhere it is text on stderr. The lines go to stdout.
    """

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._bar: Any = None

    def start(self, epochs: int, done: int = 0) -> None:
        if self._shown:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a notebook without ipywidgets, where the bar is text
                from tqdm.auto import tqdm
            self._bar = tqdm(total=epochs, initial=done)

    def show(self, epoch: Epoch) -> None:
        if self._bar is not None:
            say = self._bar.write if sys.stderr.isatty() else print  # on a terminal, the bar makes room for a line
            say(_epoch_line(epoch))
            self._bar.update()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _epoch_line(epoch: Epoch) -> str:
    """Return an epoch as the notes print it: `Epoch: 1 | train_loss: 1.1016 | train_acc: 0.3320 | ...`."""
    named = [
        f"{split}_{name}: {value:.4f}"
        for split, scores in epoch.scores.items()
        for name, value in scores._asdict().items()
        if not math.isnan(value)  # a regression has no accuracy
    ]
    return " | ".join([f"Epoch: {epoch.number}", *named])


def _scalars_to(writer: Any) -> EpochHandler:
    """Return what writes the losses and accuracies of an epoch to a SummaryWriter, one chart for each."""

    def write(epoch: Epoch) -> None:
        for chart, name in (("Loss", "loss"), ("Accuracy", "acc")):
            values = {f"{split}_{name}": getattr(scores, name) for split, scores in epoch.scores.items()}
            if not any(map(math.isnan, values.values())):
                writer.add_scalars(main_tag=chart, tag_scalar_dict=values, global_step=epoch.number - 1)
        writer.flush()

    return write


def _in_turn(*handlers: Callable[..., object] | None) -> Callable[..., None]:
    """Return a function that calls all handlers that there are."""

    def call(*args: Any) -> None:
        for handler in handlers:
            if handler is not None:
                handler(*args)

    return call


def _told_apart(
    accuracy_fn: AccuracyFn | Device | None, device: Device | None
) -> tuple[AccuracyFn | None, Device | None]:
    """Return accuracy_fn and device where the device may have come in the place of accuracy_fn, as in 1-6."""
    if not isinstance(accuracy_fn, (str, torch.device, int)):
        return accuracy_fn, device
    if device is not None:
        raise TypeError(f"accuracy_fn is a function or a metric, not {accuracy_fn!r}; device was given too")
    return None, accuracy_fn


def _accuracy(acc: float, accuracy_fn: AccuracyFn) -> str:
    """Return an accuracy in percent, as the notes' accuracy_fn gives it, or on the scale of a metric."""
    return f"{acc:.4f}" if is_metric(accuracy_fn) else f"{acc:.2f}%"
