"""Figures of pictures: what a model said of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dlworkflow.errors import DlwError
from dlworkflow.plotting.style import BAD, new_figure, shorten

MOST_PICTURES = 25


def plot_predicted_images(pictures: Sequence[Any], titles: Sequence[str], *, names: Sequence[str] = ()) -> Figure:
    """Draw pictures in a grid, each with its title, at most 25 of them.

    A picture is anything `imshow` takes, (h, w) or (h, w, 3), or None for one that could not be read. `names` stand
    below the pictures. Raises DlwError when there is none.
    """
    if not pictures:
        raise DlwError("no pictures to draw")
    n = min(len(pictures), MOST_PICTURES)
    columns = min(n, math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    figure = new_figure(max(2.6 * columns, 3.2), 2.9 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for index, axis in enumerate(axes[:n]):
        picture = pictures[index]
        if picture is None:
            axis.text(0.5, 0.5, "not readable", ha="center", va="center", transform=axis.transAxes)
        else:
            grey = np.ndim(picture) == 2
            axis.imshow(picture, cmap="gray" if grey else None, vmin=0 if grey else None, vmax=255 if grey else None)
        axis.set_title(shorten(titles[index], 34), fontsize=9, color=BAD if picture is None else "black")
        if names:
            axis.text(
                0.5, -0.02, shorten(names[index], 30), ha="center", va="top", fontsize=7, transform=axis.transAxes
            )
    if len(pictures) > n:
        figure.supxlabel(f"the first {n} of {len(pictures)} pictures", fontsize=8)
    return figure
