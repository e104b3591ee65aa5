"""From a data set to batches, drawn as the stock DataLoader draws them, in its order and from its generators.

A data set with `batch` returns whole batches; data in memory needs no DataLoader.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from dlworkflow.data.images.transforms import RangeSetting
from dlworkflow.data.protocol import (
    AnswersBatches,
    Samples,
    Streamed,
    is_random,
    n_bytes_of_fixed_sample,
    on_device,
    read_soon,
    remember,
    skips,
)
from dlworkflow.engine.child_processes import START_METHOD, guarded_start, leave_interrupts_to_the_parent
from dlworkflow.errors import ConfigError, DataError, DlwError, first_line

_CHUNK_BYTES = 8 * 2**20
"""Bytes of an epoch that are gathered at once and then split into batches, where that is more than one batch."""


WORKER_TIMEOUT = 600 if hasattr(signal, "SIGCHLD") else 0
"""Seconds that workers may take for a batch, less than processes wait for each other; 0 without a limit.

With one, torch learns of a dead worker by SIGCHLD alone, which Windows lacks.
"""


@dataclass
class BatchLoader:
    """Batches of a data set that answers for many samples at once, without worker processes.

    The order of an epoch is copied once to the `device` of the samples, if any: with each batch that would wait for it.
    Draws from the generators what `DataLoader(dataset, batch_size, shuffle=shuffle, generator=generator)` draws.
    """

    dataset: AnswersBatches
    batch_size: int
    shuffle: bool
    generator: torch.Generator | None
    pinned: bool = False
    weights: Tensor | None = None
    device: torch.device | None = None

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Samples]:
        draw_seed(self.generator)  # a DataLoader seeds its workers, even where it has none
        order = self._order()
        read_soon(self.dataset, order)
        n_bytes = n_bytes_of_fixed_sample(self.dataset)
        if not n_bytes:
            for indices in order.split(self.batch_size):
                yield self._copied_soon(self.dataset.batch(indices.tolist()))
            return
        if self.device is not None:
            order = order.to(self.device, non_blocking=True)
        n_batches = max(1, _CHUNK_BYTES // (n_bytes * self.batch_size))
        for indices in order.split(n_batches * self.batch_size):
            X, y = self._copied_soon(self.dataset.batch(indices))
            yield from zip(X.split(self.batch_size), y.split(self.batch_size), strict=True)

    def _copied_soon(self, batch: Samples) -> Samples:
        """Pin a batch that has still to be copied to the accelerator."""
        X, y = batch
        return (X.pin_memory(), y.pin_memory()) if self.pinned and X.device.type == "cpu" else batch

    def _order(self) -> Tensor:
        size = len(self.dataset)
        if self.weights is not None:
            return torch.multinomial(self.weights, size, replacement=True, generator=self.generator)
        if not self.shuffle:
            return torch.arange(size)
        return torch.randperm(size, generator=self.generator or torch.Generator().manual_seed(draw_seed(None)))


def draw_seed(generator: torch.Generator | None) -> int:
    """Draw a seed as a DataLoader does, from a generator or, with None, from torch's global one."""
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator))


class _NotEmpty:
    """Batches but for those of which no sample can be read: there is nothing to learn from them."""

    def __init__(self, batches: BatchLoader | DataLoader[Any]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Samples]:
        return (batch for batch in self._batches if len(batch[1]))


class _BatchView(Dataset[Any]):
    """A data set as a DataLoader sees it that asks for all indices of a batch in one call."""

    def __init__(self, dataset: AnswersBatches) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        return self._dataset[index]

    def __getitems__(self, indices: Sequence[int]) -> Samples | DataError:
        try:
            return self._dataset.batch(indices)
        except DataError as error:  # raised in a worker it would come as a traceback
            return DataError(str(error))


def _as_it_is(batch: Any) -> Any:
    return batch


def _checked(batch: Any) -> Any:
    if isinstance(batch, DlwError):
        raise batch
    return batch


