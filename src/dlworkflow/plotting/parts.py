"""Figures of what a model scores on parts of its data, and on corrupted images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlworkflow.errors import DlwError
from dlworkflow.plotting.style import BAD, BLACK, BLUE, COLOURS, GREY, fit, legend_below, new_figure, tidy

MOST_SLICES = 60
LEVEL = 0.05
"""A slice is in the colour of a finding where chance alone gives such a difference more rarely, after correction."""

_NAMES = {"accuracy": "accuracy (%)", "mae": "mean absolute error"}


def plot_slices(rows: Sequence[Mapping[str, Any]], score: float, *, metric: str = "accuracy") -> Figure:
    """Draw the score of each slice with its interval, beside a line at the score of all samples.

    `rows` have `property`, `slice`, `n`, `score`, `low`, `high` and `p_holm` (None where it is not tested), an accuracy
    as a fraction. Of more than 60, those of the lowest chance are drawn. Raises DlwError for none.
    """
    if not rows:
        raise DlwError("no slices to draw")
    shown = sorted(rows, key=lambda row: 1.0 if row["p_holm"] is None else row["p_holm"])[:MOST_SLICES]
    shown = [row for row in rows if any(row is each for each in shown)]
    scale = 100 if metric == "accuracy" else 1
    figure = new_figure(7.4, 0.24 * len(shown) + 1.6)
    axis = figure.subplots()
    kinds = {
        "differs from the rest (corrected for all slices)": (BAD, _differs),
        "not told from the rest": (BLUE, lambda row: row["p_holm"] is not None and not _differs(row)),
        "too small to be tested": (GREY, lambda row: row["p_holm"] is None),
    }
    handles: dict[str, Any] = {}
    for name, (colour, belongs) in kinds.items():
        places = [place for place, row in enumerate(shown) if belongs(row)]
        if places:
            own = [shown[place] for place in places]
            spans = [[_nan(row[key]) * scale for key in ("low", "high")] for row in own]
            axis.hlines(places, *np.array(spans).T, color=colour, linewidth=1.6)
            [handles[name]] = axis.plot([scale * row["score"] for row in own], places, "o", color=colour, markersize=5)
    handles["all samples"] = axis.axvline(scale * score, color=BLACK, linestyle="--", linewidth=1.2)
    names = [f"{fit(row['property'], 1.3, 8)}: {fit(row['slice'], 2.0, 8)} ({row['n']:,})" for row in shown]
    axis.set_yticks(range(len(shown)), names, fontsize=8)
    for place in range(1, len(shown)):
        if shown[place]["property"] != shown[place - 1]["property"]:
            axis.axhline(place - 0.5, color=GREY, linewidth=0.5)
    axis.set(ylim=(len(shown) - 0.4, -0.6), xlabel=_NAMES.get(metric, metric))
    if metric == "accuracy":
        axis.set_xlim(-2, 102)
    if len(shown) < len(rows):
        axis.set_title(f"the {len(shown)} of {len(rows)} slices that differ most", fontsize=9)
    tidy(axis, grid="x")
    legend_below(figure, list(handles.values()), list(handles), size=8)
    return figure


def plot_robustness(
    runs: Mapping[str, tuple[float, Sequence[Mapping[str, Any]]]], *, metric: str = "accuracy"
) -> Figure:
    """Draw the score by the strength of each corruption, a panel each, a line per run.

    `runs` are {name: (score of the images as they are, rows)}; a row has `corruption`, `strength` (1, 2, ...),
    `setting`, `score`, and the interval of its difference in `low` and `high`. Raises DlwError where there is none.
    """
    kinds = list(dict.fromkeys(row["corruption"] for _, rows in runs.values() for row in rows))
    if not kinds:
        raise DlwError("no corruptions to draw")
    across = min(4, len(kinds))
    down = math.ceil(len(kinds) / across)
    figure = new_figure(2.5 * across + 0.6, 2.3 * down + 0.7)
    panels = figure.subplots(down, across, sharey=True, squeeze=False)
    handles: list[Any] = []
    for place, (kind, axis) in enumerate(zip(kinds, panels.flat, strict=False)):
        lines = [
            _draw_corruption(axis, clean, [row for row in rows if row["corruption"] == kind], metric, colour)
            for (clean, rows), colour in zip(runs.values(), COLOURS * len(runs), strict=False)
        ]
        handles = handles or lines
        axis.set_title(kind, fontsize=10)
        if place % across == 0:
            axis.set_ylabel(_NAMES.get(metric, metric), fontsize=9)
        tidy(axis)
    for axis in panels.flat[len(kinds) :]:
        axis.set_visible(False)
    if metric == "accuracy":
        panels.flat[0].set_ylim(0, 102)
    if len(runs) > 1:
        legend_below(figure, handles, list(runs))
    return figure


def _draw_corruption(axis: Axes, clean: float, rows: Sequence[Mapping[str, Any]], metric: str, colour: str) -> Any:
    scale = 100 if metric == "accuracy" else 1
    strengths = [0, *(row["strength"] for row in rows)]
    [line] = axis.plot(
        strengths, [scale * score for score in (clean, *(row["score"] for row in rows))], "o-", color=colour
    )
    line.set(markersize=4, linewidth=1.6)
    low, high = ([scale * clean, *(scale * (clean + _nan(row[key])) for row in rows)] for key in ("low", "high"))
    axis.fill_between(strengths, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set_xticks(strengths, ["as is", *(_in_lines(row["setting"]) for row in rows)], fontsize=7)
    return line


def _in_lines(setting: str) -> str:
    """Break a setting after its first word: `quality 25` is as wide as its longest word then."""
    return setting.replace(" ", "\n", 1)


def _differs(row: Mapping[str, Any]) -> bool:
    return row["p_holm"] is not None and row["p_holm"] < LEVEL


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
