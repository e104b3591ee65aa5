"""Figures of training: loss and accuracy by epoch, the learning rate, several runs together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from dlworkflow.engine.history import History, by_column
from dlworkflow.errors import DlwError
from dlworkflow.plotting.points import class_marker
from dlworkflow.plotting.style import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    SPLIT_COLOURS,
    as_array,
    axes_for,
    legend_below,
    new_figure,
    tidy,
)

SPLITS = ("train", "val", "test")
MOST_RUNS = 24  # eight colours with three kinds of line
MARKED = 25  # up to this many epochs each has a mark
MARKS = 8  # on a longer curve
SHAPES = {"train": "o", "val": "^", "test": "s"}
"""The marks of the splits: with them, curves are told apart without their colours."""
LINES = ("-", "--", ":")
DASH = 9  # length of a dash of curves that coincide, in widths of the line
COINCIDE = "dashes in several colours: curves that coincide"

Curves = dict[str, np.ndarray]


def plot_loss_curves(
    results: History,
    *,
    best_epoch: int | None = None,
    loss_label: str = "loss",
    note: str = "",
) -> Figure:
    """Draw a history: losses on the left, accuracies in percent on the right, by epoch from 1.

    `results` is what `train` or `Run.history()` returns: train_loss, train_acc, test_loss, test_acc and maybe val_loss,
    val_acc, a number per epoch; accuracies are in [0, 1]. Other metrics of a split, such as test_f1_macro, have panels
    of their own. Without a finite accuracy (a regression) only the losses are drawn; nan is a gap. A dashed line marks
    `best_epoch`, counted from 1; `loss_label` may name the loss and its unit; `note` is written above all. Losses that
    span orders of magnitude get a logarithmic axis. Raises DlwError for a history without an epoch and for a best epoch
    outside it.
    """
    results = by_column(results)
    losses, accs = _curves(results, "loss"), _finite(_curves(results, "acc"))
    n = max((len(values) for values in [*losses.values(), *accs.values()]), default=0)
    if n == 0:
        raise DlwError("an empty history: no epoch to draw")
    if best_epoch is not None and not 1 <= best_epoch <= n:
        raise DlwError(f"best_epoch {best_epoch} is outside the history of {n} epochs, counted from 1")
    panels = [("loss", losses)] * bool(losses) + [("acc", accs)] * bool(accs)
    panels += [(name, curves) for name in _others(results) if (curves := _finite(_curves(results, name)))]
    figure = new_figure(1.2 + 5 * len(panels), 4.2)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    handles: dict[str, Any] = {}
    for axis, (measure, curves) in zip(axes, panels, strict=True):
        for i, ((split, values), turn) in enumerate(zip(curves.items(), _turns(list(curves.values())), strict=True)):
            look: dict[str, Any] = {"color": SPLIT_COLOURS[split], "marker": SHAPES[split]}
            _draw_curve(axis, values, n, place=i / len(curves), label=split, **look | turn)
            handles.setdefault(split, Line2D([], [], markersize=5, **look))
        if best_epoch is not None:
            line = axis.axvline(best_epoch, color=GREY, linestyle="--", linewidth=1.2, zorder=1, label="best epoch")
            handles[f"best epoch: {best_epoch}"] = line
        _frame(axis, measure, list(curves.values()), n, loss_label if measure == "loss" else measure.replace("_", " "))
        axis.set_title("Accuracy" if measure == "acc" else measure.replace("_", " ").capitalize(), fontsize=11)
    if note:
        figure.suptitle(note, fontsize=9)
    legend_below(figure, list(handles.values()), list(handles))
    return figure


def plot_learning_rate(rates: Sequence[float], *, ax: Axes | None = None) -> Figure:
    """Draw the learning rate of each epoch (n,) as steps; one that spans orders of magnitude on a logarithmic axis.

    Draws on `ax`, else on a new figure. Raises DlwError for no
    epoch.
    """
    values = _numbers(rates)
    if not len(values):
        raise DlwError("an empty history: no learning rate to draw")
    figure, axis, _ = axes_for(ax, 6.2, 3.6)
    marks: dict[str, Any] = {"marker": ""} if len(values) > MARKED else {}
    _draw_curve(axis, values, len(values), color=BLUE, label="learning rate", drawstyle="steps-mid", **marks)
    _frame(axis, "lr", [values], len(values), "learning rate")
    return figure


def plot_run_curves(runs: Mapping[str, History], *, loss_label: str = "loss") -> Figure:
    """Draw runs together: train loss, test loss, train accuracy and test accuracy (%), a colour per run, at most 24.

    `runs` has a history for each name, as `train` or `Run.history()` returns it; they may differ in length. Two panels
    of a row share their scale. Curves that coincide share one line, in dashes of their colours. Without any finite
    accuracy only the losses are drawn. A run without an epoch is named and has no line. Raises DlwError when no run has
    an epoch.
    """
    if not isinstance(runs, Mapping):
        raise DlwError(f"runs are a dictionary of histories, {{'name': run.history()}}, not {type(runs).__name__}")
    shown = [(name, by_column(run)) for name, run in list(runs.items())[:MOST_RUNS]]
    curves = [(name, _curves(run, "loss"), _finite(_curves(run, "acc"))) for name, run in shown]
    n = max((len(values) for _, *both in curves for part in both for values in part.values()), default=0)
    if n == 0:
        raise DlwError("an empty history: no run has an epoch to draw")
    measures = {"loss": [losses for _, losses, _ in curves]}
    if any(accs for *_, accs in curves):
        measures["acc"] = [accs for *_, accs in curves]
    figure = new_figure(10.4, 3.4 * len(measures) + 0.6)
    axes = figure.subplots(len(measures), 2, sharey="row", sharex=True, squeeze=False)
    styles: list[dict[str, Any]] = [
        {"color": COLOURS[i % len(COLOURS)], "marker": class_marker(i), "linestyle": LINES[i // len(COLOURS)]}
        for i in range(len(curves))
    ]
    coincide = False
    for row, (measure, of_runs) in zip(axes, measures.items(), strict=True):
        both = {split: [each.get(split, np.zeros(0)) for each in of_runs] for split in ("train", "test")}
        for axis, (split, drawn) in zip(row, both.items(), strict=True):
            turns = _turns(drawn)
            coincide = coincide or any(turns)
            for i, ((name, *_), values, style, turn) in enumerate(zip(curves, drawn, styles, turns, strict=True)):
                _draw_curve(axis, values, n, place=i / len(curves), label=name, **style | turn)
            _frame(axis, measure, [*both["train"], *both["test"]], n, loss_label)
            axis.set_title(f"{split.capitalize()} {'loss' if measure == 'loss' else 'accuracy'}", fontsize=11)
            axis.label_outer()
    names = [name if losses or accs else f"{name} (no epoch)" for name, losses, accs in curves]
    notes = [f"the first {len(shown)} of {len(runs)} runs"] * (len(runs) > len(shown)) + [COINCIDE] * coincide
    if notes:
        figure.suptitle("; ".join(notes), fontsize=9)
    legend_below(figure, [Line2D([], [], markersize=5, **style) for style in styles], names)
    return figure


def _turns(curves: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Return a style for each curve: those that coincide take turns along one line, so that each of them is seen."""
    groups: list[list[int]] = []
    for i, values in enumerate(curves):
        group = next((group for group in groups if len(values) and _coincide(curves[group[0]], values)), None)
        if group is None:
            groups.append([i])
        else:
            group.append(i)
    turns: list[dict[str, Any]] = [{} for _ in curves]
    for group in groups:
        k = len(group)
        for turn, i in enumerate(group if k > 1 else ()):
            dashes = (DASH * (k - turn), (DASH, DASH * (k - 1)))
            turns[i] = {"linestyle": dashes, "markevery": (turn, k)}
    return turns


