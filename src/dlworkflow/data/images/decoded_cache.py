"""Decoded and resized images, remembered so that none is decoded twice: in memory, and in a file for the next run.

The file lies under the cache folder (see `cache_folder`), one a folder of images and way of resizing. It knows each
image by path, size, inode and times, has a checksum of every row, and may be deleted at any time. DLW_CACHE=0 does
without. What is decoded is digested on the way, from the same bytes: a data set's fingerprint needs no second read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import __version__ as pillow
from torch import Tensor

from dlworkflow.data.images.cache import believes_cache, cache_folder, make_subfolder, sweep
from dlworkflow.data.images.decoding import ImageError, pixel_limit
from dlworkflow.data.images.digests import DIGEST_BYTES, checksums, digest_of, read_digested
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_uint8
from dlworkflow.data.protocol import OnProgress
from dlworkflow.errors import DataError
from dlworkflow.files.writing import drop_file, finish_file, unfinished_file

DECODED_MEMORY_BUDGET = 2 * 1024**3
"""Decoded images up to this many bytes are kept in memory; more are read from the file, or decoded when needed."""

_FREE_SHARE = 4
"""A file takes no more than this part of the free disk: one in four bytes."""

_DECODED_AT_ONCE = 1024

_HEAD = [("check", "<u8"), ("key", "V16"), ("content", "u1", (DIGEST_BYTES,)), ("sum", "<u8")]
"""What a row has before its pixels: `sum` is a checksum of these, `check` of the rest of the head."""


class UnreadableError(DataError):
    """Images that cannot be read, each with its own error in `bad`."""

    def __init__(self, bad: Sequence[ImageError], n: int) -> None:
        self.bad = list(bad)
        named = "; ".join(map(str, bad[:10])) + (f"; and {len(bad) - 10} more" if len(bad) > 10 else "")
        super().__init__(f"{len(bad)} of {n} images cannot be read: {named}")


class ImageFiles:
    """Image files behind indices: `self[indices]` is uint8 (n, channels, *pipeline.size).

    `remember` decodes and resizes all of them once; without it, or where they can be kept neither in memory nor in a
    file, they are decoded when asked for. `part` is the split that they are of: parts of one folder have a file each.
    `file` is where they were found or written, and `n_decoded` how many were decoded to remember them.
    """

    def __init__(self, paths: Sequence[Path], pipeline: Pipeline, channels: int, *, part: str = "") -> None:
        self.paths, self._pipeline, self.channels, self._part = list(paths), pipeline, channels, part
        self._kept: Tensor | None = None
        self._rows: Any = None  # of the file, where they are read from there
        self._checked = np.zeros(0, bool)
        self._contents = torch.zeros(len(self.paths), DIGEST_BYTES, dtype=torch.uint8)  # zeros where not known yet
        self._sums: Any = None
        self.file: Path | None = None
        self.n_decoded = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Sequence[int] | Tensor) -> Tensor:
        chosen = torch.as_tensor(indices)
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

    def remember(self, on_progress: OnProgress | None = None) -> None:
        """Decode what no earlier run has left decoded. Raises UnreadableError naming the first ten that cannot be."""
        if self._kept is not None or not self.paths:
            return
        file = _file_for(self.paths, self._pipeline, self.channels, self._part)
        row = np.dtype([*_HEAD, ("pixels", "u1", (self.channels, *self._pipeline.size))])
        keys = _keys(self.paths) if file else np.empty(0, "V16")
        rows = _read(file, row) if file and believes_cache() else None
        if not self._take(file, rows, keys):
            self._kept = self._decoded(file, row, keys, rows, on_progress)
            written = _read(file, row) if file else None
            if self._kept is None:
                self._take(file, written, keys)
            elif written is not None and np.array_equal(written["key"], keys):
                self.file = file
        if self._kept is None:
            self._contents.share_memory_()  # workers write into it

    def _take(self, file: Path | None, rows: Any, keys: Any) -> bool:
        """Take up the rows of a file, and tell whether they are of these images and whole."""
        if rows is None or not np.array_equal(rows["key"], keys) or not _sound(rows, whole=False).all():
            return False
        if self.n_bytes <= DECODED_MEMORY_BUDGET:
            self._kept = _in_memory(rows)
        else:  # too many to be checked before they are needed
            self._kept, self._rows = torch.from_numpy(rows["pixels"]), rows
            self._checked = np.zeros(len(rows), bool)
        if self._kept is None:
            return False
        self._contents, self._sums = torch.from_numpy(rows["content"].copy()), rows["sum"].copy()
        self.file = file
        return True

    def _decoded(
        self, file: Path | None, row: np.dtype[Any], keys: Any, known: Any, on_progress: OnProgress | None
    ) -> Tensor | None:
        """Decode all images into memory where they fit, and into the file where it can be written."""
        fits = self.n_bytes <= DECODED_MEMORY_BUDGET
        kept = torch.empty((len(self), *row["pixels"].shape), dtype=torch.uint8) if fits else None
        sums = np.zeros(len(self), np.uint64)
        with _Writer(file, row, len(self)) as writer:
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
        self._sums = sums
        return kept

    def _chunks(self, keys: Any, known: Any) -> Iterator[tuple[int, Tensor, Any, list[ImageError]]]:
        """Give (first index, pixels, digests, what could not be read) of a thousand images after the other."""
        old = {}
        if known is not None:
            old = {bytes(known["key"][index]): index for index in np.flatnonzero(_sound(known, whole=True))}
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
            self.n_decoded += len(new)
            errors = decode_into(pixels, contents, paths, new, self._pipeline, self.channels)
            yield start, pixels, contents, errors

    def _mend(self, indices: Any) -> None:
        """Check rows of the file where they are first read, and decode anew what has been damaged there."""
        new = np.unique(indices[~self._checked[indices]])
        if not len(new):
            return
        damaged = new[~_sound(self._rows[new], whole=True)].tolist()
        if damaged:
            assert self._kept is not None
            pixels, self._contents.numpy()[damaged], bad = self._read(damaged)
            _raise_for(bad, len(self))
            self._kept.numpy()[damaged] = pixels.numpy()  # in this process's memory: the file stays as it is
            self.n_decoded += len(damaged)
        self._checked[new] = True

    @property
    def contents_known(self) -> bool:
        """Whether the digest of every file is known without reading one."""
        return bool(self._contents.numpy().any(axis=1).all())

    def contents(self) -> list[bytes]:
        """Return the digest of each file's bytes; files that have not been decoded yet are read for it."""
        for index in np.flatnonzero(~self._contents.numpy().any(axis=1)):
            with suppress(OSError):  # left out of training: it counts as a file of no known bytes
                self._contents.numpy()[index] = np.frombuffer(digest_of(self.paths[index]), np.uint8)
        return [bytes(content) for content in self._contents.numpy()]

    @property
    def sums(self) -> Any:
        """A checksum of each image's pixels, (n,) uint64, where they are kept; else None."""
        return self._sums

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


