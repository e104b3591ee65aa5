"""Which shards make which split and what their classes are: by the index beside them, or counted; decodes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dlworkflow.data.folders.listing import entries_of
from dlworkflow.data.images.options import RANDOM_STATE, TEST_FRACTION
from dlworkflow.data.shards.census import Census, count_samples
from dlworkflow.data.shards.cutting import cut_note, cut_shards
from dlworkflow.data.shards.index import SPLITS, Shard, check_present, read_index
from dlworkflow.data.shards.names import SUFFIX, expand, folder_of
from dlworkflow.errors import DataError, MissingDataError, MissingSplitError, few
from dlworkflow.files.paths import read_small_text

CLASSES_FILE = "classes.txt"


@dataclass(frozen=True)
class ShardSet:
    """The shards of each split, with class names in the order of the labels."""

    folder: Path
    classes: tuple[str, ...]
    splits: dict[str, list[Shard]]
    notes: tuple[str, ...] = ()
    skipped: dict[str, int] | None = None
    value_range: tuple[float, float] | None = None

    @property
    def shards(self) -> list[Shard]:
        """The shards of all splits."""
        return [shard for part in self.splits.values() for shard in part]


def labelled_shards(path: str, classes: Sequence[str], split: str) -> ShardSet:
    """Return the shards to score a trained model on: of a folder those of the split, of a pattern all that it names.

    Raises DataError with both lists where their index names other classes than the model's.
    """
    found, whole = _found(path, train=False)
    if found.classes and found.classes != tuple(classes):
        raise DataError(f"{path!r} has classes {few(found.classes)}, the model {few(classes)}")
    for shard in found.shards:
        check_present(shard)
    found = _named(replace(found, classes=()), list(classes))
    if whole and len(found.splits) > 1:
        if split not in found.splits:
            raise MissingSplitError(f"{path!r} has no split {split!r}; it has {', '.join(found.splits)}")
        found = replace(found, splits={split: found.splits[split]})
    return found


def find_shards(
    path: str,
    *,
    test: str | None = None,
    classes: Sequence[str] | None = None,
    test_fraction: float = TEST_FRACTION,
    random_state: int = RANDOM_STATE,
    checked: bool = True,
) -> ShardSet:
    """Return which shards make which split and what their classes are; opens only those without an index.

    Unless `checked` is false, those of an index must be there, of the size in the index. Raises DataError for shards
    that are not there, damaged or contradict each other.
    """
    found, _ = _found(path)
    for shard in found.shards if checked else ():
        check_present(shard)
    if test is not None:
        found = _with_test(found, test)
    found = _named(found, classes)
    for split, shards in found.splits.items():
        if not any(shard.samples for shard in shards):
            raise DataError(f"the {split} shards of {path!r} hold no samples")
    if "test" not in found.splits and "val" in found.splits:
        renamed = {"test" if split == "val" else split: shards for split, shards in found.splits.items()}
        return replace(found, splits=renamed, notes=(*found.notes, "no test shards: those of 'val' are used for it"))
    if "test" not in found.splits:
        kept, chosen = cut_shards(found.splits["train"], test_fraction, random_state, "data.test_fraction", "test")
        train, cut_off = ([found.splits["train"][index] for index in part] for part in (kept, chosen))
        note = cut_note("test", cut_off, found.splits["train"])
        return replace(found, splits={"train": train, "test": cut_off}, notes=(*found.notes, note))
    return found


def _found(path: str, setting: str = "data.path", *, train: bool = True) -> tuple[ShardSet, bool]:
    """Return the shards of a path, by their index or else counted, and whether the path is a folder."""
    folder = folder_of(path)
    files = [file for file in entries_of(folder) if _is_shard(file)] if folder is not None else expand(path, setting)
    if not files:
        raise MissingDataError(f"{setting}: no shards (*{SUFFIX}) in folder {path!r}")
    whole = folder is not None
    return _by_index(files, whole=whole, train=train) or _by_name(files, whole=whole), whole


def _is_shard(file: Path) -> bool:
    return file.suffix.casefold() == SUFFIX and not file.name.startswith(".")


def _by_index(files: Sequence[Path], *, whole: bool, train: bool = True) -> ShardSet | None:
    """Return the files by the index beside them, None where it does not know them all.

    To `train` on, training shards must be among them, and the other splits are there unnamed.
    """
    folder = files[0].parent
    index = read_index(folder)
    known = {shard.path.name: shard for shard in index.shards} if index is not None else {}
    if index is None or not all(file.parent == folder and file.name in known for file in files):
        if index is not None and whole:
            strangers = few([file.name for file in files if file.name not in known][:3])
            raise DataError(f"{str(folder)!r} holds shards that its index does not name ({strangers}); give a pattern")
        return None
    chosen = [known[file.name] for file in files] if not whole else list(index.shards)
    splits = {split: [shard for shard in chosen if shard.split == split] for split in SPLITS}
    if train and not splits["train"]:
        raise DataError(f"{str(files[0])!r} is of split {chosen[0].split!r}; name training shards, or the folder")
    for split in ("val", "test") if train else ():
        splits[split] = splits[split] or [shard for shard in index.shards if shard.split == split]
    splits = {split: shards for split, shards in splits.items() if shards}
    n, some = sum(shard.split == "train" for shard in index.shards), len(splits.get("train", ()))
    notes = (f"{some} of the {n} training shards are used",) if train and some < n else ()
    return ShardSet(folder, index.classes, splits, notes, value_range=index.value_range)


def _by_name(files: Sequence[Path], *, whole: bool) -> ShardSet:
    """Count shards without an index; in a folder, names that begin with train and test make the splits."""
    splits = {split: [file for file in files if file.name.casefold().startswith(split)] for split in SPLITS}
    splits = {split: chosen for split, chosen in splits.items() if chosen}
    if not whole or "train" not in splits or len(splits) < 2 or sum(map(len, splits.values())) < len(files):
        splits = {"train": list(files)}
    counted = count_samples(files)
    return ShardSet(
        files[0].parent,
        (),
        {split: [_shard(file, split, counted[file]) for file in chosen] for split, chosen in splits.items()},
    )


def _with_test(found: ShardSet, test: str) -> ShardSet:
    """Return a set of shards with another test split."""
    other, whole = _found(test, "data.test", train=False)
    if twice := {shard.path.resolve() for shard in found.splits["train"]} & {s.path.resolve() for s in other.shards}:
        raise DataError(f"data.test: {str(min(twice))!r} is a training shard too")
    if found.classes and other.classes and found.classes != other.classes:
        raise DataError(f"data.test: has classes {few(other.classes)}, training {few(found.classes)}")
    chosen = other.splits.get("test", other.shards) if whole else other.shards
    shards = [replace(shard, split="test") for shard in chosen]
    for shard in shards:
        check_present(shard)
    return replace(found, splits=found.splits | {"test": shards})


def _named(found: ShardSet, given: Sequence[str] | None) -> ShardSet:
    """Return a set of shards with class names. Raises DataError for a label that has none, naming the shard."""
    if found.classes and given is not None and tuple(given) != found.classes:
        raise DataError(f"data.classes: the index beside the shards names {few(found.classes)}; leave it out")
    names = found.classes or _given_classes(given) or _classes_beside(found.folder)
    n = len(names) or max(len(shard.counts) for shard in found.shards)
    for shard in found.shards:
        if len(shard.counts) > n and any(shard.counts[n:]):
            label = max(label for label, count in enumerate(shard.counts) if count)
            raise DataError(
                f"{str(shard.path)!r} has label {label}, but there are {n} classes, from 0 on: {few(names[:5])}; "
                f"name all in data.classes or {CLASSES_FILE}"
            )
    splits = {
        split: [replace(shard, counts=(*shard.counts, *[0] * n)[:n]) for shard in shards]
        for split, shards in found.splits.items()
    }
    notes = () if names else (f"classes are numbers: no index, no {CLASSES_FILE} and no data.classes names them",)
    return replace(found, classes=names or tuple(map(str, range(n))), splits=splits, notes=(*found.notes, *notes))


def _given_classes(given: Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or len(set(map(str, given))) < len(given):
        raise DataError(f"data.classes: must be a list of different names, as in [pizza, steak], not {given!r}")
    return tuple(map(str, given))


def _classes_beside(folder: Path) -> tuple[str, ...]:
    """Return the lines of a file of class names beside the shards."""
    file = folder / CLASSES_FILE
    try:
        names = tuple(line.strip() for line in read_small_text(file).splitlines() if line.strip())
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError):
        raise DataError(f"cannot read {str(file)!r} as UTF-8 text") from None
    if len(set(names)) < len(names):
        raise DataError(f"{str(file)!r} names a class twice")
    return names


def _shard(file: Path, split: str, census: Census) -> Shard:
    counts = tuple(census.counts.get(label, 0) for label in range(max(census.counts) + 1))
    return Shard(file, split, counts, census.n_bytes)
