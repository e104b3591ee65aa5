"""Decoded and resized pictures, remembered so that none is decoded twice: in memory, and in a file for the next run.

The file lies under the cache folder (see `cache_folder`), one a folder of pictures and way of resizing. It knows each
picture by path, size and time, holds bytes and nothing else, and may be deleted at any time. DLW_CACHE=0 does without.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import __version__ as pillow
from torch import Tensor

from dlworkflow.data.cache import cache_folder, make_subfolder, sweep
from dlworkflow.data.decoding import ImageError, pixel_limit
from dlworkflow.data.pixels import to_uint8
from dlworkflow.data.transforms import Pipeline
from dlworkflow.errors import DataError
from dlworkflow.writing import drop_file, finish_file, unfinished_file

MEMORY_BUDGET = 2 * 1024**3
"""Decoded pictures up to this many bytes are kept in memory; more are read from the file, or decoded when needed."""

_FREE_SHARE = 4
"""A file takes no more than this part of the free disk: one in four bytes."""

_DECODED_AT_ONCE = 1024

Progress = Callable[[int, int], object]
"""Told of (pictures done, pictures in all)."""


class ImageFiles:
    """Picture files behind indices: `self[indices]` is uint8 (n, channels, *pipeline.size).

    `remember` decodes and resizes all of them once; without it, or where they can be kept neither in memory nor in a
    file, they are decoded when asked for. `part` is the split that they are of: parts of one folder have a file each.
    `file` is where they were found or written, and `n_decoded` how many were decoded to remember them.
    """

    def __init__(self, paths: Sequence[Path], pipeline: Pipeline, channels: int, *, part: str = "") -> None:
        self.paths, self._pipeline, self.channels, self._part = list(paths), pipeline, channels, part
        self._kept: Tensor | None = None
        self.file: Path | None = None
        self.n_decoded = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Sequence[int] | Tensor) -> Tensor:
        if self._kept is not None:
            return self._kept.index_select(0, torch.as_tensor(indices))
        return decode([self.paths[int(index)] for index in indices], self._pipeline, self.channels)

    def remember(self, on_progress: Progress | None = None) -> None:
        """Decode what no earlier run has left decoded. Raises DataError naming the first ten unreadable pictures."""
        if self._kept is not None or not self.paths:
            return
        file = _file_for(self.paths, self._pipeline, self.channels, self._part)
        row = np.dtype([("key", "V16"), ("pixels", "u1", (self.channels, *self._pipeline.size))])
        keys = _keys(self.paths) if file else np.empty(0, "V16")
        rows = _read(file, row) if file else None
        if rows is None or not np.array_equal(rows["key"], keys):
            self._kept = self._decoded(file, row, keys, rows, on_progress)
            rows = _read(file, row) if file else None
        if rows is not None and np.array_equal(rows["key"], keys):
            self.file = file
            if self._kept is None:
                pixels = torch.from_numpy(rows["pixels"])
                self._kept = pixels.contiguous() if self.n_bytes <= MEMORY_BUDGET else pixels

    def _decoded(
        self, file: Path | None, row: np.dtype[Any], keys: Any, known: Any, on_progress: Progress | None
    ) -> Tensor | None:
        """Decode all pictures into memory where they fit, and into the file where it can be written."""
        fits = self.n_bytes <= MEMORY_BUDGET
        kept = torch.empty((len(self), *row["pixels"].shape), dtype=torch.uint8) if fits else None
        with _Writer(file, row, len(self)) as writer:
            if not fits and not writer.works:
                return None
            bad: list[ImageError] = []
            for start, pixels, errors in self._chunks(keys, known):
                bad += errors
                if kept is not None:
                    kept[start : start + len(pixels)] = pixels
                if not bad:
                    writer.write(keys[start : start + len(pixels)], pixels)
                if on_progress is not None:
                    on_progress(start + len(pixels), len(self))
            _raise_for(bad, len(self))
        return kept

    def _chunks(self, keys: Any, known: Any) -> Iterator[tuple[int, Tensor, list[ImageError]]]:
        """Give (first index, pixels, what could not be read) of a thousand pictures after the other."""
        old = {bytes(key): index for index, key in enumerate(known["key"])} if known is not None else {}
        for start in range(0, len(self), _DECODED_AT_ONCE):
            paths = self.paths[start : start + _DECODED_AT_ONCE]
            pixels = torch.empty((len(paths), self.channels, *self._pipeline.size), dtype=torch.uint8)
            places = [old.get(bytes(key)) for key in keys[start : start + len(paths)]] if old else [None] * len(paths)
            for index, place in enumerate(places):
                if place is not None:
                    pixels[index] = torch.from_numpy(known["pixels"][place])
            new = [index for index, place in enumerate(places) if place is None]
            self.n_decoded += len(new)
            yield start, pixels, decode_into(pixels, paths, new, self._pipeline, self.channels)

    def subset(self, indices: Sequence[int], name: str) -> ImageFiles:
        """Return some of the files, in this order, to be remembered under `name`."""
        return ImageFiles([self.paths[index] for index in indices], self._pipeline, self.channels, part=name)

    @property
    def kept(self) -> bool:
        """Whether no picture has to be decoded any more."""
        return self._kept is not None

    @property
    def n_bytes(self) -> int:
        """Size of all pictures once decoded and resized."""
        height, width = self._pipeline.size
        return len(self.paths) * self.channels * height * width


def decode(paths: Sequence[Path], pipeline: Pipeline, channels: int) -> Tensor:
    """Read pictures on all cores: uint8 (n, channels, *pipeline.size).

    Raises DataError that names the first ten files that cannot be read.
    """
    pixels = torch.empty((len(paths), channels, *pipeline.size), dtype=torch.uint8)
    _raise_for(decode_into(pixels, paths, range(len(paths)), pipeline, channels), len(paths))
    return pixels


def decode_into(
    pixels: Tensor, paths: Sequence[Path], indices: Sequence[int], pipeline: Pipeline, channels: int
) -> list[ImageError]:
    """Read the pictures of these indices into their places, on all cores; return what could not be read."""

    def read(index: int) -> ImageError | None:
        try:
            pixels[index] = to_uint8(pipeline.read(paths[index], channels))
        except ImageError as error:
            return error
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [error for error in pool.map(read, indices) if error]


def _raise_for(bad: Sequence[ImageError], n: int) -> None:
    if bad:
        named = "; ".join(map(str, bad[:10])) + (f"; and {len(bad) - 10} more" if len(bad) > 10 else "")
        raise DataError(f"{len(bad)} of {n} pictures cannot be read: {named}")


def _file_for(paths: Sequence[Path], pipeline: Pipeline, channels: int, part: str) -> Path | None:
    """Return the file that remembers these pictures; None where nothing is to be remembered, or among the pictures."""
    folder = cache_folder()
    if folder is None or os.environ.get("DLW_CACHE") == "0":
        return None
    try:
        root, home = os.path.commonpath([path.absolute().parent for path in paths]), folder.resolve()
        if home.is_relative_to(Path(root).resolve()):
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    steps = replace(pipeline, augmentations=(), mean=(), std=()).to_spec()
    way = f"1 {pillow} {steps} {channels} {pixel_limit()} {part} "  # another Pillow may decode to other bytes
    name = hashlib.blake2b(way.encode() + os.fsencode(root), digest_size=12).hexdigest()
    return home / "pictures" / f"{name}.npy"


def _keys(paths: Sequence[Path]) -> Any:
    """Return what each picture is known by, (n,) of 16 bytes: a digest of path, size and time of change."""
    digests = []
    for path in paths:
        try:
            found = path.stat()
            state = b"%d %d " % (found.st_size, found.st_mtime_ns)
        except (OSError, ValueError):
            state = b"? %d " % time.time_ns()  # decoding it says what is wrong
        digests.append(hashlib.blake2b(state + os.fsencode(path.absolute()), digest_size=16).digest())
    return np.frombuffer(b"".join(digests), "V16")


def _read(file: Path, row: np.dtype[Any]) -> Any:
    """Return the rows of a file as they lie on the disk, or None where it is missing, torn or of another kind."""
    try:
        rows = np.load(file, mmap_mode="c", allow_pickle=False)
        os.utime(file)
    except (OSError, ValueError, EOFError):
        return None
    return rows if rows.dtype == row and rows.ndim == 1 and len(rows) else None


class _Writer:
    """Writes rows to a file that appears when it is whole; a place that cannot be written is no fault."""

    def __init__(self, file: Path | None, row: np.dtype[Any], n: int) -> None:
        self._file, self._row, self._n = file, row, n
        self._stream: Any = None

    def __enter__(self) -> _Writer:
        if self._file is not None:
            with suppress(OSError):
                self._open(self._file)
        return self

    def _open(self, file: Path) -> None:
        make_subfolder(file.parent)
        sweep(file.parent)
        if shutil.disk_usage(file.parent).free < _FREE_SHARE * self._n * self._row.itemsize:
            return
        self._stream = unfinished_file(file)
        head = {"descr": np.lib.format.dtype_to_descr(self._row), "fortran_order": False, "shape": (self._n,)}
        np.lib.format.write_array_header_2_0(self._stream, head)

    @property
    def works(self) -> bool:
        """Whether rows are being written."""
        return self._stream is not None

    def write(self, keys: Any, pixels: Tensor) -> None:
        """Append rows."""
        if self._stream is None:
            return
        rows = np.empty(len(keys), self._row)
        rows["key"], rows["pixels"] = keys, pixels.numpy()
        try:
            self._stream.write(rows.tobytes())
        except OSError:
            self._drop()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._stream is None:
            return
        if kind is not None or self._file is None:
            self._drop()
            return
        try:
            finish_file(self._stream, self._file)
        except OSError:
            self._drop()

    def _drop(self) -> None:
        drop_file(self._stream)
        self._stream = None
