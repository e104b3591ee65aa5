"""Decoded and resized images, remembered so that none is decoded twice: in memory, and in a file for the next run.

The files are in the cache folder (see `cache_folder`), one per folder of images and way of resizing. It knows each
image by path, size, inode and times, has a checksum of every row, and may be deleted at any time. DLW_CACHE=0 does
without. What is decoded is digested on the way, from the same bytes: a data set's fingerprint needs no second read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlworkflow.data.images.ahead import Ahead
from dlworkflow.data.images.cache import believes_cache
from dlworkflow.data.images.decoded_file import (
    RowWriter,
    file_for,
    in_memory,
    is_there,
    keys_of,
    read_rows,
    row_type,
    sound_rows,
)
from dlworkflow.data.images.decoding import ImageError
from dlworkflow.data.images.digests import DIGEST_BYTES, checksums, digest_of, read_digested
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_uint8
from dlworkflow.data.protocol import OnProgress
from dlworkflow.errors import DataError

DECODED_MEMORY_BUDGET = 2 * 1024**3
"""Decoded images up to this many bytes are kept in memory; more are read from the file, or decoded when needed."""


_DECODED_AT_ONCE = 1024

LEAST_AHEAD = 4096
"""Images from which on training begins before all are decoded: fewer are decoded in seconds."""


class UnreadableError(DataError):
    """Images that cannot be read, each with its own error in `bad`."""

    def __init__(self, bad: Sequence[ImageError], n: int) -> None:
        self.bad = list(bad)
        named = "; ".join(map(str, bad[:10])) + (f"; and {len(bad) - 10} more" if len(bad) > 10 else "")
        super().__init__(f"{len(bad)} of {n} images cannot be read: {named}")


@dataclass
class _Begun:
    """Images at some `places` of `pixels`, which threads decode."""

    jobs: Ahead
    pixels: Tensor
    places: Tensor

    def take(self, indices: Tensor) -> Tensor:
        """Wait for some of the images and return them. Raises UnreadableError where one cannot be read."""
        at = self.places[indices]
        if not self.jobs.wait(at.numpy()):
            self.end()
        return self.pixels.index_select(0, at)

    def end(self) -> None:
        """Wait for all images. Raises UnreadableError naming those that cannot be read."""
        if not self.jobs.end():
            _raise_for(sorted(self.jobs.bad, key=lambda error: str(error.path)), len(self.pixels))


class ImageFiles:
    """Image files behind indices: `self[indices]` is uint8 (n, channels, *pipeline.size).

    `remember` decodes and resizes all of them once, many of them in threads while the first are used already; without
    it, or where they can be kept neither in memory nor in a file, they are decoded when needed. `part` is the split
    that they are of: parts of one folder have a file each.
    `file` is where they were found or written.
    """

    def __init__(self, paths: Sequence[Path], pipeline: Pipeline, channels: int, *, part: str = "") -> None:
        self.paths, self._pipeline, self.channels, self._part = list(paths), pipeline, channels, part
        self._kept: Tensor | None = None
        self._rows: Any = None  # of the file, where they are read from there
        self._checked = np.zeros(0, bool)
        self._contents = torch.zeros(len(self.paths), DIGEST_BYTES, dtype=torch.uint8)  # zeros where not known yet
        self.sums: Any = None  # a checksum of each image's pixels, (n,) uint64, where they are kept
        self.file: Path | None = None
        self._decoded_times = np.zeros(len(self.paths), int)
        self._whole: tuple[ImageFiles, Sequence[int]] | None = None
        self._ahead: _Begun | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Sequence[int] | Tensor) -> Tensor:
        chosen = torch.as_tensor(indices)
        if self._ahead is not None:
            pixels = self._ahead.take(chosen)
            self._settle()
            return pixels
        if self._kept is not None:
            if self._rows is not None:
                self._mend(chosen.numpy())
            return self._kept.index_select(0, chosen)
        pixels, contents, bad = self._read(chosen.tolist())
        self._contents.numpy()[chosen.numpy()] = contents
        _raise_for(bad, len(chosen))
        return pixels

    def _read(self, indices: Sequence[int]) -> tuple[Tensor, Any, list[ImageError]]:
        """Decode some images: their pixels, the digests of their files, and what could not be read."""
        pixels = torch.empty((len(indices), self.channels, *self._pipeline.size), dtype=torch.uint8)
        contents = np.zeros((len(indices), DIGEST_BYTES), np.uint8)
        paths = [self.paths[index] for index in indices]
        bad = decode_into(pixels, contents, paths, range(len(paths)), self._pipeline, self.channels)
        return pixels, contents, bad

    def remember(self, on_progress: OnProgress | None = None, *, ahead: bool = False) -> None:
        """Decode what no earlier run has left decoded. Raises UnreadableError naming the first ten that cannot be.

        With `ahead`, images that are many, that fit into memory and of which none is known are decoded in threads:
        what is asked for meanwhile is waited for, and the error is raised there.
        """
        if self._ahead is not None and not ahead:  # workers are to share what is decoded
            self._ahead.end()
            self._settle()
        if self._kept is not None or self._ahead is not None or not self.paths:
            return
        if self._take_of_whole(on_progress, ahead):
            return
        file = file_for(self.paths, self._pipeline, self.channels, self._part)
        row = row_type(self.channels, self._pipeline.size)
        if ahead and len(self) >= LEAST_AHEAD and self.n_bytes <= DECODED_MEMORY_BUDGET and not is_there(file):
            self._begin(file, row)
            return
        keys = keys_of(self.paths) if file else np.empty(0, "V16")
        rows = read_rows(file, row) if file and believes_cache() else None
        if not self._take(file, rows, keys):
            self._kept = self._decoded(file, row, keys, rows, on_progress)
            if self._kept is None and file:
                self._take(file, read_rows(file, row), keys)
        if self._kept is None:
            self._contents.share_memory_()  # workers write into it

    def _begin(self, file: Path | None, row: np.dtype[Any]) -> None:
        """Begin to decode all images, and to write them to the file in the end."""
        pixels = torch.empty((len(self), *row["pixels"].shape), dtype=torch.uint8)
        keys, contents = np.empty(len(self), "V16"), self._contents.numpy()
        decode = reader_into(pixels, contents, self.paths, self._pipeline, self.channels)

        def read(index: int) -> ImageError | None:
            if file is not None:
                keys[index] = keys_of([self.paths[index]])[0]  # of its state before it is read
            return decode(index)

        def finish() -> None:
            sums = np.concatenate([checksums(some.numpy().reshape(len(some), -1)) for some in pixels.split(1024)])
            with RowWriter(file, row, len(self)) as writer:
                for start in range(0, len(self), _DECODED_AT_ONCE):
                    within = slice(start, start + _DECODED_AT_ONCE)
                    writer.write(keys[within], contents[within], sums[within], pixels[within])
            self.sums, self.file = sums, file if writer.works else None

        self._ahead = _Begun(Ahead(len(self), read, finish), pixels, torch.arange(len(self)))

    def read_soon(self, order: Tensor) -> None:
        """Decode images in this order, where they are not decoded yet and threads do."""
        if self._ahead is not None:
            self._ahead.jobs.want(self._ahead.places[order].tolist())

    def _settle(self) -> None:
        """Keep what was decoded in threads once all of it is."""
        if self._ahead is None or not self._ahead.jobs.is_over:
            return
        pixels, self._ahead = self._ahead.pixels, None
        if self._whole is None:
            self._kept = pixels
            self._decoded_times += 1
        else:
            self._whole[0]._settle()
            self._take_of_whole(None, False)

    def _take(self, file: Path | None, rows: Any, keys: Any) -> bool:
        """Take the rows of a file if they are of these images and whole, and return whether they are."""
        if rows is None or len(rows) != len(keys):
            return False
        if self.n_bytes <= DECODED_MEMORY_BUDGET:
            if (found := in_memory(rows, keys)) is None:
                return False
            self._kept, contents, self.sums = found
        else:  # too many to be checked before they are needed
            if not np.array_equal(rows["key"], keys) or not sound_rows(rows, whole=False).all():
                return False
            self._rows, self._checked, self._kept = rows, np.zeros(len(rows), bool), torch.from_numpy(rows["pixels"])
            contents, self.sums = rows["content"].copy(), rows["sum"].copy()
        self._contents, self.file = torch.from_numpy(contents), file
        return True

    def take_from(self, whole: ImageFiles, indices: Sequence[int]) -> None:
        """Let `remember` decode all of `whole`, of which these are some, where they can be kept in memory."""
        self._whole = whole, indices

    def _take_of_whole(self, on_progress: OnProgress | None, ahead: bool) -> bool:
        """Take the pixels of the whole that these are of, if any, and return whether they could be taken."""
        if self._whole is None or self._whole[0].n_bytes > DECODED_MEMORY_BUDGET:
            return False
        whole, indices = self._whole
        places = torch.as_tensor(indices)
        try:
            whole.remember(on_progress, ahead=ahead)
        except UnreadableError:  # perhaps of another part: reading these alone names those of them
            self._whole = None
            return False
        if whole._ahead is not None:
            self._ahead = _Begun(whole._ahead.jobs, whole._ahead.pixels, places)
            return True
        self._whole = None
        if whole._kept is None:
            return False
        self._kept, self._contents = whole._kept.index_select(0, places), whole._contents.index_select(0, places)
        self.sums, self._decoded_times = whole.sums[places.numpy()], whole._decoded_times[places.numpy()]
        self.file = whole.file
        return True

    @property
    def n_decoded(self) -> int:
        """How many images were decoded to remember these."""
        return int(self._decoded_times.sum())

    def _decoded(
        self, file: Path | None, row: np.dtype[Any], keys: Any, known: Any, on_progress: OnProgress | None
    ) -> Tensor | None:
        """Decode all images into memory where they fit, and into the file where it can be written."""
        fits = self.n_bytes <= DECODED_MEMORY_BUDGET
        kept = torch.empty((len(self), *row["pixels"].shape), dtype=torch.uint8) if fits else None
        sums = np.zeros(len(self), np.uint64)
        with RowWriter(file, row, len(self)) as writer:
            if not fits and not writer.works:
                return None
            bad: list[ImageError] = []
            for start, pixels, contents, errors in self._chunks(keys, known):
                bad += errors
                within = slice(start, start + len(pixels))
                sums[within] = checksums(pixels.numpy().reshape(len(pixels), -1))
                self._contents.numpy()[within] = contents
                if kept is not None:
                    kept[within] = pixels
                if not bad:
                    writer.write(keys[within], contents, sums[within], pixels)
                if on_progress is not None:
                    on_progress(start + len(pixels), len(self))
            _raise_for(bad, len(self))
        self.sums, self.file = sums, file if writer.works else None
        return kept

    def _chunks(self, keys: Any, known: Any) -> Iterator[tuple[int, Tensor, Any, list[ImageError]]]:
        """Yield (first index, pixels, digests, what could not be read) of a thousand images after the other."""
        old = {}
        if known is not None:
            old = {bytes(known["key"][index]): index for index in np.flatnonzero(sound_rows(known, whole=True))}
        for start in range(0, len(self), _DECODED_AT_ONCE):
            paths = self.paths[start : start + _DECODED_AT_ONCE]
            pixels = torch.empty((len(paths), self.channels, *self._pipeline.size), dtype=torch.uint8)
            contents = np.zeros((len(paths), DIGEST_BYTES), np.uint8)
            places = [old.get(bytes(key)) for key in keys[start : start + len(paths)]] if old else [None] * len(paths)
            for index, place in enumerate(places):
                if place is not None:
                    pixels[index] = torch.from_numpy(known["pixels"][place])
                    contents[index] = known["content"][place]
            new = [index for index, place in enumerate(places) if place is None]
            self._decoded_times[[start + index for index in new]] += 1
            errors = decode_into(pixels, contents, paths, new, self._pipeline, self.channels)
            yield start, pixels, contents, errors

    def _mend(self, indices: Any) -> None:
        """Check rows of the file where they are first read, and decode anew what has been damaged there."""
        new = np.unique(indices[~self._checked[indices]])
        if not len(new):
            return
        damaged = new[~sound_rows(self._rows[new], whole=True)].tolist()
        if damaged:
            assert self._kept is not None
            pixels, self._contents.numpy()[damaged], bad = self._read(damaged)
            _raise_for(bad, len(self))
            self._kept.numpy()[damaged] = pixels.numpy()  # in this process's memory: the file stays as it is
            self._decoded_times[damaged] += 1
        self._checked[new] = True

    @property
    def contents_known(self) -> bool:
        """Whether the digest of every file is known without reading one."""
        return self._ahead is None and bool(self._contents.numpy().any(axis=1).all())

    def contents(self) -> list[bytes]:
        """Return the digest of each file's bytes; files that have not been decoded yet are read for it."""
        if self._ahead is not None:
            self._ahead.end()
            self._settle()
        for index in np.flatnonzero(~self._contents.numpy().any(axis=1)):
            with suppress(OSError):  # left out of training: it counts as a file of no known bytes
                self._contents.numpy()[index] = np.frombuffer(digest_of(self.paths[index]), np.uint8)
        return [bytes(content) for content in self._contents.numpy()]

    def subset(self, indices: Sequence[int], name: str | None = None) -> ImageFiles:
        """Return some of the files, in this order, to be remembered under `name`, else where these are."""
        part = self._part if name is None else name
        return ImageFiles([self.paths[index] for index in indices], self._pipeline, self.channels, part=part)

    @property
    def kept(self) -> bool:
        """Whether no image has to be decoded any more."""
        return self._kept is not None

    @property
    def n_bytes(self) -> int:
        """Size of all images once decoded and resized."""
        height, width = self._pipeline.size
        return len(self.paths) * self.channels * height * width


