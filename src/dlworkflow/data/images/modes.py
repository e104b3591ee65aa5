"""What the pixels of an image are, and how they become 8-bit grey or RGB; opens no file. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from PIL import Image

from dlworkflow.errors import DataError

_TILE = 2**20  # pixels that are converted at once where that takes several steps
_MODES = {1: "L", 3: "RGB"}
_FULL = {"F": (0.0, 1.0)}  # which values are black and white by default; 16 bits for all others
_FULL_16_BITS = (0.0, 65535.0)
ValueRange = tuple[float, float] | Literal["each"] | None
"""A range, or None for [0, 1] of floats and 16 bits of whole numbers, beyond which an image is an error. `each` is the
rule of version 0.1, which scales each image by itself: [0, 1] or [0, 255] of floats, 16 or 8 bits of whole numbers."""


def is_deep(mode: str) -> bool:
    """Return whether an image of this mode holds more than 8 bits: whole numbers of 16 or 32 bits, or floats."""
    return mode in ("I", "F") or mode.startswith("I;16")


def extremes_of(image: Image.Image) -> tuple[float, float]:
    """Return the least and the greatest finite value of an image of one channel, (0, 0) where there is none."""
    found = [pair for box in _tiles(image.size) if (pair := _extremes(_part(image, box)))]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else (0.0, 0.0)


def to_mode(image: Image.Image, channels: int, value_range: ValueRange = None) -> Image.Image:
    """Bring an image of any mode to 8-bit grey (1 channel) or RGB (3)."""
    if channels not in _MODES:
        raise DataError(f"images have 1 channel (grey) or 3 (RGB), not {channels}")
    mode, deep = _MODES[channels], is_deep(image.mode)
    if not deep and not image.has_transparency_data:
        return image if image.mode == mode else image.convert(mode)
    black_and_white = _range_for(image, value_range) if deep else None
    result = Image.new(mode, image.size)
    for box in _tiles(image.size):
        tile = _part(image, box)
        if black_and_white is not None:
            tile = _to_8_bits(tile, *black_and_white)
        if tile.has_transparency_data:
            tile = tile.convert("RGBA")
            tile = Image.alpha_composite(Image.new("RGBA", tile.size, "white"), tile)
        result.paste(tile.convert(mode), box[:2])
    return result


def _range_for(image: Image.Image, value_range: ValueRange) -> tuple[float, float]:
    """Return which values of an image are black and white."""
    full = _FULL.get(image.mode, _FULL_16_BITS)
    if isinstance(value_range, (tuple, list)):
        return float(value_range[0]), float(value_range[1])
    if image.mode.startswith("I;16"):
        return full
    low, high = extremes_of(image)
    if value_range == "each":
        is_small = high <= 255 if image.mode == "I" else high > 1
        return (0.0, 255.0) if is_small else full
    if low < full[0] or high > full[1]:
        raise ValueError(
            f"its values go from {low:g} to {high:g}, and which of them are black and white is not known: train with "
            "data.range=[low, high], or save it with 8 bits"
        )
    return full


def _tiles(size: tuple[int, int]) -> Iterable[tuple[int, int, int, int]]:
    """Yield boxes of at most `_TILE` pixels that cover an image: what converting it takes is held for one of them."""
    width, height = size
    across = min(width, _TILE)
    down = max(1, _TILE // across)
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield left, top, min(left + across, width), min(top + down, height)


def _part(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    return image if box == (0, 0, *image.size) else image.crop(box)


def _extremes(tile: Image.Image) -> tuple[float, float] | None:
    import numpy as np

    values = np.asarray(tile)
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _to_8_bits(tile: Image.Image, low: float, high: float) -> Image.Image:
    """Scale grey to 8 bits: `low` and below are black, as what is no number is, `high` and above are white."""
    import numpy as np

    values = (np.nan_to_num(np.asarray(tile).astype(np.float64), nan=low, posinf=low, neginf=low) - low) * (
        255 / (high - low)
    )
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
