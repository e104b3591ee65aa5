"""Between PIL images and tensors of bytes."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_uint8(image: Image.Image) -> Tensor:
    """Return a grey or RGB image as uint8 (channels, height, width)."""
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy())
    return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor.permute(2, 0, 1).contiguous()


def to_pil(image: Tensor) -> Image.Image:
    """Return uint8 (channels, height, width) as a grey or RGB image."""
    array = image.numpy()
    return Image.fromarray(array[0] if array.shape[0] == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
