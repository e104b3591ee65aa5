"""One image in numbers: its file, and its values there and as a tensor; knows no data set. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from dlworkflow.data.images.decoding import opened
from dlworkflow.data.images.modes import to_mode
from dlworkflow.errors import first_line

_GREY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True)
class ImageFacts:
    """An image file: Pillow's format and mode, its size upright, and its values in the file and as a tensor.

    `values` has rows of where, dtype, shape (channels, height, width), min, max and mean. The tensor is grey or RGB,
    scaled to [0, 1] as torchvision's `ToTensor` does. `note` says why there is no tensor, where there is none.
    """

    path: Path
    format: str
    mode: str
    width: int
    height: int
    n_bytes: int
    values: list[dict[str, Any]]
    note: str = ""


def describe_image(path: str | os.PathLike[str]) -> ImageFacts:
    """Return what an image file is. Raises ImageError where it cannot be read."""
    path = Path(path)
    with opened(path) as image:
        made, mode = str(image.format), image.mode
        ImageOps.exif_transpose(image, in_place=True)
        values, note = [_values("in the file", np.asarray(image))], ""
        try:
            values.append(_values("as a tensor", _scaled(to_mode(image, 1 if mode in _GREY else 3))))
        except ValueError as error:
            note = first_line(error)
        return ImageFacts(path, made, mode, image.width, image.height, path.stat().st_size, values, note)


def _scaled(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.float32) / np.float32(255)


def _values(where: str, array: np.ndarray) -> dict[str, Any]:
    array = array.astype(np.uint8) if array.dtype == bool else array
    shape = (1, *array.shape) if array.ndim == 2 else (array.shape[2], *array.shape[:2])
    low, high, mean = array.min().item(), array.max().item(), float(array.mean(dtype=np.float64))
    return {"values": where, "dtype": str(array.dtype), "shape": "x".join(map(str, shape)), "min": low, "max": high} | {
        "mean": mean
    }
