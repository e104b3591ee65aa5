"""Images that are NumPy arrays or tensors: which dimension is which, and their values as bytes. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, get_args

import numpy as np
from PIL import Image

from dlworkflow.errors import ConfigError, DataError, unknown

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["hw", "hwc", "chw", "nhw", "nhwc", "nchw"]
"""The dimensions of images in their order: n images, h rows, w columns, c channels."""

CHANNELS = (1, 3, 4)
"""Grey, RGB and RGBA."""

_ROUNDING = 1e-3  # by which resizing may leave [0, 1]


def is_tensor(given: Any) -> TypeGuard[Tensor]:
    """Return whether this is a tensor of torch, of which there is none before torch is imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(given, torch.Tensor)


def images_of(
    given: np.ndarray | Tensor, layout: Layout | None = None, *, grey: bool = False
) -> tuple[Iterator[Image.Image], bool]:
    """Return the images in an array or a tensor, and whether it is a batch of them.

    Values are uint8, or floats in [0, 1], which are rounded to the nearest of 256 levels. The dimensions are `layout`;
    by default two are rows and columns, and of three or four the channels are where there are 1, 3 or 4: the first of
    a tensor where both would do. Raises ConfigError for an unknown layout, and DataError for other shapes and values.
    """
    array = _as_array(given)
    order = _layout(array.shape, layout, is_tensor=is_tensor(given), grey=grey)
    if not array.size:
        raise DataError(f"an image of shape {array.shape} is empty")
    is_batch = order.startswith("n")
    batch = array if is_batch else array[None]
    if "c" in order:
        batch = np.moveaxis(batch, order.index("c") + (not is_batch), -1)
        if batch.shape[-1] not in CHANNELS:
            raise DataError(f"an image has 1 channel (grey), 3 (RGB) or 4 (RGBA), not {batch.shape[-1]}")
        batch = batch[..., 0] if batch.shape[-1] == 1 else batch
    return (Image.fromarray(np.ascontiguousarray(image)) for image in _bytes(batch)), is_batch


def _as_array(given: np.ndarray | Tensor) -> np.ndarray:
    if isinstance(given, np.ndarray):
        return given
    given = given.detach().cpu()
    return (given.float() if given.is_floating_point() else given).numpy()


def _layout(shape: tuple[int, ...], layout: Layout | None, *, is_tensor: bool, grey: bool) -> str:
    """Return the given layout, or the only one that a shape can have."""
    if layout is not None and layout not in get_args(Layout):
        raise ConfigError(f"layout: {unknown('layout', layout, get_args(Layout))}")
    if layout is not None:
        if len(layout) != len(shape):
            raise DataError(f"layout {layout!r} has {len(layout)} dimensions, the image {len(shape)}: {shape}")
        return layout
    if len(shape) == 2:
        return "hw"
    possible = {3: ("chw", "hwc"), 4: ("nchw", "nhwc")}.get(len(shape), ())
    fitting = [order for order in possible if shape[order.index("c")] in CHANNELS]
    if grey and fitting[:1] == ["chw"] and shape[0] > 1:
        fitting = ["chw", "nhw"]
    elif len(fitting) == 1 or (fitting and is_tensor):
        return fitting[0]
    if fitting:
        raise DataError(f"shape {shape} may be {' or '.join(fitting)}; give layout={fitting[0]!r} or {fitting[1]!r}")
    if len(shape) == 3:
        return "nhw"
    raise DataError(
        f"shape {shape} is no image: give (h, w), (h, w, c), (c, h, w), or a batch of them, with 1, 3 or 4 channels"
    )


def _bytes(values: np.ndarray) -> np.ndarray:
    """Return a copy as uint8, so that a buffer may be filled with the next frame."""
    if values.dtype == np.uint8:
        return values.copy()
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(f"the values of an image are uint8 (0 to 255) or floats in [0, 1], not {values.dtype}")
    if not np.isfinite(values).all():
        raise DataError("an image has values that are nan or infinite")
    low, high = values.min(), values.max()
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        way_out = "logits() takes preprocessed images" if low < 0 else "divide by 255, or give uint8"
        raise DataError(f"the values of an image go from {low:g} to {high:g}; floats are in [0, 1]: {way_out}")
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)
