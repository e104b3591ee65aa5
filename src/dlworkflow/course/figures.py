"""The notes' helper functions that draw: the library's figures, opened by pyplot where a script has loaded it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from dlworkflow import plotting
from dlworkflow.course.helpers import task_of_outputs
from dlworkflow.course.pyplot import current_axes, on_pyplot
from dlworkflow.data.images.dataset import load_image
from dlworkflow.errors import DlwError
from dlworkflow.plotting.dataset import MOST_RANDOM
from dlworkflow.plotting.notebook import Figures
from dlworkflow.plotting.points import Palette
from dlworkflow.plotting.style import new_figure, settle

plot_accuracy_bars = on_pyplot(plotting.plot_accuracy_bars)
plot_decision_regions = on_pyplot(plotting.plot_decision_regions)
plot_loss_curves = on_pyplot(plotting.plot_loss_curves)
plot_predicted_images = on_pyplot(plotting.plot_predicted_images)
plot_run_curves = on_pyplot(plotting.plot_run_curves)


@on_pyplot
def plot_predictions(
    train_data: Any = None,
    train_labels: Any = None,
    test_data: Any = None,
    test_labels: Any = None,
    predictions: Any = None,
    *,
    ax: Axes | None = None,
) -> Figure:
    """Draw a regression's training points blue, test points green and, where given, predictions for the test data red.

    Each is (n,) or (n, 1); opens a new figure, or draws on `ax`. The notes' function takes the first four from the
    variables of the notebook, which an imported one cannot see: DlwError is raised where one is missing, and for data
    of more than one feature, pairs of different lengths, and no point at all.
    """
    given = {"train_data": train_data, "train_labels": train_labels, "test_data": test_data, "test_labels": test_labels}
    if missing := [name for name, values in given.items() if values is None]:
        raise DlwError(
            f"plot_predictions needs {', '.join(missing)}: an imported function cannot see the variables of a notebook;"
            " pass them: plot_predictions(train_data=X_train, train_labels=y_train, test_data=X_test,"
            " test_labels=y_test, predictions=y_preds)"
        )
    return plotting.plot_predictions(**given, predictions=predictions, ax=ax)


@on_pyplot
def plot_decision_boundary(
    model: nn.Module, X: Any, y: Any, *, palette: Palette = None, ax: Axes | None = None
) -> Figure:
    """Draw where a model of points in the plane changes its mind, with the points (n, 2) and their labels (n,).

    Both are tensors or arrays. Two classes where the model gives one number a point, else as many as it gives numbers;
    see `task_of_outputs`. `palette` is "notes" for the notes' colours (class 0 red, 1 blue), a list of colours, or a
    colormap of matplotlib. Draws on `ax`, else on pyplot's current axes where a figure is open, whose title is kept,
    else on a new figure.
    """
    where = next(model.parameters()).device
    model.eval()

    def place(points: Any) -> Tensor:
        return torch.as_tensor(points, dtype=torch.float32, device=where)

    task, n_classes = task_of_outputs(model, place(X[:1]))

    def predict(points: Any) -> Any:
        with torch.inference_mode():
            logits = model(place(points)).cpu()
        return task.probabilities(logits).argmax(dim=1).numpy()

    classes = [str(label) for label in range(n_classes)]
    return plotting.plot_decision_regions(
        {"points": (X, y)}, predict, classes, palette=palette, ax=current_axes() if ax is None else ax
    )


@on_pyplot
def plot_confusion_matrix(
    matrix: Any = None,
    classes: Sequence[str] | None = None,
    *,
    conf_mat: Any = None,
    class_names: Sequence[str] | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Any:
    """Draw a confusion matrix, (n, n) counts with a row per true and a column per predicted class; return the figure.

    Also takes mlxtend's call, `plot_confusion_matrix(conf_mat=matrix, class_names=names, figsize=(10, 7))`, and then
    returns its pair of figure and axes. `figsize` is in inches; without names a class has its number. Opens a new
    figure, or draws on `ax`. Raises DlwError for a matrix that is not square, has no class, or has another number of
    classes than there are names, and where none is given.
    """
    counts, names = matrix if conf_mat is None else conf_mat, classes if class_names is None else class_names
    if counts is None:
        raise DlwError("plot_confusion_matrix needs a confusion matrix: matrix, or conf_mat as mlxtend calls it")
    names = [str(label) for label in range(len(counts))] if names is None else names
    if figsize is not None and ax is None:
        ax = new_figure(*figsize).subplots()
    figure = settle(plotting.plot_confusion_matrix(counts, names, ax=ax))
    return figure if conf_mat is None else (figure, figure.axes[0] if ax is None else ax)


@on_pyplot
def display_random_images(
    dataset: Any,
    classes: Sequence[str] | None = None,
    n: int = 10,
    display_shape: bool = True,
    seed: int | None = None,
) -> Figure:
    """Draw random images of a data set in a new figure, each with its class and its shape (h, w, c).

    See `dlworkflow.plotting.display_random_images`. Prints a line where `n` is more than the ten that are drawn.
    """
    if n > MOST_RANDOM:
        print(f"n is {MOST_RANDOM} at most, not {n}: drawing {MOST_RANDOM} images without shapes.")
    return plotting.display_random_images(dataset, classes, n, display_shape, seed)


@on_pyplot
def plot_transformed_images(
    image_paths: Sequence[str | os.PathLike[str]],
    transform: Callable[[Any], Any],
    n: int = 3,
    seed: int | None = 42,
) -> Figures:
    """Draw n random image files, each in a new figure beside the output of `transform` (a tensor (c, h, w)).

    Raises DlwError where there is no path.
    """
    if not len(image_paths):
        raise DlwError("image_paths: no images to draw: it is empty")
    figures = Figures()
    for path in random.Random(seed).sample(list(image_paths), min(n, len(image_paths))):
        image = load_image(path)
        figures.append(plotting.plot_image_pairs([image], [transform(image)], [Path(path).parent.stem]))
    return figures
