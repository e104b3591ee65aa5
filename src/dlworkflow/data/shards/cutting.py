"""A part cut off from shards that nobody split: whole shards, drawn by a seed; knows their counts and opens none."""

from __future__ import annotations

import random
from collections.abc import Sequence

from dlworkflow.data.shards.index import Shard
from dlworkflow.errors import DataError


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
    order = random.Random(random_state).sample(range(len(shards)), len(shards))
    wanted = fraction * sum(shard.samples for shard in shards)
    chosen, got = [order[0]], shards[order[0]].samples
    for index in order[1:-1]:
        if abs(got + shards[index].samples - wanted) < abs(got - wanted):
            chosen.append(index)
            got += shards[index].samples
    kept = [index for index in order if index not in chosen]
    for one, other, name in ((kept, chosen, part), (chosen, kept, "training")):
        for label in range(len(shards[0].counts)):
            if any(shards[index].counts[label] for index in one) and not any(shards[i].counts[label] for i in other):
                raise DataError(
                    f"{setting}: class {label} is in none of the shards that {name} would get: the shards do not mix "
                    "the classes; write them anew with `dlw data shard`, or give another data.random_state"
                )
    return sorted(kept), sorted(chosen)


def cut_note(part: str, chosen: Sequence[Shard], whole: Sequence[Shard]) -> str:
    """Say which shards a part got, and how many samples that makes."""
    n, total = (sum(shard.samples for shard in shards) for shards in (chosen, whole))
    names = ", ".join(shard.path.name for shard in chosen[:5]) + (" ..." if len(chosen) > 5 else "")
    return f"{part} has {len(chosen)} of {len(whole)} training shards, {n:,} of {total:,} samples: {names}"
