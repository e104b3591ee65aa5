"""What phones and messengers do to a photo, each at three strengths: JPEG, blur, noise, rotation, crop, brightness.

A corruption is a function of an image, a strength and a generator of random numbers, and its line in the table at the
end. All of them leave the image as it is and return another. Imports no torch.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from dlworkflow.data.images.decoding import load_image

Corrupt = Callable[[Image.Image, float, np.random.Generator], Image.Image]


def _jpeg(image: Image.Image, quality: float, _: np.random.Generator) -> Image.Image:
    """Write the image as a JPEG of a quality of 1 to 95, and read it."""
    written = io.BytesIO()
    image.save(written, "JPEG", quality=round(quality))
    return load_image("photo.jpg", len(image.getbands()), content=written.getvalue())


def _blur(image: Image.Image, radius: float, _: np.random.Generator) -> Image.Image:
    """Blur by a Gaussian whose deviation is a fraction of the shorter side, as out of focus."""
    return image.filter(ImageFilter.GaussianBlur(radius * min(image.size)))


def _noise(image: Image.Image, deviation: float, rng: np.random.Generator) -> Image.Image:
    """Add Gaussian noise to each value of each pixel, as in the dark; the deviation is a fraction of white."""
    pixels = np.asarray(image)
    noise = rng.standard_normal(pixels.shape, np.float32)
    return Image.fromarray((pixels + 255 * deviation * noise).round().clip(0, 255).astype(np.uint8))


def _rotation(image: Image.Image, degrees: float, rng: np.random.Generator) -> Image.Image:
    """Turn left or right, and cut out the largest part of the same shape without empty corners."""
    degrees *= rng.choice((-1, 1))
    turned = image.rotate(degrees, Image.Resampling.BILINEAR)
    (w, h), cos, sin = image.size, math.cos(math.radians(degrees)), abs(math.sin(math.radians(degrees)))
    kept = min(w / (w * cos + h * sin), h / (w * sin + h * cos))
    return turned.crop(_box(image.size, kept, 0.5, 0.5))


def _crop(image: Image.Image, kept: float, rng: np.random.Generator) -> Image.Image:
    """Cut out a part of the same shape, with a fraction of each side, at a random place."""
    return image.crop(_box(image.size, kept, *rng.random(2)))


def _brightness(image: Image.Image, factor: float, _: np.random.Generator) -> Image.Image:
    """Multiply every value: below 1 the image is darker, above it brighter."""
    return ImageEnhance.Brightness(image).enhance(factor)


def _box(size: tuple[int, int], kept: float, right: float, down: float) -> tuple[int, int, int, int]:
    """Return the (left, top, right, bottom) of a part; `right` and `down` in [0, 1] are how far it is moved."""
    width, height = (max(1, math.floor(kept * side)) for side in size)
    left, top = round(right * (size[0] - width)), round(down * (size[1] - height))
    return left, top, left + width, top + height


@dataclass(frozen=True)
class Corruption:
    """A way to corrupt an image: its function, three strengths from weak to strong, and how one is written."""

    apply: Corrupt
    strengths: tuple[float, float, float]
    unit: str

    def __call__(self, image: Image.Image, strength: float, name: str) -> Image.Image:
        """Return the corrupted image; random numbers are those of the image's own pixels and the corruption's name.

        So every run, and every order of the images, gets the same one; the strengths of one image share their draws.
        """
        seed = (zlib.crc32(image.tobytes()), zlib.crc32(name.encode()))
        return self.apply(image, strength, np.random.default_rng(seed))

    def shown(self, strength: float) -> str:
        """Return a strength in words: `quality 25`."""
        return self.unit.format(strength).replace("%", " %")


CORRUPTIONS: dict[str, Corruption] = {
    "jpeg": Corruption(_jpeg, (40, 20, 8), "quality {:g}"),
    "blur": Corruption(_blur, (0.01, 0.02, 0.04), "radius {:.0%}"),
    "noise": Corruption(_noise, (0.05, 0.1, 0.2), "deviation {:.0%}"),
    "rotation": Corruption(_rotation, (5, 10, 20), "{:g} degrees"),
    "crop": Corruption(_crop, (0.9, 0.75, 0.5), "keeps {:.0%}"),
    "darker": Corruption(_brightness, (0.7, 0.5, 0.3), "times {:g}"),
    "brighter": Corruption(_brightness, (1.3, 1.7, 2.5), "times {:g}"),
}
