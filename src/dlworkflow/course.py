"""The notes' helper functions that print, or that give figures as the notes print them: thin coats on the library."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dlworkflow.engine import Batch, Device, test_step
from dlworkflow.metrics import accuracy_fn as percent_right
from dlworkflow.tasks import LossFn, get_task


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
    model: nn.Module, data: Iterable[Tensor], device: Device | None = None, *, task: str = "multiclass"
) -> Tensor:
    """Return the class probabilities (n, classes) of samples (*in_shape), on the CPU. Raises ValueError for none."""
    samples = list(data)
    if not samples:
        raise ValueError("no samples to predict")
    where = torch.device(device) if device is not None else next(model.parameters()).device
    model.to(where).eval()
    with torch.inference_mode():
        logits = torch.cat([model(sample.unsqueeze(0).to(where)).cpu() for sample in samples])
    return get_task(task).probabilities(logits)


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
