"""The way of an image from file to model: opened, resized and cropped, augmented, normalized; knows no data set.

The random part is that of training alone; all else is the same in training, evaluation and prediction.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dlworkflow.data.images.augmentations import build, build_fast
from dlworkflow.errors import DataError, first_line

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from dlworkflow.data.images.modes import ValueRange

_MOST_RESIZED = 2**24  # pixels of an image between file and crop, beyond which its middle alone is resized
_LONGEST_SIDE = 2**20  # pixels of a side, beyond which a filter's weights would take more memory than the image


@dataclass(frozen=True)
class Pipeline:
    """The way of an image: resized to `size` (height, width), augmented, normalised.

    With `shorter`, its shorter side is resized to that many pixels, keeping its shape, and `size` is cut from the
    middle; without, it is stretched to `size`. With `fast_decode`, a JPEG is decoded no larger than is needed for that
    (to one half, a quarter or an eighth), which gives other pixels in less time. `augmentations` are (name, settings)
    pairs; with `fast_augment`, those that have a way for a whole batch take it, with other draws. `mean` and `std` have
    one number per channel, or none. `value_range` are the values of an image of more than 8 bits that become black and
    white (see `decoding`).
    """

    size: tuple[int, int]
    augmentations: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    shorter: int | None = None
    interpolation: str = "bilinear"
    fast_decode: bool = False
    value_range: ValueRange = None
    fast_augment: bool = False

    def for_evaluation(self) -> Pipeline:
        """Return the same pipeline without its random part."""
        return replace(self, augmentations=(), fast_augment=False)

    def to_spec(self) -> list[dict[str, Any]]:
        """Return the pipeline as JSON can hold it; `parse` takes it back."""
        size = {"size": list(self.size)}
        resize: dict[str, Any] = {"shorter": self.shorter} if self.shorter else dict(size)
        if self.interpolation != "bilinear":
            resize["interpolation"] = self.interpolation
        if self.fast_decode:
            resize["fast_decode"] = True
        values = self.value_range
        given = {"each": True} if isinstance(values, str) else dict(zip(("low", "high"), values or (), strict=False))
        steps: list[dict[str, Any]] = [{"range": given}] if given else []
        steps.append({"resize": resize})
        if self.shorter:
            steps.append({"center_crop": size})
        steps += [{name: dict(settings)} for name, settings in self.augmentations]
        if self.mean:
            steps.append({"normalize": {"mean": list(self.mean), "std": list(self.std)}})
        return steps

    def text(self) -> str:
        """Return the pipeline as one line: `resize size=[64, 64], flip`."""
        steps = ((name, values) for step in self.to_spec() for name, values in step.items())
        return ", ".join(" ".join([name, *(f"{key}={value}" for key, value in own.items())]) for name, own in steps)

    def read(
        self,
        path: str | os.PathLike[str],
        channels: int,
        content: bytes | None = None,
        *,
        max_pixels: int | None = None,
    ) -> Image.Image:
        """Open an image file, or its `content`, grey (1 channel) or RGB (3), resized and cropped.

        Raises ImageError naming the file, also for more than `max_pixels` (see `decoding.pixel_limit`).
        """
        from dlworkflow.data.images.decoding import decoded

        least = 2 * max(*self.size, self.shorter or 0) if self.fast_decode else None  # antialiasing needs some to spare
        limits = {"max_pixels": max_pixels, "least": least}
        with decoded(path, channels, **limits, content=content, value_range=self.value_range) as image:
            return self.resize(image)

    def prepare(self, image: Image.Image, channels: int) -> Image.Image:
        """Take an image in memory, which is left as it is, as far as `read` takes a file.

        Raises DataError for one that cannot be decoded.
        """
        return self.resize(self.upright(image, channels))

    def upright(self, image: Image.Image, channels: int) -> Image.Image:
        """Return an image in memory at its own size, grey (1 channel) or RGB (3), upright by its EXIF data.

        Raises DataError for one that cannot be decoded.
        """
        from PIL import ImageOps

        from dlworkflow.data.images.modes import to_mode

        try:
            return to_mode(ImageOps.exif_transpose(image), channels, self.value_range)
        except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all three for files that it opens late
            raise DataError(f"the image cannot be decoded: {first_line(error)}") from None

    def resize(self, image: Image.Image) -> Image.Image:
        """Resize and crop as torchvision's `Resize` and `CenterCrop` do on an image (antialiased).

        Of an image that would become very large in between, as a long and narrow one does, no more than the crop is
        resized: its pixels differ by one level at most.
        """
        from PIL import Image

        filter_ = Image.Resampling[self.interpolation.upper()]
        height, width = self.size
        if max(image.size) > _LONGEST_SIDE:
            image = image.reduce((math.ceil(image.width / _LONGEST_SIDE), math.ceil(image.height / _LONGEST_SIDE)))
        if self.shorter is None:
            if width * image.height > max(_MOST_RESIZED, image.width * image.height):
                image = image.resize((image.width, height), filter_)  # widening it first would take more
            return image.resize((width, height), filter_)
        wide, high, left, top = self._scaled(*image.size)
        if wide * high <= _MOST_RESIZED:
            return image.resize((wide, high), filter_).crop((left, top, left + width, top + height))
        across, down = image.width / wide, image.height / high
        box = self.seen(*image.size)
        return _resized_part(image, box, (width, height), filter_, margin=4 * max(1.0, across, down))

    def seen(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return which part of an image of this size is left in evaluation: left, top, right, bottom in its pixels."""
        if self.shorter is None:
            return 0.0, 0.0, float(width), float(height)
        wide, high, left, top = self._scaled(width, height)
        across, down = width / wide, height / high
        return left * across, top * down, (left + self.size[1]) * across, (top + self.size[0]) * down

    def _scaled(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return to which width and height an image is resized before `size` is cut from it, and where: left, top."""
        assert self.shorter is not None
        wide, high = (self.shorter * side // min(width, height) for side in (width, height))
        return wide, high, round((wide - self.size[1]) / 2), round((high - self.size[0]) / 2)

    @cached_property
    def augmentation(self) -> Callable[[Image.Image], Image.Image] | None:
        """The random part as one function on images, or None; it draws from torch's global generator."""
        if not self.augmentations:
            return None
        from torchvision.transforms import Compose

        return Compose([build(name, dict(settings), self.size) for name, settings in self.augmentations])

    @cached_property
    def batch_augmentation(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """The random part as one function on uint8 (n, c, h, w), or None.

        A flip alone is done at once, with the draws of one image after the other. With `fast_augment` so is each step
        that can be, with draws of its own; other steps are applied image by image.
        """
        if not self.augmentations:
            return None
        from dlworkflow.data.images.batch_augmentations import in_turn, on_each

        if not self.fast_augment and not self.is_flip_alone:
            assert self.augmentation is not None
            return on_each(self.augmentation)
        built = [(name, dict(settings)) for name, settings in self.augmentations]
        return in_turn([build_fast(*step, self.size) or on_each(build(*step, self.size)) for step in built])

    @property
    def is_flip_alone(self) -> bool:
        """Whether the only random step is a flip."""
        return [name for name, _ in self.augmentations] == ["flip"]

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Take one image (grey or RGB) all the way: float32 (c, h, w)."""
        from dlworkflow.data.images.pixels import to_uint8

        augment, image = self.augmentation, self.resize(image)
        return self.to_float(to_uint8(augment(image) if augment else image)[None])[0]

    def to_float(self, images: torch.Tensor) -> torch.Tensor:
        """Turn uint8 (n, c, h, w) into the model's float32: [0, 1] as torchvision's `ToTensor`, then normalised."""
        import torch

        floats = torch.empty(images.shape, device=images.device)
        floats.copy_(images).div_(255)  # the same bits as a division of bytes, in half the time
        if self.mean:
            mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1)
            std = torch.tensor(self.std, device=images.device).view(-1, 1, 1)
            floats.sub_(mean).div_(std)
        return floats

    def to_pixels(self, floats: torch.Tensor) -> torch.Tensor:
        """Undo `to_float`: uint8 (n, c, h, w) of the model's float32."""
        import torch

        if self.mean:
            mean, std = (torch.tensor(each, device=floats.device).view(-1, 1, 1) for each in (self.mean, self.std))
            floats = floats * std + mean
        return (floats * 255).round().clamp(0, 255).to(torch.uint8)


def _resized_part(
    image: Image.Image,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    filter_: Image.Resampling,
    margin: float,
) -> Image.Image:
    """Resize what is in a box; pixels within the margin around it count where the filter reaches them."""
    x, y = (max(0, math.floor(start - margin)) for start in box[:2])
    right, bottom = (min(most, math.ceil(end + margin)) for most, end in zip(image.size, box[2:], strict=True))
    part = image.crop((x, y, right, bottom))  # positions within it are small, as Pillow's single precision needs
    within = (box[0] - x, box[1] - y, min(box[2] - x, part.width), min(box[3] - y, part.height))
    return part.resize(size, filter_, box=within)
