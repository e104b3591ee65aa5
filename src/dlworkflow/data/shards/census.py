"""What shards hold that no index tells of: counted in one pass, and remembered until the file changes.

Remembered in one file a folder under the cache folder (see `cache`), by name, size, inode and times.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import __version__ as pillow

from dlworkflow.data.images.cache import cache_folder, read_remembered, write_remembered
from dlworkflow.data.images.decoding import ImageError, opened, pixel_limit
from dlworkflow.data.protocol import OnProgress
from dlworkflow.data.shards.samples import read_samples
from dlworkflow.errors import DataError

_FORMAT = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Census:
    """What one shard holds: samples of each label, the file's size, and where images were decoded the broken ones.

    `bad` is {position: (label, sentence)}; None where no image was looked at.
    """

    counts: dict[int, int]
    n_bytes: int
    bad: dict[int, tuple[int, str]] | None = None


def count_samples(
    paths: Sequence[Path], *, decode: bool = False, on_progress: OnProgress | None = None
) -> dict[Path, Census]:
    """Read the labels of every shard, and with `decode` its images too, but for what is remembered.

    Raises DataError for a damaged shard and for one without samples.
    """
    found: dict[Path, Census] = {}
    for folder in dict.fromkeys(path.parent for path in paths):
        file = _memory_file(folder)
        rows = read_remembered(file, "shards", _head()) if file is not None else {}
        before = dict(rows)
        within = [path for path in paths if path.parent == folder]
        if new := sum(_known(path, rows, decode) is None for path in within):
            _log.info("%s the samples of %d shard(s), once", "reading" if decode else "counting", new)
        count = partial(_counted, rows=rows, decode=decode)
        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for path, census in zip(within, pool.map(count, within), strict=True):
                    found[path] = census
                    if on_progress is not None:
                        on_progress(len(found), len(paths))
        finally:
            if file is not None and rows != before:
                write_remembered(file, json.dumps(_head() | {"shards": rows}, separators=(",", ":")))
    return found


def _counted(path: Path, rows: dict[str, Any], decode: bool) -> Census:
    """Return what is remembered of a shard, or count it and put it into `rows`."""
    if (known := _known(path, rows, decode)) is not None:
        return known
    state = _state(path)
    census = _look(path, decode)
    bad = None if census.bad is None else [[position, *what] for position, what in census.bad.items()]
    rows[path.name] = [state, census.n_bytes, sorted(census.counts.items()), bad]
    return census


def _known(path: Path, rows: Mapping[str, Any], decode: bool) -> Census | None:
    """Return what is remembered of a shard that has not changed since, where that is enough."""
    state, known = _state(path), _read_row(rows.get(path.name))
    if known is None or known[0] != state:
        return None
    return known[1] if known[1].bad is not None or not decode else None


def _state(path: Path) -> str:
    """Return a file's size, times and inode."""
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _look(path: Path, decode: bool) -> Census:
    n_bytes = path.stat().st_size
    counts: Counter[int] = Counter()
    bad: dict[int, tuple[int, str]] = {}
    for position, sample in enumerate(read_samples(path, images=decode)):
        counts[sample.label] += 1
        if decode and (reason := image_fault(sample.image)):
            bad[position] = sample.label, sample.fault(reason)
    if not counts:
        raise DataError(f"{str(path)!r} holds no sample: no members such as '0.jpg' and '0.cls'")
    return Census(dict(counts), n_bytes, bad if decode else None)


def image_fault(content: bytes) -> str | None:
    """Say why an image's bytes cannot be read, or None."""
    try:
        with opened("image", content=content):
            return None
    except ImageError as error:
        return error.reason


def _memory_file(folder: Path) -> Path | None:
    home = cache_folder()
    if home is None:
        return None
    name = hashlib.blake2b(os.fsencode(folder.resolve()), digest_size=12).hexdigest()
    return home / "shards" / f"{name}.json"


def _head() -> dict[str, Any]:
    return {"format": _FORMAT, "pillow": pillow, "max_pixels": pixel_limit()}  # on these hangs which can be read


def _read_row(row: Any) -> tuple[str, Census] | None:
    """Return (state, census) of a remembered row; None for one that is damaged."""
    try:
        state, size, counts, bad = row
        counted = {int(label): int(n) for label, n in counts}
        told = None if bad is None else {int(position): (int(label), str(text)) for position, label, text in bad}
        return str(state), Census(counted, int(size), told)
    except (TypeError, ValueError):
        return None
