"""Figures that explain: activations, what layers make of an image, a convolution's shapes, gradient descent's path."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dlworkflow.errors import DlwError, unknown
from dlworkflow.plotting.grid import as_image
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
    new_figure,
    settle,
    text_width,
    tidy,
)

MOST_MAPS = 8
MOST_LAYERS = 32  # drawn; the layout of hundreds takes minutes
MOST_CARDS = 4
STEPS_A_ROW = 5
TINTS = ((1.0, 0.4, 0.35), (0.35, 0.9, 0.4), (0.4, 0.6, 1.0))  # what is bright in a photo's three channels

# no exp of a positive number here: it overflows
_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "sigmoid": lambda x: 0.5 * (1 + np.tanh(x / 2)),
    "tanh": np.tanh,
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "silu": lambda x: x * 0.5 * (1 + np.tanh(x / 2)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(0, x),
}


def plot_activations(
    names: Sequence[str] = ("relu", "sigmoid", "tanh", "leaky_relu", "gelu"), low: float = -5, high: float = 5
) -> Figure:
    """Draw activation functions over [low, high], a panel each, with their slopes dashed.

    Known are identity, relu, leaky_relu (slope 0.01), sigmoid, tanh, gelu (exact), silu, elu and softplus. Raises
    DlwError for another name, for none, and for a range that is empty or beyond a million.
    """
    if not names:
        raise DlwError("no activation to draw")
    if not -1e6 <= low < high <= 1e6:
        raise DlwError(f"activations are drawn from low to high within -1e6 to 1e6, not from {low:g} to {high:g}")
    for name in names:
        if name not in _ACTIVATIONS:
            raise DlwError(unknown("activation", name, _ACTIVATIONS))
    columns = min(len(names), 3)
    rows = math.ceil(len(names) / columns)
    figure = new_figure(max(3.1 * columns, 4.4), 2.7 * rows + 0.5)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    x = np.linspace(low, high, 401)
    for name, axis in zip(names, axes, strict=False):
        y = _ACTIVATIONS[name](x)
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.axvline(0, color=GREY, linewidth=0.8)
        [value] = axis.plot(x, y, color=BLUE, linewidth=2.2, label=name)
        [slope] = axis.plot(x, np.gradient(y, x), color=RED, linewidth=1.4, linestyle="--", label="slope")
        axis.set_title(name, fontsize=11)
        axis.set(xlabel="input x", ylabel="output", xlim=(low, high))
        tidy(axis)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    legend_below(figure, [value, slope], ["value", "slope (its derivative)"])
    return figure


def plot_feature_maps(layers: Sequence[tuple[str, Any]]) -> Figure:
    """Draw the output of each layer for one image, a row each: at most eight maps side by side, bright where large.

    A layer is its name and its output: (channels, h, w); (h, w), drawn as one map; or (n,) after flattening, drawn as
    bars. The scale is each row's own, written at its right. Of more than 32 layers as many are drawn, evenly apart,
    with the first and the last. Raises DlwError for no layer and for other shapes.
    """
    if not layers:
        raise DlwError("no layers to draw")
    shown = np.linspace(0, len(layers) - 1, min(len(layers), MOST_LAYERS)).round().astype(int)
    outputs = [(name, as_array(output).astype(float)) for name, output in (layers[i] for i in shown)]
    for name, output in outputs:
        if output.ndim not in (1, 2, 3) or not output.size:
            raise DlwError(f"{name}: a layer's output is (channels, h, w), (h, w) or (n,), not {output.shape}")
    figure = new_figure(9.0, 1.45 * len(outputs) + 0.2)
    for axis, (name, output) in zip(figure.subplots(len(outputs), 1, squeeze=False)[:, 0], outputs, strict=True):
        shape = " × ".join(str(size) for size in output.shape)
        if output.ndim > 1:
            maps = output.reshape(-1, *output.shape[-2:])
            axis.imshow(_tile(maps), cmap="viridis", interpolation="nearest")
            axis.set_axis_off()
            some = f", the first {MOST_MAPS} of {len(maps)} maps" if len(maps) > MOST_MAPS else ""
        else:
            axis.bar(np.arange(len(output)), output, 0.85 if len(output) <= 100 else 1.0, color=BLUE)
            axis.axhline(0, color=BLACK, linewidth=0.8)
            axis.set(xlim=(-0.6, max(len(output), 16) - 0.4), xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            some = ""
        axis.set_title(f"{fit(name, 3.2, 9)}: {shape}{some}", fontsize=9, loc="left")
        low, high = _range(output)
        axis.set_title(f"{_short(low)} to {_short(high)}", fontsize=8, loc="right", color=GREY)
    if len(outputs) < len(layers):
        figure.supxlabel(f"{len(outputs)} of {len(layers)} layers, evenly apart", fontsize=8)
    return figure


def plot_loss_surface(
    w: Any, b: Any, loss: Any, path: Any, *, lowest: tuple[float, float] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the loss over weight w and bias b as a contour map, and the way gradient descent takes on it.

    `w` and `b` are (n,) and (m,), `loss` is (m, n), a row a bias; `path` is (steps, 2), w and b before the first step
    and after each. A cross marks `lowest`, the w and b of least loss. Draws on `ax`, else on a new figure. Raises
    DlwError for shapes that do not agree and for an empty path.
    """
    ws, bs, heights, way = (as_array(values).astype(float) for values in (w, b, loss, path))
    if ws.ndim != 1 or bs.ndim != 1 or heights.shape != (len(bs), len(ws)) or min(heights.shape) < 2:
        raise DlwError(
            f"the loss is (len(b), len(w)) with at least two each: {heights.shape} for {bs.shape} and {ws.shape}"
        )
    if way.ndim != 2 or way.shape[1] != 2 or not len(way):
        raise DlwError(f"a path is (steps, 2), w and b at each step, not {way.shape}")
    figure, axis, _ = axes_for(ax, 6.6, 5.2)
    levels = _levels(heights)
    filled = axis.contourf(ws, bs, heights, levels=levels, cmap="cividis_r")
    axis.contour(ws, bs, heights, levels=levels, colors="white", linewidths=0.5)
    axis.plot(*way.T, "o-", color=RED, linewidth=1.6, markersize=4, mec="white", mew=0.5, label="gradient descent")
    ends = (("start", way[0], "s", 8), (f"after {len(way) - 1} steps", way[-1], "*", 13))
    for when, (at_w, at_b), marker, size in ends:
        label = f"{when}: w {_short(at_w)}, b {_short(at_b)}"
        axis.plot(at_w, at_b, marker, color=BLACK, mec="white", markersize=size, label=label)
    if lowest is not None:
        label = f"lowest loss: w {_short(lowest[0])}, b {_short(lowest[1])}"
        axis.plot(*lowest, "X", color=ORANGE, mec=BLACK, markersize=11, label=label)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        side.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set(xlabel="weight w", ylabel="bias b", xlim=(ws.min(), ws.max()), ylim=(bs.min(), bs.max()))
    axis.legend(fontsize=8, loc="best", framealpha=0.9)
    figure.colorbar(filled, ax=axis, label="loss", format=FuncFormatter(lambda value, _: f"{value:.2g}"))
    return figure


