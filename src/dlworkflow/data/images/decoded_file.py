"""A file of decoded images in the cache folder: a row per image, with checksums; decodes nothing.

It may be deleted at any time. An image is known by path, size, inode and times.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import __version__ as pillow
from torch import Tensor

from dlworkflow.data.images.cache import believes_cache, cache_folder, make_subfolder, state_of, sweep
from dlworkflow.data.images.decoding import pixel_limit
from dlworkflow.data.images.digests import DIGEST_BYTES, checksums
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.files.writing import drop_file, finish_file, unfinished_file

_FREE_SHARE = 4
"""A file takes no more than this part of the free disk: one in four bytes."""
_HEAD = [("check", "<u8"), ("key", "V16"), ("content", "u1", (DIGEST_BYTES,)), ("sum", "<u8")]
"""What a row has before its pixels: `sum` is a checksum of these, `check` of the rest of the head."""
_CHECKED_AT_ONCE = 1024


def row_type(channels: int, size: tuple[int, int]) -> np.dtype[Any]:
    """Return the type of a row: its head, and the pixels of one image."""
    return np.dtype([*_HEAD, ("pixels", "u1", (channels, *size))])


def file_for(paths: Sequence[Path], pipeline: Pipeline, channels: int, part: str) -> Path | None:
    """Return the file that remembers these images; None where nothing is to be remembered, or among the images."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        parents = {path.parent for path in paths}
        root, home = os.path.commonpath([parent.absolute() for parent in parents]), folder.resolve()
        if home.is_relative_to(Path(root).resolve()):
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    steps = replace(pipeline, augmentations=(), mean=(), std=()).to_spec()
    way = f"2 {pillow} {steps} {channels} {pixel_limit()} {part} "  # another Pillow may decode to other bytes
    name = hashlib.blake2b(way.encode() + os.fsencode(root), digest_size=12).hexdigest()
    return home / "pictures" / f"{name}.npy"


def is_there(file: Path | None) -> bool:
    """Return whether anything is remembered in a file, as far as that may be used."""
    return file is not None and believes_cache() and file.is_file()


def keys_of(paths: Sequence[Path]) -> Any:
    """Return what each image is known by, (n,) of 16 bytes: a digest of path, size, inode and times of change."""
    digests, here = [], Path.cwd()
    for path in paths:
        state = state_of(path) or f"? {time.time_ns()}"  # decoding it reports what is wrong
        where = os.path.join(here, path)  # noqa: PTH118 - a Path for each of 100,000 takes a second
        digests.append(hashlib.blake2b(f"{state} ".encode() + os.fsencode(where), digest_size=16).digest())
    return np.frombuffer(b"".join(digests), "V16")


def read_rows(file: Path, row: np.dtype[Any]) -> Any:
    """Return the rows of a file as they are on the disk, or None where it is missing, torn or of another kind."""
    try:
        rows = np.load(file, mmap_mode="c", allow_pickle=False)
        os.utime(file)
    except (OSError, ValueError, EOFError):
        return None
    return rows if rows.dtype == row and rows.ndim == 1 and len(rows) else None


def sound_rows(rows: Any, *, whole: bool) -> Any:
    """Return for each row, (n,) bool, whether it is as it was written: its head, and with `whole` its pixels too."""
    flags = np.empty(len(rows), bool)
    for start in range(0, len(rows), _CHECKED_AT_ONCE):
        some = rows[start : start + _CHECKED_AT_ONCE]
        flags[start : start + len(some)] = _head_sums(some) == some["check"]
        if whole:
            flags[start : start + len(some)] &= _pixel_sums(some) == some["sum"]
    return flags


def in_memory(rows: Any, keys: Any) -> tuple[Tensor, Any, Any] | None:
    """Return pixels, digests and checksums of rows, read from their file; None unless they are sound and of these keys.

    What is read through `rows`, which are mapped, would be in memory a second time while the mapping is there.
    """
    row, pixels = rows.dtype, torch.empty((len(keys), *rows.dtype["pixels"].shape), dtype=torch.uint8)
    contents, sums = np.empty((len(keys), DIGEST_BYTES), np.uint8), np.empty(len(keys), np.uint64)
    for start in range(0, len(keys), _CHECKED_AT_ONCE):
        within = slice(start, start + _CHECKED_AT_ONCE)
        try:
            some = np.fromfile(rows.filename, row, len(keys[within]), offset=rows.offset + start * row.itemsize)
        except OSError:  # somebody has deleted it
            return None
        if not np.array_equal(some["key"], keys[within]) or not sound_rows(some, whole=True).all():
            return None
        pixels.numpy()[within], contents[within], sums[within] = some["pixels"], some["content"], some["sum"]
    return pixels, contents, sums


def _head_sums(rows: Any) -> Any:
    at = [rows.dtype.fields[name][1] for name in ("key", "pixels")]
    return checksums(_as_bytes(rows)[:, at[0] : at[1]])


def _pixel_sums(rows: Any) -> Any:
    return checksums(_as_bytes(rows)[:, rows.dtype.fields["pixels"][1] :])


def _as_bytes(rows: Any) -> Any:
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)


class RowWriter:
    """Writes rows to a file that appears when it is whole; where it cannot be written there is none."""

    def __init__(self, file: Path | None, row: np.dtype[Any], n: int) -> None:
        self._file, self._row, self._n = file, row, n
        self._stream: Any = None

    def __enter__(self) -> RowWriter:
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