def make_loader(
    dataset: Dataset[Any],
    batch_size: int | Literal["full"] = 32,
    *,
    shuffle: bool = False,
    num_workers: int = 0,
    generator: torch.Generator | None = None,
    device: torch.device | None = None,
    weights: Tensor | None = None,
) -> Iterable[Samples]:
    """Return batches of (inputs, labels), to be iterated once per epoch.

    Shuffles and draws exactly as `DataLoader(dataset, batch_size, shuffle=shuffle)` does; `full` is the whole data set
    as one batch, in order, and draws nothing. With `weights` (n,), as many samples as there are are drawn in proportion
    to them, with replacement, as `WeightedRandomSampler(weights, n)` draws them. With workers, a data set in memory is
    shared, not copied. A data set without `batch` is served by the stock DataLoader. With an accelerator as `device`,
    samples that are in memory are put there once and gathered there, where they fit; else batches are pinned, so that
    they are copied while it works. What is `Streamed` makes its batches itself.

    Raises ConfigError for a batch size below 1, and for `full` and `weights` where samples are streamed.
    """
    if batch_size != "full" and batch_size < 1:
        raise ConfigError(f"batch_size: must be at least 1 or 'full', not {batch_size!r}")
    pinned = device is not None and device.type == "cuda"
    if isinstance(dataset, Streamed):
        check_streamed(batch_size, weights is not None)
        assert batch_size != "full"
        return dataset.stream_batches(
            batch_size, shuffle=shuffle, num_workers=num_workers, generator=generator, pinned=pinned
        )
    whole: AnswersBatches | None = dataset if isinstance(dataset, AnswersBatches) else None
    size = len(dataset)  # type: ignore[arg-type]
    on_cpu = device is None or device.type == "cpu"
    remember(dataset, ahead=on_cpu and not num_workers)  # before workers are forked, so that they share it
    if batch_size == "full" and whole is not None and not shuffle and weights is None and not is_random(dataset):
        return [whole.batch(range(size))]
    batch_size = size if batch_size == "full" else batch_size
    if whole is not None and not num_workers:
        moved = on_device(whole, device, free_memory(device)) if device is not None and device.type != "cpu" else whole
        there = None if moved is whole else device
        loader = BatchLoader(moved, batch_size, shuffle, generator, pinned=pinned, weights=weights, device=there)
        return _NotEmpty(loader) if skips(dataset) else loader
    served = WorkerLoader(
        _BatchView(whole) if whole is not None else dataset,
        batch_size=batch_size,
        shuffle=shuffle and weights is None,
        sampler=None if weights is None else WeightedRandomSampler(weights, size, generator=generator),  # type: ignore[arg-type] # torch calls its argument a list
        num_workers=num_workers,
        collate_fn=_as_it_is if whole is not None else None,
        generator=generator,
        pin_memory=pinned,
    )
    return _NotEmpty(served) if skips(dataset) else served


class WorkerLoader(DataLoader[Any]):
    """torch's DataLoader, whose workers are started as all processes of ours; raises the errors that these return."""

    def __init__(self, dataset: Dataset[Any], *, num_workers: int, **settings: Any) -> None:
        if num_workers:
            settings |= {"multiprocessing_context": START_METHOD, "worker_init_fn": leave_interrupts_to_the_parent}
            settings |= {"timeout": WORKER_TIMEOUT}
        super().__init__(dataset, num_workers=num_workers, **settings)

    def __iter__(self) -> Any:
        with guarded_start() if self.num_workers else nullcontext():
            batches = super().__iter__()
        try:
            yield from map(_checked, batches)
        except (OSError, EOFError):  # a worker died as it sent: torch gets a signal and reports which
            time.sleep(1)
            raise
        finally:
            del batches  # ends the workers now; an error that holds this frame would keep them


@contextmanager
def explained_workers() -> Iterator[None]:
    """Within the block, report a worker process that died or hangs as a DataError; torch may raise it anywhere."""
    try:
        yield
    except RuntimeError as error:
        here = "--set data.num_workers=0 reads in the process that trains"
        if str(error).startswith("DataLoader timed out"):
            raise DataError(
                f"the worker processes that read the data have given no batch for {WORKER_TIMEOUT} seconds; {here}"
            ) from error
        if not str(error).startswith("DataLoader worker"):
            raise
        raise DataError(
            f"a worker process that reads the data has died ({first_line(error)}); where memory is short, try fewer: "
            f"{here}"
        ) from error


def check_streamed(batch_size: int | Literal["full"], balanced: bool) -> None:
    """Raise ConfigError for what cannot be done with samples that come one after the other."""
    if batch_size == "full":
        raise ConfigError("data.batch_size: shards are never in memory as one batch; give a number of samples")
    if balanced:
        raise ConfigError(
            "data.sampler: samples of shards come in the order of the files and cannot be drawn one by one; "
            "loss_weights=balanced gives every class the same weight"
        )


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a CUDA device; 0 for other devices."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def create_dataloaders(
    train_dir: str | os.PathLike[str],
    test_dir: str | os.PathLike[str],
    transform: Callable[[Any], Any] | None = None,
    batch_size: int = 32,
    num_workers: int = 0,
    *,
    range: RangeSetting = None,
) -> tuple[DataLoader[Any], DataLoader[Any], list[str]]:
    """Return (train_dataloader, test_dataloader, class_names) of two folders of class folders.

    `transform` takes a PIL image and returns a tensor; without one, images are resized to 64x64 and scaled to [0, 1].
    `range` [low, high] are the values of images of more than 8 bits that become black and white. Classes of the test
    folder are matched to those of the training folder by name. Raises DataError when the test folder has another class.
    """
    from dlworkflow.data.datasets.image_folder import ImageFolderCustom
    from dlworkflow.data.folders.class_names import match_classes
    from dlworkflow.data.images.pipeline import Pipeline

    transform = transform or Pipeline((64, 64))
    train, test = (ImageFolderCustom(folder, transform, range=range) for folder in (train_dir, test_dir))
    match_classes(train.classes, test.classes, train_dir, test_dir)
    test.use_classes(train.classes)
    loaders = [
        DataLoader(data, batch_size=batch_size, shuffle=shuffle, num_workers=num_workers)
        for data, shuffle in ((train, True), (test, False))
    ]
    return loaders[0], loaders[1], train.classes
