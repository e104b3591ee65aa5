"""Figures of data before a model has seen it: a line's points, classes of points, images, class counts."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlworkflow.errors import DlwError
from dlworkflow.files.text import printable
from dlworkflow.plotting.grid import TITLE, Layout, as_image, draw_grid, show_image
from dlworkflow.plotting.points import check_parts, class_colours, draw_points, frame, limits, name_classes
from dlworkflow.plotting.style import (
    BLUE,
    COLOURS,
    GREEN,
    RED,
    SPLIT_COLOURS,
    as_array,
    axes_for,
    fit,
    legend_below,
    name_places,
    new_figure,
    settle,
    tidy,
    visible,
)

MOST_RANDOM = 10  # the notes' limit: above it shapes are left out too
MOST_NAMED = 140  # classes that the balance names one by one
COLUMN = 35  # classes below each other before a new column begins


def plot_predictions(
    train_data: Any,
    train_labels: Any,
    test_data: Any,
    test_labels: Any,
    predictions: Any = None,
    *,
    ax: Axes | None = None,
) -> Figure:
    """Draw a regression's training points blue, test points green and, where given, predictions for the test data red.

    Each is (n,) or (n, 1). Draws on `ax`, else on a new figure.
    Raises DlwError for data of more than one feature, pairs of different lengths, and no point at all.
    """
    parts = {
        "Training data": (_column("train_data", train_data), _column("train_labels", train_labels)),
        "Testing data": (_column("test_data", test_data), _column("test_labels", test_labels)),
    }
    if predictions is not None:
        parts["Predictions"] = (_column("test_data", test_data), _column("predictions", predictions))
    for name, (x, y) in parts.items():
        if len(x) != len(y):
            raise DlwError(f"{name.lower()}: {len(x)} inputs and {len(y)} values")
    if not any(len(x) for x, _ in parts.values()):
        raise DlwError("no points to draw: training and test data are empty")
    figure, axis, _ = axes_for(ax, 7, 4.6)
    for (name, (x, y)), colour, marker in zip(parts.items(), (BLUE, GREEN, RED), "osX", strict=False):
        axis.scatter(x, y, s=26, color=colour, marker=marker, linewidths=0, label=name)
    axis.set(xlabel="input X", ylabel="label y")
    tidy(axis)
    axis.legend(fontsize=9)
    return figure


def plot_points(parts: Mapping[str, tuple[Any, Any]], classes: Sequence[str]) -> Figure:
    """Draw points of two features in the colours and shapes of their classes, one panel a split, on equal ranges.

    `parts` maps a split to X (n, 2) and y (n,), class numbers from 0. Raises DlwError for data that is not 2-D, labels
    without a class, and no point at all.
    """
    checked, names = check_parts(parts, classes)
    colours = class_colours(len(names))
    figure = new_figure(4.7 * len(checked) + 0.7, 5.4)
    axes = list(figure.subplots(1, len(checked), sharex=True, sharey=True, squeeze=False)[0])
    ranges = limits(checked)
    for axis, (split, part) in zip(axes, checked.items(), strict=True):
        draw_points(axis, part, colours)
        frame(axis, *ranges)
        axis.set_title(f"{fit(split, 2.0, 11)}: {len(part[1]):,} points", fontsize=11)
        axis.label_outer()
    name_classes(figure, axes, names, colours, below=True)
    return settle(figure)


def display_random_images(
    dataset: Any,
    classes: Sequence[str] | None = None,
    n: int = 10,
    display_shape: bool = True,
    seed: int | None = None,
    *,
    layout: Layout = None,
) -> Figure:
    """Draw random images of a data set, each with its class and its shape (h, w, c).

    `dataset[i]` is (image, label); an image is (c, h, w), (h, w) or (h, w, c), and `layout` is which ("chw" or
    "hwc") where its shape leaves that open. At most ten are drawn; for a larger `n` shapes are left out. The lot has a
    generator of its own: no other random number changes. Raises DlwError for an empty data set and for n below 1.
    """
    if n < 1:
        raise DlwError(f"n is the number of images, at least 1, not {n}")
    total = len(dataset)
    if not total:
        raise DlwError("no images to draw: the data set is empty")
    if n > MOST_RANDOM:
        n, display_shape = MOST_RANDOM, False
    chosen = random.Random(seed).sample(range(total), min(n, total))
    samples = [dataset[index] for index in chosen]
    images = [as_image(sample[0], layout) for sample in samples]
    titles = [f"class: {_class_name(sample[1], classes)}" for sample in samples]
    if display_shape:
        titles = [f"{title}\nshape: {image.shape}" for title, image in zip(titles, images, strict=True)]
    note = f"{len(chosen)} of {total:,} images" + ("" if seed is None else f", seed {seed}")
    return draw_grid(images, titles, columns=5 if len(chosen) > 4 else len(chosen), note=note, layout="hwc")


def plot_image_pairs(
    originals: Sequence[Any],
    transformed: Sequence[Any],
    titles: Sequence[str],
    *,
    layout: Layout = None,
    what: str = "class",
) -> Figure:
    """Draw each image beside what a transform made of it, one row per image, at most ten.

    `titles` are the images' classes, or `what` else is named. Raises DlwError for no image and for lists of different
    lengths.
    """
    if not len(originals):
        raise DlwError("no images to draw")
    if not len(originals) == len(transformed) == len(titles):
        raise DlwError(f"{len(originals)} originals, {len(transformed)} transformed, {len(titles)} titles: not pairs")
    n = min(len(originals), MOST_RANDOM)
    figure = new_figure(6.4, 3.2 * n, compressed=False)
    for index, row in enumerate(figure.subplots(n, 2, squeeze=False)):
        pair = {"Original": originals[index], "Transformed": transformed[index]}
        for axis, (kind, image) in zip(row, pair.items(), strict=True):
            show_image(axis, image, layout)
            axis.set_anchor("N")
            axis.set_title(f"{kind}: {fit(_pixels(image, layout), 1.9, TITLE)}", fontsize=TITLE)
        # an empty line over the right image keeps the two rows of titles level
        left, right = row
        left.set_title(f"{what}: {fit(titles[index], 2.3, TITLE)}\n{left.get_title()}", fontsize=TITLE)
        right.set_title(f" \n{right.get_title()}", fontsize=TITLE)
    if len(originals) > n:
        figure.supxlabel(f"the first {n} of {len(originals)} images", fontsize=8)
    return settle(figure)


def plot_class_balance(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw how many samples each class has in each split: a bar a class and split, in columns of 35 classes.

    `counts` maps a split to its classes and their numbers; a class that a split lacks counts 0. Above 140 classes they
    are lines instead, from the largest class to the smallest, which are named. Raises DlwError when there is no class.
    """
    splits = list(counts)
    classes = list(dict.fromkeys(str(name) for numbers in counts.values() for name in numbers))
    if not classes:
        raise DlwError("no classes to count")
    named = [{str(name): count for name, count in counts[split].items()} for split in splits]
    numbers = np.array([[each.get(name, 0) for name in classes] for each in named])
    if len(classes) > MOST_NAMED:
        return _plot_ranked_counts(splits, classes, numbers)
    columns = math.ceil(len(classes) / COLUMN)
    rows = math.ceil(len(classes) / columns)
    room = max(0.19, min(0.5, 0.14 * (len(splits) + 1), 10 / rows))
    height = max(room * rows, 0.8)
    figure = new_figure(6.4 if columns == 1 else 3.6 * columns, height + 1.2)
    axes = figure.subplots(1, columns, sharex=True, squeeze=False)[0]
    colours = _split_colours(splits)
    thick = 0.8 / len(splits)
    for column, axis in enumerate(axes):
        mine = slice(column * rows, (column + 1) * rows)
        names = classes[mine]
        places = np.arange(len(names))
        for index, split in enumerate(splits):
            offset = (index - (len(splits) - 1) / 2) * thick
            bars = axis.barh(
                places + offset, numbers[index, mine], thick, color=colours[index], label=visible(f"{split}")
            )
            if columns == 1 and len(names) <= 15:
                axis.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=7 if thick * room < 0.12 else 8)
        name_places(axis.yaxis, names, room=height / rows, size=8 if columns == 1 else 7, longest=1.5)
        axis.set(ylim=(rows - 0.4, -0.6), xlabel="number of samples", xlim=(0, 1.12 * max(numbers.max(), 1)))
        axis.xaxis.get_major_locator().set_params(nbins=4, integer=True)
        axis.tick_params(axis="y", length=0)
        tidy(axis, grid="x")
    totals = [f"{split}: {int(numbers[index].sum()):,}" for index, split in enumerate(splits)]
    legend_below(figure, [axes[0].containers[index] for index in range(len(splits))], totals)
    return figure


