"""Figures of an evaluation with several labels per sample, or with numbers: curves of classes, predicted over true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dlworkflow.errors import DlwError
from dlworkflow.plotting.style import BLUE, COLOURS, GREY, as_array, fit, legend_below, new_figure, tidy

MOST_CURVES = 10


def plot_precision_recall(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    points: Mapping[str, tuple[float, float]],
    areas: Mapping[str, float],
) -> Figure:
    """Draw precision over recall, a curve per class, with a dot where its threshold is.

    `curves` are {class: (recalls, precisions)}, `points` {class: (recall, precision)}, all in [0, 1] and drawn in
    percent; `areas` are the average precisions. Of more than ten classes, those of the lowest are drawn. Raises
    DlwError when there is no curve.
    """
    if not curves:
        raise DlwError("no classes to draw: no sample has a label")
    shown = sorted(curves, key=lambda name: areas[name])[:MOST_CURVES]
    figure = new_figure(6.0, 5.6)
    axis = figure.subplots()
    lines = []
    for name, colour in zip(shown, COLOURS * 2, strict=False):
        recalls, precisions = (100 * as_array(values).astype(float) for values in curves[name])
        [line] = axis.step(recalls, precisions, where="post", color=colour, linewidth=1.8)
        recall, precision = points[name]
        axis.plot(100 * recall, 100 * precision, "o", color=colour, markersize=7, markeredgecolor="white")
        lines.append(line)
    axis.set(xlim=(0, 101), ylim=(0, 104), xlabel="recall (%)", ylabel="precision (%)")
    few = f"the {len(shown)} of {len(curves)} classes with the lowest\n" if len(curves) > len(shown) else ""
    axis.set_title(f"{few}average precision (below); dots: thresholds", fontsize=10)
    tidy(axis)
    legend_below(figure, lines, [f"{fit(name, 1.6, 9)}: {100 * areas[name]:.1f} %" for name in shown])
    return figure


def plot_predicted_values(
    truths: Any, predictions: Any, *, mae: float | None = None, r2: float | None = None
) -> Figure:
    """Draw predicted over true numbers, (n,) each, a dot per sample; on the diagonal they are equal.

    `mae` and `r2` are written in the title. Raises DlwError for no sample and for different lengths.
    """
    true, predicted = (as_array(values).astype(float).ravel() for values in (truths, predictions))
    if len(true) != len(predicted) or not len(true):
        raise DlwError(f"{len(true)} true and {len(predicted)} predicted numbers: each sample has both")
    figure = new_figure(5.6, 5.4)
    axis = figure.subplots()
    known = np.concatenate([true, predicted[np.isfinite(predicted)]])
    low, high = float(known.min()), float(known.max())
    room = 0.05 * (high - low or 1.0)
    ends = (low - room, high + room)
    axis.plot(ends, ends, color=GREY, linestyle="--", linewidth=1.2)
    axis.scatter(true, predicted, s=24, color=BLUE, alpha=0.7, linewidths=0)
    axis.set(xlim=ends, ylim=ends, xlabel="true value", ylabel="predicted value")
    axis.set_aspect("equal")
    scores = [f"mean absolute error {mae:.4g}"] if mae is not None else []
    scores += [f"R² {r2:.3f}"] if r2 is not None else []
    axis.set_title(", ".join([f"{len(true):,} samples", *scores]), fontsize=10)
    tidy(axis)
    return figure
