"""What is measured in an image, whatever it shows: brightness, sharpness, size, aspect. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MEASURED_SIDE = 512
"""Sharpness is measured in an image whose longest side has at most so many pixels: it depends on the size."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow turns RGB into grey


class Measured(NamedTuple):
    """What is measured in one image."""

    brightness: float
    """Mean of its grey values, 0 (black) to 1 (white)."""
    sharpness: float
    """Variance of the Laplacian of its grey values (0 to 255): low in a blurred image, nan below 3x3 pixels.

    Source: J. L. Pech-Pacheco et al., ICPR 2000.
    """
    size: float
    """Pixels."""
    aspect: float
    """Width by height."""


def measured(pixels: np.ndarray, *, size: tuple[int, int] | None = None) -> Measured:
    """Measure an image uint8 (channels, height, width); `size` (width, height) is that before it was shrunk."""
    grey = pixels[0].astype(np.float32) if len(pixels) == 1 else np.tensordot(_LUMA, pixels[:3].astype(np.float32), 1)
    width, height = size or grey.shape[::-1]
    edges = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    sharpness = float(edges.var()) if edges.size else float("nan")
    return Measured(float(grey.mean()) / 255, sharpness, float(width * height), width / height)
