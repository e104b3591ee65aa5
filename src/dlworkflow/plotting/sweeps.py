"""The figure of a sweep: a metric against the settings that were tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from dlworkflow.errors import DlwError
from dlworkflow.plotting.style import BLACK, BLUE, fit, name_places, new_figure, settle, tidy

MOST_BARS = 30
MOST_WRITTEN = 12  # values a side of a heat map whose cells bear their numbers

Row = Mapping[str, Any]


def plot_sweep(rows: Sequence[Row], keys: Sequence[str], metric: str) -> Figure:
    """Draw a row a combination, {setting: value, metric: mean, metric_sd: deviation or None}, in their order.

    One setting: the metric against its value with error bars, on a logarithmic axis where the values span orders of
    magnitude. Two: a heat map, where each value of one meets several of the other. More: a bar each, the first 30.
    Rows without a number are left out. Accuracies are drawn in percent. Raises DlwError when no row is left.
    """
    rows = [row for row in rows if row.get(metric) is not None]
    if not rows:
        raise DlwError("no combination has a result to draw")
    if len(keys) == 1:
        return _draw_line(rows, keys[0], metric)
    if len(keys) == 2 and len(rows) > max(len({repr(row[key]) for row in rows}) for key in keys):
        return _draw_heat_map(rows, keys, metric)
    return _draw_bars(rows, keys, metric)


def _draw_line(rows: Sequence[Row], key: str, metric: str) -> Figure:
    numeric = all(isinstance(row[key], (int, float)) and not isinstance(row[key], bool) for row in rows)
    rows = sorted(rows, key=lambda row: row[key]) if numeric else rows
    means, deviations = _means(rows, metric)
    figure = new_figure(6.2, 4.0)
    axis = figure.subplots()
    places = [row[key] for row in rows] if numeric else list(range(len(rows)))
    axis.errorbar(places, means, deviations, color=BLUE, ecolor=BLACK, marker="o", capsize=4, linestyle="-" * numeric)
    if not numeric:
        name_places(axis.xaxis, [_text(row[key]) for row in rows], room=5.2 / len(rows), size=9)
    elif min(places) > 0 and max(places) >= 20 * min(places):
        axis.set_xscale("log")
    several = any(row.get(f"{metric}_sd") is not None for row in rows)
    axis.set(xlabel=key, ylabel=_label(metric) + ("\nmean ± deviation over seeds" if several else ""))
    tidy(axis)
    return figure


def _draw_heat_map(rows: Sequence[Row], keys: Sequence[str], metric: str) -> Figure:
    across, down = (_in_order([row[key] for row in rows]) for key in keys)
    cells = np.full((len(down), len(across)), np.nan)
    means, deviations = _means(rows, metric)
    texts = {}
    for row, mean, deviation in zip(rows, means, deviations, strict=True):
        place = down.index(row[keys[1]]), across.index(row[keys[0]])
        cells[place] = mean
        texts[place] = f"{mean:.3g}" + ("" if math.isnan(deviation) else f"\n± {deviation:.2g}")
    width, height = (float(np.clip(0.8 * len(side), 2.6, 9.0)) for side in (across, down))
    figure = new_figure(width + 2.6, height + 1.2)
    axis = figure.subplots()
    colours = colormaps["viridis" if metric.endswith("_acc") else "viridis_r"]
    image = axis.imshow(cells, cmap=colours, aspect="auto")
    if max(len(across), len(down)) <= MOST_WRITTEN:
        for (y, x), text in texts.items():
            red, green, blue, _ = image.cmap(image.norm(cells[y, x]))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            axis.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else BLACK)
    name_places(axis.xaxis, [_text(value) for value in across], room=width / len(across), size=9)
    name_places(axis.yaxis, [_text(value) for value in down], room=height / len(down), size=9)
    axis.set(xlabel=keys[0], ylabel=keys[1])
    bar = figure.colorbar(image, ax=axis, label=_label(metric), pad=0.02)
    bar.outline.set_visible(False)
    return settle(figure)


def _draw_bars(rows: Sequence[Row], keys: Sequence[str], metric: str) -> Figure:
    shown = list(rows)[:MOST_BARS]
    means, deviations = _means(shown, metric)
    figure = new_figure(8.0, 0.32 * len(shown) + 1.4)
    axis = figure.subplots()
    axis.barh(range(len(shown)), means, xerr=deviations, color=BLUE, ecolor=BLACK, capsize=3, height=0.68)
    names = [", ".join(f"{key.rpartition('.')[2]}={_text(row[key])}" for key in keys) or "base" for row in shown]
    axis.set_yticks(range(len(shown)), [fit(name, 3.0, 8) for name in names], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(_label(metric))
    if len(shown) < len(rows):
        axis.set_title(f"the first {len(shown)} of {len(rows)} combinations", fontsize=9)
    tidy(axis, grid="x")
    return figure


def _means(rows: Sequence[Row], metric: str) -> tuple[list[float], list[float]]:
    scale = 100 if metric.endswith("_acc") else 1
    deviations = [row.get(f"{metric}_sd") for row in rows]
    return [scale * row[metric] for row in rows], [scale * (math.nan if sd is None else sd) for sd in deviations]


def _label(metric: str) -> str:
    split, _, measure = metric.partition("_")
    return f"{split} accuracy (%)" if measure == "acc" else f"{split} loss"


def _in_order(values: Sequence[Any]) -> list[Any]:
    distinct = [value for i, value in enumerate(values) if value not in values[:i]]
    numeric = all(isinstance(value, (int, float)) for value in distinct)
    return sorted(distinct) if numeric else sorted(distinct, key=str)


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
