"""Samples as points of a map, near each other where a model finds them alike: dots by class or value, or thumbnails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from dlworkflow.errors import DlwError
from dlworkflow.plotting.grid import as_image
from dlworkflow.plotting.points import MOST_NAMED, Palette, class_colours, class_marker, frame, limits, name_classes
from dlworkflow.plotting.style import (
    COLOURS,
    as_array,
    fit,
    legend_below,
    new_figure,
    settle,
    text_width,
    tidy,
    visible,
)

SIDE = 6.4  # inches of the map
CELLS = 16  # thumbnails beside each other
_SLICES = 12  # in which classes are drawn in turn, so that none covers the others
_NAME_SIZE = 8.0


class Place(NamedTuple):
    """Where the thumbnail of a sample is drawn: the left, lower corner of its cell, in units of the map."""

    sample: int
    left: float
    bottom: float


class _Samples(NamedTuple):
    points: np.ndarray
    labels: np.ndarray
    wrong: np.ndarray


def plot_embedding(
    points: Any,
    labels: Any,
    classes: Sequence[str] = (),
    *,
    wrong: Any = None,
    axis_names: tuple[str, str] = ("component 1", "component 2"),
    value_name: str = "value",
    palette: Palette = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw samples at their points (n, 2) in the colours and shapes of their classes.

    `labels` are class numbers (n,) or, without `classes`, values, which a colour bar named `value_name` explains;
    `wrong` (n,) bool points get a black rim. Beyond 24 classes a name is written amid the points of its class, where
    there is room. `note` is written below. Raises DlwError for no point and for arrays of different lengths.
    """
    found = _checked(points, labels, wrong)
    figure, axis = _map(found, axis_names, title, note)
    size = float(np.clip(20000 / len(found.points), 12, 36))
    if not classes:
        look: dict[str, Any] = {"s": size, "cmap": "viridis", "edgecolors": "white", "linewidths": 0.3}
        dots = axis.scatter(found.points[:, 0], found.points[:, 1], c=found.labels.astype(float), **look)
        figure.colorbar(dots, ax=axis, label=fit(value_name, 4, 10), shrink=0.8)
        return settle(figure)
    colours = _colours(len(classes), palette)
    for chosen, label in _in_turn(found):
        bad = found.wrong[chosen]
        look = {"edgecolors": np.where(bad, "black", "white"), "linewidths": np.where(bad, size / 40, 0.3)}
        look |= {"s": size, "marker": class_marker(label), "color": [tuple(colours[label])]}
        axis.scatter(found.points[chosen, 0], found.points[chosen, 1], **look)
    if len(classes) <= MOST_NAMED:
        name_classes(figure, [axis], classes, colours, below=True, wrong=bool(found.wrong.any()))
    else:
        if found.wrong.any():
            legend_below(figure, [Line2D([], [], ls="", marker="o", mfc="none", mec="black", markersize=6)], ["wrong"])
        _write_names(settle(figure), axis, found, classes)
    return settle(figure)


def thumbnail_places(points: Any) -> list[Place]:
    """Return which samples of points (n, 2) get a thumbnail, and where: of each cell of a grid one, so none is covered.

    It is the sample nearest to the centre of the cell.
    """
    where = _checked(points, np.zeros(len(points)), None).points
    low, cell = _grid(where)
    steps = (where - low) / cell
    squares = np.floor(steps).astype(int)
    off_centre = np.abs(steps - squares - 0.5).max(axis=1)
    taken: dict[tuple[int, ...], int] = {}
    for index in np.argsort(off_centre, kind="stable").tolist():
        taken.setdefault(tuple(squares[index].tolist()), index)
    return [Place(index, *(low + cell * square).tolist()) for square, index in taken.items()]


