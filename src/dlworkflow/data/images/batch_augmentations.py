"""Augmentations of a whole batch at once, each image with draws of its own; knows no file and no name.

The draws come from torch's global generator, a fixed number per batch, and are others than those of one image after the
other. What a draw does to an image is the same to the bit: the arithmetic here is Pillow's, by its source. Images are
uint8 (n, c, h, w) with one channel or three.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial, reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from dlworkflow.data.images.pixels import to_pil, to_uint8

BatchAugmentation = Callable[[Tensor], Tensor]

_ONE = 2**16  # Pillow places pixels in 16.16 fixed point
_MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
_BLENDS = ("brightness", "color", "contrast", "sharpness")
OPERATIONS = ("identity", *_MOVES, *_BLENDS, "posterize", "solarize", "auto_contrast", "equalize")
"""The operations of TrivialAugmentWide, in torchvision's order."""


def on_each(augment: Callable[[Any], Any]) -> BatchAugmentation:
    """Return an augmentation of one PIL image as one of a batch, image after image."""
    return partial(_one_by_one, augment)


def _one_by_one(augment: Callable[[Any], Any], images: Tensor) -> Tensor:
    return torch.stack([to_uint8(augment(to_pil(image))) for image in images])


def in_turn(steps: Sequence[BatchAugmentation]) -> BatchAugmentation:
    """Return one augmentation that applies several, first to last."""
    return partial(_all_of, steps)


def _all_of(steps: Sequence[BatchAugmentation], images: Tensor) -> Tensor:
    return reduce(lambda so_far, step: step(so_far), steps, images)


def flip(images: Tensor, *, p: float = 0.5) -> Tensor:
    """Mirror each image with probability `p`, with the draws of torchvision's flip of one after the other."""
    mirrored = (torch.rand(len(images)) < p).to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def random_crop(images: Tensor, *, padding: int = 4, size: tuple[int, int]) -> Tensor:
    """Add `padding` black pixels on each side of the images and crop `size` at a random place of each."""
    height, width = (
        padded - own for padded, own in zip((s + 2 * padding for s in images.shape[2:]), size, strict=True)
    )
    down = torch.randint(height + 1, (len(images),)) - padding
    right = torch.randint(width + 1, (len(images),)) - padding
    one, none = torch.full_like(down, _ONE), torch.zeros_like(down)
    half = _ONE // 2
    return _moved(images, torch.stack([one, none, right * _ONE + half, none, one, down * _ONE + half], dim=1), size)


def trivial_augment(images: Tensor, *, num_magnitude_bins: int = 31) -> Tensor:
    """Apply to each image a random operation at a random strength: TrivialAugmentWide, as torchvision has it."""
    n = len(images)
    operations, bins = torch.randint(len(OPERATIONS), (n,)), torch.randint(num_magnitude_bins, (n,))
    return operated(images, operations, bins, torch.randint(2, (n,)), num_magnitude_bins)


def operated(images: Tensor, operations: Tensor, bins: Tensor, negative: Tensor, n_bins: int) -> Tensor:
    """Apply to each image its operation, a place in OPERATIONS, of the strength of its bin of `n_bins`.

    Strengths with a sign have the other one where `negative` is 1. All three are (n,) int64.
    """
    done = images.clone()
    for which in operations.unique().tolist():
        chosen = (operations == which).nonzero()[:, 0]
        name, some = OPERATIONS[which], images[chosen]
        strength, signs = bins[chosen], negative[chosen]
        if name in _MOVES:
            size = (images.shape[2], images.shape[3])
            done[chosen] = _moved(some, _matrices(name, n_bins, *size)[signs, strength], size)
        elif name in _BLENDS:
            amounts = torch.linspace(0.0, 0.99, n_bins).double()[strength] * (1 - 2 * signs)
            done[chosen] = _blended(_dull(name, some), some, (1 + amounts).float())
        elif name == "posterize":
            cleared = (torch.arange(n_bins) / ((n_bins - 1) / 6)).round().int()[strength]  # of 8 bits
            done[chosen] = some & (256 - 2**cleared).to(torch.uint8)[:, None, None, None]
        elif name == "solarize":
            threshold = torch.linspace(255.0, 0.0, n_bins)[strength][:, None, None, None]
            done[chosen] = torch.where(some < threshold, some, 255 - some)
        elif name != "identity":
            done[chosen] = _stretched(some) if name == "auto_contrast" else _equalized(some)
    return done


