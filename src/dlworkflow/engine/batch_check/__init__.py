"""What is wrong with a batch: dtype, shape, device or labels, with what was expected, what was given and the fix.

One call of the model that watches each layer shows the first that does not take its input. Knows no data set, no run
and no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from dlworkflow.engine.batch_check.inputs import input_faults
from dlworkflow.engine.batch_check.labels import output_faults, task_of
from dlworkflow.engine.batch_check.trial import Trial, call_watched
from dlworkflow.engine.batch_check.trial import not_finite as not_finite
from dlworkflow.engine.tasks import LossFn, Task, get_task
from dlworkflow.errors import BatchError, ModelError

Keep = Callable[..., tuple[Tensor, Any]]
"""Remembers a batch, inputs and labels (or None), and returns it."""


def check_batch(
    model: nn.Module,
    X: Any,
    y: Any = None,
    loss_fn: LossFn | None = None,
    *,
    task: Task | str | None = None,
    n_classes: int | None = None,
) -> None:
    """Raise BatchError, which names the fix, unless inputs X fit `model` and labels y fit `loss_fn`.

    The model is called once, in evaluation mode and without gradients, and left as it was; labels are read, for which
    a GPU has to be waited for. It is meant for a loop of your own: outputs (n, 1) and labels (n,) do not fit, though
    `train_step` aligns them, nor do numbers that are nan or infinite. The task follows from the loss function where
    possible. What the model or the loss refuses for reasons that are not known here is raised as it is.
    """
    chosen = get_task(task) if task is not None else task_of(loss_fn)
    trial, fault = _examine(model, X, y, loss_fn, chosen, n_classes=n_classes, strict=True)
    if fault is not None:
        raise fault
    if trial.error is not None:
        raise trial.error
    if y is not None and loss_fn is not None:
        with torch.no_grad():
            loss_fn(chosen.align(trial.output, y) if chosen is not None else trial.output, y)


@contextmanager
def explained_errors(model: nn.Module, loss_fn: LossFn | None = None, task: Task | None = None) -> Iterator[Keep]:
    """Raise a BatchError from an error of torch within the block where the batch explains it.

    Yields a function that remembers a batch and returns it; nothing else is done unless there is an error.
    """
    batch: list[Any] = []

    def keep(X: Tensor, y: Any = None) -> tuple[Tensor, Any]:
        batch[:] = X, y
        return X, y

    try:
        yield keep
    except (RuntimeError, ValueError, IndexError, TypeError, ModelError) as error:
        fault = _explanation(error, model, batch, loss_fn, task)
        if fault is None:
            raise
        raise fault from error


def _explanation(
    error: Exception, model: nn.Module, batch: list[Any], loss_fn: LossFn | None, task: Task | None
) -> BatchError | None:
    """Return what is wrong with the batch at which torch failed, or None; never fails itself."""
    if "device-side assert" in str(error):
        return _after_an_assert() if task is not None and task.name == "multiclass" else None
    if not batch or isinstance(error, (BatchError, torch.OutOfMemoryError)) or "CUDA error" in str(error):
        return None
    try:
        return _examine(model, batch[0], batch[1], loss_fn, task)[1]
    except Exception:  # noqa: BLE001 - whatever the examination meets, the user's own error counts
        return None


def _after_an_assert() -> BatchError:
    """Return the error for a CUDA device assert in a loop with class labels, which can no longer be read."""
    return BatchError(
        "wrong labels",
        "labels from 0 to one less than the model's outputs",
        "most likely one outside, in this batch or one before: CUDA stopped at a device assert",
        'start anew, as CUDA no longer answers; the same batch with device="cpu" names the label',
    )


def _examine(
    model: nn.Module,
    X: Any,
    y: Any,
    loss_fn: LossFn | None,
    task: Task | None,
    *,
    n_classes: int | None = None,
    strict: bool = False,
) -> tuple[Trial, BatchError | None]:
    """Call the model; return the trial and its first error. `strict` adds errors that torch does not raise."""
    for name, given in (("X", X), ("y", y)):
        if not isinstance(given, Tensor) and not (name == "y" and given is None):
            return Trial(), _no_tensor(name, given)
    trial = call_watched(model, X)
    faults = input_faults(model, X, trial, strict=strict)
    if trial.error is None and isinstance(trial.output, Tensor):
        faults = chain(faults, output_faults(trial, X, y, loss_fn, task, n_classes=n_classes, strict=strict))
    return trial, next(filter(None, faults), None)


def _no_tensor(name: str, given: Any) -> BatchError:
    kind = type(given).__name__
    of = f" of {given.dtype}" if hasattr(given, "dtype") else ""
    dtype = ", dtype=torch.float32" if name == "X" else ""
    return BatchError("wrong dtype", f"{name} as a tensor", f"{kind}{of}", f"torch.as_tensor({name}{dtype})")
