"""What all figures share: how one is made without a display, coloured, named and written."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from dlworkflow.errors import DlwError, first_line

BLUE, GREEN, RED, ORANGE = "#0072b2", "#009e73", "#d55e00", "#e69f00"
PURPLE, SKY, BLACK, YELLOW = "#cc79a7", "#56b4e9", "#000000", "#f0e442"
"""Okabe and Ito's eight (jfly.uni-koeln.de/color): apart for every common kind of colour blindness."""

COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)
SPLIT_COLOURS = {"train": BLUE, "val": GREEN, "test": RED}
GREY, PALE = "#6b6b6b", "#e3e3e3"

GOOD, BAD = "#00703c", "#b3261e"
"""Right and wrong: apart in brightness too, for those who see red and green alike."""

FORMATS = (".png", ".svg", ".pdf")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches that lays itself out without overlaps; no window is opened."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def axes_for(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the figure and the axes to draw on.

    Those of `ax`; without it pyplot's current ones where a script has loaded pyplot and opened a figure; else the
    only ones of a new figure of this size in inches.
    """
    pyplot = sys.modules.get("matplotlib.pyplot")  # never imported here: it costs 0.6 s
    if ax is None and pyplot is not None and pyplot.get_fignums():
        ax = pyplot.gca()
    if ax is None:
        ax = new_figure(width, height).subplots()
    return ax.figure.canvas.figure, ax


def check_format(path: str | os.PathLike[str]) -> Path:
    """Return the path of a figure. Raises DlwError for a format that is not written here."""
    path = Path(path)
    if path.suffix.casefold() not in FORMATS:
        raise DlwError(
            f"cannot write a figure as {str(path)!r}; name it {', '.join('*' + suffix for suffix in FORMATS)}"
        )
    return path


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, SVG or PDF by its name's ending; return the path. Raises DlwError when it cannot."""
    path = check_format(path)
    try:
        figure.savefig(path)
    except OSError as error:
        raise DlwError(f"cannot write {str(path)!r}: {first_line(error)}") from None
    return path


def shorten(text: str, length: int) -> str:
    """Cut a text in its middle to at most `length` characters."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def text_width(text: str, size: float) -> float:
    """Return how many inches a line of text takes at a font size in points."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return width / 72


def fit(text: object, inches: float, size: float) -> str:
    """Cut somebody's name to a width; what matplotlib would read as mathematics in it is printed as it stands."""
    line = " ".join(str(text).split())
    length = len(line)
    while length > 3 and text_width(shorten(line, length), size) > inches:
        length -= 1
    return shorten(line, length).replace("$", r"\$")


def as_array(values: Any) -> np.ndarray:
    """Return values as an array, also those of a tensor that lives on an accelerator or carries a gradient."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def tidy(axis: Axes, *, grid: str | None = "both") -> None:
    """Take away the frame's upper and right line; draw a pale grid along "x", "y" or "both" behind the data."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_axisbelow(True)
    if grid is not None:
        axis.grid(axis=cast(Any, grid), color=PALE, linewidth=0.8)


def name_places(axis: Axis, names: Sequence[str], *, room: float, size: float = 8, longest: float = 1.7) -> None:
    """Write names at 0, 1, ... of an x or y axis, as many as fit when each place has `room` inches.

    Names beside an x axis stand upright where one is wider than its place.
    """
    texts = [fit(name, longest, size) for name in names]
    upright = isinstance(axis, XAxis) and max(text_width(text, size) for text in texts) > 0.9 * room
    step = max(1, math.ceil(1.35 * size / 72 / room)) if upright or not isinstance(axis, XAxis) else 1
    axis.set_ticks(range(0, len(texts), step), texts[::step])
    axis.set_tick_params(labelsize=size, labelrotation=90 if upright else 0)


def legend_below(figure: Figure, handles: Sequence[Any], names: Sequence[str], *, size: float = 9) -> None:
    """Put one legend for the whole figure below it, in as many columns as its width allows."""
    texts = [visible(fit(name, min(3.4, figure.get_figwidth() - 0.9), size)) for name in names]
    widest = max(text_width(text, size) for text in texts) + 0.65
    columns = max(1, min(len(texts), int((figure.get_figwidth() - 0.3) / widest)))
    figure.legend(handles, texts, loc="outside lower center", ncols=columns, fontsize=size, frameon=False)


def visible(name: str) -> str:
    """Return a name that a legend does not leave out: matplotlib hides those that begin with an underscore."""
    return f" {name}" if name.startswith("_") else name
