"""Images that stay in their shards: batches are decoded as the files are read, and nothing but a buffer is held.

Several processes and workers read different shards. Each batch has as many samples in all as one process would give it,
so that they take the same number of steps and every sample counts once.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from dlworkflow.data.described import Described
from dlworkflow.data.images.dataset import ImageData
from dlworkflow.data.images.decoding import ImageError
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_uint8
from dlworkflow.data.loaders import WorkerLoader, draw_seed
from dlworkflow.data.protocol import Samples
from dlworkflow.data.shards.cutting import cut_note, cut_shards
from dlworkflow.data.shards.index import Shard
from dlworkflow.data.shards.samples import Sample
from dlworkflow.data.shards.streams import samples_of, sizes, spread, stream
from dlworkflow.errors import DataError, DlwError

_CHUNK = 16
"""A worker sends this many samples at once; the process that trains cuts them into batches."""


@dataclass(frozen=True, repr=False)
class ShardData(Described, Dataset[Any]):
    """A split in shards: (float32 (c, h, w), int label) per sample, best read by `stream_batches`.

    `buffer` samples wait at most to be shuffled, in each process. `readers` processes share every batch, this one being
    number `reader`; `take_over` is called before it draws random numbers of its own.
    """

    shards: tuple[Shard, ...]
    n_classes: int
    pipeline: Pipeline
    channels: int
    buffer: int = 1000
    reader: int = 0
    readers: int = 1
    take_over: Callable[[], object] | None = None
    classes: list[str] = field(default_factory=list, compare=False)

    def _facts(self) -> dict[str, object]:
        sample = f"{(self.channels, *self.pipeline.size)} float32"
        return {"Shards": len(self.shards), "Sample": sample, "Transform": self.pipeline.text()}

    def __len__(self) -> int:
        return sum(shard.samples for shard in self.shards)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one sample; the shard is read up to it."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self.at([index % len(self)])[0]

    @property
    def samples_a_class(self) -> list[int]:
        """How many samples each class has."""
        return [sum(counts) for counts in zip(*(shard.counts for shard in self.shards), strict=True)]

    @property
    def is_random(self) -> bool:
        """Whether images are augmented."""
        return bool(self.pipeline.augmentations)

    def original(self, index: int, *, longest: int | None = None) -> Any:
        """Return one image resized, before normalization: uint8 (c, h, w)."""
        return self.at([index]).original(0, longest=longest)

    def fingerprint(self) -> str:
        """Return a digest that changes when the shards do: of their names, sizes and digests; reads none."""
        digest = hashlib.blake2b(digest_size=16)
        for shard in self.shards:
            digest.update(os.fsencode(f"{shard.path.name} {shard.n_bytes} {shard.digest} {shard.counts}\n"))
        return digest.hexdigest()

    def without_augmentation(self) -> ShardData:
        """Return the same images as evaluation sees them."""
        return replace(self, pipeline=self.pipeline.for_evaluation())

    def shared(self, reader: int, readers: int, take_over: Callable[[], object]) -> ShardData:
        """Return the same split as one of several processes reads it."""
        return replace(self, reader=reader, readers=readers, take_over=take_over)

    def cut(self, fraction: float, random_state: int) -> tuple[ShardData, ShardData, str]:
        """Cut whole shards off for validation: what is left, those without augmentation, and a sentence on both."""
        places = cut_shards(self.shards, fraction, random_state, "data.val_fraction", "validation")
        kept, chosen = (tuple(self.shards[place] for place in part) for part in places)
        note = cut_note("validation", chosen, self.shards)
        return replace(self, shards=kept), replace(self, shards=chosen).without_augmentation(), note

    def at(self, indices: Sequence[int]) -> ImageData:
        """Read some samples, by their places in the order of the shards, and hold them; nothing is augmented yet."""
        found: dict[int, Sample] = {}
        start = 0
        for shard in self.shards:
            within = {index - start for index in indices if start <= index < start + shard.samples}
            if within:
                some = islice(samples_of(shard, self.n_classes), max(within) + 1)
                found |= {start + place: sample for place, sample in enumerate(some) if place in within}
            start += shard.samples
        return self.decoded([found[index] for index in indices])

    def decoded(self, samples: Sequence[Sample], threads: int | None = None) -> ImageData:
        """Decode samples on all cores, or so many `threads`. Raises DataError naming those that cannot be read."""
        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            read = list(pool.map(self._read, samples))
        if bad := [found for found in read if isinstance(found, str)]:
            raise DataError(f"{'; '.join(bad[:10])} (--on-bad skip reads all shards once and leaves such out)")
        pixels = torch.stack([found for found in read if isinstance(found, Tensor)])
        return ImageData(pixels, torch.tensor([sample.label for sample in samples]), self.pipeline)

    def _read(self, sample: Sample) -> Tensor | str:
        """Return an image as uint8 (c, h, w), or what is wrong with it."""
        try:
            return to_uint8(self.pipeline.read(sample.member, self.channels, sample.image))
        except ImageError as error:
            return sample.fault(error.reason)

    def batch_of(self, samples: Sequence[Sample], threads: int | None = None) -> Samples:
        """Decode samples as a model takes them: float32 (n, c, h, w) and int64 (n,); n may be 0."""
        if not samples:
            return torch.empty(0, self.channels, *self.pipeline.size), torch.empty(0, dtype=torch.int64)
        return self.decoded(samples, threads).batch(range(len(samples)))

    def stream_batches(self, batch_size: int, **options: Any) -> ShardLoader:
        """Return this process's part of every batch, to be iterated once per epoch; `options` as for `ShardLoader`."""
        return ShardLoader(self, batch_size, **options)


