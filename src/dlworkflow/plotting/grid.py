"""Images in rows and columns, each below its title: what every figure of images is built from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from dlworkflow.errors import DlwError
from dlworkflow.plotting.style import BAD, as_array, fit, new_figure, settle

MOST_IMAGES = 25
LONGEST_SIDE = 1000  # pixels of an image's side: more are not seen in a figure
CELL = 2.6  # inches of width for an image and its title
TITLE, NAME = 9.0, 7.0  # font sizes in points


Layout = Literal["chw", "hwc"] | None
"""Where an image's channels are, first or last. None reads it from the type or from the shape, see `as_image`."""


def as_image(image: Any, layout: Layout = None) -> np.ndarray:
    """Return what `imshow` takes: (h, w) or (h, w, 3 or 4), uint8 or float in [0, 1].

    Takes (h, w), (c, h, w) or (h, w, c), of integers in [0, 255] or floats; `layout` is which of the two. Without it,
    the channels of a PIL image are the last and those of an array are where 1, 3 or 4 fits; where both places would,
    they are a tensor's first, and of an array DlwError is raised. Floats that leave [0, 1] by more than rounding (a
    normalised image, say) are stretched from their least to their greatest value. Raises DlwError for any other
    shape.
    """
    array = as_array(image)
    shape = array.shape
    if array.ndim == 3 and array.size and _is_channels_first(image, shape, layout):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if 0 in shape or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise DlwError(f"an image is (h, w), (c, h, w) or (h, w, c) with 1, 3 or 4 channels, not {shape}")
    if array.dtype == bool:
        return array.astype(float)
    if np.issubdtype(array.dtype, np.integer):
        return array.clip(0, 255).astype(np.uint8)
    return _in_unit_range(array.astype(float))


def _is_channels_first(image: Any, shape: Sequence[int], layout: Layout) -> bool:
    if layout is not None or isinstance(image, Image.Image):
        return layout == "chw" and not isinstance(image, Image.Image)
    last = shape[2] in (1, 3, 4)
    first = shape[0] in (1, 3) or (shape[0] == 4 and shape[2] not in (1, 3))  # so small an image of four is RGB
    if first and last and not hasattr(image, "detach"):
        raise DlwError(
            f"an image of shape {tuple(shape)} may have its channels first or last: say layout='chw' or 'hwc'"
        )
    return first


def show_image(axis: Axes, image: Any, layout: Layout = None) -> None:
    """Draw one image without a frame; None is one that could not be read, which is written in its place."""
    axis.set_axis_off()
    if image is None:
        axis.text(0.5, 0.5, "not readable", ha="center", va="center", transform=axis.transAxes)
        return
    array = _shrunk(as_image(image, layout))
    if array.ndim == 2:
        axis.imshow(array, cmap="gray", vmin=0, vmax=255 if array.dtype == np.uint8 else 1)
    else:
        axis.imshow(array)


def _shrunk(array: np.ndarray) -> np.ndarray:
    """Return an image of no more pixels than a figure shows of it, which would be held until it is saved."""
    if max(array.shape[:2]) <= LONGEST_SIDE:
        return array
    small = Image.fromarray(array if array.dtype == np.uint8 else np.rint(255 * array).astype(np.uint8))
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return np.asarray(small)


def draw_grid(
    images: Sequence[Any],
    titles: Sequence[str],
    *,
    layout: Layout = None,
    colours: Sequence[str] | None = None,
    names: Sequence[str] = (),
    columns: int | None = None,
    note: str = "",
) -> Figure:
    """Draw images in a grid as square as it gets, at most 25, each below its title of one or more lines.

    `layout` is that of `as_image`; `names` are below the images, `note` is below the figure; what does not fit is
    shortened. Raises DlwError for no image and for a number of titles that is not theirs.
    """
    if len(images) == 0:
        raise DlwError("no images to draw")
    if len(titles) < min(len(images), MOST_IMAGES):
        raise DlwError(f"{len(images)} images and {len(titles)} titles: each image needs its own")
    n = min(len(images), MOST_IMAGES)
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    lines = max(title.count("\n") for title in titles[:n])
    width = max(CELL * columns, 3.2)
    height = (2.75 + 0.16 * lines + (0.15 if names else 0)) * rows
    figure = new_figure(width, height, compressed=False)  # a title may be wider than its image
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[n:]:
        axis.set_axis_off()
    for index, axis in enumerate(axes[:n]):
        show_image(axis, images[index], layout)
        colour = BAD if images[index] is None else colours[index] if colours else "black"
        title = "\n".join(fit(line, width / columns - 0.12, TITLE) for line in titles[index].split("\n"))
        axis.set_title(title, fontsize=TITLE, color=colour)
        if names:
            name = fit(names[index], width / columns - 0.12, NAME)
            axis.text(0.5, -0.02, name, ha="center", va="top", fontsize=NAME, transform=axis.transAxes)
    if len(images) > n:
        note = note or f"the first {n} of {len(images)} images"
    if note:
        figure.supxlabel(note, fontsize=8)
    return settle(figure)


def _in_unit_range(array: np.ndarray) -> np.ndarray:
    array = np.nan_to_num(array, nan=0.0, posinf=1.0, neginf=0.0)
    low, high = float(array.min()), float(array.max())
    if low < -0.05 or high > 1.05:
        return (array - low) / max(high - low, 1e-12)
    return array.clip(0, 1)
