"""Figures of images and what a model predicted for them: right and wrong, largest losses, probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from dlworkflow.errors import DlwError
from dlworkflow.files.text import printable
from dlworkflow.plotting.grid import MOST_IMAGES, NAME, TITLE, Layout, draw_grid, show_image
from dlworkflow.plotting.style import BAD, BLUE, GOOD, GREY, as_array, fit, name_places, new_figure, settle, tidy

MOST_BARS = 10
WIDTHS = [1, 1.2]  # of an image and the bars beside it


def plot_predicted_images(
    images: Sequence[Any],
    titles: Sequence[str],
    *,
    names: Sequence[str] = (),
    layout: Layout = None,
    columns: int | None = None,
) -> Figure:
    """Draw images in a grid of `columns`, as square as it gets by default, each with its title, at most 25 of them.

    An image is (h, w), (c, h, w) or (h, w, c), or None for one that could not be read; `layout` is where its channels
    are ("chw" or "hwc") where its shape leaves that open. `names` are below the images. Raises DlwError for no image.
    """
    return draw_grid(images, titles, names=names, layout=layout, columns=columns)


def plot_prediction_grid(
    images: Sequence[Any],
    truths: Sequence[str],
    predictions: Sequence[str],
    probabilities: Sequence[float] | None = None,
    *,
    names: Sequence[str] = (),
    layout: Layout = None,
) -> Figure:
    """Draw images with the predicted and the true class: green with a tick where right, red with a cross where wrong.

    `truths` and `predictions` are class names, `probabilities` those of the predicted class in [0, 1]; at most 25
    images are drawn. Raises DlwError for no image and for lists of different lengths.
    """
    _check_lengths(images, truths=truths, predictions=predictions, probabilities=probabilities)
    known = [None] * len(images) if probabilities is None else probabilities
    titles = [_verdict(*each) for each in zip(truths, predictions, known, strict=True)]
    colours = [GOOD if str(truth) == str(answer) else BAD for truth, answer in zip(truths, predictions, strict=True)]
    return draw_grid(images, titles, colours=colours, names=names, layout=layout)


def plot_worst_errors(
    images: Sequence[Any],
    truths: Sequence[str],
    predictions: Sequence[str],
    probabilities: Sequence[float],
    losses: Sequence[float],
    *,
    names: Sequence[str] = (),
    layout: Layout = None,
) -> Figure:
    """Draw the wrongly predicted images, largest loss first, at most 25; right ones among them are left out.

    Arguments as in `plot_prediction_grid`; `losses` are those of each image, in the loss function's units. Raises
    DlwError for no image, for lists of different lengths, and when every prediction is right.
    """
    _check_lengths(images, truths=truths, predictions=predictions, probabilities=probabilities, losses=losses)
    worth = np.nan_to_num(as_array(losses).astype(float), nan=np.inf)
    order = [int(i) for i in np.argsort(-worth, kind="stable") if str(truths[i]) != str(predictions[i])]
    if len(images) and not order:
        raise DlwError("no errors to draw: every prediction is right")
    shown = order[:MOST_IMAGES]
    verdicts = [_verdict(truths[i], predictions[i], probabilities[i]) for i in shown]
    titles = [f"{verdict}\nLoss: {float(losses[i]):.3f}" for i, verdict in zip(shown, verdicts, strict=True)]
    note = f"the {len(shown)} largest losses of {len(order)} errors" if len(order) > len(shown) else ""
    return draw_grid(
        [images[i] for i in shown],
        titles,
        colours=[BAD] * len(shown),
        names=[names[i] for i in shown] if names else (),
        note=note,
        layout=layout,
    )


def plot_probability_bars(
    image: Any, probabilities: Mapping[str, float], title: str, *, layout: Layout = None
) -> Figure:
    """Draw an image below its title, and beside it one bar per class, most probable first.

    The probabilities are in [0, 1] and drawn in percent; beyond ten classes the rest share the last bar. Raises
    DlwError when there is no class.
    """
    if not probabilities:
        raise DlwError("no probabilities to draw")
    ranked = sorted(((str(name), float(value)) for name, value in probabilities.items()), key=lambda item: -item[1])
    if len(ranked) > MOST_BARS:
        rest = ranked[MOST_BARS - 1 :]
        ranked = [*ranked[: MOST_BARS - 1], (f"the other {len(rest)}", sum(value for _, value in rest))]
    height = max(2.9, 0.32 * len(ranked) + 1.0)
    figure = new_figure(7.6, height, compressed=False)
    left, right = figure.subplots(1, 2, width_ratios=WIDTHS)
    show_image(left, image, layout)
    left.set_title(fit(title, 2.7, TITLE + 1), fontsize=TITLE + 1, color=BAD if image is None else "black")
    bars = _draw_bars(right, ranked)
    if len(probabilities) > MOST_BARS:
        bars[-1].set(facecolor="white", edgecolor=GREY, hatch="////")
    return figure


def plot_prediction_bars(
    images: Sequence[Any],
    likeliest: Sequence[Sequence[tuple[str, float]]],
    titles: Sequence[str],
    *,
    names: Sequence[str] = (),
    layout: Layout = None,
) -> Figure:
    """Draw images in a grid, each below its title and beside the bars of its likeliest classes, at most 25 of them.

    `likeliest` are the (class, probability in [0, 1]) of each image, best first; at most ten have a bar, and an image
    that has none, such as None for one that could not be read, has no bars. `names` are below the images. Raises
    DlwError for no image and for lists of different lengths.
    """
    if len(images) == 0:
        raise DlwError("no images to draw")
    _check_lengths(images, likeliest=likeliest, titles=titles)
    n = min(len(images), MOST_IMAGES)
    columns = 1 if n <= 3 else 2 if n <= 8 else 3
    rows = math.ceil(n / columns)
    most = max(min(len(top), MOST_BARS) for top in likeliest[:n])
    figure = new_figure(7.0 * columns, max(2.6, 0.3 * most + 1.0) * rows, compressed=False)
    axes = figure.subplots(rows, 2 * columns, width_ratios=WIDTHS * columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for i, (left, right) in enumerate(zip(axes[: 2 * n : 2], axes[1 : 2 * n : 2], strict=True)):
        show_image(left, images[i], layout)
        title = fit(titles[i], 2.2, TITLE)
        left.set_title(title, fontsize=TITLE, color=BAD if images[i] is None else "black")
        if names:
            name = fit(names[i], 2.2, NAME)
            left.text(0.5, -0.02, name, ha="center", va="top", fontsize=NAME, transform=left.transAxes)
        if likeliest[i]:
            right.set_axis_on()
            _draw_bars(right, likeliest[i][:MOST_BARS])
    if len(images) > n:
        figure.supxlabel(f"the first {n} of {len(images)} images", fontsize=8)
    return settle(figure)


def _draw_bars(axis: Axes, ranked: Sequence[tuple[str, float]]) -> BarContainer:
    """Draw (class, probability) as horizontal bars in percent, the first on top and in colour."""
    percents = [100 * value for _, value in ranked]
    bars = axis.barh(range(len(ranked)), percents, color=[BLUE, *[GREY] * (len(ranked) - 1)], height=0.7)
    axis.bar_label(bars, [f"{percent:.1f} %" for percent in percents], padding=4, fontsize=8)
    name_places(axis.yaxis, [name for name, _ in ranked], room=0.3, size=9, longest=1.5)
    axis.invert_yaxis()
    axis.set(xlim=(0, 122), xticks=range(0, 101, 25), xlabel="probability (%)")
    tidy(axis, grid="x")
    axis.tick_params(axis="y", length=0)
    return bars


def _verdict(truth: str, answer: str, probability: float | None) -> str:
    """Return the predicted and the true class, a line each; `draw_grid` shortens what is too wide, in its middle."""
    sign = "✓" if str(truth) == str(answer) else "✗"
    tail = "" if probability is None else f" | Prob: {float(probability):.3f}"
    return f"{sign} Pred: {printable(answer)}{tail}\nTruth: {printable(truth)}"


def _check_lengths(images: Sequence[Any], **lists: Sequence[Any] | None) -> None:
    for name, values in lists.items():
        if values is not None and len(values) != len(images):
            raise DlwError(f"{len(images)} images and {len(values)} {name}: each image needs its own")
