"""Mixup and CutMix: training on mixes of two samples, with the same mix of the losses of both labels.

Before each training batch, torch's global generator draws which of the two where both are set, the share of the first
sample, and for CutMix the middle of the box. As in torchvision, a sample is mixed with the one before it in the batch,
a random one in shuffled batches. Knows no settings; processes that share a batch provide the draws that are common to
all and the sample before their first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dlworkflow.engine.tasks import LossFn


def _roll(values: Tensor) -> Tensor:
    return values.roll(1, 0)


@dataclass
class Mixing:
    """Mixes batches; `mixup` and `cutmix` are the alphas of the Beta distribution of the shares, 0 for none.

    `share` is the share of the first sample in the last `mix`. `before` maps values (n, ...) to those of the sample
    before each; random numbers are drawn within the context `drawing()`.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    share: float = 1.0
    before: Callable[[Tensor], Tensor] = _roll
    drawing: Callable[[], AbstractContextManager[None]] = nullcontext

    def mix(self, X: Tensor) -> Tensor:
        """Return a mixed batch (n, *in_shape); CutMix needs images (n, channels, height, width)."""
        with self.drawing():
            cut = self.cutmix > 0 and (not self.mixup or bool(torch.rand(()) < 0.5))
            alpha = torch.tensor(self.cutmix if cut else self.mixup)
            self.share = float(torch.distributions.Beta(alpha, alpha).sample())
            rows, columns = self._box(*X.shape[-2:]) if cut else (slice(0), slice(0))
        others = self.before(X)
        if not cut:
            return X * self.share + others * (1 - self.share)
        mixed = X.clone()
        mixed[..., rows, columns] = others[..., rows, columns]
        return mixed

    def _box(self, height: int, width: int) -> tuple[slice, slice]:
        """Draw rows and columns of the box with the other sample, and set `share` to the area that remains."""
        half = 0.5 * math.sqrt(1 - self.share)
        found = []
        for side in (height, width):
            middle, reach = int(torch.randint(side, ())), int(half * side)
            found.append(slice(max(middle - reach, 0), min(middle + reach, side)))
        rows, columns = found
        self.share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        return rows, columns


class Mixed(nn.Module):
    """A model that mixes its inputs in training mode; it has the same weights."""

    def __init__(self, model: nn.Module, mixing: Mixing) -> None:
        super().__init__()
        self.model = model
        self._mixing = mixing

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(self._mixing.mix(x) if self.training else x)
        return logits


class MixedLoss(nn.Module):
    """The loss of the batch that `Mixing` has just mixed, for the labels of the unmixed samples."""

    def __init__(self, loss_fn: LossFn, mixing: Mixing) -> None:
        super().__init__()
        self._loss_fn, self._mixing = loss_fn, mixing

    @property
    def __wrapped__(self) -> LossFn:
        """The loss of one label; both means divide by the same, as the labels before are those of the same batch."""
        return self._loss_fn

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        share = self._mixing.share
        return share * self._loss_fn(logits, y) + (1 - share) * self._loss_fn(logits, self._mixing.before(y))
