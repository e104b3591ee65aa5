"""How a figure of a run is marked: for which runs it is, and whether it is drawn unasked. Knows no figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dlworkflow.errors import DataError
from dlworkflow.runs import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[..., "Figure"]


class NothingToDrawError(DataError):
    """A figure fits the run and would be empty; it is left out unless it was asked for by name."""


def fits(suits: Callable[[Summary], bool]) -> Callable[[Draw], Draw]:
    """Mark a figure as one for runs whose summary `suits` it; without this mark it is for every run."""

    def mark(draw: Draw) -> Draw:
        draw.fits = suits  # type: ignore[attr-defined] # functions take attributes
        return draw

    return mark


def by_name(draw: Draw) -> Draw:
    """Mark a figure as one that is drawn only where it is named: it takes long, or a package that few have."""
    draw.by_name = True  # type: ignore[attr-defined] # functions take attributes
    return draw
