"""What is kept of every batch, joined while the batches pass. Knows no model and no loader."""

from __future__ import annotations

import torch
from torch import Tensor

KEPT_APART = 2**18
"""Bytes of results that are kept batch by batch, at most. A result lies where a layer had its output, of which the next
batch can use the rest only: with all results kept apart, memory grows by one output of a layer per batch."""


class Gathered:
    """Tensors of many batches, joined along their first dimension."""

    def __init__(self) -> None:
        self._apart: list[tuple[Tensor, ...]] = []
        self._n_bytes = 0
        self._whole: list[Tensor] = []
        self._n = 0

    def add(self, *parts: Tensor) -> None:
        """Add the tensors of a batch, as many as of every other, (n, ...) each."""
        self._apart.append(parts)
        self._n_bytes += sum(part.nbytes for part in parts)
        if self._n_bytes >= KEPT_APART:
            self._join()

    def joined(self) -> list[Tensor]:
        """Return each tensor of all batches; nothing if there was no batch."""
        self._join()
        return [whole[: self._n].clone() for whole in self._whole]

    @torch.inference_mode(False)  # what is made in inference mode could not be changed outside of it
    def _join(self) -> None:
        """Copy what is apart to the end of the whole, which grows to at least twice its size."""
        if not self._apart:
            return
        start, self._n = self._n, self._n + sum(len(parts[0]) for parts in self._apart)
        columns = [*zip(*self._apart, strict=True)]
        self._apart, self._n_bytes = [], 0
        if not self._whole or self._n > len(self._whole[0]):
            grown = [parts[0].new_empty(max(self._n, 2 * start), *parts[0].shape[1:]) for parts in columns]
            for new, old in zip(grown, self._whole, strict=False):
                new[:start] = old[:start]
            self._whole = grown
        for parts, whole in zip(columns, self._whole, strict=True):
            torch.cat(parts, out=whole[start : self._n])
