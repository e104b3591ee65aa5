"""Which images look the same though their pixels differ, as re-encoded and resized copies do; knows no file."""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image

FARTHEST = 4
"""Looks that differ in up to this many of their 128 bits are of one image.

Of 300 photos and their copies (JPEG of quality 30 to 90, 64 pixels to half their size), copies were at most 4 bits
apart and different photos at least 31.
"""
SMALLEST_SIDE = 32
"""Smaller images have no look: icons and drawings of so few pixels are alike without being copies."""

_SIDE = 8
_CELLS = [(_SIDE + 1) * row + column for row in range(_SIDE) for column in range(_SIDE)]
_BANDS = [sum(1 << bit for bit in range(first, 128, FARTHEST + 1)) for first in range(FARTHEST + 1)]
_MOST_IN_A_BAND = 100
"""A band of bits that more looks share is not searched: the time would grow with the square."""


def look_of(image: Image.Image) -> str:
    """Return how an image looks as 32 hexadecimal digits, or nothing where there is too little in it to tell.

    A difference hash: of 9 x 9 grey fields, is each brighter than its right neighbour, and than the one below.
    """
    if min(image.size) < SMALLEST_SIDE:
        return ""
    grey = image.convert("L").resize((_SIDE + 1, _SIDE + 1), Image.Resampling.LANCZOS).tobytes()
    halves = [[grey[cell] - grey[cell + step] for cell in _CELLS] for step in (1, _SIDE + 1)]
    if any(_is_plain(steps) for steps in halves):
        return ""
    return "".join(f"{sum((step > 0) << bit for bit, step in enumerate(steps)):016x}" for steps in halves)


def alike(looks: Iterable[str]) -> list[list[int]]:
    """Return the groups of two or more looks that are at most `FARTHEST` from the first of their group, by index.

    Looks so near have at least one of `FARTHEST` + 1 bands of bits in common: only those are compared.
    """
    groups: dict[int, list[int]] = {}
    bands: list[dict[int, list[int]]] = [{} for _ in _BANDS]
    for index, text in enumerate(looks):
        if not text:
            continue
        look = int(text, 16)
        first = look if look in groups else _first_near(look, bands)
        if first is None:
            first = look
            for band, mask in zip(bands, _BANDS, strict=True):
                sharing = band.setdefault(look & mask, [])
                if len(sharing) < _MOST_IN_A_BAND:
                    sharing.append(look)
        groups.setdefault(first, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _first_near(look: int, bands: list[dict[int, list[int]]]) -> int | None:
    for band, mask in zip(bands, _BANDS, strict=True):
        for other in band.get(look & mask, ()):
            if (look ^ other).bit_count() <= FARTHEST:
                return other
    return None


def _is_plain(steps: list[int]) -> bool:
    """Return whether most fields are as bright as their neighbours, or nearly all change the same way: a gradient."""
    changing = sum(abs(step) > 1 for step in steps)
    rising = sum(step > 0 for step in steps)
    return changing < len(steps) / 2 or not 4 <= rising <= len(steps) - 4