def decode(paths: Sequence[Path], pipeline: Pipeline, channels: int) -> Tensor:
    """Read images on all cores: uint8 (n, channels, *pipeline.size).

    Raises DataError that names the first ten files that cannot be read.
    """
    return ImageFiles(paths, pipeline, channels)[range(len(paths))]


def decode_into(
    pixels: Tensor, contents: Any, paths: Sequence[Path], indices: Sequence[int], pipeline: Pipeline, channels: int
) -> list[ImageError]:
    """Read the images of these indices into their places, on all cores; return what could not be read.

    Each file is read once: `contents` (n, 16) gets the digest of the very bytes that are decoded.
    """
    places = pixels.numpy()  # a tensor made in inference mode could not be written by other threads

    def read(index: int) -> ImageError | None:
        try:
            content, digest = read_digested(paths[index])
        except OSError:
            content, digest = None, bytes(DIGEST_BYTES)  # the decoder will say what is wrong with the file
        try:
            places[index] = to_uint8(pipeline.read(paths[index], channels, content)).numpy()
        except ImageError as error:
            return error
        contents[index] = np.frombuffer(digest, np.uint8)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [error for error in pool.map(read, indices) if error]


def _raise_for(bad: Sequence[ImageError], n: int) -> None:
    if bad:
        raise UnreadableError(bad, n)


def _file_for(paths: Sequence[Path], pipeline: Pipeline, channels: int, part: str) -> Path | None:
    """Return the file that remembers these images; None where nothing is to be remembered, or among the images."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        root, home = os.path.commonpath([path.absolute().parent for path in paths]), folder.resolve()
        if home.is_relative_to(Path(root).resolve()):
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    steps = replace(pipeline, augmentations=(), mean=(), std=()).to_spec()
    way = f"2 {pillow} {steps} {channels} {pixel_limit()} {part} "  # another Pillow may decode to other bytes
    name = hashlib.blake2b(way.encode() + os.fsencode(root), digest_size=12).hexdigest()
    return home / "pictures" / f"{name}.npy"


def _keys(paths: Sequence[Path]) -> Any:
    """Return what each image is known by, (n,) of 16 bytes: a digest of path, size, inode and times of change."""
    digests = []
    for path in paths:
        try:
            found = path.stat()
            state = b"%d %d %d %d " % (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
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


def _sound(rows: Any, *, whole: bool) -> Any:
    """Tell of each row, (n,) bool, whether it is as it was written: its head, and with `whole` its pixels too."""
    flags = np.empty(len(rows), bool)
    for start in range(0, len(rows), _DECODED_AT_ONCE):
        some = rows[start : start + _DECODED_AT_ONCE]
        flags[start : start + len(some)] = _head_sums(some) == some["check"]
        if whole:
            flags[start : start + len(some)] &= _pixel_sums(some) == some["sum"]
    return flags


def _in_memory(rows: Any) -> Tensor | None:
    """Return the pixels of rows, copied, or None where one is damaged."""
    kept = torch.from_numpy(rows["pixels"]).contiguous()
    return kept if np.array_equal(checksums(kept.numpy().reshape(len(kept), -1)), rows["sum"]) else None


def _head_sums(rows: Any) -> Any:
    at = [rows.dtype.fields[name][1] for name in ("key", "pixels")]
    return checksums(_as_bytes(rows)[:, at[0] : at[1]])


def _pixel_sums(rows: Any) -> Any:
    return checksums(_as_bytes(rows)[:, rows.dtype.fields["pixels"][1] :])


def _as_bytes(rows: Any) -> Any:
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)


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

    def write(self, keys: Any, contents: Any, sums: Any, pixels: Tensor) -> None:
        """Append rows."""
        if self._stream is None:
            return
        rows = np.empty(len(keys), self._row)
        rows["key"], rows["content"], rows["sum"], rows["pixels"] = keys, contents, sums, pixels.numpy()
        rows["check"] = _head_sums(rows)
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