def plot_convolution(steps: Sequence[tuple[str, Any]]) -> Figure:
    """Draw an image's way through layers as stacks of maps, in true proportion, each with its shape below.

    A step is what made it (its label, drawn above) and the values (channels, h, w); at most four maps of a stack are
    drawn, five stacks a row. A first step of three channels in [0, 1] or uint8 is a photo, drawn red, green and blue.
    Raises DlwError for no step and for other shapes.
    """
    if not steps:
        raise DlwError("no steps to draw")
    arrays = [(label, as_array(values)) for label, values in steps]
    for label, values in arrays:
        if values.ndim != 3 or not values.size:
            raise DlwError(f"{label}: a step is (channels, h, w), not {values.shape}")
    rows = math.ceil(len(arrays) / STEPS_A_ROW)
    columns = math.ceil(len(arrays) / rows)
    figure = new_figure(max(2.5 * columns, 3.0), 3.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    largest = max(max(values.shape[1:]) for _, values in arrays)
    for index, axis in enumerate(axes):
        axis.set_axis_off()
        if index < len(arrays):
            label, values = arrays[index]
            middle, bottom, top = _draw_stack(axis, values, largest, is_photo=index == 0 and _is_photo(values))
            arrow = "" if index == 0 else "→ "
            axis.set_title(arrow + _in_two_lines(label, 2.0, 9), fontsize=9, y=top)
            axis.text(middle, bottom, str(values.shape), ha="center", va="top", fontsize=9)
    return settle(figure)


def _in_two_lines(text: str, inches: float, size: float) -> str:
    """Break a text that is wider than that between two words; what does not fit into two lines is shortened."""
    words = text.split()
    fitting = [n for n in range(1, len(words)) if text_width(" ".join(words[:n]), size) <= inches]
    cut = len(words) if not fitting or text_width(text, size) <= inches else fitting[-1]
    lines = " ".join(words[:cut]), " ".join(words[cut:])
    return "\n".join(fit(line, inches, size) for line in lines if line)


def _tile(maps: np.ndarray) -> np.ndarray:
    """Lay up to eight maps (channels, h, w) side by side with gaps of nan, to the width of eight."""
    height, width = maps.shape[1:]
    gap = max(1, width // 16)
    tiled = np.full((height, MOST_MAPS * (width + gap) - gap), np.nan)
    for index, values in enumerate(maps[:MOST_MAPS]):
        tiled[:, index * (width + gap) : index * (width + gap) + width] = values
    return tiled


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the least and the greatest finite value, 0 and 0 when there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _levels(heights: np.ndarray) -> np.ndarray:
    """Return contour levels that lie closer near the least loss, where the path ends."""
    finite = heights[np.isfinite(heights)]
    if not len(finite):
        raise DlwError("no finite loss to draw")
    low, high = float(finite.min()), float(finite.max())
    return low + max(high - low, 1e-9) * np.linspace(0, 1, 21) ** 2


def _is_photo(values: np.ndarray) -> bool:
    return len(values) == 3 and (values.dtype == np.uint8 or bool(values.min() >= 0 and values.max() <= 1))


def _draw_stack(axis: Axes, values: np.ndarray, largest: int, *, is_photo: bool) -> tuple[float, float, float]:
    """Draw maps as cards, the first in front, each further one behind to the upper right; `largest` sets the scale.

    Returns where its texts go: the front card's middle, below its lower edge, and above the last card, the latter as a
    fraction of the axes' height.
    """
    _, height, width = values.shape
    cards = values[:MOST_CARDS]
    step = 0.09 * largest
    spread = step * (MOST_CARDS - 1)
    left = (largest + spread - width - step * (len(cards) - 1)) / 2
    bottom = (largest + spread - height - step * (len(cards) - 1)) / 2
    low, high = _range(values)
    scale: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": max(high, low + 1e-9), "interpolation": "nearest"}
    for index in reversed(range(len(cards))):
        x, y = left + step * index, bottom + step * index
        shown, style, order = cards[index], scale, 2 * (MOST_CARDS - index)
        if is_photo:
            bright = as_image(values, "chw")[..., index] / (255 if values.dtype == np.uint8 else 1)
            shown, style = bright[..., None] * np.array(TINTS[index]), {}
        axis.imshow(shown, extent=(x, x + width, y, y + height), zorder=order, **style)
        rim: dict[str, Any] = {"fill": False, "edgecolor": "white", "linewidth": 1.2}
        axis.add_patch(Rectangle((x, y), width, height, zorder=order + 1, **rim))
    low_edge, high_edge = -0.2 * largest, 1.02 * largest + spread
    axis.set(xlim=(-0.02 * largest, high_edge), ylim=(low_edge, high_edge), aspect="equal")
    top = bottom + height + step * (len(cards) - 1)
    return left + width / 2, bottom - 0.03 * largest, (top + 0.05 * largest - low_edge) / (high_edge - low_edge)