def decode_into(
    pixels: Tensor, contents: Any, paths: Sequence[Path], indices: Sequence[int], pipeline: Pipeline, channels: int
) -> list[ImageError]:
    """Read the images of these indices into their places, on all cores; return what could not be read.

    Each file is read once: `contents` (n, 16) gets the digest of the very bytes that are decoded.
    """
    read = reader_into(pixels, contents, paths, pipeline, channels)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [error for error in pool.map(read, indices) if error]


def reader_into(
    pixels: Tensor, contents: Any, paths: Sequence[Path], pipeline: Pipeline, channels: int
) -> Callable[[int], ImageError | None]:
    """Return the function that reads the image of an index into its places, and returns what is wrong with it."""
    places = pixels.numpy()  # a tensor made in inference mode could not be written by other threads

    def read(index: int) -> ImageError | None:
        try:
            content, digest = read_digested(paths[index])
        except OSError:
            content, digest = None, bytes(DIGEST_BYTES)  # the decoder reports what is wrong with the file
        try:
            places[index] = to_uint8(pipeline.read(paths[index], channels, content)).numpy()
        except ImageError as error:
            return error
        contents[index] = np.frombuffer(digest, np.uint8)
        return None

    return read


def _raise_for(bad: Sequence[ImageError], n: int) -> None:
    if bad:
        raise UnreadableError(bad, n)