def _coincide(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two curves are one line in a figure, as far as the shorter one goes."""
    n = min(len(a), len(b))
    return n > 0 and np.allclose(a[:n], b[:n], rtol=1e-3, atol=0, equal_nan=True)


def _numbers(values: Any) -> np.ndarray:
    """Return a curve as floats, nan where it is not finite."""
    array = as_array(values).astype(float).ravel()
    return np.where(np.isfinite(array), array, np.nan)


def _curves(results: Mapping[str, Any], measure: str) -> Curves:
    found = {split: _numbers(results[f"{split}_{measure}"]) for split in SPLITS if f"{split}_{measure}" in results}
    scale = 100 if measure == "acc" else 1
    return {split: scale * values for split, values in found.items() if len(values)}


def _others(results: Mapping[str, Any]) -> list[str]:
    """Return the metrics other than loss and accuracy."""
    split = [key.partition("_") for key in results]
    return list(dict.fromkeys(name for part, _, name in split if part in SPLITS and name not in ("", "loss", "acc")))


def _finite(curves: Curves) -> Curves:
    return {split: values for split, values in curves.items() if np.isfinite(values).any()}


def _draw_curve(axis: Axes, values: np.ndarray, n: int, *, place: float = 0.0, **style: Any) -> None:
    """Draw a curve over epochs 1, 2, ...; an epoch between two gaps is a mark, since it has no line.

    Each epoch of a few has a mark, of many some have: from `place` on, a fraction of the way from one to the next.
    """
    epochs = np.arange(1, len(values) + 1)
    style = {"linewidth": 1.8 if n <= 200 else 1.2, "marker": "o", "markersize": 4, **style}
    if len(values) > MARKED:
        step = math.ceil(len(values) / MARKS)
        style["markevery"] = (round(place * step), step)
    [line] = axis.plot(epochs, values, **style)
    gap = np.isnan(np.concatenate([[np.nan], values, [np.nan]]))
    alone = ~gap[1:-1] & gap[:-2] & gap[2:]
    if alone.any() and len(values) > MARKED:
        axis.plot(epochs[alone], values[alone], style["marker"], markersize=3, color=line.get_color(), label="_alone")


def _frame(axis: Axes, measure: str, curves: Sequence[np.ndarray], n: int, loss_label: str) -> None:
    """Label the axes and set their ranges: whole epochs, accuracies within 0 and 100 % and not drawn out of noise."""
    axis.set(xlabel="epoch", xlim=(0.5, 1.5) if n == 1 else (1 - 0.03 * (n - 1), n + 0.03 * (n - 1)))
    axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    tidy(axis)
    values = np.concatenate([*curves, np.zeros(0)])
    values = values[np.isfinite(values)]
    if measure == "acc":
        axis.set_ylabel("accuracy (%)")
        if len(values):
            axis.set_ylim(*_percent_range(float(values.min()), float(values.max())))
        return
    axis.set_ylabel(loss_label)
    if not len(values):
        axis.text(0.5, 0.5, "no finite value", ha="center", va="center", color=BLACK, transform=axis.transAxes)
        axis.set_yticks([])
    elif values.min() > 0 and values.max() > (5 if measure == "lr" else 30) * np.median(values):
        _make_logarithmic(axis)
    elif values.min() > 0 and measure == "lr":
        axis.set_ylim(0, 1.1 * values.max())


def _percent_range(low: float, high: float) -> tuple[float, float]:
    """Return a range of at least ten points about the values, within 0 and 100 but for the width of a line."""
    half = max(0.55 * (high - low), 5.0)
    middle = min(max((low + high) / 2, half), max(100 - half, half))
    return max(middle - half, 0) - 0.5, min(middle + half, 100) + 0.5


def _make_logarithmic(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def plot_lr_search(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None = None
) -> Figure:
    """Draw a range test: the loss of each update and its smoothed mean over the learning rate, on a logarithmic axis.

    A dashed line marks the `suggestion`. Raises DlwError where nothing was tried.
    """
    if not rates:
        raise DlwError("an empty range test: no update to draw")
    figure = new_figure(6.2, 4.2)
    axis = figure.subplots()
    axis.plot(rates, losses, color=GREY, linewidth=0.8, label="loss")
    axis.plot(rates, smoothed, color=BLUE, label="smoothed")
    if suggestion is not None:
        axis.axvline(suggestion, color=BLACK, linestyle="--", linewidth=1.2, label=f"suggested: {suggestion:.2g}")
    highest = max(smoothed[: len(smoothed) // 2 + 1])
    axis.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(0.9 * min(smoothed), 1.1 * highest))
    axis.legend(fontsize=9)
    tidy(axis)
    return figure