@dataclass
class ShardLoader:
    """Batches of shards: (float32 (n, c, h, w), int64 (n,)), this process's part of each, which may be none.

    Draws from the generator what `DataLoader(dataset, batch_size, shuffle=shuffle, generator=generator)` draws; the
    order follows from it.
    """

    data: ShardData
    batch_size: int
    shuffle: bool = False
    num_workers: int = 0
    generator: torch.Generator | None = None
    pinned: bool = False

    def __post_init__(self) -> None:
        parts = spread(self.data.shards, self.data.readers)
        self._totals = [sum(shard.samples for shard in part) for part in parts]
        self._own = parts[self.data.reader]
        self._workers = min(self.num_workers, len(self._own))

    def __len__(self) -> int:
        return math.ceil(len(self.data) / self.batch_size)

    def __iter__(self) -> Iterator[Samples]:
        base = draw_seed(self.generator)
        order = draw_seed(self.generator) if self.shuffle else None
        own = (shares[self.data.reader] for shares in sizes(self._totals, self.batch_size))
        for X, y in self._worked(own, base, order) if self._workers else self._alone(own, order):
            yield (X.pin_memory(), y.pin_memory()) if self.pinned else (X, y)

    def _alone(self, own: Iterator[int], order: int | None) -> Iterator[Samples]:
        """Read and decode in this process, a batch at a time."""
        samples = _Part(self.data, self._own, order, 1).samples(0)
        if self.data.take_over is not None:
            self.data.take_over()
        for size in own:
            yield self.data.batch_of(list(islice(samples, size)))
        _finish(samples)

    def _worked(self, own: Iterator[int], base: int, order: int | None) -> Iterator[Samples]:
        """Take what workers decode, in turn, and cut it into batches."""
        chunks = iter(
            WorkerLoader(
                _Part(self.data, self._own, order, self._workers),
                batch_size=None,
                num_workers=self._workers,
                generator=torch.Generator().manual_seed(base),
            )
        )
        X, y = self.data.batch_of([])
        try:
            for size in own:
                while len(y) < size:
                    more = next(chunks)
                    X, y = torch.cat([X, more[0]]), torch.cat([y, more[1]])
                yield X[:size], y[:size]
                X, y = X[size:], y[size:]
            _finish(chunks)
        finally:
            del chunks  # ends the workers now; an error that holds this frame would keep them


class _Part(IterableDataset[Any]):
    """What the workers of a process read: each its own shards, decoded some samples at a time."""

    def __init__(self, data: ShardData, shards: Sequence[Shard], order: int | None, workers: int) -> None:
        self._data, self._order = data, order
        self._parts = spread(shards, workers)

    def samples(self, worker: int) -> Iterator[Sample]:
        """Yield the samples of one worker's shards."""
        data = self._data
        seed = None if self._order is None else f"{self._order} {data.reader} {worker}"
        buffer = max(1, data.buffer // len(self._parts))
        return stream(self._parts[worker], data.n_classes, seed=seed, buffer=buffer)

    def __iter__(self) -> Iterator[Samples | DlwError]:
        worker: Any = get_worker_info()
        if self._data.take_over is not None:
            self._data.take_over()
        samples = self.samples(worker.id)
        try:
            while chunk := list(islice(samples, _CHUNK)):
                yield self._data.batch_of(chunk, threads=1)
        except DlwError as error:  # raised there it would come as a traceback
            yield error


def _finish(rest: Iterator[Any]) -> None:
    """Read on to the end, where a shard with more samples than were counted is an error."""
    for _ in rest:
        raise AssertionError("a sample was left over")
