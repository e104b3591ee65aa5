"""Mixup and CutMix: training on blends of two samples, whose loss is the same blend of the losses for either label.

Drawn before each training batch, and only then, from torch's global generator: which of the two, where both are set;
the share of the first sample; for CutMix, the middle of the piece. A sample is blended with the one before it in the
batch, as by torchvision, which shuffled batches make a random one. Where several processes share a batch, they say how
all draw the same, and which sample is before theirs.
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
    """`mixup` and `cutmix` are the alphas of the Beta distribution that the shares are drawn from; 0 is off.

    `share` is how much of a blend its first sample makes, since the last `blend`. `before` returns of values (n, ...)
    those of the sample before each; what is drawn is drawn within `drawing()`.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    share: float = 1.0
    before: Callable[[Tensor], Tensor] = _roll
    drawing: Callable[[], AbstractContextManager[None]] = nullcontext

    def blend(self, X: Tensor) -> Tensor:
        """Return a batch (n, *in_shape) of blends; CutMix needs pictures (n, channels, height, width)."""
        with self.drawing():
            cut = self.cutmix > 0 and (not self.mixup or bool(torch.rand(()) < 0.5))
            alpha = torch.tensor(self.cutmix if cut else self.mixup)
            self.share = float(torch.distributions.Beta(alpha, alpha).sample())
            rows, columns = self._piece(*X.shape[-2:]) if cut else (slice(0), slice(0))
        others = self.before(X)
        if not cut:
            return X * self.share + others * (1 - self.share)
        mixed = X.clone()
        mixed[..., rows, columns] = others[..., rows, columns]
        return mixed

    def _piece(self, height: int, width: int) -> tuple[slice, slice]:
        """Draw where the other sample shows, and set the share to what is left of the first."""
        half = 0.5 * math.sqrt(1 - self.share)
        found = []
        for side in (height, width):
            middle, reach = int(torch.randint(side, ())), int(half * side)
            found.append(slice(max(middle - reach, 0), min(middle + reach, side)))
        rows, columns = found
        self.share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        return rows, columns


class Mixed(nn.Module):
    """A model that is trained on blends and otherwise takes samples as they are; it holds the same weights."""

    def __init__(self, model: nn.Module, mixing: Mixing) -> None:
        super().__init__()
        self.model = model
        self._mixing = mixing

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(self._mixing.blend(x) if self.training else x)
        return logits


class MixedLoss(nn.Module):
    """The loss of a batch that `Mixing` has just blended, for its labels as they came."""

    def __init__(self, loss_fn: LossFn, mixing: Mixing) -> None:
        super().__init__()
        self._loss_fn, self._mixing = loss_fn, mixing

    @property
    def __wrapped__(self) -> LossFn:
        """The loss of either label, which divides by the same: the labels before are those of the same batch."""
        return self._loss_fn

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        share = self._mixing.share
        return share * self._loss_fn(logits, y) + (1 - share) * self._loss_fn(logits, self._mixing.before(y))
