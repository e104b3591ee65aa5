"""Heat maps over images: what speaks for a class and what against it, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from dlworkflow.errors import DlwError
from dlworkflow.plotting.grid import CELL, TITLE, as_image, show_image
from dlworkflow.plotting.style import BAD, BLUE, RED, as_array, fit, legend_below, new_figure, settle

MOST_ROWS = 13
Box = tuple[float, float, float, float]
_STRONGEST = 0.85  # how much of the image the strongest colour covers
_TOP = 99.0  # percentile of a row's maps that is drawn strongest: a single pixel would leave all others pale


def plot_heat_maps(
    images: Sequence[Any],
    maps: Sequence[Sequence[Any]],
    titles: Sequence[Sequence[str]],
    *,
    seen: Sequence[Box | None] = (),
    across: int = 1,
) -> Figure:
    """Draw each image with its maps beside it, `across` images a row, at most 13 rows.

    An image is as for `plot_predicted_images`, or None for one that could not be read. Its maps are (h, w) at its size:
    red where above 0 (speaks for the class), blue where below (against it), the stronger the larger; all maps of an
    image have one scale. `titles` are those of the image and of each map. `seen` is the part of each image that the
    model sees (left, top, right, bottom in pixels), which has a frame. Raises DlwError for no image, for a map of
    another size, and for a number of titles that is not theirs.
    """
    if len(images) == 0:
        raise DlwError("no images to draw")
    n, wide = min(len(images), MOST_ROWS * across), 1 + max(map(len, maps))
    across = min(across, n)
    rows = -(-n // across)
    lines = max(title.count("\n") for own in titles[:n] for title in own)
    shapes = [_shape(image) for image in images[:n]]
    heights = [CELL * max(shapes[row * across : (row + 1) * across]) + 0.25 + 0.16 * lines for row in range(rows)]
    figure = new_figure(CELL * wide * across, sum(heights) + 0.4, compressed=False)
    axes = figure.subplots(rows, wide * across, squeeze=False, height_ratios=heights)
    for axis in axes.ravel():
        axis.set_axis_off()
    signs = set()
    for index in range(n):
        own = [*axes[index // across, (index % across) * wide :]]
        signs |= _draw_row(own, images[index], [as_array(each).astype(float) for each in maps[index]], titles[index])
        if seen and (box := seen[index]) is not None:
            for axis in own[: 1 + len(maps[index])]:
                _frame(axis, box)
    named = {1: (RED, "speaks for it"), -1: (BLUE, "speaks against it")}
    handles = [Patch(color=named[sign][0]) for sign in sorted(signs, reverse=True)]
    if handles:
        legend_below(figure, handles, [named[sign][1] for sign in sorted(signs, reverse=True)])
    if len(images) > n:
        figure.supxlabel(f"the first {n} of {len(images)} images", fontsize=8)
    return settle(figure)


def _shape(image: Any) -> float:
    """Return how high an image is for its width, up to one and a half; there is room for a word in any."""
    if image is None:
        return 0.2
    height, width = as_image(image).shape[:2]
    return min(max(height / width, 0.2), 1.5)


def _draw_row(axes: Sequence[Axes], image: Any, maps: Sequence[np.ndarray], titles: Sequence[str]) -> set[int]:
    """Draw an image and its maps; return which signs these have."""
    if len(titles) != 1 + len(maps):
        raise DlwError(f"{len(maps)} maps and {len(titles)} titles: the image and each map need one")
    for axis, title in zip(axes, titles, strict=False):
        shown = "\n".join(fit(line, CELL - 0.12, TITLE) for line in title.split("\n"))
        axis.set_title(shown, fontsize=TITLE, color=BAD if image is None else "black")
    show_image(axes[0], image)
    if image is None:
        return set()
    grey = _grey(as_image(image))
    strongest = max((float(np.percentile(abs(each[each != 0]), _TOP)) for each in maps if each.any()), default=1.0)
    for axis, each in zip(axes[1:], maps, strict=False):
        if each.shape != grey.shape:
            raise DlwError(f"a map of {each.shape} over an image of {grey.shape}: both need one height and width")
        axis.imshow(grey, cmap="gray", vmin=0, vmax=1)
        axis.imshow(_coloured(each / strongest))
    return {sign for each in maps for sign in (1, -1) if (sign * each > 0.05 * strongest).any()}


def _frame(axis: Axes, box: Box) -> None:
    left, top, right, bottom = box
    frame: dict[str, Any] = {"fill": False, "edgecolor": "white", "linewidth": 1.2, "linestyle": "--"}
    axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **frame))


def _grey(image: np.ndarray) -> np.ndarray:
    """Return an image (h, w) in [0, 1], paler than it is, so that colours stand out."""
    unit = image / 255 if image.dtype == np.uint8 else image
    return 0.15 + 0.7 * (unit if unit.ndim == 2 else unit[:, :, :3] @ [0.299, 0.587, 0.114])


def _coloured(values: np.ndarray) -> np.ndarray:
    """Return (h, w, 4): red for values above 0, blue below, the more opaque the larger."""
    colours = np.where(values[:, :, None] > 0, to_rgb(RED), to_rgb(BLUE))
    return np.dstack([colours, _STRONGEST * np.minimum(abs(values), 1)])
