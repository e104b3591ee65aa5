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
        place = chosen.to(images.device)
        some = images.index_select(0, place)
        done.index_copy_(0, place, _operated(OPERATIONS[which], some, bins[chosen], negative[chosen], n_bins))
    return done


def _operated(name: str, images: Tensor, bins: Tensor, negative: Tensor, n_bins: int) -> Tensor:
    """Apply one operation to all images, see `operated`."""
    if name in _MOVES:
        size = (images.shape[2], images.shape[3])
        return _moved(images, _matrices(name, n_bins, *size)[negative, bins], size)
    if name in _BLENDS:
        amounts = torch.linspace(0.0, 0.99, n_bins).double()[bins] * (1 - 2 * negative)
        return _blended(_dull(name, images), images, (1 + amounts).float())
    if name == "posterize":
        cleared = (torch.arange(n_bins) / ((n_bins - 1) / 6)).round().int()[bins]  # of 8 bits
        return images & _per_image((256 - 2**cleared).to(torch.uint8), images)
    if name == "solarize":
        threshold = torch.linspace(255.0, 0.0, n_bins)[bins].ceil().to(torch.uint8)  # of whole values the same
        return torch.where(images < _per_image(threshold, images), images, 255 - images)
    if name == "auto_contrast":
        return _stretched(images)
    return _equalized(images) if name == "equalize" else images


def _per_image(numbers: Tensor, images: Tensor) -> Tensor:
    """Return one number per image (n,) in a shape that goes with the images, on their device."""
    return numbers.to(images.device)[:, None, None, None]


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
    whole = torch.int32 if max(height, width, *size) < 2**13 else torch.int64  # the shorter one is faster
    a, b, c, d, e, f = matrices.to(images.device, whole)[:, :, None, None].unbind(dim=1)
    x, y = (torch.arange(side, dtype=whole, device=images.device) for side in size[::-1])
    column = (a * x + c).add(b * y[:, None]).bitwise_right_shift_(16)
    row = (d * x + f).add(e * y[:, None]).bitwise_right_shift_(16)
    nearest_column, nearest_row = column.clamp(0, width - 1), row.clamp(0, height - 1)
    inside = (column == nearest_column).logical_and_(row == nearest_row)
    places = nearest_row.mul_(width).add_(nearest_column).long().flatten(1)[:, None]
    pixels = images.flatten(2).gather(2, places.expand(-1, images.shape[1], -1)).unflatten(2, size)
    return pixels.mul_(inside[:, None])


def _dull(name: str, images: Tensor) -> Tensor:
    """Return what an operation blends images with, float32: black, grey, its mean, or smoothed."""
    if name == "brightness":
        return torch.zeros((), device=images.device)
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
    values = images.to(torch.int16)
    across = values[..., :-2] + values[..., 1:-1] + values[..., 2:]
    sums = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :] + 4 * values[..., 1:-1, 1:-1]
    smooth = images.float()
    smooth[..., 1:-1, 1:-1] = sums.float().add_(6.5).div_(13).floor_()
    return smooth


def _blended(dull: Tensor, images: Tensor, amounts: Tensor) -> Tensor:
    """Return images `amounts` (n,) of the way from `dull`, 0, to themselves, 1, or beyond."""
    mixed = (images - dull).mul_(_per_image(amounts, images)).add_(dull)
    return mixed.clamp_(0, 255).to(torch.uint8)


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
