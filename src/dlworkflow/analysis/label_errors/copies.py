"""Samples that are in a data set more than once with different labels: one of these labels at least is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dlworkflow.data.check.facts import examine
from dlworkflow.data.check.near_duplicates import alike
from dlworkflow.data.protocol import OnProgress, batch_of

_AT_ONCE = 1024


def contradictions(labels: Sequence[str], groups: Iterable[Sequence[int]]) -> dict[int, list[int]]:
    """Return {sample: its copies that have another label}, from the groups of samples that are copies."""
    found: dict[int, dict[int, None]] = {}
    for group in groups:
        for sample in group:
            if others := [other for other in group if labels[other] != labels[sample]]:
                found.setdefault(sample, {}).update(dict.fromkeys(others))
    return {sample: [*others] for sample, others in found.items()}


def copies_of_files(
    files: Sequence[Path], root: Path, on_progress: OnProgress | None = None
) -> Iterator[Sequence[int]]:
    """Yield the groups of images with the same pixels, then of those that look the same; see `near_duplicates`.

    Files are read unless what is in them is remembered of `root`; those that cannot be read are no copies.
    """
    facts, _ = examine(files, root, on_progress=on_progress)
    yield from _equal([facts[file].digest for file in files])
    yield from alike(facts[file].look for file in files)


def copies_in_memory(parts: Iterable[tuple[Any, Any]]) -> Iterator[Sequence[int]]:
    """Yield the groups of samples whose inputs are the same to the bit; takes data sets and the indices of samples."""
    digests = []
    for part, indices in parts:
        for first in range(0, len(indices), _AT_ONCE):
            X, _ = batch_of(part, indices[first : first + _AT_ONCE])
            digests += [hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in X.numpy()]
    yield from _equal(digests)


def _equal(digests: Sequence[str]) -> Iterator[list[int]]:
    """Yield the indices of each digest that is there more than once; an empty one is none."""
    places: dict[str, list[int]] = {}
    for place, digest in enumerate(digests):
        if digest:
            places.setdefault(digest, []).append(place)
    yield from (group for group in places.values() if len(group) > 1)
