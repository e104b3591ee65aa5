"""Images as models take them, for training, evaluation and prediction alike.

An image is decoded and resized once and remembered (see `decoded_cache`); random transforms run on what is remembered.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dlworkflow.data.described import Described
from dlworkflow.data.images.decoded_cache import ImageFiles, UnreadableError
from dlworkflow.data.images.decoding import ImageError as ImageError
from dlworkflow.data.images.decoding import load_image as load_image
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_pil, to_uint8
from dlworkflow.data.protocol import OnProgress
from dlworkflow.data.strata import present
from dlworkflow.errors import DataError

_log = logging.getLogger(__name__)


class ImageData(Described, Dataset[Any]):
    """Images with labels: (float32 (c, h, w), label) per sample, whole batches by `batch`.

    Labels are classes (n,) int64, several classes (n, classes) float32 of 0 and 1, or numbers (n,) float32.
    `images` is uint8 (n, c, h, w), in memory or as `ImageFiles`; `pipeline` resizes and augments them.
    `paths` names the files where there are any. With `skips`, files that cannot be read are left out and noted in
    `left_out` as soon as that shows: where all are decoded at once the data set is shorter then, else the batch is.
    """

    def __init__(
        self,
        images: Tensor | ImageFiles,
        labels: Tensor,
        pipeline: Pipeline,
        *,
        paths: Sequence[Path] | None = None,
        skips: bool = False,
    ) -> None:
        self.images, self.labels, self.pipeline = images, labels, pipeline
        self.classes = []
        self.paths = list(paths) if paths is not None else None
        self.channels = images.channels if isinstance(images, ImageFiles) else images.shape[1]
        self.skips, self.left_out = skips, dict[Path, ImageError]()
        self._augment = pipeline.batch_augmentation

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        X, y = self.batch([index % len(self)])
        return X[0], y[0] if y.is_floating_point() else int(y[0])

    @property
    def _all_inputs(self) -> Tensor | None:
        if isinstance(self.images, ImageFiles):
            return None
        return self.images[:, 0] if self.channels == 1 else self.images

    def _facts(self) -> dict[str, object]:
        root = {"Root location": os.path.commonpath(path.parent for path in self.paths)} if self.paths else {}
        return {**root, "Sample": f"{(self.channels, *self.pipeline.size)} float32", "Transform": self.pipeline.text()}

    def remember(self, on_progress: OnProgress | None = None, *, ahead: bool = False) -> None:
        """Decode image files now where they can be kept; with `ahead`, many of them while they are used already.

        Raises DataError naming unreadable ones, unless they are skipped and leave some of every class.
        """
        if not isinstance(self.images, ImageFiles):
            return
        try:
            self.images.remember(on_progress, ahead=ahead and not self.skips)
        except UnreadableError as error:
            bad = {fault.path: fault for fault in error.bad}
            left = self.labels[[path not in bad for path in self.images.paths]]
            if not self.skips or not len(left) or present(left) != present(self.labels):
                raise
            self.left_out |= bad
            self.drop_left_out()
            self.remember(on_progress)

    def read_soon(self, order: Tensor) -> None:
        """Decode image files in this order, where that is left to be done."""
        if isinstance(self.images, ImageFiles):
            self.images.read_soon(order)

    def remember_with(self, whole: ImageData, indices: Sequence[int]) -> None:
        """Decode with the files of `whole`, of which these are some, where all of them can be kept in memory."""
        if isinstance(self.images, ImageFiles) and isinstance(whole.images, ImageFiles):
            self.images.take_from(whole.images, indices)

    def drop_left_out(self) -> None:
        """Be without the files that could not be read, so that indices are those of the others."""
        if not isinstance(self.images, ImageFiles) or not self.left_out:
            return
        keep = [index for index, path in enumerate(self.images.paths) if path not in self.left_out]
        self.images, self.labels = self.images.subset(keep), self.labels[keep]
        self.groups = [self.groups[index] for index in keep] if self.groups is not None else None
        self.paths = [self.paths[index] for index in keep] if self.paths is not None else None

    @property
    def n_bytes_of_fixed_sample(self) -> int | None:
        """Size of one sample's inputs where they are in memory and are the same every time, else None."""
        if self.is_random or (isinstance(self.images, ImageFiles) and not self.images.kept):
            return None
        return 4 * self.channels * math.prod(self.pipeline.size)

    @property
    def n_bytes(self) -> int:
        """Size of all images, as bytes."""
        return len(self) * self.channels * math.prod(self.pipeline.size)

    def on_device(self, device: torch.device) -> ImageData:
        """Return the same images as tensors on a device, to be scaled there; indices may be on any device."""
        images = self.images[range(len(self))] if isinstance(self.images, ImageFiles) else self.images
        moved = ImageData(images.to(device), self.labels.to(device), self.pipeline, paths=self.paths)
        return moved.named(self.classes)

    def batch(self, indices: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 (n, c, h, w) and the labels of many samples at once; fewer where some are skipped."""
        chosen = torch.as_tensor(indices, device=self.labels.device)
        try:
            images = self._images(chosen)
        except UnreadableError as error:
            if not self.skips:
                raise
            bad = {fault.path: fault for fault in error.bad}
            for path in bad.keys() - self.left_out.keys():
                _log.warning("left out: %s", bad[path])
            self.left_out |= bad
            files: Any = self.images
            return self.batch([index for index in chosen.tolist() if files.paths[index] not in bad])
        return self.pipeline.to_float(self._augmented(images)), self.labels.index_select(0, chosen)

    def augmented(self, index: int) -> Tensor:
        """Return one image after resizing and augmentation, before normalisation: uint8 (c, h, w)."""
        return self._augmented(self._images(torch.tensor([index])))[0]

    def _augmented(self, images: Tensor) -> Tensor:
        return images if self._augment is None else self._augment(images)

    def _images(self, indices: Tensor) -> Tensor:
        images = self.images
        return images[indices] if isinstance(images, ImageFiles) else images.index_select(0, indices)

    def original(self, index: int, *, longest: int | None = None) -> Any:
        """Return one image before normalization: its file, no side longer than `longest`, else uint8 (c, h, w)."""
        if self.paths is None:
            return self._images(torch.tensor([index]))[0]
        value_range = self.pipeline.value_range
        return load_image(self.paths[index], self.channels, longest=longest, value_range=value_range)

    @property
    def is_random(self) -> bool:
        """Whether images are augmented."""
        return bool(self.pipeline.augmentations)

    def without_augmentation(self) -> ImageData:
        """Return the same images as evaluation sees them."""
        way = self.pipeline.for_evaluation()
        plain = ImageData(self.images, self.labels, way, paths=self.paths, skips=self.skips)
        return plain.named(self.classes)

    def subset(self, indices: Sequence[int], name: str = "") -> ImageData:
        """Return some of the images, in this order; files are remembered apart under `name`."""
        chosen, images = torch.as_tensor(indices), self.images
        some = images.subset(indices, name) if isinstance(images, ImageFiles) else images.index_select(0, chosen)
        paths = [self.paths[index] for index in indices] if self.paths is not None else None
        own = ImageData(some, self.labels.index_select(0, chosen), self.pipeline, paths=paths, skips=self.skips)
        return own.named(self.classes)

    @property
    def fingerprint_known(self) -> bool:
        """Whether `fingerprint` reads no file any more."""
        return not isinstance(self.images, ImageFiles) or self.images.contents_known

    def fingerprint(self) -> str:
        """Return a digest that changes when the data does: of pixels in memory, or of the files.

        Of files, it is one of each one's name, label and bytes, in their order, wherever the folder is.
        """
        if not isinstance(self.images, ImageFiles):
            begun = _digests.get(self)
            return _digest(self.images, self.labels) if begun is None else begun.result()
        digest = hashlib.blake2b(digest_size=16)
        contents, labels = self.images.contents(), self.labels.tolist()
        for path, label, content in zip(self.images.paths, labels, contents, strict=True):
            digest.update(os.fsencode(f"{path.name}\0{label}\0"))
            digest.update(content)
        return f"2:{digest.hexdigest()}"

    def begin_fingerprint(self) -> None:
        """Begin to compute the fingerprint of images in memory, in a thread."""
        assert not isinstance(self.images, ImageFiles)
        pool = ThreadPoolExecutor(1)
        _digests[self] = pool.submit(_digest, self.images, self.labels)
        pool.shutdown(wait=False)

    def former_fingerprint(self) -> str | None:
        """Return the fingerprint of files as version 0.1 took it, of names, sizes and labels; None for other data."""
        if not isinstance(self.images, ImageFiles):
            return None
        digest = hashlib.blake2b(self.labels.numpy().tobytes(), digest_size=16)
        for path in self.images.paths:
            try:
                size = path.stat().st_size
            except OSError as error:
                raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from None
            digest.update(os.fsencode(f"{path.parent.name}/{path.name} {size}\n"))
        return digest.hexdigest()


_digests: WeakKeyDictionary[ImageData, Future[str]] = (
    WeakKeyDictionary()
)  # no part of a data set that is sent elsewhere


def _digest(images: Tensor, labels: Tensor) -> str:
    """Return a digest of labels and pixels; a large tensor is read without a copy, and without holding up threads."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in (labels, images):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def image_files(part: Any) -> ImageFiles | None:
    """Return the image files that a data set reads, or None."""
    images = part.images if isinstance(part, ImageData) else None
    return images if isinstance(images, ImageFiles) else None


def resize_all(images: Tensor, pipeline: Pipeline) -> Tensor:
    """Resize uint8 (n, c, h, w) that is in memory already; images of that size are left as they are."""
    if tuple(images.shape[2:]) == pipeline.size:
        return images
    return torch.stack([to_uint8(pipeline.resize(to_pil(image))) for image in images])
