"""What all figures share: how one is made without a display, coloured, named and written."""

from __future__ import annotations

import io
import math
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import text_to_path

from dlworkflow.errors import DlwError
from dlworkflow.files.text import printable
from dlworkflow.files.writing import is_device, write_output
from dlworkflow.plotting import fonts, notebook

BLUE, GREEN, RED, ORANGE = "#0072b2", "#009e73", "#d55e00", "#e69f00"
PURPLE, SKY, BLACK, GREY, PALE = "#cc79a7", "#56b4e9", "#000000", "#6b6b6b", "#e3e3e3"
"""Okabe and Ito's (jfly.uni-koeln.de/color), apart for every common kind of colour blindness; grey is for their yellow,
which is lost on white.
"""

COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK, GREY)
SPLIT_COLOURS = {"train": BLUE, "val": GREEN, "test": RED}

GOOD, BAD = "#00703c", "#b3261e"
"""Right and wrong: apart in brightness too, for those who see red and green alike."""

FORMATS = (".png", ".svg", ".pdf")

MAKER: ContextVar[Callable[..., Figure]] = ContextVar("MAKER", default=notebook.Figure)
"""What makes an empty figure from matplotlib's `figsize`, `layout` and `dpi`: one that no pyplot knows by default."""


def new_figure(width: float, height: float, *, compressed: bool = True) -> Figure:
    """Return an empty figure of a size in inches that lays itself out without overlaps.

    Panels of fixed proportions move together unless `compressed` is False: then each keeps its share of the width.
    """
    fonts.provide()
    return MAKER.get()(figsize=(width, height), layout=_Layout(compress=compressed, w_pad=0.06, h_pad=0.07), dpi=120)


class _Layout(ConstrainedLayoutEngine):
    """Lays a figure out, before each drawing of it, when every letter has a font: widths depend on that."""

    def execute(self, fig: Figure) -> None:
        fonts.complete(fig)
        super().execute(fig)


def settle(figure: Figure) -> Figure:
    """Lay out a figure whose panels have fixed proportions, and return it.

    matplotlib's layout needs two passes for those, and a figure that is drawn once gets one: titles would be cut off.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    return figure


def axes_for(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes, bool]:
    """Return the figure and the axes to draw on, and whether both are new.

    Those of `ax`; without it the only axes of a new figure of this size in inches.
    """
    if ax is not None:
        fonts.complete(ax.figure.canvas.figure)
        return notebook.shown_once(ax.figure.canvas.figure), ax, False
    figure = new_figure(width, height)
    return figure, figure.subplots(), True


def check_format(path: str | os.PathLike[str]) -> Path:
    """Return the path of a figure. Raises DlwError for a format that is not written here."""
    path = Path(path)
    if path.suffix.casefold() not in FORMATS and not is_device(path):
        raise DlwError(
            f"cannot write a figure as {str(path)!r}; name it {', '.join('*' + suffix for suffix in FORMATS)}"
        )
    return path


def save_figure(figure: Figure, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
    """Write a figure as PNG, SVG or PDF by its name's ending, PNG into a device such as /dev/stdout; return the path.

    Raises DlwError when it cannot, ConfigError where a file is there that is not to be overwritten.
    """
    path = check_format(path)
    drawn = io.BytesIO()
    suffix = path.suffix.casefold()
    figure.savefig(drawn, format=suffix.removeprefix(".") if suffix in FORMATS else "png")
    return write_output(path, lambda stream: stream.write(drawn.getbuffer()), overwrite=overwrite)


def shorten(text: str, length: int) -> str:
    """Cut a text in its middle to at most `length` characters."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def text_width(text: str, size: float) -> float:
    """Return about how many inches a line of text takes at a font size in points; kerning is left out."""
    if not text.isascii():
        fonts.provide(text)
    return size / 72 * sum(_letter_width(letter) for letter in text)


@lru_cache(maxsize=4096)
def _letter_width(letter: str) -> float:
    """Return the step from a letter to the next, as a fraction of the font size; a space has one too."""
    font = FontProperties(size=1)
    with_it, without = (
        text_to_path.get_text_width_height_descent(f"|{x}|", font, ismath=False)[0] for x in (letter, "")
    )
    return with_it - without


def fit(text: object, inches: float, size: float) -> str:
    """Shorten a name to a width.

    A `$` is printed as it is and starts no formula; control characters are spelled out.
    """
    line = printable(" ".join(str(text).split()))
    if text_width(line, size) > inches:
        lengths = range(4, len(line))
        fitting = bisect_right(lengths, inches, key=lambda length: text_width(shorten(line, length), size))
        line = shorten(line, lengths[fitting - 1] if fitting else 3)
    return line.replace("$", r"\$")


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
    columns = math.ceil(len(texts) / math.ceil(len(texts) / columns))
    figure.legend(handles, texts, loc="outside lower center", ncols=columns, fontsize=size, frameon=False)


def visible(name: str) -> str:
    """Return a name that a legend does not leave out: matplotlib hides those that begin with an underscore."""
    return f" {name}" if name.startswith("_") else name