def _plot_ranked_counts(splits: Sequence[str], classes: Sequence[str], numbers: np.ndarray) -> Figure:
    """Draw each split's counts (splits, classes) from its largest class to its smallest, and name these two."""
    figure = new_figure(7.4, 4.2)
    axis = figure.subplots()
    ranks = np.arange(1, len(classes) + 1)
    lines, names = [], []
    for split, mine, colour in zip(splits, numbers, _split_colours(splits), strict=True):
        order = np.argsort(-mine, kind="stable")
        lines += axis.plot(ranks, mine[order], color=colour, linewidth=2)
        most, least = (f"{fit(classes[index], 1.2, 9)} ({mine[index]:,})" for index in (order[0], order[-1]))
        names.append(f"{fit(split, 0.8, 9)}: most {most}, fewest {least}")
    axis.set(
        xlabel=f"rank among {len(classes):,} classes, by count", ylabel="number of samples", xlim=(1, len(classes))
    )
    axis.set_ylim(0, 1.08 * max(numbers.max(), 1))
    tidy(axis)
    figure.legend(lines, names, loc="outside lower center", fontsize=9, frameon=False)
    return figure


def _column(name: str, values: Any) -> np.ndarray:
    array = as_array(values).astype(float)
    if array.ndim > 1 and array.size != len(array):
        raise DlwError(f"{name}: a line is drawn over one feature: its shape is {array.shape}, not (n,) or (n, 1)")
    return array.ravel()


def _class_name(label: Any, classes: Sequence[str] | None) -> str:
    if isinstance(label, str) or not classes:
        return printable(label if isinstance(label, str) else as_array(label))
    number = int(as_array(label))
    if not 0 <= number < len(classes):
        raise DlwError(f"label {number} is no class: there are {len(classes)} class names, counted from 0")
    return printable(classes[number])


def _pixels(image: Any, layout: Layout) -> str:
    if image is None:
        return "none"
    height, width = as_image(image, layout).shape[:2]
    return f"{width} × {height} pixels"


def _split_colours(splits: Sequence[str]) -> list[str]:
    spare = [colour for colour in COLOURS if colour not in SPLIT_COLOURS.values()]
    return [SPLIT_COLOURS.get(split) or spare[index % len(spare)] for index, split in enumerate(splits)]
