"""What shards without an index hold: counted in one pass, and remembered until the file changes (see `FileMemory`)."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import __version__ as pillow

from dlworkflow.data.images.cache import FileMemory
from dlworkflow.data.images.decoding import ImageError, opened, pixel_limit
from dlworkflow.data.protocol import OnProgress
from dlworkflow.data.shards.samples import read_samples
from dlworkflow.errors import DataError

_FORMAT = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Census:
    """What one shard holds: samples of each label, the file's size, and where images were decoded the broken ones.

    `bad` is {position: (label, sentence)}; None where no image was decoded.
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
    head = {"format": _FORMAT, "pillow": pillow, "max_pixels": pixel_limit()}  # they decide which images can be read
    found: dict[Path, Census] = {}
    for folder in dict.fromkeys(path.parent for path in paths):
        memory = FileMemory("shards", folder, head)
        for path, census in _counted([path for path in paths if path.parent == folder], memory, decode):
            found[path] = census
            if on_progress is not None:
                on_progress(len(found), len(paths))
    return found


def _counted(paths: Sequence[Path], memory: FileMemory, decode: bool) -> Iterator[tuple[Path, Census]]:
    known = {path: _read_row(memory.get(path), decode) for path in paths}
    if new := sum(census is None for census in known.values()):
        _log.info("%s the samples of %d shard(s), once", "reading" if decode else "counting", new)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            every = pool.map(lambda path: known[path] or _look(path, decode), paths)
            for path, census in zip(paths, every, strict=True):
                bad = None if census.bad is None else [[position, *what] for position, what in census.bad.items()]
                memory.put(path, (census.n_bytes, sorted(census.counts.items()), bad))
                yield path, census
    finally:
        if new:
            memory.write()


def _look(path: Path, decode: bool) -> Census:
    counts: Counter[int] = Counter()
    bad: dict[int, tuple[int, str]] = {}
    for position, sample in enumerate(read_samples(path, images=decode)):
        counts[sample.label] += 1
        if decode and (reason := image_fault(sample.image)):
            bad[position] = sample.label, sample.fault(reason)
    if not counts:
        raise DataError(f"{str(path)!r} holds no sample: no members such as '0.jpg' and '0.cls'")
    return Census(dict(counts), path.stat().st_size, bad if decode else None)


def image_fault(content: bytes) -> str | None:
    """Return why an image's bytes cannot be read, or None."""
    try:
        with opened("image", content=content):
            return None
    except ImageError as error:
        return error.reason


def _read_row(row: Any, decode: bool) -> Census | None:
    """Return a remembered census; None for one that is damaged, or without the broken images that `decode` asks for."""
    try:
        size, counts, bad = row
        counted = {int(label): int(n) for label, n in counts}
        broken = None if bad is None else {int(position): (int(label), str(text)) for position, label, text in bad}
        return None if decode and broken is None else Census(counted, int(size), broken)
    except (TypeError, ValueError):
        return None
