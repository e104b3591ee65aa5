"""Between PIL images and arrays or tensors of bytes. Imports torch only for tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor


def to_bytes(image: Image.Image) -> np.ndarray:
    """Return a grey or RGB image as an array of uint8 (channels, height, width) of its own."""
    array = np.asarray(image)
    return (array[None] if array.ndim == 2 else array.transpose(2, 0, 1)).copy()


def to_uint8(image: Image.Image) -> Tensor:
    """Return a grey or RGB image as a tensor of uint8 (channels, height, width)."""
    import torch

    return torch.from_numpy(to_bytes(image))


def to_pil(image: Tensor) -> Image.Image:
    """Return uint8 (channels, height, width) as a grey or RGB image."""
    array = image.numpy()
    return Image.fromarray(array[0] if array.shape[0] == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
