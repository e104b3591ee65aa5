"""Rows of numbers with labels, held as two tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dlworkflow.data.described import Described


class TensorData(Described, Dataset[Any]):
    """Inputs (n, *in_shape) and labels (n, ...) in memory: one sample by index, whole batches by `batch`."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        if len(inputs) != len(labels):
            raise ValueError(f"{len(inputs)} inputs and {len(labels)} labels")
        self.inputs, self.labels = inputs, labels
        self.classes = []

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.labels[index]

    @property
    def _all_inputs(self) -> Tensor:
        return self.inputs

    def _facts(self) -> dict[str, object]:
        return {"Sample": f"{tuple(self.inputs.shape[1:])} {str(self.inputs.dtype).removeprefix('torch.')}"}

    @property
    def n_bytes_of_fixed_sample(self) -> int:
        """Size of one sample's inputs: they are in memory and are the same every time."""
        return self.inputs[:1].numel() * self.inputs.element_size()

    @property
    def n_bytes(self) -> int:
        """Size of all inputs."""
        return self.inputs.numel() * self.inputs.element_size()

    def on_device(self, device: torch.device) -> TensorData:
        """Return the same samples on a device; indices may be on any device."""
        return TensorData(self.inputs.to(device), self.labels.to(device)).named(self.classes)

    def batch(self, indices: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of many samples at once."""
        chosen = torch.as_tensor(indices, device=self.labels.device)
        return self.inputs.index_select(0, chosen), self.labels.index_select(0, chosen)

    def subset(self, indices: Sequence[int], _name: str = "") -> TensorData:
        """Return some of the samples, in this order."""
        return TensorData(*self.batch(indices)).named(self.classes)

    def fingerprint(self) -> str:
        """Return a digest that changes when the data does."""
        digest = hashlib.blake2b(self.inputs.numpy().tobytes(), digest_size=16)
        digest.update(self.labels.numpy().tobytes())
        return digest.hexdigest()
