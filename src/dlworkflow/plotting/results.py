"""Figures of what an evaluation counted: confusion matrix, accuracies of runs, reliability of confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from dlworkflow.errors import DlwError
from dlworkflow.files.text import printable
from dlworkflow.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    RED,
    as_array,
    axes_for,
    fit,
    legend_below,
    name_places,
    new_figure,
    settle,
    text_width,
    tidy,
)

MOST_WRITTEN = 15  # classes up to which the cells show their numbers
BLUES = colormaps["Blues"]


def plot_confusion_matrix(matrix: Any, classes: Sequence[str], *, ax: Axes | None = None) -> Figure:
    """Draw a confusion matrix, (n, n) counts with a row per true and a column per predicted class.

    The colour is the percent of the row, on a root scale so that rare confusions show. Up to 15 classes each cell
    shows its count and that percent; beyond, some classes are named and the largest confusions are in the title.
    Draws on `ax`, else on a new figure. Raises DlwError for a
    matrix that is not square, has no class, or has another number of classes than `classes`.
    """
    counts = as_array(matrix).astype(float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise DlwError(f"a confusion matrix is (n, n) with a row per true class, not {counts.shape}")
    n = len(counts)
    if len(classes) != n:
        raise DlwError(f"a confusion matrix of {n} classes and {len(classes)} class names")
    totals = counts.sum(axis=1, keepdims=True)
    percents = np.divide(100 * counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)

    share, least, size = (0.68, 3.0, 9.0) if n <= MOST_WRITTEN else (0.22, 7.0, 7.0)
    side = float(np.clip(share * n, least, 10.0))
    margin = min(1.7, max(text_width(printable(name), size) for name in classes)) + 0.6
    figure, axis, is_new = axes_for(ax, side + margin + 1.1, side + margin + 0.7)
    cell = side / n if is_new else _cell_inches(figure, axis, n)
    image = axis.imshow(np.nan_to_num(percents), cmap=BLUES, norm=PowerNorm(0.5, 0, 100))
    written = n <= MOST_WRITTEN and 72 * cell / 4.6 >= 5
    if written:
        _write_cells(axis, counts, percents, size=min(11.0, 72 * cell / 4.6))
    name_places(axis.xaxis, classes, room=cell, size=size)
    name_places(axis.yaxis, classes, room=cell, size=size)
    axis.set(xlabel="predicted class", ylabel="true class")
    _rule_cells(axis, n)
    axis.set_title(_heading(counts, classes, side, written), fontsize=10)
    bar = figure.colorbar(image, ax=axis, label="percent of the true class (%)", shrink=0.85, pad=0.02)
    bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return settle(figure) if is_new else figure


def plot_accuracy_bars(
    accuracies: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]] | None = None,
    baseline: float | None = None,
    *,
    ax: Axes | None = None,
) -> Figure:
    """Draw a horizontal bar of accuracy per run, the first at the top, with its number at the right edge.

    All are fractions in [0, 1], drawn in percent; `intervals` are (low, high) by run, drawn as whiskers; `baseline` is
    a dashed line. A run whose accuracy is nan has no bar. Draws on `ax`, else on a new figure. Raises
    DlwError when there is no run.
    """
    if not accuracies:
        raise DlwError("no runs to draw")
    names = list(accuracies)
    percents = np.array([100 * float(accuracies[name]) for name in names])
    spans = {name: (100 * low, 100 * high) for name, (low, high) in (intervals or {}).items() if name in accuracies}
    room = max(0.2, min(0.42, 9 / len(names)))
    size = 9.0 if room > 0.25 else 7.5
    height = room * len(names)
    figure, axis, is_new = axes_for(ax, 7.4, height + 1.3)
    places = np.arange(len(names))
    bars = axis.barh(places, np.nan_to_num(percents), height=0.68, color=BLUE, label="accuracy")
    handles: dict[str, Any] = {"accuracy": bars}
    right_edge = axis.get_yaxis_transform()
    for place, (name, percent) in enumerate(zip(names, percents, strict=True)):
        span = spans.get(name)
        if span is not None:
            [whisker] = axis.plot(span, [place, place], color=BLACK, linewidth=1.4, marker="|", markersize=6)
            handles.setdefault("95 % interval", whisker)
        axis.text(1.015, place, _percent(percent, span), va="center", fontsize=size, transform=right_edge)
    if baseline is not None:
        line = axis.axvline(100 * baseline, color=RED, linestyle="--", linewidth=1.6)
        handles[f"baseline {100 * baseline:.1f} %"] = line
    name_places(axis.yaxis, names, room=room, size=size, longest=2.2)
    axis.tick_params(axis="y", length=0)
    axis.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6), xlabel="accuracy (%)")
    tidy(axis, grid="x")
    if is_new:
        legend_below(figure, list(handles.values()), list(handles), size=8)
    else:
        axis.legend(list(handles.values()), list(handles), fontsize=8)
    return figure


def plot_reliability(
    confidence: Any,
    accuracy: Any,
    count: Any,
    *,
    ece: float,
    before: tuple[Any, Any] | None = None,
    ece_before: float | None = None,
) -> Figure:
    """Draw how often the model is right against how sure it is, bin by bin, above how many samples each bin holds.

    `confidence`, `accuracy` and `count` are (bins,), for bins of equal width over [0, 1]: mean confidence, fraction
    right (nan or anything where the bin is empty) and number of samples. `ece` is the expected calibration error, a
    fraction. Bars below the diagonal mean overconfidence. `before` are confidence and accuracy of the bins before
    calibration, and `ece_before` their error, where the rest is after it. Raises DlwError for no bin, no sample, or
    different lengths.
    """
    sure, right, held = (as_array(values).astype(float).ravel() for values in (confidence, accuracy, count))
    if not len(held) == len(sure) == len(right):
        raise DlwError(f"{len(sure)} confidences, {len(right)} accuracies and {len(held)} counts: one a bin each")
    if not held.sum() > 0:
        raise DlwError("no samples to draw: every bin is empty")
    full = held > 0
    width = 100 / len(held)
    middles = width * (np.arange(len(held)) + 0.5)
    figure = new_figure(5.2, 6.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    level = 100 * np.where(full, right, 0)
    bars = top.bar(middles, level, 0.94 * width, color=BLUE, label="accuracy")
    gap = (100 * sure - level)[full]
    hatched: dict[str, Any] = {"fill": False, "edgecolor": RED, "hatch": "////", "linewidth": 0.8}
    gaps = top.bar(middles[full], gap, 0.94 * width, level[full], **hatched)
    [ideal] = top.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1.2)
    [dots] = top.plot(100 * sure[full], 100 * right[full], "o", color=BLACK, markersize=4)
    top.set(xlim=(0, 100), ylim=(0, 100), ylabel="accuracy (%)")
    was = f"before {100 * ece_before:.1f} %, after " if ece_before is not None else ""
    top.set_title(f"expected calibration error {was}{100 * ece:.1f} %", fontsize=11)
    bottom.bar(middles, held, 0.94 * width, color=GREY)
    bottom.set(xlabel="confidence (%)", ylabel="samples")
    for axis in (top, bottom):
        tidy(axis)
    shown = {"accuracy": bars, "gap to confidence": gaps, "perfectly calibrated": ideal, "bin's mean": dots}
    if before is not None:
        old = (100 * as_array(values).astype(float) for values in before)
        [shown["before calibration"]] = top.plot(*old, "D", color=ORANGE, markersize=6, markerfacecolor="none")
    legend_below(figure, list(shown.values()), list(shown), size=8)
    return figure


def plot_coverage(coverage: Any, accuracy: Any, low: Any, high: Any) -> Figure:
    """Draw the accuracy of the answers by the share of samples that is answered, the most certain first.

    All are (n,) fractions: the share that the first 1, 2, ... samples are, their accuracy, and the 95 % interval of
    each. Raises DlwError for no sample and for different lengths.
    """
    given = (coverage, accuracy, low, high)
    shares, right, lowest, highest = (100 * as_array(values).astype(float).ravel() for values in given)
    if not len(shares) or {len(shares)} != {len(right), len(lowest), len(highest)}:
        raise DlwError(f"{len(shares)} shares and {len(right)} accuracies: each sample has both")
    figure = new_figure(5.8, 4.6)
    axis = figure.subplots()
    band = axis.fill_between(shares, lowest, highest, color=BLUE, alpha=0.18, linewidth=0)
    [line] = axis.step(shares, right, where="post", color=BLUE, linewidth=1.8)
    everything = axis.axhline(right[-1], color=GREY, linestyle="--", linewidth=1.2)
    floor = min(right.min(), lowest[len(shares) // 10 :].min())  # the first few have intervals of any width
    axis.set(xlim=(0, 100), ylim=(max(0.0, floor - 2), 100.8), ylabel="accuracy of the answers (%)")
    axis.set_xlabel("answered samples (%), the most certain first")
    axis.set_title(f"{len(shares):,} samples; all answered: {right[-1]:.1f} % right", fontsize=11)
    tidy(axis)
    legend_below(figure, [line, band, everything], ["accuracy", "95 % interval", "every sample answered"], size=8)
    return figure


def _cell_inches(figure: Figure, axis: Axes, n: int) -> float:
    """Return the room that somebody's axes have for a class."""
    box = axis.get_position()
    return min(box.width * figure.get_figwidth(), box.height * figure.get_figheight()) / n


