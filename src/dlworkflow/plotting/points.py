"""Points of two features in the colours of their classes: what the figures of 2-D data are built from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, is_color_like, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dlworkflow.errors import DlwError, unknown
from dlworkflow.plotting.style import COLOURS, as_array, fit, legend_below, name_places, tidy, visible

MARKERS = "osD^vPX*"
MOST_NAMED = 24  # classes in a legend; beyond them a colour bar names some

Part = tuple[np.ndarray, np.ndarray]
Palette = str | Colormap | Sequence[Any] | None


def check_parts(parts: Mapping[str, tuple[Any, Any]], classes: Sequence[str]) -> tuple[dict[str, Part], list[str]]:
    """Return each split's X (n, 2) float and y (n,) int, and the names of the classes.

    Without `classes` a class is named by its number. Raises DlwError for no split, no point, data that is not 2-D, and
    labels that are not theirs.
    """
    if not parts:
        raise DlwError("no points to draw: there is no split")
    checked = {name: _check_part(name, *part) for name, part in parts.items()}
    if not any(len(y) for _, y in checked.values()):
        raise DlwError("no points to draw: every split is empty")
    greatest = max(int(y.max()) for _, y in checked.values() if len(y))
    names = [str(name) for name in classes] or [str(label) for label in range(greatest + 1)]
    if greatest >= len(names):
        raise DlwError(f"label {greatest} is no class: there are {len(names)} class names, counted from 0")
    return checked, names


def class_colours(n: int, palette: Palette = None) -> np.ndarray:
    """Return a colour a class, (n, 3), from a list of colours, or from a colormap of matplotlib's or its name.

    `notes` has the colours of the notes, red for class 0 to blue for the last. By default Okabe and Ito's, over and
    over, or a scale from dark to light beyond 24. Raises DlwError for an unknown name or colour, and for too few.
    """
    if palette is None:
        palette = "viridis" if n > MOST_NAMED else [COLOURS[index % len(COLOURS)] for index in range(n)]
    if not isinstance(palette, str | Colormap):
        if unreadable := [colour for colour in palette if not is_color_like(colour)]:
            raise DlwError(
                f"--palette: {unreadable[0]!r} is no colour; use a name such as 'red', '#d55e00' or (r, g, b)"
            )
        if len(palette) < n:
            raise DlwError(f"--palette: {len(palette)} colours for {n} classes; give one a class")
        return np.array([to_rgb(colour) for colour in palette[:n]])
    if isinstance(palette, str) and palette not in ("notes", *colormaps):
        raise DlwError(f"--palette: {unknown('colormap', palette, ['notes', *colormaps])}")
    scale = colormaps.get_cmap("RdYlBu" if palette == "notes" else palette)
    return scale(np.arange(n) if n <= scale.N < 256 else np.linspace(0, 1, n))[:, :3]  # tab10 has 10 colours, no scale


def class_marker(index: int) -> str:
    """Return the shape of a class's points: among 64 classes none has colour and shape of another."""
    return MARKERS[(index + index // len(MARKERS)) % len(MARKERS)]


def draw_points(axis: Axes, part: Part, colours: np.ndarray, *, wrong: np.ndarray | None = None) -> None:
    """Draw one split in its classes' `colours` (classes, 3); `wrong` (n,) bool points get a black rim."""
    X, y = part
    size = float(np.clip(12000 / max(len(y), 1), 12, 34))
    for label in np.unique(y):
        mine = y == label
        rims = ["black" if bad else "white" for bad in wrong[mine]] if wrong is not None else ["white"]
        widths = [0.9 if rim == "black" else 0.3 for rim in rims]
        look: dict[str, Any] = {"marker": class_marker(int(label)), "color": [tuple(colours[label])]}
        axis.scatter(X[mine, 0], X[mine, 1], s=size, edgecolors=rims, linewidths=widths, label=str(label), **look)
    axis.set(xlabel="feature 1", ylabel="feature 2")
    tidy(axis, grid=None)


def limits(parts: Mapping[str, Part]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the x and the y range in which all splits lie, with a margin."""
    points = np.concatenate([X for X, _ in parts.values()])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise DlwError("no points to draw: none has two finite features")
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, 0.08 * (high - low), 0.5)
    (left, bottom), (right, top) = low - margin, high + margin
    return (float(left), float(right)), (float(bottom), float(top))


def frame(axis: Axes, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
    """Set the ranges; where both are of a kind, a unit is as long upwards as sideways, so that a circle is one."""
    axis.set(xlim=x_range, ylim=y_range)
    ratio = (x_range[1] - x_range[0]) / (y_range[1] - y_range[0])
    if 1 / 3 < ratio < 3:
        axis.set_aspect("equal")


def name_classes(
    figure: Figure,
    axes: Sequence[Axes],
    names: Sequence[str],
    colours: np.ndarray,
    *,
    below: bool,
    wrong: bool = False,
) -> None:
    """Name the colour of each class: a legend below the figure or in the axes, or a colour bar for many classes."""
    if len(names) > MOST_NAMED:
        norm = BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names))
        scale = ScalarMappable(norm, ListedColormap(colours))
        bar = figure.colorbar(scale, ax=list(axes), label="class", spacing="proportional", shrink=0.75)
        bar.ax.tick_params(length=0)
        bar.minorticks_off()
        name_places(bar.ax.yaxis, names, room=3.0 / len(names), size=7, longest=1.5)
        return
    handles = [
        Line2D([], [], ls="", marker=class_marker(i), color=tuple(colours[i]), markersize=6) for i in range(len(names))
    ]
    texts = [str(name) for name in names]
    if wrong:
        handles.append(Line2D([], [], ls="", marker="o", mfc="none", mec="black", markersize=6))
        texts.append("wrong")
    if below:
        legend_below(figure, handles, texts)
    else:
        axes[0].legend(handles, [visible(fit(text, 1.6, 8)) for text in texts], fontsize=8, loc="upper right")


def _check_part(name: str, X: Any, y: Any) -> Part:
    points, labels = as_array(X).astype(float), as_array(y).ravel()
    if points.ndim != 2 or points.shape[1] != 2:
        raise DlwError(f"{name}: only data of two features can be drawn as points: X is {points.shape}, not (n, 2)")
    if len(points) != len(labels):
        raise DlwError(f"{name}: {len(points)} points and {len(labels)} labels")
    whole = labels.astype(int)
    if (whole != labels).any() or (whole < 0).any():
        raise DlwError(
            f"{name}: labels are class numbers 0, 1, ...; found {labels[(whole != labels) | (whole < 0)][0]}"
        )
    return points, whole
