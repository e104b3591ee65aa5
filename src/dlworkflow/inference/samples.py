"""What a caller in Python gave to predict as single images: paths, bytes, PIL images, arrays, tensors.

Files are opened later, all else is copied at once: the caller's buffer may hold the next frame by then. Knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from dlworkflow.errors import DataError
from dlworkflow.files.paths import user_path
from dlworkflow.inference.arrays import Layout, images_of
from dlworkflow.inference.inputs import expand_paths

Prepare = Callable[[Image.Image], Tensor]

_IMAGES = "a path, bytes, a PIL image, an array or a tensor"


@dataclass(frozen=True)
class Sample:
    """One image to predict: its `source`, and its file, the bytes of a file, or its pixels, uint8 (c, h, w)."""

    source: str
    content: Path | bytes | Tensor


def image_samples(
    given: Any, prepare: Prepare, *, layout: Layout | None = None, grey: bool = False, owner: str
) -> tuple[Iterable[Sample], bool]:
    """Return the images in what was given, and whether that is several.

    A folder, a pattern, a CSV file that lists images, a batch and an iterable are several, whatever they hold.
    `prepare` brings an image to the size of the model, called `owner` in errors; `grey` is what it takes, see
    `arrays.images_of`. Raises DataError for what is no image.
    """
    if isinstance(given, str | os.PathLike):
        paths = expand_paths([os.fspath(given)])
        return map(_of_path, paths), paths != [user_path(given)]
    if isinstance(given, np.ndarray | Tensor):
        images, is_batch = images_of(given, layout, grey=grey)
        return _prepared(images, prepare), is_batch
    if isinstance(given, Iterable) and not isinstance(given, bytes | bytearray | memoryview | Mapping | Image.Image):
        if isinstance(given, Sequence) and all(isinstance(each, str | os.PathLike) for each in given):
            return map(_of_path, expand_paths(map(os.fspath, given)) if given else []), True
        return _each(given, prepare, layout, grey, owner), True
    return [_one(given, 0, prepare, layout, grey, owner)], False


def _each(given: Iterable[Any], prepare: Prepare, layout: Layout | None, grey: bool, owner: str) -> Iterator[Sample]:
    """Yield a sample for each of the things given, which are taken one by one."""
    for index, each in enumerate(given):
        try:
            yield _one(each, index, prepare, layout, grey, owner)
        except DataError as error:
            raise DataError(f"input {index}: {error}") from None


def _one(given: Any, index: int, prepare: Prepare, layout: Layout | None, grey: bool, owner: str) -> Sample:
    """Return a single image, the `index`-th of what was given."""
    if isinstance(given, str | os.PathLike):
        return _of_path(user_path(given))
    if isinstance(given, bytes | bytearray | memoryview):
        return Sample(_name(index), bytes(given))
    if isinstance(given, Image.Image):
        return Sample(str(getattr(given, "filename", "") or _name(index)), prepare(given))
    if isinstance(given, np.ndarray | Tensor):
        images, is_batch = images_of(given, layout, grey=grey)
        found = list(images)
        if is_batch and len(found) != 1:
            raise DataError(f"a batch of {len(found)} images, shape {tuple(given.shape)}, where one image is expected")
        return Sample(_name(index), prepare(found[0]))
    raise DataError(f"{owner} takes images: {_IMAGES}, or several of them, not {type(given).__name__}")


def _prepared(images: Iterable[Image.Image], prepare: Prepare) -> Iterator[Sample]:
    for index, image in enumerate(images):
        yield Sample(_name(index), prepare(image))


def _of_path(path: Path) -> Sample:
    return Sample(str(path), path)


def _name(index: int) -> str:
    return f"image {index}"