def _write_cells(axis: Axes, counts: np.ndarray, percents: np.ndarray, *, size: float) -> None:
    for row, column in np.ndindex(*counts.shape):
        percent = percents[row, column]
        share = "–" if np.isnan(percent) else f"{percent:.0f} %"
        colour = "white" if percent > 55 else "black"
        axis.text(
            column, row, f"{counts[row, column]:,.0f}\n{share}", ha="center", va="center", fontsize=size, color=colour
        )


def _rule_cells(axis: Axes, n: int) -> None:
    """Part the cells by white lines where they are large enough."""
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0 if n <= MOST_WRITTEN else 2)
    if n <= MOST_WRITTEN:
        axis.set_xticks(np.arange(n + 1) - 0.5, minor=True)
        axis.set_yticks(np.arange(n + 1) - 0.5, minor=True)
        axis.grid(which="minor", color="white", linewidth=2)
        axis.tick_params(which="minor", length=0)


def _heading(counts: np.ndarray, classes: Sequence[str], side: float, written: bool) -> str:
    total, right = counts.sum(), np.trace(counts)
    lines = [f"{right:,.0f} of {total:,.0f} right ({100 * right / total:.1f} %)" if total else "no samples"]
    if not written:
        wrong = counts - np.diag(np.diag(counts))
        order = np.argsort(-wrong, axis=None, kind="stable")[:3]
        names = [fit(name, (side - 1.0) / 2, 10) for name in classes]
        pairs = [divmod(int(flat), len(counts)) for flat in order if wrong.flat[flat] > 0]
        lines += [f"{names[i]} taken for {names[j]}: {wrong[i, j]:,.0f}" for i, j in pairs]
    return "\n".join(lines)


def _percent(percent: float, span: tuple[float, float] | None) -> str:
    if np.isnan(percent):
        return "–"
    return f"{percent:.1f} %" + (f"  ({span[0]:.1f} to {span[1]:.1f})" if span else "")
