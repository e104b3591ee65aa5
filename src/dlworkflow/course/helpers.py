"""The notes' helper functions that print, or that give figures as the notes print them: thin coats on the library."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from dlworkflow.data.images.dataset import load_image
from dlworkflow.data.images.pixels import to_uint8
from dlworkflow.engine.batch_check import explained_errors
from dlworkflow.engine.loop import Batch, Device, test_step
from dlworkflow.engine.tasks import LossFn, Task, get_task, outputs_of
from dlworkflow.metrics.functions import accuracy_fn as percent_right
from dlworkflow.plotting import plot_decision_regions, plot_image_pairs, plot_probability_bars


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
    another; see `task_of_outputs`. Raises ValueError for no samples, and BatchError for one that the model cannot take.
    """
    samples = list(data)
    if not samples:
        raise ValueError("no samples to predict")
    where = torch.device(device) if device is not None else next(model.parameters()).device
    model.to(where).eval()
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


def pred_and_plot_image(
    model: nn.Module,
    image_path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    transform: Callable[[Any], Tensor] | None = None,
    device: Device | None = None,
) -> Figure:
    """Predict one image file and draw it with the title `Pred: pizza | Prob: 0.374`; return the figure.

    The image is read as float32 (3, h, w) in [0, 1], as the notes do, and `transform` takes it from there (a
    `Resize`, say); without one it is used as it is.
    """
    image = to_uint8(load_image(image_path)).to(torch.float32) / 255
    inputs = transform(image) if transform is not None else image
    probabilities = make_predictions(model, [inputs], device)[0]
    label = int(probabilities.argmax())
    names = list(class_names) if class_names is not None else [str(i) for i in range(len(probabilities))]
    return plot_probability_bars(
        inputs.clamp(0, 1).numpy(),
        dict(zip(names, probabilities.tolist(), strict=True)),
        f"Pred: {names[label]} | Prob: {probabilities[label]:.3f}",
        layout="chw",
    )


def plot_decision_boundary(model: nn.Module, X: Tensor, y: Tensor, *, ax: Axes | None = None) -> Figure:
    """Draw where a model of points in the plane changes its mind, with the points (n, 2) and their labels (n,).

    Two classes where the model gives one number a point, else as many as it gives numbers; see `task_of_outputs`.
    """
    where = next(model.parameters()).device
    model.eval()
    task, n_classes = task_of_outputs(model, X[:1].to(where))

    def predict(points: Any) -> Any:
        with torch.inference_mode():
            logits = model(torch.as_tensor(points, dtype=torch.float32).to(where)).cpu()
        return task.probabilities(logits).argmax(dim=1).numpy()

    classes = [str(label) for label in range(n_classes)]
    return plot_decision_regions({"points": (X.cpu().numpy(), y.cpu().numpy())}, predict, classes, ax=ax)


def plot_transformed_images(
    image_paths: Sequence[str | os.PathLike[str]], transform: Callable[[Any], Any], n: int = 3, seed: int = 42
) -> Figure:
    """Draw n random image files beside the output of `transform` for each (a tensor (c, h, w)); return the figure."""
    paths = random.Random(seed).sample(list(image_paths), min(n, len(image_paths)))
    originals = [load_image(path) for path in paths]
    return plot_image_pairs(originals, [transform(image) for image in originals], [Path(p).parent.stem for p in paths])


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
