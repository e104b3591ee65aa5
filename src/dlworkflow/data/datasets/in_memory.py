"""Splits of images that are in memory whole, as bytes; knows no data set and no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlworkflow.data.images.transforms import Spec, parse
from dlworkflow.data.splits import Splits

if TYPE_CHECKING:
    from torch import Tensor


def splits_in_memory(
    name: str,
    parts: Mapping[str, tuple[Tensor, Tensor]],
    classes: Sequence[str],
    *,
    image_size: int | list[int],
    transform: Spec,
    fast_augment: bool,
    channels: int,
    **more: Any,
) -> Splits:
    """Return splits of `parts`, {split: (images uint8 (n, 1 or 3, h, w), labels int64 (n,))}; `more` are other fields.

    Grey images become RGB with `channels` 3, RGB images become grey with 1, as Pillow converts an image file.
    """
    from dlworkflow.data.images.dataset import ImageData, resize_all

    pipeline = parse(transform, image_size=image_size, channels=channels, fast_augment=fast_augment)
    made = {}
    for split, (images, labels) in parts.items():
        way = pipeline if split == "train" else pipeline.for_evaluation()
        pixels = resize_all(images if images.shape[1] <= channels else _grey(images), way)
        made[split] = ImageData(pixels.expand(-1, channels, -1, -1), labels, way)
        made[split].begin_fingerprint()
    return Splits.of_images(name, made, pipeline, channels, classes, **more)


def _grey(images: Tensor) -> Tensor:
    """Return Pillow's mode L of RGB, uint8 (n, 1, h, w): the weights of ITU-R 601-2 in 16 bits, rounded."""
    import torch

    red, green, blue = images.to(torch.int32).unbind(dim=1)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).to(torch.uint8).unsqueeze(1)
