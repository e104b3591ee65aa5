"""What all figures share: how one is made without a display, coloured, and written."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.figure import Figure

from dlworkflow.errors import DlwError, first_line

GOOD, BAD = "#00703c", "#b3261e"
"""Right and wrong: apart in brightness too, for those who see red and green alike."""

FORMATS = (".png", ".svg", ".pdf")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches that lays itself out without overlaps; no window is opened."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


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
