"""Accuracy of runs by the time of one prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dlworkflow.errors import DlwError
from dlworkflow.plotting.points import MOST_NAMED, class_marker
from dlworkflow.plotting.style import COLOURS, GREY, PALE, fit, legend_below, new_figure, settle, tidy


def plot_tradeoff(
    names: Sequence[str],
    milliseconds: Sequence[float],
    accuracies: Sequence[float],
    intervals: Sequence[tuple[float, float] | None] = (),
    *,
    note: str = "",
) -> Figure:
    """Draw runs by the milliseconds of one prediction, on a log scale, and their accuracy, a fraction, in percent.

    `intervals` are drawn as whiskers. A line joins the runs of which no other is both as fast and as accurate. Beyond
    24 runs only these are named. `note` is written below the title. Raises DlwError for no run and a time of 0.
    """
    times, percents = np.asarray(milliseconds, float), 100 * np.asarray(accuracies, float)
    if not len(names) == len(times) == len(percents) or not len(names):
        raise DlwError(f"{len(names)} runs, {len(times)} times and {len(percents)} accuracies: one each, at least one")
    if not (times > 0).all():
        raise DlwError("a time of a prediction is above 0")
    front = _front(times, percents)
    figure = new_figure(7.4, 5.2)
    axis = figure.subplots()
    line: dict[str, Any] = {"color": GREY, "linestyle": ":", "linewidth": 1.2}
    handles: dict[str, Any] = {}
    if len(front) > 1:
        axis.step(times[front], percents[front], where="post", zorder=1, **line)
    for index, name in enumerate(names):
        is_named = len(names) <= MOST_NAMED or index in front[:MOST_NAMED]
        colour = COLOURS[index % len(COLOURS)] if is_named else PALE
        if index < len(intervals) and (span := intervals[index]) is not None:
            axis.vlines(times[index], 100 * span[0], 100 * span[1], color=colour, linewidth=1.2, zorder=2)
        look: dict[str, Any] = {"color": colour, "marker": class_marker(index), "linestyle": "", "markersize": 7}
        [dot] = axis.plot(times[index], percents[index], **look, zorder=3)
        if is_named:
            handles[name] = dot
    if len(front) > 1:
        handles["no run as fast is more accurate"] = Line2D([], [], **line)
    axis.set_xscale("log")
    if times.max() < 10 * times.min():
        axis.set_xlim(times.min() / 3, times.max() * 3)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set(xlabel="time of one prediction (ms)", ylabel="accuracy (%)")
    about = "accuracy by time of one prediction; whiskers are 95 % intervals"
    axis.set_title("\n".join(fit(line, 6.6, 9) for line in (about, note) if line), fontsize=9)
    tidy(axis)
    legend_below(figure, list(handles.values()), list(handles), size=8)
    return settle(figure)


def _front(times: np.ndarray, percents: np.ndarray) -> list[int]:
    """Return the runs of which no other is as fast and more accurate, or faster and as accurate; the fastest first."""
    found: list[int] = []
    for index in np.lexsort((-percents, times)).tolist():
        if not found or percents[index] > percents[found[-1]]:
            found.append(index)
    return found
