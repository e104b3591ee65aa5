"""What a caller in Python gave to predict as single images: paths, bytes, PIL images, arrays, tensors.

Files are opened later, all else is copied at once: the caller's buffer may hold the next frame by then. Imports no
torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dlworkflow.data.images.decoding import ImageError
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_bytes
from dlworkflow.errors import DataError
from dlworkflow.files.paths import user_path
from dlworkflow.inference.arrays import Layout, images_of, is_tensor
from dlworkflow.inference.inputs import expand_paths

_IMAGES = "a path, bytes, a PIL image, an array or a tensor"
_SINGLE = (bytes, bytearray, memoryview, Mapping, Image.Image)
"""Iterables that are not several images."""


@dataclass(frozen=True)
class Sample:
    """One image to predict: its `source`, and its file, the bytes of a file, or its pixels, uint8 (c, h, w)."""

    source: str
    content: Path | bytes | np.ndarray


@dataclass(frozen=True)
class ImageReader:
    """Reads images for a model, called `owner` in errors, by its preprocessing, in grey (1 channel) or RGB (3).

    `layout` is that of arrays and tensors, see `arrays.images_of`.
    """

    transform: Pipeline
    channels: int
    owner: str
    layout: Layout | None = None

    def samples(self, given: Any) -> tuple[Iterable[Sample], bool]:
        """Return the images in what was given, and whether that is several.

        A folder, a pattern, a CSV file that lists images, a batch and an iterable are several, whatever they hold.
        Raises DataError for what is no image.
        """
        if isinstance(given, str | os.PathLike):
            paths = expand_paths([os.fspath(given)])
            return map(_of_path, paths), paths != [user_path(given)]
        if isinstance(given, np.ndarray) or is_tensor(given):
            images, is_batch = images_of(given, self.layout, grey=self.channels == 1)
            return (self._prepared(image, _name(index)) for index, image in enumerate(images)), is_batch
        if isinstance(given, Iterable) and not isinstance(given, _SINGLE):
            if isinstance(given, Sequence) and all(isinstance(each, str | os.PathLike) for each in given):
                return map(_of_path, expand_paths(map(os.fspath, given)) if given else []), True
            return self._each(given), True
        return [self._one(given, 0)], False

    def read(self, sample: Sample) -> np.ndarray | str:
        """Return an image as it goes into the batch, uint8 (c, h, w), or the reason why it cannot be read."""
        if isinstance(sample.content, np.ndarray):
            return sample.content
        content = sample.content if isinstance(sample.content, bytes) else None
        try:
            return to_bytes(self.transform.read(sample.source, self.channels, content))
        except ImageError as error:
            return error.reason

    def _each(self, given: Iterable[Any]) -> Iterator[Sample]:
        """Yield a sample for each of the things given, which are taken one by one."""
        for index, each in enumerate(given):
            try:
                yield self._one(each, index)
            except DataError as error:
                raise DataError(f"input {index}: {error}") from None

    def _one(self, given: Any, index: int) -> Sample:
        """Return a single image, the `index`-th of what was given."""
        if isinstance(given, str | os.PathLike):
            return _of_path(user_path(given))
        if isinstance(given, bytes | bytearray | memoryview):
            return Sample(_name(index), bytes(given))
        if isinstance(given, Image.Image):
            return self._prepared(given, str(getattr(given, "filename", "") or _name(index)))
        if isinstance(given, np.ndarray) or is_tensor(given):
            images, is_batch = images_of(given, self.layout, grey=self.channels == 1)
            found = list(images)
            if is_batch and len(found) != 1:
                shape = tuple(given.shape)
                raise DataError(f"a batch of {len(found)} images, shape {shape}, where one image is expected")
            return self._prepared(found[0], _name(index))
        raise DataError(f"{self.owner} takes images: {_IMAGES}, or several of them, not {type(given).__name__}")

    def _prepared(self, image: Image.Image, source: str) -> Sample:
        return Sample(source, to_bytes(self.transform.prepare(image, self.channels)))


def _of_path(path: Path) -> Sample:
    return Sample(str(path), path)


def _name(index: int) -> str:
    return f"image {index}"
