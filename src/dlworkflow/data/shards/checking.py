"""What is wrong with shards: every byte is compared with the index, every sample read, every image decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from dlworkflow.data.check.copies import Place, copies_among
from dlworkflow.data.check.facts import Facts, facts_of
from dlworkflow.data.check.report import Finding, FolderReport
from dlworkflow.data.images.decoding import pixel_limit
from dlworkflow.data.images.digests import shard_digest
from dlworkflow.data.protocol import OnProgress
from dlworkflow.data.shards.finding import find_shards
from dlworkflow.data.shards.index import Shard
from dlworkflow.data.shards.samples import Sample, need_webdataset
from dlworkflow.data.shards.streams import samples_of
from dlworkflow.errors import DataError

_AT_ONCE = 64
"""Samples that are decoded by all cores together."""


def check_shards(path: str, *, on_progress: OnProgress | None = None, max_pixels: int | None = None) -> FolderReport:
    """Read all shards of a folder or pattern once and report what is wrong with them; nothing is changed.

    Copies are found as by `check_folder`. Raises DataError where it is not clear which shards and classes there are.
    """
    need_webdataset()
    found = find_shards(path, checked=False)
    limit, findings, images = pixel_limit(max_pixels), list[Finding](), list[tuple[Place, Facts]]()
    shards = [(split, shard) for split, some in found.splits.items() for shard in some]
    for done, (split, shard) in enumerate(shards, start=1):
        if _is_changed(shard):
            text = "its bytes are not those of its index; copy or write it again"
            findings.append(Finding("damaged", text, (shard.path.name,)))
        try:
            for name, label, facts in _decoded(shard, len(found.classes), limit):
                images.append(((split, found.classes[label], Path(name)), facts))
        except DataError as error:
            findings.append(Finding("damaged", str(error), (shard.path.name,)))
        if on_progress is not None:
            on_progress(done, len(shards))
    for (_, _, file), facts in images:
        if reason := facts.fault(limit):
            findings.append(Finding("too_many_pixels" if facts.is_above(limit) else "unreadable", reason, (str(file),)))
    findings += [Finding(kind, text, tuple(map(str, paths))) for kind, text, paths in copies_among(images)]
    counts = {split: _counts(some, found.classes) for split, some in found.splits.items()}
    every, n = (facts for _, facts in images), len(shards)
    return FolderReport.of(path, "shards", counts, every, n_files=n, n_read=n, findings=tuple(findings))


def _counts(shards: Sequence[Shard], classes: Sequence[str]) -> dict[str, int]:
    return dict(zip(classes, map(sum, zip(*(shard.counts for shard in shards), strict=True)), strict=True))


def _is_changed(shard: Shard) -> bool:
    try:
        return bool(shard.digest) and shard_digest(shard.path) != shard.digest
    except OSError:
        return False  # reading its samples reports it


def _decoded(shard: Shard, n_classes: int, limit: int) -> Iterator[tuple[str, int, Facts]]:
    """Yield (name, label, facts of the image) of every sample of a shard. Raises DataError for a damaged one."""

    def look(sample: Sample) -> tuple[str, int, Facts]:
        facts, _ = facts_of(Path(sample.member), len(sample.image), limit, sample.image)
        return f"{shard.path.name}/{sample.member}", sample.label, facts

    samples = samples_of(shard, n_classes)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while some := list(islice(samples, _AT_ONCE)):
            yield from pool.map(look, some)
