"""Whole shards held out for another split, drawn by a seed; knows their counts and opens none."""

from __future__ import annotations

import random
from collections.abc import Sequence

from dlworkflow.data.shards.index import Shard
from dlworkflow.errors import DataError

_ATTEMPTS = 100
"""Draws that are tried before the error that a class is missing from a part."""


def cut_shards(
    shards: Sequence[Shard], fraction: float, random_state: int, setting: str, part: str
) -> tuple[list[int], list[int]]:
    """Cut whole shards at random into those to keep and about a `fraction` for another part: their places, sorted.

    Raises DataError where there is one shard, or where a class would be in only one of the parts.
    """
    if len(shards) < 2:
        raise DataError(
            f"{setting}: shards are cut whole, and {str(shards[0].path)!r} is the only one; write more "
            f"(`dlw data shard DIR --shards 8`), or name {part} shards of its own"
            + (" with --set data.test=PATTERN" if part == "test" else "")
        )
    for attempt in range(_ATTEMPTS):
        kept, chosen = _drawn(shards, fraction, random.Random(f"{random_state} {attempt}"))
        lacking = _lacking(shards, kept, chosen)
        if lacking is None:
            return kept, chosen
    raise DataError(
        f"{setting}: with {fraction:g} of {len(shards)} shards, one part has no sample of label {lacking}; write more "
        "shards, whose samples are mixed (`dlw data shard`), or give another fraction"
    )


def _drawn(shards: Sequence[Shard], fraction: float, rng: random.Random) -> tuple[list[int], list[int]]:
    """Return the places of shards to keep, and of those drawn whose samples come nearest to the fraction."""
    order = rng.sample(range(len(shards)), len(shards))
    wanted = fraction * sum(shard.samples for shard in shards)
    chosen, got = [order[0]], shards[order[0]].samples
    for place in order[1:-1]:
        if abs(got + shards[place].samples - wanted) < abs(got - wanted):
            chosen.append(place)
            got += shards[place].samples
    return sorted({*order} - {*chosen}), sorted(chosen)


def _lacking(shards: Sequence[Shard], *parts: Sequence[int]) -> int | None:
    """Return a label that the shards have and one of the parts has not."""
    whole, *some = (
        [sum(counts) for counts in zip(*(shards[place].counts for place in part), strict=True)]
        for part in (range(len(shards)), *parts)
    )
    return next((label for label, n in enumerate(whole) if n and not all(part[label] for part in some)), None)


def cut_note(part: str, chosen: Sequence[Shard], whole: Sequence[Shard]) -> str:
    """Return a note on the shards of a part and how many samples they have."""
    n, total = (sum(shard.samples for shard in shards) for shards in (chosen, whole))
    names = ", ".join(shard.path.name for shard in chosen[:5]) + (" ..." if len(chosen) > 5 else "")
    return f"{part} has {len(chosen)} of {len(whole)} training shards, {n:,} of {total:,} samples: {names}"