def plot_thumbnails(
    points: Any,
    places: Sequence[Place],
    images: Sequence[Any],
    labels: Any,
    classes: Sequence[str] = (),
    *,
    wrong: Any = None,
    axis_names: tuple[str, str] = ("component 1", "component 2"),
    palette: Palette = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw images of some samples at their `places` on the map of all points (n, 2), see `thumbnail_places`.

    The frame of an image has the colour of its class, up to 24 of them, and is broken by black where it is `wrong`.
    The rest is as for `plot_embedding`.
    """
    found = _checked(points, labels, wrong)
    figure, axis = _map(found, axis_names, title, note)
    cell = _grid(found.points)[1]
    has_colours = 0 < len(classes) <= MOST_NAMED
    colours = _colours(len(classes), palette)
    for (sample, *corner), image in zip(places, images, strict=True):
        _show_inside(axis, as_image(image), corner + 0.08 * cell, 0.84 * cell)
        rim: dict[str, Any] = {"xy": corner + 0.04 * cell, "width": 0.92 * cell[0]}
        rim |= {"height": 0.92 * cell[1], "fill": False, "linewidth": 2}
        if has_colours:
            axis.add_patch(Rectangle(**rim, edgecolor=tuple(colours[found.labels[sample]])))
        if found.wrong[sample]:
            axis.add_patch(Rectangle(**rim, edgecolor="black", linestyle=(0, (2, 2))))
    frame(axis, *limits({"": (found.points, found.labels)}))
    handles = [Rectangle((0, 0), 1, 1, color=tuple(colour)) for colour in colours] if has_colours else []
    names = list(classes) if has_colours else []
    if found.wrong.any():
        handles.append(Rectangle((0, 0), 1, 1, fill=False, edgecolor="black", linestyle=(0, (2, 2))))
        names.append("wrong")
    if handles:
        legend_below(figure, handles, names)
    return settle(figure)


def _checked(points: Any, labels: Any, wrong: Any) -> _Samples:
    where, named = as_array(points).astype(float), as_array(labels).ravel()
    bad = np.zeros(len(named), bool) if wrong is None else as_array(wrong).astype(bool).ravel()
    if where.ndim != 2 or where.shape[1] != 2 or not len(where):
        raise DlwError(f"a map is of points (n, 2), at least one, not {where.shape}")
    if not len(where) == len(named) == len(bad):
        raise DlwError(f"{len(where)} points, {len(named)} labels and {len(bad)} times right or wrong: one each")
    return _Samples(where, named, bad)


def _map(found: _Samples, axis_names: tuple[str, str], title: str, note: str) -> tuple[Figure, Axes]:
    ranges = limits({"": (found.points, found.labels)})
    (left, right), (low, high) = ranges
    ratio = (right - left) / (high - low)
    figure = new_figure(SIDE * np.clip(ratio, 0.8, 1) + 0.8, SIDE / np.clip(ratio, 1, 1.8) + 1.4)
    axis = figure.subplots()
    frame(axis, *ranges)
    axis.set(xlabel=axis_names[0], ylabel=axis_names[1])
    axis.set_title("\n".join(fit(line, figure.get_figwidth() - 1.2, 9) for line in (title, note) if line), fontsize=9)
    tidy(axis, grid=None)
    return figure, axis


def _colours(n: int, palette: Palette) -> np.ndarray:
    """Return a colour a class; with its shape, none of 64 classes looks like another."""
    return class_colours(n, [COLOURS[index % len(COLOURS)] for index in range(n)] if palette is None else palette)


def _in_turn(found: _Samples) -> Iterator[tuple[np.ndarray, int]]:
    """Yield samples of one class, in slices over all classes; the wrong ones last, so that they are seen."""
    order = np.random.default_rng(0).permutation(len(found.points))
    right, wrong = order[~found.wrong[order]], order[found.wrong[order]]
    for part in (*np.array_split(right, _SLICES), wrong):
        for label in np.unique(found.labels[part]):
            yield part[found.labels[part] == label], int(label)


def _write_names(figure: Figure, axis: Axes, found: _Samples, classes: Sequence[str]) -> None:
    """Write names amid the points of their classes, the largest class first, where none covers another."""
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    box = axis.bbox.transformed(figure.dpi_scale_trans.inverted())
    scale, upwards = box.width / (right - left), box.height / (high - low)
    labels, counts = np.unique(found.labels, return_counts=True)
    written: list[tuple[float, float, float]] = []  # x and y of the middle and half the width, in inches
    for label in labels[np.argsort(-counts, kind="stable")]:
        x, y = np.median(found.points[found.labels == label], axis=0)
        text = visible(fit(classes[int(label)], 1.2, _NAME_SIZE))
        half = text_width(text, _NAME_SIZE) / 2 + 0.06
        inches = float(np.clip((x - left) * scale, half, max(half, (right - left) * scale - half)))
        rise = (y - low) * upwards
        if all(abs(inches - other) > half + width or abs(rise - up) > 0.17 for other, up, width in written):
            written.append((inches, rise, half))
            outline = [withStroke(linewidth=2.5, foreground="white")]
            look: dict[str, Any] = {"fontsize": _NAME_SIZE, "ha": "center", "va": "center", "path_effects": outline}
            axis.text(left + inches / scale, y, text, **look)


def _grid(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower corner of a grid over the map, and width and height of a cell, which is a square on paper."""
    ranges = np.array(limits({"": (points, np.zeros(len(points)))}))
    spans = ranges[:, 1] - ranges[:, 0]
    is_equal = 1 / 3 < spans[0] / spans[1] < 3  # as `frame` has it
    return ranges[:, 0], np.full(2, spans.max() / CELLS) if is_equal else spans / CELLS


def _show_inside(axis: Axes, image: np.ndarray, corner: np.ndarray, room: np.ndarray) -> None:
    """Draw an image in the middle of a square, as large as its proportions allow."""
    height, width = image.shape[:2]
    size = room * np.array([width, height]) / max(width, height)
    left, bottom = corner + (room - size) / 2
    grey: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255 if image.dtype == np.uint8 else 1}
    axis.imshow(
        image,
        extent=(left, left + size[0], bottom, bottom + size[1]),
        aspect="auto",
        **(grey if image.ndim == 2 else {}),
    )
