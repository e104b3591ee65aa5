"""Pictures as models take them, for training, evaluation and prediction alike.

A picture is decoded and resized once and remembered (see `remembered`); random transforms run on what is remembered.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dlworkflow.data.decoding import ImageError as ImageError
from dlworkflow.data.decoding import load_image as load_image
from dlworkflow.data.pixels import to_picture, to_uint8
from dlworkflow.data.remembered import ImageFiles, Progress
from dlworkflow.data.transforms import Pipeline


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
        self._augment = pipeline.augmentation if pipeline.flip_alone is None else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        X, y = self.batch([index % len(self)])
        return X[0], int(y[0])

    def remember(self, on_progress: Progress | None = None) -> None:
        """Decode picture files now where they can be kept. Raises DataError naming unreadable ones."""
        if isinstance(self.pictures, ImageFiles):
            self.pictures.remember(on_progress)

    @property
    def n_bytes_of_fixed_sample(self) -> int | None:
        """Size of one sample's inputs where they lie in memory and are the same every time, else None."""
        if self.pipeline.augmentations or (isinstance(self.pictures, ImageFiles) and not self.pictures.kept):
            return None
        return 4 * self.channels * math.prod(self.pipeline.size)

    @property
    def n_bytes(self) -> int:
        """Size of all pictures, as bytes."""
        return len(self) * self.channels * math.prod(self.pipeline.size)

    def on_device(self, device: torch.device) -> ImageData:
        """Return the same pictures as tensors on a device, to be scaled there; indices may lie anywhere."""
        pictures = self.pictures[range(len(self))] if isinstance(self.pictures, ImageFiles) else self.pictures
        return ImageData(pictures.to(device), self.labels.to(device), self.pipeline, paths=self.paths)

    def batch(self, indices: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 (n, c, h, w) and int64 (n,) of many samples at once."""
        chosen = torch.as_tensor(indices, device=self.labels.device)
        pictures = self._pictures(chosen)
        return self.pipeline.to_float(self._augmented(pictures)), self.labels.index_select(0, chosen)

    def augmented(self, index: int) -> Tensor:
        """Return one picture after resizing and augmentation, before normalisation: uint8 (c, h, w)."""
        return self._augmented(self._pictures(torch.tensor([index])))[0]

    def _augmented(self, pictures: Tensor) -> Tensor:
        if self.pipeline.flip_alone is not None:
            return _flipped(pictures, self.pipeline.flip_alone)
        if self._augment is None:
            return pictures
        return torch.stack([to_uint8(self._augment(to_picture(picture))) for picture in pictures])

    def _pictures(self, indices: Tensor) -> Tensor:
        pictures = self.pictures
        return pictures[indices] if isinstance(pictures, ImageFiles) else pictures.index_select(0, indices)

    def without_augmentation(self) -> ImageData:
        """Return the same pictures as evaluation sees them."""
        return ImageData(self.pictures, self.labels, self.pipeline.for_evaluation(), paths=self.paths)

    def subset(self, indices: Sequence[int], *, name: str = "") -> ImageData:
        """Return some of the pictures, in this order; files are remembered apart under `name`."""
        chosen, pictures = torch.as_tensor(indices), self.pictures
        some = pictures.subset(indices, name) if isinstance(pictures, ImageFiles) else pictures.index_select(0, chosen)
        paths = [self.paths[index] for index in indices] if self.paths is not None else None
        return ImageData(some, self.labels.index_select(0, chosen), self.pipeline, paths=paths)

    def fingerprint(self) -> str:
        """Return a digest that changes when the data does: of pixels in memory, or of the files' names and sizes."""
        digest = hashlib.blake2b(self.labels.numpy().tobytes(), digest_size=16)
        if isinstance(self.pictures, ImageFiles):
            for path in self.pictures.paths:
                digest.update(os.fsencode(f"{path.parent.name}/{path.name} {path.stat().st_size}\n"))
        else:
            digest.update(self.pictures.numpy().tobytes())
        return digest.hexdigest()


def _flipped(pictures: Tensor, p: float) -> Tensor:
    """Mirror some of uint8 (n, c, h, w), with the draws and pixels of torchvision's flip of one after the other."""
    mirrored = (torch.rand(len(pictures)) < p).to(pictures.device)
    return torch.where(mirrored[:, None, None, None], pictures.flip(-1), pictures)


def remember_all(parts: Iterable[Any], on_progress: Progress | None = None) -> None:
    """Have every data set that can remember its samples do so, now; `on_progress` is told of picture files."""
    for part in parts:
        if isinstance(part, ImageData):
            part.remember(on_progress)
        elif hasattr(part, "remember"):
            part.remember()


def resize_all(pictures: Tensor, pipeline: Pipeline) -> Tensor:
    """Resize uint8 (n, c, h, w) that is in memory already; pictures of that size are left as they are."""
    if tuple(pictures.shape[2:]) == pipeline.size:
        return pictures
    return torch.stack([to_uint8(pipeline.resize(to_picture(picture))) for picture in pictures])
