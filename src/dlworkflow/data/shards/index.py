"""The index beside shards that `dlw data shard` wrote: class names, and of each shard its split, samples and digest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlworkflow.data.images.transforms import read_range
from dlworkflow.data.shards.names import INDEX_NAME, SUFFIX
from dlworkflow.errors import DataError, MissingDataError, first_line
from dlworkflow.files.paths import read_json

FORMAT, VERSION = "dlworkflow-shards", 1
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Shard:
    """One tar file: how many samples it holds, in all and of each class, and how it is known again.

    `counts` has a number a label, from 0 on; `digest` is empty where none was taken. The samples at the positions
    `bad` cannot be read and are left out: they are not among the others.
    """

    path: Path
    split: str
    counts: tuple[int, ...]
    n_bytes: int
    digest: str = ""
    bad: frozenset[int] = frozenset()

    @property
    def samples(self) -> int:
        """How many samples it gives."""
        return sum(self.counts)


@dataclass(frozen=True)
class Index:
    """Class names in the order of their labels, every shard, and which values of images of more than 8 bits become
    black and white (see `value_ranges`).
    """

    classes: tuple[str, ...]
    shards: tuple[Shard, ...]
    value_range: tuple[float, float] | None = None


def index_text(classes: Sequence[str], shards: Sequence[Shard], value_range: tuple[float, float] | None = None) -> str:
    """Return an index as it is written; it names no folder, so that equal images give equal bytes."""
    rows = [
        {
            "file": shard.path.name,
            "split": shard.split,
            "samples": shard.samples,
            "samples_a_class": list(shard.counts),
            "bytes": shard.n_bytes,
            "blake2b": shard.digest,
        }
        for shard in shards
    ]
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION, "classes": list(classes)}
    if value_range is not None:
        head["range"] = list(value_range)
    return json.dumps(head | {"shards": rows}, indent=1) + "\n"


def read_index(folder: Path) -> Index | None:
    """Return the index of a folder of shards, None where there is none. Raises DataError for a damaged one."""
    file = folder / INDEX_NAME
    try:
        found = read_json(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(file, first_line(error)) from None
    try:
        if found["format"] != FORMAT:
            raise _damaged(file, f"is of format {found['format']!r}, not {FORMAT!r}")
        if found["version"] != VERSION:
            raise DataError(f"{str(file)!r} is of version {found['version']!r}; this dlworkflow reads {VERSION}")
        classes = _classes(found["classes"])
        shards = tuple(_shard(folder, row, len(classes)) for row in found["shards"])
        if (twice := _repeated(shard.path.name for shard in shards)) is not None:
            raise _damaged(file, f"lists {twice!r} twice")
        value_range = read_range(found.get("range"))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(file, f"{type(error).__name__} {first_line(error)}") from None
    return Index(classes, shards, value_range)


def check_present(shard: Shard) -> None:
    """Raise DataError unless a shard is there, of the size in its index; its content is not read."""
    try:
        size = shard.path.stat().st_size
    except FileNotFoundError:
        raise MissingDataError(f"no shard {str(shard.path)!r}, which the index beside it names") from None
    except OSError as error:
        raise DataError(f"cannot read {str(shard.path)!r}: {error.strerror}") from None
    if size != shard.n_bytes:
        raise DataError(
            f"{str(shard.path)!r} has {size:,} bytes, its index says {shard.n_bytes:,}: it was cut short or changed; "
            "copy it again, or write the shards anew (`dlw data shard`)"
        )


def _classes(names: Any) -> tuple[str, ...]:
    """Return the names of the classes. Raises ValueError for what is no list of different ones."""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"has no list of class names, but {names!r:.200}")
    if (twice := _repeated(names)) is not None:
        raise ValueError(f"has the class {twice!r} twice")
    return tuple(names)


def _repeated(names: Iterable[str]) -> str | None:
    """Return the first name that is there twice, or None."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def _shard(folder: Path, row: Any, n_classes: int) -> Shard:
    """Return a row of the index as a shard. Raises ValueError for one that contradicts itself."""
    name, counts = row["file"], tuple(row["samples_a_class"])
    if not isinstance(name, str) or name != Path(name).name or not name.endswith(SUFFIX):
        raise ValueError(f"names {name!r}, which is no tar file of the folder")
    numbers = (*counts, row["samples"], row["bytes"])
    if any(type(number) is not int or number < 0 for number in numbers) or len(counts) != n_classes:
        raise ValueError(f"has no number of samples for each class of {name!r}")
    if sum(counts) != row["samples"] or row["split"] not in SPLITS:
        raise ValueError(f"contradicts itself on {name!r}")
    return Shard(folder / name, row["split"], counts, row["bytes"], str(row["blake2b"]))


def _damaged(file: Path, what: str) -> DataError:
    return DataError(
        f"{str(file)!r} is no index of shards ({what}); write the shards anew, or move it away to have them counted"
    )
