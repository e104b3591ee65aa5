"""Why labels do not fit a model's outputs and a loss: length, device, shape, dtype, range. Knows no inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from dlworkflow.engine.batch_check.trial import Trial, not_finite, place, short, wrong_shape
from dlworkflow.engine.tasks import LossFn, Task, get_task
from dlworkflow.errors import BatchError, ConfigError

_ZERO_OR_ONE = ("binary", "multilabel")
"""Tasks whose labels are 0 and 1."""


def output_faults(
    trial: Trial,
    X: Tensor,
    y: Tensor | None,
    loss_fn: LossFn | None,
    task: Task | None,
    *,
    n_classes: int | None = None,
    strict: bool = False,
) -> Iterator[BatchError | None]:
    """Yield errors of the outputs and of y; `strict` adds labels that the loss takes and should not be given.

    What labels must be is for the loss function to say, and for `task` only without one.
    """
    logits = trial.output
    if loss_fn is not None and (task is None or task.name != "multilabel"):  # its losses are those of a binary task
        task = task_of(loss_fn)
    name = task.name if task is not None else ""
    if n_classes is not None and name != "regression":
        yield _width_fault(logits, task, n_classes, trial)
    if y is None:
        return
    yield _length_fault(X, y)
    if y.device != logits.device:
        where = place(logits.device)
        yield BatchError("wrong device", f"y on {where}, as the outputs", f"y on {place(y.device)}", f'y.to("{where}")')
    if strict:
        yield not_finite("y", y)
    if name == "multiclass":
        yield _class_shape_fault(logits, y)
        yield _class_range_fault(logits, y, trial, getattr(loss_fn, "ignore_index", -100))
    elif task is not None:
        yield _target_fault(logits, X, y, task, trial, strict)
    if task is not None and logits.device.type != "meta":
        yield _range_fault(logits, task, strict)


def task_of(loss_fn: LossFn | None) -> Task | None:
    """Return the task that a loss function implies, or None where it implies none."""
    try:
        return get_task(None, loss_fn) if loss_fn is not None else None
    except ConfigError:
        return None


def _width_fault(logits: Tensor, task: Task | None, n_classes: int, trial: Trial) -> BatchError | None:
    gives = logits.shape[1] if logits.ndim > 1 else 1
    wanted = 1 if task is not None and task.name == "binary" and n_classes == 2 else n_classes
    if gives == wanted or (task is None and (gives, n_classes) == (1, 2)):
        return None
    fix = trial.with_outputs(wanted)
    return BatchError("wrong shape", f"{wanted} output(s) a sample for {n_classes} classes", f"{gives}", fix)


def _length_fault(X: Tensor, y: Tensor) -> BatchError | None:
    if X.ndim and y.ndim and len(X) != len(y):
        expected = f"{len(X)} labels for {len(X)} samples"
        return BatchError("wrong shape", expected, f"{len(y)}", "take X and y from the same rows: X[rows], y[rows]")
    return wrong_shape("labels (n,)", y, "y.unsqueeze(0)") if X.ndim and not y.ndim else None


def _class_shape_fault(logits: Tensor, y: Tensor) -> BatchError | None:
    """Find scores that are not (n, classes), and labels that are neither (n,) nor probabilities (n, classes)."""
    if logits.ndim < 2:
        return BatchError("wrong shape", "raw scores (n, classes)", f"{tuple(logits.shape)}", "leave out squeeze()")
    wanted = (len(logits), *logits.shape[2:])
    if y.shape == logits.shape:
        if y.is_floating_point():
            return None
        return BatchError(
            "wrong dtype", "class numbers, or probabilities of float32", f"{short(y.dtype)}", "y.argmax(dim=1)"
        )
    whole = y.dtype in (torch.int64, torch.uint8)
    if y.shape != wanted:
        fix = "y.squeeze(1)" if y.shape == (len(logits), 1, *logits.shape[2:]) else "y.argmax(dim=1)"
        return wrong_shape(f"labels {wanted}", y, fix if whole or "argmax" in fix else f"{fix}.long()")
    if whole:
        return None
    return BatchError("wrong dtype", "labels of int64 for a loss over classes", short(y.dtype), "y.long()")


def _class_range_fault(logits: Tensor, y: Tensor, trial: Trial, ignored: int) -> BatchError | None:
    n = logits.shape[1]
    if y.is_floating_point() or y.device.type == "meta":
        return None
    labels = y[y != ignored]
    outside = labels[(labels < 0) | (labels >= n)]
    if not len(outside):
        return None
    low, high = int(labels.min()), int(labels.max())
    if (low, high) == (1, n):
        fix = "y - 1"
    elif low < 0:
        fix = "X, y = X[y >= 0], y[y >= 0]"
    else:
        fix = f"{trial.with_outputs(high + 1)}, or other labels"
    return BatchError(
        "wrong labels",
        f"labels from 0 to {n - 1} for a model of {n} output(s)",
        f"{int(outside[0])} ({len(outside)} of {len(labels)} lie outside)",
        fix,
    )


def _range_fault(logits: Tensor, task: Task, strict: bool) -> BatchError | None:
    """Find raw scores given to a loss over probabilities, or over their logs, which torch lets pass."""
    if task.outputs == "probabilities" and len(wrong := logits[(logits < 0) | (logits > 1)]):
        fix = "end the model with nn.Sigmoid(), or take nn.BCEWithLogitsLoss()"
        return BatchError("wrong outputs", "probabilities from 0 to 1 for this loss", f"{float(wrong[0]):g}", fix)
    if strict and task.outputs == "log_probabilities" and len(wrong := logits[logits > 0]):
        fix = "end the model with nn.LogSoftmax(dim=1), or take nn.CrossEntropyLoss()"
        return BatchError("wrong outputs", "logs of probabilities for this loss", f"{float(wrong[0]):g}", fix)
    return None


def _target_fault(logits: Tensor, X: Tensor, y: Tensor, task: Task, trial: Trial, strict: bool) -> BatchError | None:
    """Find what is wrong with labels 0 and 1, or with numbers to predict."""
    if logits.numel() != y.numel():
        fix = trial.with_outputs(math.prod(y.shape[1:]))
        if task.name == "binary":
            fix += ", or nn.CrossEntropyLoss() with y.long()"
        return BatchError("wrong shape", f"one output a label, {tuple(y.shape)}", f"{tuple(logits.shape)}", fix)
    if not y.is_floating_point() and (task.name in _ZERO_OR_ONE or y.dtype == torch.bool or strict):
        return BatchError("wrong dtype", "labels of float32 for this loss", short(y.dtype), "y.float()")
    if strict and task.name in _ZERO_OR_ONE and y.device.type != "meta" and (((y < 0) | (y > 1)).any()):
        value = float(y[(y < 0) | (y > 1)][0])
        fix = "y - 1" if float(y.min()) == 1 else "name the two classes 0 and 1"
        return BatchError("wrong labels", "labels 0 and 1", f"{value:g}", fix)
    return _alignment_fault(logits, X, y, task) if strict and logits.shape != y.shape else None


def _alignment_fault(logits: Tensor, X: Tensor, y: Tensor, task: Task) -> BatchError:
    """Return the error of labels (n,) and outputs (n, 1): torch's binary losses refuse them, others broadcast."""
    outputs, labels = tuple(logits.shape), tuple(y.shape)
    if outputs == (*labels, 1):
        fix = f"y.unsqueeze({y.ndim}), or model(X).squeeze({y.ndim})"
    elif labels == (*outputs, 1):
        fix = "X.unsqueeze(1)" if X.shape == logits.shape else f"y.squeeze({logits.ndim})"
    else:
        fix = f"y.reshape({outputs})"
    broadcast = task.name == "regression" and "squeeze" in fix
    got = f"{labels}, and the loss would compare every output with every label" if broadcast else f"{labels}"
    return BatchError("wrong shape", f"labels {outputs}, as the outputs", got, fix)
