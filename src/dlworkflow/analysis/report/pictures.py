"""Figures and images as small files for a page. Nothing of an image's own file is kept but its pixels."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from dlworkflow.analysis.report.document import Picture
from dlworkflow.data.images.decoding import opened
from dlworkflow.plotting.grid import as_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 224
"""Pixels of the longer side of an image."""

_TINY = 64  # pixels of a side up to which an image is enlarged
_DPI = 144  # of a figure: one and a half pixels for each of the page


def of_figure(figure: Figure, name: str, alt: str, caption: str = "") -> Picture:
    """Return a figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI)
    content = stream.getvalue()
    with opened(name, content=content) as image:
        width, height = (round(side * 96 / _DPI) for side in image.size)
    return Picture(name, content, width, height, alt, caption)


def of_image(image: Any, name: str, alt: str, caption: str = "") -> Picture:
    """Return an image, as `plotting.grid.as_image` takes it, no side longer than `SIDE`; a tiny one as it is."""
    array = as_image(image, "chw" if hasattr(image, "detach") else None)
    if array.dtype != np.uint8:
        array = np.rint(255 * array).astype(np.uint8)
    small = Image.fromarray(array)
    is_tiny = max(small.size) <= _TINY
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    if is_tiny or small.mode == "RGBA":
        small.save(stream, "PNG", optimize=True)
    else:
        small.save(stream, "JPEG", quality=80)
    scale = SIDE / max(small.size) if is_tiny else 1
    width, height = (max(1, round(side * scale)) for side in small.size)
    return Picture(name, stream.getvalue(), width, height, alt, caption, tiny=is_tiny)
