"""The part of each batch that one of several training processes reads; knows no file and no process but its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dlworkflow.data.protocol import Samples, batch_of, is_random, shared_files
from dlworkflow.engine.data_parallel import Group, OwnDraws


class Slice(Dataset[Any]):
    """A data set that returns this process's part of the samples that it is asked for in one call.

    Of n samples each process gets n // size, the first n % size one more; that may be none: inputs (0, *in_shape).
    """

    def __init__(self, dataset: Dataset[Any], group: Group, draws: OwnDraws | None = None) -> None:
        self._dataset, self._draws = dataset, draws
        self._rank, self._size = group.rank, group.size
        self.is_random = is_random(dataset)

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self._dataset[index]

    def batch(self, indices: Sequence[int] | Tensor) -> Samples:
        """Return inputs and labels of this process's samples among these."""
        if self._draws is not None:
            self._draws.take_over()
        asked = torch.as_tensor(indices)
        own = asked.tensor_split(self._size)[self._rank]
        if len(own):
            return batch_of(self._dataset, own)
        X, y = batch_of(self._dataset, asked[:1])
        return X[:0], y[:0]


def slice_of(dataset: Dataset[Any], group: Group, draws: OwnDraws) -> Dataset[Any]:
    """Return what this process reads of every batch: a `Slice`, or some of the files where whole files are shared."""
    files = shared_files(dataset, group.rank, group.size, draws.take_over)
    return Slice(dataset, group, draws) if files is None else files
