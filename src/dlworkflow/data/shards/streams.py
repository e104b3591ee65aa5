"""Which of several readers reads which shard and in what order, and how many samples each gives to a batch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from dlworkflow.data.shards.index import Shard
from dlworkflow.data.shards.samples import Sample, read_samples
from dlworkflow.errors import DataError


def spread(shards: Sequence[Shard], n: int) -> list[list[Shard]]:
    """Deal whole shards out to n readers so that these have about as many samples; always the same way.

    A reader keeps the shards in their order; it may have none.
    """
    loads = [0] * n
    owner = {}
    for index in sorted(range(len(shards)), key=lambda index: (-shards[index].samples, index)):
        owner[index] = min(range(n), key=lambda reader: (loads[reader], reader))
        loads[owner[index]] += shards[index].samples
    return [[shard for index, shard in enumerate(shards) if owner[index] == reader] for reader in range(n)]


def sizes(totals: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield for every batch how many samples each reader adds, in proportion to what it has left.

    Each batch has `batch_size` in all, the last what is left; each reader gives all it has, and may give none to one.
    """
    left = list(totals)
    while whole := sum(left):
        size = min(batch_size, whole)
        shares = [size * n // whole for n in left]
        missing = sorted(range(len(left)), key=lambda reader: (-(size * left[reader] % whole), reader))
        for reader in missing[: size - sum(shares)]:
            shares[reader] += 1
        left = [n - share for n, share in zip(left, shares, strict=True)]
        yield shares


def stream(shards: Sequence[Shard], n_classes: int, *, seed: str | None, buffer: int) -> Iterator[Sample]:
    """Yield every sample of the shards, each file read once from first to last.

    With `seed`, the shards are in a random order, and `buffer` samples wait at most, of which one is drawn each time.
    Raises DataError for a shard that is damaged or holds other samples than were counted.
    """
    if seed is None:
        return _in_order(shards, n_classes)
    from webdataset.filters import shuffle

    rng = random.Random(seed)
    order = rng.sample(list(shards), len(shards))
    mixed: Iterator[Sample] = shuffle(buffer, initial=buffer, rng=rng)(_in_order(order, n_classes))
    return mixed


def _in_order(shards: Sequence[Shard], n_classes: int) -> Iterator[Sample]:
    for shard in shards:
        yield from samples_of(shard, n_classes)


def samples_of(shard: Shard, n_classes: int) -> Iterator[Sample]:
    """Yield the samples of a shard but for those that are known to be bad.

    Raises DataError where there are more or fewer than were counted.
    """
    counted, seen = shard.samples + len(shard.bad), 0
    for position, sample in enumerate(read_samples(shard.path)):
        seen += 1
        if seen > counted:
            break
        if sample.label >= n_classes:
            raise DataError(sample.fault(f"its label is {sample.label}, but there are {n_classes} classes, from 0 on"))
        if position not in shard.bad:
            yield sample
    if seen != counted:
        found = f"more than {counted:,}" if seen > counted else f"{seen:,}"
        raise DataError(
            f"{str(shard.path)!r} holds {found} samples where {counted:,} were counted: it has changed; copy it again, "
            "or write the shards anew"
        )
