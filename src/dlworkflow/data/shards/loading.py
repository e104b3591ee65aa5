"""Splits in tar shards, for training and for scoring a trained model; which shards those are is `finding`'s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dlworkflow.data.images.decoding import mode_of, pixel_limit
from dlworkflow.data.images.modes import is_deep
from dlworkflow.data.images.options import ImageOptions, OnBad, with_image_options
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.shards.census import Census, count_samples
from dlworkflow.data.shards.finding import ShardSet, find_shards, labelled_shards
from dlworkflow.data.shards.index import Shard
from dlworkflow.data.shards.reading import ShardData
from dlworkflow.data.shards.samples import need_webdataset, read_samples
from dlworkflow.data.splits import Splits, left_out_notes
from dlworkflow.errors import DataError, few
from dlworkflow.registry import Count


@with_image_options
def load_shards(
    options: ImageOptions,
    *,
    path: str,
    test: str | None = None,
    classes: list[str] | None = None,
    shuffle_buffer: Count = 1000,
) -> Splits:
    """Load tar shards: `path` is their folder, a pattern such as `shards/train-{00..31}.tar`, or one of them.

    Splits and classes are those of the index that `dlw data shard` wrote beside them. Shards without one are counted
    once; their classes are `classes`, else the lines of a `classes.txt` beside them, else numbers, and their test split
    is `test`, a path or pattern too, else the `test_fraction` of whole shards. Every process holds at most
    `shuffle_buffer` undecoded samples and a batch. With `on_bad` skip, all shards are read once. The default `range`
    is that of the index.
    """
    need_webdataset()
    pipeline = options.pipeline()
    fraction, seed = options.test_fraction, options.random_state
    found = find_shards(path, test=test, classes=classes, test_fraction=fraction, random_state=seed)
    if options.on_bad == "skip":
        found = _without_bad(found)
    if pipeline.value_range is None:
        pipeline = replace(pipeline, value_range=found.value_range)
        _check_depth(found)
    if len(found.classes) < 2:
        raise DataError(f"{path!r} has one class, {few(found.classes)}; a model needs two or more to tell apart")
    channels = options.channels
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
    more = {"source": path, "notes": found.notes, "skipped": found.skipped or {}}
    return Splits.of_images(found.folder.resolve().name, parts, pipeline, channels, found.classes, **more)


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
    found = labelled_shards(path, classes, split)
    found = replace(found, splits={split: found.shards})
    if on_bad == "skip":
        found = _without_bad(found)
    way = pipeline.for_evaluation()
    part = ShardData(tuple(found.shards), len(classes), way, channels)
    return part, (found.skipped or {}).get(split, 0), found.notes


def _check_depth(found: ShardSet) -> None:
    """Raise DataError where the first training image holds more than 8 bits and nothing says how to scale it."""
    first = next(read_samples(found.splits["train"][0].path), None)
    if found.value_range is None and first is not None and is_deep(mode := mode_of(Path(first.member), first.image)):
        raise DataError(
            f"data.range: {first.fault(f'holds more than 8 bits (mode {mode})')}, and which values are black and white "
            "is not known; give data.range=[low, high]"
        )


def _without_bad(found: ShardSet) -> ShardSet:
    """Read every image once and leave out those that cannot be."""
    pixel_limit()
    counted = count_samples([shard.path for shard in found.shards], decode=True)
    notes, skipped, splits = [*found.notes], {}, {}
    for split, shards in found.splits.items():
        bad = [fault for shard in shards for _, fault in (counted[shard.path].bad or {}).values()]
        splits[split] = [_left(shard, counted[shard.path]) for shard in shards]
        if bad:
            skipped[split] = len(bad)
            notes += left_out_notes(split, bad, sum(shard.samples for shard in shards))
    return replace(found, splits=splits, notes=tuple(notes), skipped=skipped)


def _left(shard: Shard, census: Census) -> Shard:
    """Return a shard without the samples that are broken."""
    counts = list(shard.counts)
    for label, _ in (census.bad or {}).values():
        counts[label] -= 1
    return replace(shard, counts=tuple(counts), bad=frozenset(census.bad or {}))
