"""Whether a map of an image is worth anything: what the answer is where what it marks is hidden, or shown alone.

Deletion and insertion curves (Petsiuk et al. 2018), against the same marks at random places. Squares in random order
would be no fair comparison: holes all over an image ruin it for a network whatever they hide. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

FRACTIONS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Parts of the image that are hidden, or shown: the points of a curve."""
PLACES = 9
"""Random places that a map is compared with: by luck it beats all of them 1 time in 10."""

_SQUARES = 16  # along a side: what is hidden has the same shape whatever decides its order
_BATCH = 32

Answer = Callable[[Tensor], np.ndarray]
"""Takes inputs (n, c, h, w), returns the probability of the class, or a value, (n,)."""


@dataclass(frozen=True)
class Curves:
    """The answer where a part of the image is hidden (`deletion`) or shown alone (`insertion`), for each `FRACTIONS`.

    The squares that the map marks most come first. `random_` are means over `places`, where the same map is moved to
    as many random places; `deletion_beats` is how many of these have a larger area under their curve, `insertion_beats`
    how many a smaller.
    """

    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    random_deletion: tuple[float, ...]
    random_insertion: tuple[float, ...]
    deletion_beats: int
    insertion_beats: int
    places: int = PLACES

    @property
    def areas(self) -> dict[str, float]:
        """The area under each curve."""
        names = ("deletion", "random_deletion", "insertion", "random_insertion")
        return {name: _area(np.array(getattr(self, name))) for name in names}


def measure_curves(
    answer: Answer, x: Tensor, baseline: Tensor, grid: np.ndarray, *, places: int = PLACES, seed: int = 0
) -> Curves:
    """Hide and show an image x (1, c, h, w) in the order of its map (h, w), and of that map moved to random places.

    What is hidden is as in `baseline`, an image of the same shape.
    """
    generator = np.random.default_rng(seed)
    squares = _squares(*x.shape[2:])
    worth = np.bincount(squares.ravel(), weights=grid.ravel()) / np.bincount(squares.ravel())
    of_squares = worth.reshape(-1, int(squares[0, -1]) + 1)
    every = [worth, *(_moved(of_squares, generator).ravel() for _ in range(places))]
    orders = [np.lexsort((generator.random(len(each)), -each)) for each in every]  # equals, as zeros are, in any order
    whole, nothing = answer(torch.cat([x, baseline]))
    masks = (mask for order in orders for mask in _masks(order, squares))
    found = np.concatenate([answer(inputs) for inputs in _changed(x, baseline, masks)]).reshape(places + 1, -1, 2)
    ends = np.full((places + 1, 1), whole), np.full((places + 1, 1), nothing)
    deletion = np.hstack([ends[0], found[:, :, 0], ends[1]])
    insertion = np.hstack([ends[1], found[:, :, 1], ends[0]])
    hidden, shown = ([_area(curve) for curve in curves] for curves in (deletion, insertion))
    return Curves(
        _numbers(deletion[0]),
        _numbers(insertion[0]),
        _numbers(deletion[1:].mean(axis=0)),
        _numbers(insertion[1:].mean(axis=0)),
        deletion_beats=sum(area > hidden[0] for area in hidden[1:]),
        insertion_beats=sum(area < shown[0] for area in shown[1:]),
        places=places,
    )


def _moved(worth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a map (rows, columns) mirrored or not, and moved to a random place; what leaves it comes in opposite."""
    mirrored = worth[:: generator.choice((1, -1)), :: generator.choice((1, -1))]
    return np.roll(mirrored, [generator.integers(side) for side in worth.shape], axis=(0, 1))


def _squares(height: int, width: int) -> np.ndarray:
    """Return (h, w) the number of the square that each pixel is in, at most 16 along a side."""
    rows, columns = (np.arange(side) * min(side, _SQUARES) // side for side in (height, width))
    return rows[:, None] * (columns[-1] + 1) + columns[None, :]


def _masks(order: np.ndarray, squares: np.ndarray) -> Iterator[np.ndarray]:
    """Yield (h, w) bool: the first squares, for each fraction but nothing and all."""
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    for fraction in FRACTIONS[1:-1]:
        yield rank[squares] < round(fraction * len(order))


def _changed(x: Tensor, baseline: Tensor, masks: Iterator[np.ndarray]) -> Iterator[Tensor]:
    """Yield batches of the image with what each mask marks hidden, and with it shown alone, one after the other."""
    batch: list[Tensor] = []
    for mask in masks:
        marked = torch.from_numpy(mask)[None, None].to(x.device)
        batch += [torch.where(marked, baseline, x), torch.where(marked, x, baseline)]
        if len(batch) >= _BATCH:
            yield torch.cat(batch)
            batch = []
    if batch:
        yield torch.cat(batch)


def _area(curve: np.ndarray) -> float:
    """Return the area under a curve over `FRACTIONS`, by trapezoids: the mean answer on the way."""
    return float(np.diff(FRACTIONS) @ (curve[1:] + curve[:-1]) / 2)


def _numbers(curve: np.ndarray) -> tuple[float, ...]:
    return tuple(curve.tolist())
