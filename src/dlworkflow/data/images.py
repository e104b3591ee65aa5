"""Pictures as models take them: for training, evaluation and prediction alike, and what of them is remembered.

A picture is decoded and resized once, where that fits in memory; random transforms run on what is remembered.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dlworkflow.data.decoding import ImageError, load_image
from dlworkflow.data.transforms import Pipeline
from dlworkflow.errors import DataError

MEMORY_BUDGET = 2 * 1024**3
"""Decoded pictures up to this many bytes are kept in memory; larger data sets are decoded batch by batch."""


def to_uint8(image: Image.Image) -> Tensor:
    """Return a grey or RGB picture as uint8 (channels, height, width)."""
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy())
    return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor.permute(2, 0, 1).contiguous()


def to_picture(image: Tensor) -> Image.Image:
    """Return uint8 (channels, height, width) as a grey or RGB picture."""
    array = image.numpy()
    return Image.fromarray(array[0] if array.shape[0] == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


class ImageFiles:
    """Picture files behind indices: decoded and resized once (`remember`) where they fit `MEMORY_BUDGET`.

    Otherwise they are decoded when asked for. `self[indices]` is uint8 (n, channels, *pipeline.size).
    """

    def __init__(self, paths: Sequence[Path], pipeline: Pipeline, channels: int) -> None:
        self.paths, self._pipeline, self.channels = list(paths), pipeline, channels
        self._remembered: Tensor | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Sequence[int] | Tensor) -> Tensor:
        if self._remembered is not None:
            return self._remembered[torch.as_tensor(indices)]
        return decode([self.paths[int(index)] for index in indices], self._pipeline, self.channels)

    def remember(self) -> None:
        """Decode all pictures now where they fit the budget. Raises DataError naming the first ten unreadable ones."""
        if self._remembered is None and self.n_bytes <= MEMORY_BUDGET:
            self._remembered = decode(self.paths, self._pipeline, self.channels)

    @property
    def n_bytes(self) -> int:
        """Size of all pictures once decoded and resized."""
        height, width = self._pipeline.size
        return len(self.paths) * self.channels * height * width


def decode(paths: Sequence[Path], pipeline: Pipeline, channels: int) -> Tensor:
    """Read pictures on all cores: uint8 (n, channels, *pipeline.size).

    Raises DataError that names the first ten files that cannot be read.
    """
    pictures = torch.empty((len(paths), channels, *pipeline.size), dtype=torch.uint8)

    def read(index: int) -> ImageError | None:
        try:
            pictures[index] = to_uint8(pipeline.resize(load_image(paths[index], channels)))
        except ImageError as error:
            return error
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        bad = [error for error in pool.map(read, range(len(paths))) if error]
    if bad:
        named = "; ".join(map(str, bad[:10])) + (f"; and {len(bad) - 10} more" if len(bad) > 10 else "")
        raise DataError(f"{len(bad)} of {len(paths)} pictures cannot be read: {named}")
    return pictures


class ImageData(Dataset[Any]):
    """Pictures with labels: (float32 (c, h, w), int label) a sample, whole batches by `batch`.

    `pictures` is uint8 (n, c, h, w), in memory or as `ImageFiles`; `pipeline` says whether augmentation runs.
    `paths` names the files where there are any.
    """

    def __init__(
        self,
        pictures: Tensor | ImageFiles,
        labels: Tensor,
        pipeline: Pipeline,
        *,
        paths: Sequence[Path] | None = None,
    ) -> None:
        self.pictures, self.labels, self.pipeline = pictures, labels, pipeline
        self.paths = list(paths) if paths is not None else None
        self.channels = pictures.channels if isinstance(pictures, ImageFiles) else pictures.shape[1]
        self._augment = pipeline.augmentation()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        X, y = self.batch([index % len(self)])
        return X[0], int(y[0])

    def remember(self) -> None:
        """Decode picture files now where they fit in memory. Raises DataError naming unreadable ones."""
        if isinstance(self.pictures, ImageFiles):
            self.pictures.remember()

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return float32 (n, c, h, w) and int64 (n,) of many samples at once."""
        chosen = torch.as_tensor(indices)
        pictures = self.pictures[chosen]
        if self._augment is not None:
            pictures = torch.stack([to_uint8(self._augment(to_picture(picture))) for picture in pictures])
        return self.pipeline.to_float(pictures), self.labels[chosen]

    def augmented(self, index: int) -> Tensor:
        """Return one picture after resizing and augmentation, before normalisation: uint8 (c, h, w)."""
        picture: Tensor = self.pictures[torch.tensor([index])][0]
        return to_uint8(self._augment(to_picture(picture))) if self._augment is not None else picture

    def without_augmentation(self) -> ImageData:
        """Return the same pictures as evaluation sees them."""
        return ImageData(self.pictures, self.labels, self.pipeline.for_evaluation(), paths=self.paths)

    def fingerprint(self) -> str:
        """Return a digest that changes when the data does: of pixels in memory, or of the files' names and sizes."""
        digest = hashlib.blake2b(self.labels.numpy().tobytes(), digest_size=16)
        if isinstance(self.pictures, ImageFiles):
            for path in self.pictures.paths:
                digest.update(os.fsencode(f"{path.parent.name}/{path.name} {path.stat().st_size}\n"))
        else:
            digest.update(self.pictures.numpy().tobytes())
        return digest.hexdigest()


def resize_all(pictures: Tensor, pipeline: Pipeline) -> Tensor:
    """Resize uint8 (n, c, h, w) that is in memory already; pictures of that size are left as they are."""
    if tuple(pictures.shape[2:]) == pipeline.size:
        return pictures
    return torch.stack([to_uint8(pipeline.resize(to_picture(picture))) for picture in pictures])