@lru_cache(maxsize=16)
def _matrices(name: str, n_bins: int, height: int, width: int) -> Tensor:
    """Return where pixels come from, (2, n_bins, 6) int64 in fixed point, by sign and bin: see `_moved`."""
    most = {"translate_x": 32.0, "translate_y": 32.0, "rotate": 135.0}.get(name, 0.99)
    bins: list[float] = torch.linspace(0.0, most, n_bins).tolist()
    found = [[_fixed(_matrix(name, sign * bin_, height, width)) for bin_ in bins] for sign in (1, -1)]
    return torch.tensor(found)


def _matrix(name: str, by: float, height: int, width: int) -> tuple[float, ...]:
    if name == "shear_x":
        return 1.0, by, 0.0, 0.0, 1.0, 0.0
    if name == "shear_y":
        return 1.0, 0.0, 0.0, by, 1.0, 0.0
    if name == "translate_x":
        return 1.0, 0.0, -float(int(by)), 0.0, 1.0, 0.0
    if name == "translate_y":
        return 1.0, 0.0, 0.0, 0.0, 1.0, -float(int(by))
    angle = -math.radians(by % 360)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = width / 2, height / 2
    return cos, sin, -cos * x - sin * y + x, -sin, cos, sin * x - cos * y + y


def _fixed(matrix: tuple[float, ...]) -> list[int]:
    """Return a matrix on the middles of pixels in fixed point."""
    a, b, c, d, e, f = matrix
    return [math.floor(number * _ONE + 0.5) for number in (a, b, c + a / 2 + b / 2, d, e, f + d / 2 + e / 2)]


def _moved(images: Tensor, matrices: Tensor, size: tuple[int, int]) -> Tensor:
    """Fill images of `size` (height, width) with the pixel at (a x + b y + c, d x + e y + f), black if there is none.

    `matrices` are a to f, (n, 6) int64 in fixed point.
    """
    height, width = images.shape[2:]
    a, b, c, d, e, f = matrices[:, :, None, None].unbind(dim=1)
    x, y = torch.arange(size[1]), torch.arange(size[0])[:, None]
    column, row = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    places = torch.where(inside, row * width + column, 0).flatten(1)[:, None].to(images.device)
    pixels = images.flatten(2).gather(2, places.expand(-1, images.shape[1], -1)).unflatten(2, size)
    return pixels * inside[:, None].to(images.device)


def _dull(name: str, images: Tensor) -> Tensor:
    """Return what an operation blends images with, float32: black, grey, its mean, or smoothed."""
    if name == "brightness":
        return torch.zeros_like(images, dtype=torch.float32)
    if name == "sharpness":
        return _smoothed(images)
    grey = images[:, :1].int()
    if images.shape[1] == 3:
        red, green, blue = images.int().split(1, dim=1)
        grey = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    if name == "color":
        return grey.float()
    n = grey[0].numel()
    return ((2 * grey.sum(dim=(1, 2, 3), keepdim=True) + n) // (2 * n)).float()


def _smoothed(images: Tensor) -> Tensor:
    """Return the mean of each pixel, counted five times, and its eight neighbours; the border stays."""
    smooth = images.float()
    if min(images.shape[2:]) < 3:
        return smooth
    weights = torch.ones(1, 1, 3, 3, device=images.device)
    weights[..., 1, 1] = 5
    sums = conv2d(smooth.flatten(0, 1)[:, None], weights).view(*images.shape[:2], *(s - 2 for s in images.shape[2:]))
    smooth[..., 1:-1, 1:-1] = torch.div(2 * sums.round() + 13, 26, rounding_mode="floor")
    return smooth


def _blended(dull: Tensor, images: Tensor, amounts: Tensor) -> Tensor:
    """Return images `amounts` (n,) of the way from `dull`, 0, to themselves, 1, or beyond."""
    mixed = dull + amounts.to(images.device)[:, None, None, None] * (images - dull)
    return mixed.clamp(0, 255).to(torch.uint8)


def _stretched(images: Tensor) -> Tensor:
    """Return images whose channels reach from 0 to 255; a channel of one value stays."""
    least, most = images.amin(dim=(2, 3), keepdim=True).double(), images.amax(dim=(2, 3), keepdim=True).double()
    scale = torch.full_like(most, 255) / (most - least)  # of a plain number torch multiplies by 1 / (most - least)
    wide = (images * scale + -least * scale).clamp(0, 255).to(torch.uint8)
    return torch.where(most > least, wide, images)


def _equalized(images: Tensor) -> Tensor:
    """Return images whose channels have their values spread evenly; a channel with too few of them stays."""
    n, channels, height, width = images.shape
    values = images.flatten(2).long()
    counts = torch.zeros(n, channels, 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, values, torch.ones_like(values))
    last = counts.gather(2, values.amax(dim=2, keepdim=True))
    step = (height * width - last) // 255
    before = counts.cumsum(dim=2) - counts
    table = ((before + step // 2) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return table.gather(2, values).to(torch.uint8).view_as(images)
