"""From what a user typed to splits that lie in shards: by the index beside them, or counted and cut by whole shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dlworkflow.data.datasets.image_folder import RANDOM_STATE, TEST_FRACTION, OnBad
from dlworkflow.data.folders.listing import entries_of
from dlworkflow.data.images.decoding import is_deep, mode_of, pixel_limit
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.transforms import RangeSetting, Spec, parse
from dlworkflow.data.shards.census import Census, count_samples
from dlworkflow.data.shards.cutting import cut_note, cut_shards
from dlworkflow.data.shards.index import SPLITS, Shard, check_present, read_index
from dlworkflow.data.shards.names import SUFFIX, expand, folder_of
from dlworkflow.data.shards.reading import ShardData
from dlworkflow.data.shards.samples import need_webdataset, read_samples
from dlworkflow.data.splits import Splits
from dlworkflow.errors import DataError, MissingDataError, few
from dlworkflow.files.paths import read_small_text
from dlworkflow.registry import Count, Fraction, Seed

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


def load_shards(
    *,
    path: str,
    test: str | None = None,
    classes: list[str] | None = None,
    image_size: int | list[int] = 64,
    transform: Spec = None,
    channels: Literal[1, 3] = 3,
    test_fraction: Fraction = TEST_FRACTION,
    random_state: Seed = RANDOM_STATE,
    on_bad: OnBad = "error",
    fast_decode: bool = False,
    shuffle_buffer: Count = 1000,
    range: RangeSetting = None,
) -> Splits:
    """Load tar shards: `path` is their folder, a pattern such as `shards/train-{00..31}.tar`, or one of them.

    Splits and classes are those of the index that `dlw data shard` wrote beside them. Shards without one are counted
    once; their classes are `classes`, else the lines of a `classes.txt` beside them, else numbers, and their test split
    is `test`, a path or pattern too, else the `test_fraction` of whole shards. Every process holds at most
    `shuffle_buffer` undecoded samples and a batch. With `on_bad` skip, all shards are read once, and images that
    cannot be read are left out and named in the notes. `range` [low, high] are the values that become black and white
    of images of more than 8 bits; by default those that the index tells.
    """
    need_webdataset()
    pipeline = parse(transform, image_size=image_size, channels=channels, fast_decode=fast_decode, value_range=range)
    found = find_shards(path, test=test, classes=classes, test_fraction=test_fraction, random_state=random_state)
    if on_bad == "skip":
        found = _without_bad(found)
    if pipeline.value_range is None:
        pipeline = replace(pipeline, value_range=found.value_range)
        _check_depth(found)
    if len(found.classes) < 2:
        raise DataError(f"{path!r} has one class, {few(found.classes)}; a model needs two or more to tell apart")
    parts = {
        split: ShardData(
            tuple(shards),
            len(found.classes),
            pipeline if split == "train" else pipeline.for_evaluation(),
            channels,
            buffer=shuffle_buffer,
        )
        for split, shards in found.splits.items()
    }
    return Splits(
        name=found.folder.resolve().name,
        task="multiclass",
        train=parts["train"],
        test=parts["test"],
        val=parts.get("val"),
        in_shape=(channels, *pipeline.size),
        classes=found.classes,
        transform=pipeline.for_evaluation(),
        source=path,
        notes=found.notes,
        skipped=found.skipped or {},
    )


def load_labelled_shards(
    path: str,
    classes: Sequence[str],
    pipeline: Pipeline,
    channels: int,
    *,
    split: str = "test",
    on_bad: OnBad = "error",
) -> tuple[ShardData, int, tuple[str, ...]]:
    """Load shards to score a trained model on: of a folder those of the split, of a pattern all that it names.

    Returns the data, how many images could not be read and were left out, and sentences that name those. Raises
    DataError with both lists where their index names other classes than the model's.
    """
    need_webdataset()
    folder = folder_of(path)
    files = _files(path, folder)
    found = _by_index(files, whole=folder is not None, train=False) or _by_name(files, whole=folder is not None)
    if found.classes and found.classes != tuple(classes):
        raise DataError(f"{path!r} has classes {few(found.classes)}, the model {few(classes)}")
    for shard in found.shards:
        check_present(shard)
    found = _named(replace(found, classes=()), list(classes))
    if folder is not None and len(found.splits) > 1:
        if split not in found.splits:
            raise DataError(f"{path!r} has no split {split!r}; it has {', '.join(found.splits)}")
        found = replace(found, splits={split: found.splits[split]})
    found = replace(found, splits={split: found.shards})
    if on_bad == "skip":
        found = _without_bad(found)
    way = pipeline.for_evaluation()
    part = ShardData(tuple(found.shards), len(classes), way, channels)
    return part, (found.skipped or {}).get(split, 0), found.notes


def find_shards(
    path: str,
    *,
    test: str | None = None,
    classes: Sequence[str] | None = None,
    test_fraction: float = TEST_FRACTION,
    random_state: int = RANDOM_STATE,
    checked: bool = True,
) -> ShardSet:
    """Say which shards make which split and what their classes are; opens only those that no index tells of.

    Unless `checked` is false, those of an index must be there, as large as it says. Raises DataError for shards that
    are not there, damaged or contradict each other.
    """
    folder = folder_of(path)
    files = _files(path, folder)
    found = _by_index(files, whole=folder is not None) or _by_name(files, whole=folder is not None)
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


def _files(path: str, folder: Path | None, setting: str = "data.path") -> list[Path]:
    files = [file for file in entries_of(folder) if _is_shard(file)] if folder is not None else expand(path, setting)
    if not files:
        raise MissingDataError(f"{setting}: no shards (*{SUFFIX}) in folder {path!r}")
    return files


def _is_shard(file: Path) -> bool:
    return file.suffix.casefold() == SUFFIX and not file.name.startswith(".")


def _by_index(files: Sequence[Path], *, whole: bool, train: bool = True) -> ShardSet | None:
    """Return what the index beside the files says of them, None where it does not know them all.

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


