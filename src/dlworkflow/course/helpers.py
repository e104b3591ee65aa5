"""The notes' helper functions that score, predict and print: thin coats on the library."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dlworkflow.engine.arguments import place
from dlworkflow.engine.batch_check import explained_errors
from dlworkflow.engine.loop import Batch, Device, test_step
from dlworkflow.engine.tasks import LossFn, Task, get_task, outputs_of
from dlworkflow.errors import DataError
from dlworkflow.metrics.functions import accuracy_fn as percent_right


def eval_model(
    model: nn.Module,
    data_loader: Iterable[Batch],
    loss_fn: LossFn,
    accuracy_fn: Any = None,
    device: Device | None = None,
) -> dict[str, Any]:
    """Score a model as the notes do: {"model_name", "model_loss", "model_acc"}, accuracy in percent.

    Both are means over batches, so a short last batch weighs as much as a full one; `evaluate` does not do that.
    """
    scores = test_step(model, data_loader, loss_fn, device, accuracy_fn=accuracy_fn or percent_right, averaging="batch")
    return {"model_name": type(model).__name__, "model_loss": scores.loss, "model_acc": scores.acc}


def make_predictions(
    model: nn.Module, data: Iterable[Tensor], device: Device | None = None, *, task: Task | str | None = None
) -> Tensor:
    """Return the class probabilities (n, classes) of samples (*in_shape), on the CPU.

    Of a model that gives one number a sample these are (n, 2), the sigmoid of it in the second column, unless `task` is
    another; see `task_of_outputs`. Raises ValueError for no samples, DataError for what are no
    tensors, and BatchError for one that the model cannot take.
    """
    samples = list(data)
    if not samples:
        raise ValueError("no samples to predict")
    if not all(isinstance(sample, Tensor) for sample in samples):
        raise DataError(
            "data: must give inputs alone, as tensors, not pairs with labels; pass [image for image, label in dataset]"
        )
    where = place(model, device)
    model.eval()
    with explained_errors(model) as keep:
        known, _ = task_of_outputs(model, keep(samples[0].unsqueeze(0).to(where))[0], task)
        with torch.inference_mode():
            outputs = [model(keep(sample.unsqueeze(0).to(where))[0]).cpu() for sample in samples]
    return known.probabilities(torch.stack([output.squeeze(0) for output in outputs]))


def task_of_outputs(model: nn.Module, X: Tensor, task: Task | str | None = None) -> tuple[Task, int]:
    """Return the task of a model and its number of classes, where nothing but its outputs is known.

    One number for the one sample X (1, *in_shape) means two classes, several as many. The operation that makes them
    shows whether they are raw scores or probabilities; see `outputs_of`.
    """
    outputs, given = outputs_of(model, X)
    width = given.numel()
    chosen = get_task(task if task is not None else "binary" if width == 1 else "multiclass")
    return replace(chosen, outputs=outputs), max(2, width)


def print_train_time(start: float, end: float, device: Device | None = None) -> float:
    """Print and return the seconds between two readings of `timeit.default_timer`."""
    total = end - start
    print(f"Train time on {device}: {total:.3f} seconds")
    return total


def walk_through_dir(dir_path: str | os.PathLike[str]) -> None:
    """Print how many folders and files each folder below `dir_path` holds."""
    for folder, below, files in os.walk(dir_path):
        below.sort()
        print(f"There are {len(below)} directories and {len(files)} images in '{folder}'.")
