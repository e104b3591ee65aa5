"""Images of a folder or a CSV written into tar shards: their bytes as they are, in an order drawn by a seed.

All is written into a hidden folder beside the final one, which is then renamed: it is whole or not there. The same
images and settings give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import random
import re
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlworkflow.data.check.facts import unreadable
from dlworkflow.data.images.decoded_cache import UnreadableError
from dlworkflow.data.protocol import OnProgress, files_of
from dlworkflow.data.shards.index import SPLITS, Shard, index_text
from dlworkflow.data.shards.names import INDEX_NAME, SUFFIX
from dlworkflow.data.splits import Splits
from dlworkflow.errors import ConfigError, DataError, system_reason
from dlworkflow.files.writing import (
    check_new_folder,
    clear_leftovers,
    is_same_or_within,
    name_in_temporary,
    unfinished_folder,
)

SHARD_MEGABYTES = 100
_CONTENTS = rf"({'|'.join(SPLITS)})-\d+{re.escape(SUFFIX)}|{re.escape(INDEX_NAME)}"
_LONGEST_NAME = 60  # with a number and a suffix within the 100 bytes that every tar reader knows


@dataclass(frozen=True)
class LabelledFile:
    """A file to be written, and its label."""

    path: Path
    label: int


def write_shards(
    splits: Splits,
    out: Path,
    *,
    shards: int | None = None,
    megabytes: float = SHARD_MEGABYTES,
    seed: int = 42,
    on_check: OnProgress | None = None,
    on_write: OnProgress | None = None,
) -> list[Shard]:
    """Write every split of some image files into the new folder `out`, with an index; return the shards.

    `shards` is how many training makes, else each has about so many `megabytes`; the other splits get shards of the
    same size. `on_check` reports images that were decoded to be sure of them, `on_write` those written. Raises
    DataError naming images that cannot be read, ConfigError where `out` is taken or there are fewer images than
    shards; then nothing is written, as after any other failure.
    """
    images = {split: _images_of(splits, split) for split in splits.parts()}
    every = [image.path for part in images.values() for image in part]
    check_new_folder(out, option="--out")
    _check_readable(every, Path(splits.source), on_check)
    counts = {name: _n_shards(name, part, images["train"], shards, megabytes) for name, part in images.items()}
    writer = _Writer(splits.classes, sum(map(len, images.values())), on_write)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _check_space(every, out.parent)
        clear_leftovers(out.parent, name_in_temporary(out.name), _CONTENTS)
        with unfinished_folder(out) as whole:
            written = []
            for split, part in images.items():
                mixed = random.Random(f"{seed} {split}").sample(part, len(part))
                written += writer.write_split(whole, split, mixed, counts[split])
            value_range = splits.transform.value_range if splits.transform is not None else None
            text = index_text(splits.classes, written, value_range if isinstance(value_range, tuple) else None)
            (whole / INDEX_NAME).write_text(text, encoding="utf-8")
            whole.replace(out)
    except OSError as error:
        raise DataError(f"cannot write {str(out)!r}: {system_reason(error)}; nothing is left of it") from None
    return [Shard(out / s.path.name, s.split, s.counts, s.n_bytes, s.digest) for s in written]


def check_apart(out: Path, inputs: Iterable[Path]) -> None:
    """Raise ConfigError where the shards would be among what they are made of, or among its other splits."""
    for given in inputs:
        whole = given.parent if given.name in SPLITS else given
        if is_same_or_within(out, whole):
            raise ConfigError(f"--out: {str(out)!r} is within the data, {str(whole)!r}; name a folder outside it")


def _images_of(splits: Splits, split: str) -> list[LabelledFile]:
    part: Any = splits.part(split)
    if splits.task != "multiclass":
        raise DataError(f"shards hold one class per image; the task of data {splits.name!r} is {splits.task}")
    if not (files := files_of(part)):
        raise DataError(f"data {splits.name!r} is no folder or CSV of image files; shards are written from these")
    return [LabelledFile(path, label) for path, label in zip(files, part.labels.tolist(), strict=True)]


def _check_readable(paths: Sequence[Path], root: Path, on_check: OnProgress | None) -> None:
    if bad := unreadable(root, paths, on_check):
        raise DataError(f"{UnreadableError([*bad.values()], len({*paths}))}; --on-bad skip leaves them out")


def _check_space(paths: Sequence[Path], folder: Path) -> None:
    needed = sum(path.stat().st_size + 4 * tarfile.BLOCKSIZE for path in paths)  # with headers and label
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(f"--out: {needed:,} bytes are needed, {free:,} are free in {str(folder)!r}")


def _n_shards(
    split: str, part: Sequence[LabelledFile], train: Sequence[LabelledFile], shards: int | None, megabytes: float
) -> int:
    """Return how many shards a split makes."""
    if shards is None:
        return min(len(part), math.ceil(sum(image.path.stat().st_size for image in part) / (megabytes * 1e6)) or 1)
    if split == "train" and shards > len(part):
        raise ConfigError(f"--shards: {shards} are more than the {len(part)} training images")
    return shards if split == "train" else max(1, min(len(part), round(shards * len(part) / len(train))))


class _Writer:
    """Writes splits shard by shard and counts what it has written."""

    def __init__(self, classes: Sequence[str], total: int, on_write: OnProgress | None) -> None:
        self._classes, self._total, self._on_write = classes, total, on_write
        self._done = 0

    def write_split(self, folder: Path, split: str, images: Sequence[LabelledFile], n: int) -> list[Shard]:
        width = max(2, len(str(n - 1)))
        cuts = [len(images) * number // n for number in range(n + 1)]
        return [
            self._write(folder / f"{split}-{number:0{width}}{SUFFIX}", split, images[cuts[number] : cuts[number + 1]])
            for number in range(n)
        ]

    def _write(self, path: Path, split: str, images: Sequence[LabelledFile]) -> Shard:
        counts = [0] * len(self._classes)
        with path.open("xb") as file:
            hashed = _Hashed(file)
            with tarfile.open(fileobj=hashed, mode="w|", format=tarfile.USTAR_FORMAT) as tar:  # type: ignore[call-overload] # it writes, which is all that is asked of it
                for image in images:
                    key = f"{self._done:08}-{_plain(self._classes[image.label])}-{_plain(image.path.stem)}"
                    _add(tar, f"{key[:_LONGEST_NAME]}{image.path.suffix.lower()}", image.path.read_bytes())
                    _add(tar, f"{key[:_LONGEST_NAME]}.cls", str(image.label).encode())
                    counts[image.label] += 1
                    self._done += 1
                    if self._on_write is not None:
                        self._on_write(self._done, self._total)
            file.flush()
            os.fsync(file.fileno())
        return Shard(path, split, tuple(counts), path.stat().st_size, hashed.digest.hexdigest())


class _Hashed:
    """A file that is only written, and what its bytes add up to."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file, self.digest = file, hashlib.blake2b(digest_size=16)

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # time, owner and group are 0
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _plain(name: str) -> str:
    """Return a name of letters, digits and `_` alone: a dot would end the key."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name)
