"""What a look into image files found, remembered by path, size, inode and times: none is read twice unchanged.

Remembered in one file a folder, under DLW_CACHE_DIR, XDG_CACHE_HOME/dlworkflow or ~/.cache/dlworkflow; where that
cannot be written, everything is read again. Nothing is ever written beside the images.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from PIL import ImageOps
from PIL import __version__ as pillow

from dlworkflow.data.check.near_duplicates import look_of
from dlworkflow.data.images.cache import cache_folder, read_remembered, write_remembered
from dlworkflow.data.images.decoding import (
    ImageError,
    TooManyPixelsError,
    opened,
    pixel_limit,
    too_many_pixels,
)
from dlworkflow.data.images.modes import extremes_of, is_deep, to_mode
from dlworkflow.data.protocol import OnProgress

_FORMAT = 5  # to be raised with the fields of Facts and what they mean


@dataclass(frozen=True)
class Facts:
    """What one file holds: its size in bytes (-1 where there is none) and, where it could be decoded, the image.

    `format` and `mode` are Pillow's names; `width` and `height` are those of the upright image; `digest` is one of
    the pixels as a model sees them, 8-bit RGB, or of those of more than 8 bits, whose extremes are `low` and `high`;
    `look` is nearly the same for copies of another size or format, and
    empty where there is too little to see (see `near_duplicates`). Otherwise `reason` says why not; an image above the
    limit has none, but `pixels` alone, since another limit may let it in.
    """

    n_bytes: int = -1
    pixels: int = 0
    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    digest: str = ""
    look: str = ""
    reason: str = ""
    low: float = 0.0
    high: float = 0.0

    def is_above(self, limit: int) -> bool:
        """Tell whether the image has more pixels than `limit`."""
        return self.pixels > limit

    def fault(self, limit: int) -> str | None:
        """Say why the image cannot be read with this limit of pixels, or None."""
        return too_many_pixels(self.pixels, limit) if self.is_above(limit) else self.reason or None


@dataclass(frozen=True)
class Examined:
    """The facts of each file, and how many of the files were read for it; the others were remembered."""

    facts: dict[Path, Facts]
    n_read: int


def examine(
    paths: Iterable[Path],
    root: Path,
    *,
    use_memory: bool = True,
    max_pixels: int | None = None,
    on_progress: OnProgress | None = None,
) -> Examined:
    """Decode image files whole, on all cores, but for those that are as remembered from another look at `root`."""
    every = list(dict.fromkeys(paths))
    limit = pixel_limit(max_pixels)
    tell = on_progress or _silent
    file = _memory_file(root) if use_memory else None
    base = root if root.is_dir() else root.parent
    rows = _remembered(file) if file else {}
    facts: dict[Path, Facts] = {}
    states = {path: _state(path) for path in every}
    for path, state in states.items():
        row = rows.get(_key(path, base))
        if row and (row[0], row[1]) == state and _holds(known := Facts(*row[1:]), limit):
            facts[path] = known
    to_read = [path for path in every if path not in facts]
    passing: set[Path] = set()
    try:
        tell(len(facts), len(every))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting = {pool.submit(facts_of, path, states[path][1], limit): path for path in to_read}
            try:
                for done in as_completed(waiting):
                    facts[waiting[done]], lasting = done.result()
                    if not lasting:
                        passing.add(waiting[done])
                    tell(len(facts), len(every))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        if file and to_read:
            lasts = [path for path in facts if path not in passing]
            rows = {_key(path, base): [states[path][0], *astuple(facts[path])] for path in lasts}
            write_remembered(file, json.dumps(_head() | {"files": rows}, separators=(",", ":")))
    return Examined({path: facts[path] for path in every}, len(to_read))


def _silent(_done: int, _total: int) -> None:
    """Tell nobody."""


def facts_of(path: Path, n_bytes: int, limit: int, content: bytes | None = None) -> tuple[Facts, bool]:
    """Return what a file or its `content` holds, and whether that is so as long as the file does not change."""
    try:
        with opened(path, max_pixels=limit, content=content) as image:
            kind, mode = image.format or "", image.mode
            ImageOps.exif_transpose(image, in_place=True)
            low, high = extremes_of(image) if is_deep(mode) else (0.0, 0.0)
            shown = to_mode(image, 3, (low, high if high > low else low + 1))
            digest = hashlib.blake2b(repr(shown.size).encode(), digest_size=16)
            digest.update((image if is_deep(mode) else shown).tobytes())
            size, told = shown.size, (kind, mode, digest.hexdigest(), look_of(shown))
        return Facts(n_bytes, size[0] * size[1], *size, *told, low=low, high=high), True
    except TooManyPixelsError as error:
        return Facts(n_bytes, error.pixels or limit + 1), True
    except ImageError as error:
        return Facts(n_bytes, reason=error.reason), error.lasting


def _state(path: Path) -> tuple[str, int]:
    """Return what a file's times and inode are, and its size in bytes; ("", -1) where it cannot be found."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return "", -1
    return f"{found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}", found.st_size


def _holds(known: Facts, limit: int) -> bool:
    """Tell whether facts still hold with this limit: an image that was refused by another may be read now."""
    return bool(known.digest or known.reason) or known.is_above(limit)


def _memory_file(root: Path) -> Path | None:
    """Return the file that remembers what was found in `root`; None where it would lie among the user's images."""
    folder = cache_folder()
    try:
        home = folder.resolve() if folder else None
        where = root.resolve()
    except (OSError, RuntimeError):
        return None
    if home is None or (root.is_dir() and home.is_relative_to(where)):
        return None
    name = hashlib.blake2b(os.fsencode(where), digest_size=12).hexdigest()
    return home / "checks" / f"{name}.json"


def _key(path: Path, base: Path) -> str:
    """Return a file's name in the memory: below the folder, so that it is the same whichever way one came there."""
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path.absolute())


def _head() -> dict[str, Any]:
    return {"format": _FORMAT, "pillow": pillow}  # another Pillow may read what this one cannot


def _remembered(file: Path) -> dict[str, list[Any]]:
    """Return {file: [state, *facts]} as an earlier look wrote it; nothing where that cannot be used."""
    rows = read_remembered(file, "files", _head())
    types = [str, *(type(value) for value in astuple(Facts()))]
    return {
        name: row for name, row in rows.items() if isinstance(row, list) and [type(value) for value in row] == types
    }
