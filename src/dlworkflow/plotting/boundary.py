"""The decision regions of a model on data of two features, binary or multiclass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from dlworkflow.errors import DlwError
from dlworkflow.plotting.points import (
    MOST_NAMED,
    Palette,
    check_parts,
    class_colours,
    draw_points,
    frame,
    limits,
    name_classes,
)
from dlworkflow.plotting.style import as_array, axes_for, fit, new_figure, settle


def plot_decision_regions(
    parts: Mapping[str, tuple[Any, Any]],
    predict: Callable[[np.ndarray], Any],
    classes: Sequence[str],
    *,
    resolution: int = 200,
    palette: Palette = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw where a model answers which class, one panel a split with its points; wrong ones have a black rim.

    `parts` maps a split to X (n, 2) and y (n,), class numbers from 0. `predict` takes (n, 2) float32 and returns (n,)
    class numbers; it is asked about `resolution` x `resolution` places and about each split. A single split is drawn
    on `ax` where that is given; a title of these axes is kept. `palette` are the colours of the classes, see
    `class_colours`. Raises DlwError for data that is not 2-D, for no point, for too few colours, and for predictions
    that are no class numbers.
    """
    checked, names = check_parts(parts, classes)
    colours = class_colours(len(names), palette)
    if ax is not None and len(checked) > 1:
        raise DlwError(f"ax takes one split, not {len(checked)}: draw each on axes of its own, or leave ax out")
    x_range, y_range = limits(checked)
    regions = _ask_grid(predict, x_range, y_range, resolution, len(names))
    if len(checked) == 1:
        figure, only, is_new = axes_for(ax, 5.4, 5.6)
        axes = [only]
    else:
        figure, is_new = new_figure(4.7 * len(checked) + 0.3, 5.4), True
        axes = list(figure.subplots(1, len(checked), sharex=True, sharey=True))
    look: dict[str, Any] = {"cmap": ListedColormap(1 - 0.36 * (1 - colours)), "vmin": -0.5, "vmax": len(names) - 0.5}
    for axis, (split, (X, y)) in zip(axes, checked.items(), strict=True):
        axis.imshow(
            regions, extent=(*x_range, *y_range), origin="lower", aspect="auto", interpolation="nearest", **look
        )
        wrong = _ask(predict, X, len(names)) != y
        draw_points(axis, (X, y), colours, wrong=wrong)
        frame(axis, x_range, y_range)
        if is_new or not axis.get_title():
            axis.set_title(_heading(split, wrong), fontsize=11)
        if is_new:  # the ranges of somebody else's axes are not those of their neighbours
            axis.label_outer()
    name_classes(figure, axes, names, colours, below=is_new, wrong=len(names) <= MOST_NAMED)
    return settle(figure) if is_new else figure


def _ask_grid(
    predict: Callable[[np.ndarray], Any],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    resolution: int,
    n_classes: int,
) -> np.ndarray:
    """Return the class number at the middle of each cell: (resolution, resolution), the first row lowest."""
    if resolution < 2:
        raise DlwError(f"resolution is at least 2, not {resolution}")
    middles = (np.arange(resolution) + 0.5) / resolution
    xs = x_range[0] + middles * (x_range[1] - x_range[0])
    ys = y_range[0] + middles * (y_range[1] - y_range[0])
    places = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    return _ask(predict, places, n_classes).reshape(resolution, resolution)


def _ask(predict: Callable[[np.ndarray], Any], X: np.ndarray, n_classes: int) -> np.ndarray:
    if not len(X):
        return np.zeros(0, dtype=int)
    answers = as_array(predict(X.astype(np.float32)))
    labels = answers.reshape(-1)
    if len(labels) != len(X):
        raise DlwError(f"predict returns a class number for each of {len(X)} points, (n,); it returned {answers.shape}")
    whole = labels.astype(int)
    if (whole != labels).any() or whole.min() < 0 or whole.max() >= n_classes:
        raise DlwError(
            f"predict returns class numbers from 0 to {n_classes - 1}; it returned {labels.min()} to {labels.max()}"
        )
    return whole


def _heading(split: str, wrong: np.ndarray) -> str:
    if not len(wrong):
        return f"{fit(split, 2.0, 11)}: no points"
    right = len(wrong) - int(wrong.sum())
    return f"{fit(split, 1.4, 11)}: {right:,} of {len(wrong):,} right ({100 * right / len(wrong):.1f} %)"
