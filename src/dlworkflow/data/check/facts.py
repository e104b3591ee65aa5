"""What image files hold, remembered: a file that has not changed is not read again.

Remembered in one file per folder, under DLW_CACHE_DIR or the user's cache folder (on Linux ~/.cache/dlworkflow). Where
that cannot be written, everything is read again. Nothing is ever written beside the images.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from PIL import ImageOps
from PIL import __version__ as pillow

from dlworkflow.data.check.near_duplicates import look_of
from dlworkflow.data.images.cache import FileMemory
from dlworkflow.data.images.decoding import ImageError, TooManyPixelsError, opened, pixel_limit, too_many_pixels
from dlworkflow.data.images.modes import extremes_of, is_deep, to_mode
from dlworkflow.data.protocol import OnProgress

_FORMAT = 6  # to be raised with the fields of Facts and what they mean


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
        """Return whether the image has more pixels than `limit`."""
        return self.pixels > limit

    def fault(self, limit: int) -> str | None:
        """Return why the image cannot be read with this limit of pixels, or None."""
        return too_many_pixels(self.pixels, limit) if self.is_above(limit) else self.reason or None


def examine(
    paths: Iterable[Path],
    root: Path,
    *,
    use_memory: bool = True,
    max_pixels: int | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[dict[Path, Facts], int]:
    """Decode image files whole, on all cores, but for those that are remembered of `root` and have not changed.

    Returns the facts of each file, and how many files were read for it.
    """
    every = list(dict.fromkeys(paths))
    limit = pixel_limit(max_pixels)
    memory = FileMemory("checks", root if use_memory else None, {"format": _FORMAT, "pillow": pillow})
    facts = {path: known for path in every if (known := _known(memory.get(path), limit)) is not None}
    to_read = [path for path in every if path not in facts]
    try:
        if on_progress is not None:
            on_progress(len(facts), len(every))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting = {pool.submit(facts_of, path, _size_of(path), limit): path for path in to_read}
            try:
                for done in as_completed(waiting):
                    path = waiting[done]
                    facts[path], lasting = done.result()
                    memory.put(path, astuple(facts[path]) if lasting else None)
                    if on_progress is not None:
                        on_progress(len(facts), len(every))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        if to_read:
            memory.write()
    return {path: facts[path] for path in every}, len(to_read)


def unreadable(root: Path, paths: Iterable[Path], on_progress: OnProgress | None = None) -> dict[Path, ImageError]:
    """Return {image: its error} of those that cannot be read; what was found before is remembered."""
    limit = pixel_limit()
    found, _ = examine(paths, root, max_pixels=limit, on_progress=on_progress)
    return {path: ImageError(path, reason) for path, facts in found.items() if (reason := facts.fault(limit))}


def _size_of(path: Path) -> int:
    """Return a file's size in bytes, -1 where there is none."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return -1


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
            (width, height), look = shown.size, look_of(shown)
        return Facts(n_bytes, width * height, width, height, kind, mode, digest.hexdigest(), look, "", low, high), True
    except TooManyPixelsError as error:
        return Facts(n_bytes, error.pixels or limit + 1), True
    except ImageError as error:
        return Facts(n_bytes, reason=error.reason), error.lasting


def _known(row: list[Any] | None, limit: int) -> Facts | None:
    """Return remembered facts that still hold; an image above another limit of pixels may be read now."""
    if row is None or [type(value) for value in row] != [type(value) for value in astuple(Facts())]:
        return None
    known = Facts(*row)
    return known if known.digest or known.reason or known.is_above(limit) else None