def _check_depth(found: ShardSet) -> None:
    """Raise DataError where the first training image holds more than 8 bits and nothing says how to scale it."""
    first = next(read_samples(found.splits["train"][0].path), None)
    if found.value_range is None and first is not None and is_deep(mode := mode_of(Path(first.member), first.image)):
        raise DataError(
            f"data.range: {first.fault(f'holds more than 8 bits (mode {mode})')}, and which values are black and white "
            "is not known; give data.range=[low, high]"
        )


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
    """Give a set of shards another test split."""
    folder = folder_of(test)
    files = _files(test, folder, "data.test")
    if twice := {shard.path.resolve() for shard in found.splits["train"]} & {file.resolve() for file in files}:
        raise DataError(f"data.test: {str(min(twice))!r} is a training shard too")
    other = _by_index(files, whole=folder is not None, train=False) or _by_name(files, whole=folder is not None)
    if found.classes and other.classes and found.classes != other.classes:
        raise DataError(f"data.test: has classes {few(other.classes)}, training {few(found.classes)}")
    chosen = other.splits.get("test", other.shards) if folder is not None else other.shards
    shards = [replace(shard, split="test") for shard in chosen]
    for shard in shards:
        check_present(shard)
    return replace(found, splits=found.splits | {"test": shards})


def _named(found: ShardSet, given: Sequence[str] | None) -> ShardSet:
    """Give labels their names. Raises DataError for a label that has none, naming the shard."""
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


def _without_bad(found: ShardSet) -> ShardSet:
    """Read every image once and leave out those that cannot be."""
    pixel_limit()
    counted = count_samples([shard.path for shard in found.shards], decode=True)
    notes, skipped, splits = [*found.notes], {}, {}
    for split, shards in found.splits.items():
        bad = [fault for shard in shards for _, fault in (counted[shard.path].bad or {}).values()]
        splits[split] = [_left(shard, counted[shard.path]) for shard in shards]
        if bad:
            total = sum(shard.samples for shard in shards)
            skipped[split] = len(bad)
            notes.append(f"{len(bad)} of {total} {split} images cannot be read and are left out")
            notes += [f"left out of {split}: {fault}" for fault in bad]
    return replace(found, splits=splits, notes=tuple(notes), skipped=skipped)


def _left(shard: Shard, census: Census) -> Shard:
    """Return a shard without the samples that are broken."""
    counts = list(shard.counts)
    for label, _ in (census.bad or {}).values():
        counts[label] -= 1
    return replace(shard, counts=tuple(counts), bad=frozenset(census.bad or {}))
