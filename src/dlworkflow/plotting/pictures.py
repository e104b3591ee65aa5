"""Figures of pictures and what a model said of them: predictions, rights and wrongs, worst errors, probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dlworkflow.errors import DlwError
from dlworkflow.plotting.grid import CELL, MOST_PICTURES, TITLE, Layout, draw_grid, show_picture
from dlworkflow.plotting.style import BAD, BLUE, GOOD, GREY, as_array, fit, name_places, new_figure, tidy

MOST_BARS = 10
__all__ = [
    "MOST_PICTURES",
    "plot_predicted_images",
    "plot_prediction_grid",
    "plot_probability_bars",
    "plot_worst_errors",
]


def plot_predicted_images(
    pictures: Sequence[Any], titles: Sequence[str], *, names: Sequence[str] = (), layout: Layout = None
) -> Figure:
    """Draw pictures in a grid, each with its title, at most 25 of them.

    A picture is (h, w), (c, h, w) or (h, w, c), or None for one that could not be read; `layout` says where its
    channels are ("chw" or "hwc") where its shape leaves that open. `names` stand below the
    pictures. Raises DlwError when there is none.
    """
    return draw_grid(pictures, titles, names=names, layout=layout)


def plot_prediction_grid(
    pictures: Sequence[Any],
    truths: Sequence[str],
    predictions: Sequence[str],
    probabilities: Sequence[float] | None = None,
    *,
    names: Sequence[str] = (),
    layout: Layout = None,
) -> Figure:
    """Draw pictures with the predicted and the true class: green with a tick where right, red with a cross where wrong.

    `truths` and `predictions` are class names, `probabilities` those of the predicted class in [0, 1]; at most 25
    pictures are drawn. Raises DlwError for no picture and for lists of different lengths.
    """
    _check_lengths(pictures, truths=truths, predictions=predictions, probabilities=probabilities)
    right = [str(truth) == str(said) for truth, said in zip(truths, predictions, strict=True)]
    titles = [
        _verdict(truths[i], predictions[i], None if probabilities is None else float(probabilities[i]))
        for i in range(len(pictures))
    ]
    colours = [GOOD if is_right else BAD for is_right in right]
    return draw_grid(pictures, titles, colours=colours, names=names, layout=layout)


def plot_worst_errors(
    pictures: Sequence[Any],
    truths: Sequence[str],
    predictions: Sequence[str],
    probabilities: Sequence[float],
    losses: Sequence[float],
    *,
    names: Sequence[str] = (),
    layout: Layout = None,
) -> Figure:
    """Draw the wrongly predicted pictures, largest loss first, at most 25; right ones among them are left out.

    Arguments as in `plot_prediction_grid`; `losses` are those of each picture, in the loss function's units. Raises
    DlwError for no picture, for lists of different lengths, and when every prediction is right.
    """
    _check_lengths(pictures, truths=truths, predictions=predictions, probabilities=probabilities, losses=losses)
    worth = np.nan_to_num(as_array(losses).astype(float), nan=np.inf)
    order = [int(i) for i in np.argsort(-worth, kind="stable") if str(truths[i]) != str(predictions[i])]
    if len(pictures) and not order:
        raise DlwError("no errors to draw: every prediction is right")
    shown = order[:MOST_PICTURES]
    titles = [
        f"{_verdict(truths[i], predictions[i], float(probabilities[i]))}\nLoss: {float(losses[i]):.3f}" for i in shown
    ]
    note = f"the {len(shown)} largest losses of {len(order)} errors" if len(order) > len(shown) else ""
    return draw_grid(
        [pictures[i] for i in shown],
        titles,
        colours=[BAD] * len(shown),
        names=[names[i] for i in shown] if names else (),
        note=note,
        layout=layout,
    )


def plot_probability_bars(
    picture: Any, probabilities: Mapping[str, float], title: str, *, layout: Layout = None
) -> Figure:
    """Draw a picture below its title, and beside it a bar a class, most probable first.

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
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    show_picture(left, picture, layout)
    left.set_title(fit(title, 2.7, TITLE + 1), fontsize=TITLE + 1, color=BAD if picture is None else "black")
    places = np.arange(len(ranked))
    percents = [100 * value for _, value in ranked]
    others = len(probabilities) > MOST_BARS
    colours = [BLUE, *([GREY] * (len(ranked) - 1))]
    bars = right.barh(places, percents, color=colours, height=0.7)
    if others:
        bars[-1].set(facecolor="white", edgecolor=GREY, hatch="////")
    for place, percent in zip(places, percents, strict=True):
        right.annotate(
            f"{percent:.1f} %", (percent, place), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
    name_places(right.yaxis, [name for name, _ in ranked], room=0.3, size=9, longest=1.5)
    right.invert_yaxis()
    right.set(xlim=(0, 122), xticks=range(0, 101, 25), xlabel="probability (%)")
    tidy(right, grid="x")
    right.tick_params(axis="y", length=0)
    return figure


def _verdict(truth: str, said: str, probability: float | None) -> str:
    """Say what was predicted and what is true, in lines short enough to stand above a picture."""
    sign = "✓" if str(truth) == str(said) else "✗"
    tail = "" if probability is None else f" | Prob: {probability:.3f}"
    room = CELL - 0.2 - (1.1 if tail else 0.75) - (0.15 if tail else 0)
    return f"{sign} Pred: {fit(said, room, TITLE)}{tail}\nTruth: {fit(truth, CELL - 0.75, TITLE)}".replace(r"\$", "$")


def _check_lengths(pictures: Sequence[Any], **lists: Sequence[Any] | None) -> None:
    for name, values in lists.items():
        if values is not None and len(values) != len(pictures):
            raise DlwError(f"{len(pictures)} pictures and {len(values)} {name}: each picture needs its own")
