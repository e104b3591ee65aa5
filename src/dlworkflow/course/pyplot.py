"""pyplot's figures and axes for the notes' helpers, where a script has loaded pyplot or a notebook shows figures."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from matplotlib.axes import Axes

from dlworkflow.plotting import notebook
from dlworkflow.plotting.style import MAKER

P = ParamSpec("P")
Drawn = TypeVar("Drawn")


def on_pyplot(draw: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """Return a function whose new figures are pyplot's: current, shown by `plt.show()`, saved by `plt.savefig`.

    Without pyplot they are bare figures. One that could not be drawn is closed.
    """

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Drawn:
        with _pyplots_figures():
            return draw(*args, **kwargs)

    return drawn


def current_axes(*, empty: bool = False) -> Axes | None:
    """Return pyplot's current axes where a figure is open, else None.

    Also None where they hold data in a figure that a helper has made, or with `empty` in any figure.
    """
    pyplot = _pyplot()
    if pyplot is None or not pyplot.get_fignums():
        return None
    figure, axes = pyplot.gcf(), pyplot.gca()
    is_taken = axes.has_data() and (empty or isinstance(figure, notebook.Figure))
    return None if is_taken else axes


def _pyplot() -> Any:
    """Return pyplot, which takes 0.6 s to load, or None where it is not needed."""
    if "ipykernel" in sys.modules and "inline" in os.environ.get("MPLBACKEND", ""):
        import matplotlib.pyplot  # a notebook shows no figure without it but the value of a cell  # noqa: F401
    return sys.modules.get("matplotlib.pyplot")


@contextmanager
def _pyplots_figures() -> Iterator[None]:
    pyplot = _pyplot()
    if pyplot is None:
        yield
        return
    opened = []

    def make(**look: Any) -> Any:
        opened.append(pyplot.figure(FigureClass=notebook.Figure, **look))
        return opened[-1]

    token = MAKER.set(make)
    try:
        yield
    except BaseException:
        for figure in opened:
            pyplot.close(figure)
        raise
    finally:
        MAKER.reset(token)
