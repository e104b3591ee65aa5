"""Figures that a notebook shows once, and that leave pyplot alone: it is asked only where a script has loaded it."""

from __future__ import annotations

import io
import sys
from functools import partial
from traceback import walk_stack
from typing import Any

import matplotlib
from matplotlib import figure
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg


def show_once(drawn: figure.Figure) -> None:
    """Show nothing where a figure is the value of a cell at whose end pyplot shows it.

    This is what IPython calls first to show it. Raises NotImplementedError elsewhere: IPython then shows the figure
    as any other, which is right for the end of the cell, `plt.show()` and `display(figure)` too.
    """
    if not (_is_value_of_a_cell() and _is_shown_at_its_end(drawn)):
        raise NotImplementedError


class Figure(figure.Figure):
    """matplotlib's figure, for a notebook with or without pyplot and already laid out."""

    _ipython_display_ = show_once

    def _repr_png_(self) -> bytes | None:
        """Return the image for a notebook in which pyplot is not loaded, None where the canvas is a window."""
        if type(self.canvas) not in (FigureCanvasBase, FigureCanvasAgg):
            return None
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()

    def tight_layout(self, **pads: Any) -> None:
        """Change nothing, for `plt.tight_layout()`: the figure lays itself out, with its legend and colour bar."""


class Figures(list[figure.Figure]):
    """Figures, each of which a notebook shows once."""

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(*self)


def shown_once(drawn: figure.Figure) -> figure.Figure:
    """Return a figure of somebody else's that a notebook shows once from now on."""
    if not isinstance(drawn, Figure):
        drawn._ipython_display_ = partial(show_once, drawn)  # type: ignore[attr-defined] # looked up by IPython
    return drawn


def _is_value_of_a_cell() -> bool:
    """Return whether IPython is about to print the value of a cell's last line."""
    return any(frame.f_globals.get("__name__") == "IPython.core.displayhook" for frame, _ in walk_stack(None))


def _is_shown_at_its_end(drawn: figure.Figure) -> bool:
    """Return whether pyplot holds a figure and is about to show it below the cell."""
    pyplot, number = sys.modules.get("matplotlib.pyplot"), getattr(drawn, "number", None)
    if pyplot is None or number not in pyplot.get_fignums():
        return False
    current = pyplot.gcf().number
    is_held = pyplot.figure(number) is drawn  # a closed figure keeps its number, and another may have it now
    pyplot.figure(current)
    return is_held and matplotlib.is_interactive() and "inline" in matplotlib.get_backend()
