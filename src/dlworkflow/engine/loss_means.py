"""What the mean of a loss divides by, which whoever combines the means of several batches must know.

And torch's losses where they lack something for that. Knows tensors and loss functions, no names and no settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlworkflow.engine.tasks import LossFn, kinds, layers
from dlworkflow.errors import ModelError


class BinaryCrossEntropy(nn.BCEWithLogitsLoss):
    """Cross entropy of two classes, with what `nn.CrossEntropyLoss` has for more: class weights, smoothed labels.

    Takes logits (n, ...) and labels (n, ...) of 0 and 1, returns a mean in nats. `weights` is (2,): of class 0 and
    class 1; `pos_weight` is that of torch's class.
    """

    classes: Tensor | None

    def __init__(
        self, weights: Tensor | None = None, *, pos_weight: Tensor | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(pos_weight=pos_weight)
        self.register_buffer("classes", weights)
        self._smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        smooth = labels * (1 - self._smoothing) + self._smoothing / 2
        if self.classes is None:
            return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=self.pos_weight)
        of_one, of_zero = self.classes[1] * smooth, self.classes[0] * (1 - smooth)
        losses = F.softplus(-logits) * of_one + F.softplus(logits) * of_zero
        return losses.sum() / self.classes[labels.long()].sum()

    def sample_shares(self, labels: Tensor) -> Tensor | None:
        """Return what each sample adds to what the mean divides by; see `shares_of`."""
        if self.classes is None:
            return None
        return self.classes[labels.long()].reshape(len(labels), math.prod(labels.shape[1:])).sum(dim=1)


Shares = Callable[[Tensor], Tensor | None]


def shares_of(loss_fn: LossFn) -> Shares | None:
    """Return the function from labels (n, ...) to what each sample adds to the divisor of a mean loss, (n,).

    None, here or there, is: all add the same. torch's losses over classes divide by the weights of the labels' classes
    and leave out `ignore_index`; all others by the number of samples. A loss of one's own that divides by something
    else says so in a method `sample_shares(y)`.
    """
    loss_fn = layers(loss_fn)[-1]
    own: Shares | None = getattr(loss_fn, "sample_shares", None)
    if own is None and _is_over_classes(loss_fn):
        return partial(_class_shares, weights=_setting(loss_fn, "weight"), ignored=ignored_label(loss_fn))
    return own


def _class_shares(y: Tensor, *, weights: Tensor | None, ignored: int | None) -> Tensor | None:
    if y.is_floating_point():  # probabilities, over which torch takes the mean of samples
        return None
    shares = counted = torch.ne(y, -100 if ignored is None else ignored)
    if weights is not None:
        shares = torch.where(counted, weights[y.long().clamp(0, len(weights) - 1)], 0.0)
    return shares if y.ndim == 1 else shares.flatten(1).sum(dim=1)


def batch_share(loss_fn: LossFn, y: Tensor) -> Tensor | int:
    """Return what the mean that a loss gives of a batch was divided by, but for a factor that all batches have.

    A loss over more than the samples that it is given says so in a method `batch_share(y)`.
    """
    for part in layers(loss_fn):
        if (own := getattr(part, "batch_share", None)) is not None:
            share: Tensor | int = own(y)
            return share
    found = shares_of(loss_fn)
    shares = found(y) if found is not None else None
    return len(y) if shares is None else shares.sum()


def is_sum(loss_fn: LossFn) -> bool:
    """Return whether a loss gives the sum over a batch, not the mean."""
    return bool(_setting(layers(loss_fn)[-1], "reduction") == "sum")


def ignored_label(loss_fn: LossFn) -> int | None:
    """Return the label that a loss over classes leaves out; None for any other loss."""
    loss_fn = layers(loss_fn)[-1]
    return int(_setting(loss_fn, "ignore_index", -100)) if _is_over_classes(loss_fn) else None


_OVER_CLASSES: tuple[object, ...] = (nn.CrossEntropyLoss, nn.NLLLoss, F.cross_entropy, F.nll_loss)


def _is_over_classes(loss_fn: LossFn) -> bool:
    return any(kind in _OVER_CLASSES for kind in kinds(loss_fn))


def _setting(loss_fn: LossFn, name: str, default: Any = None) -> Any:
    """Return a setting of torch's losses: an attribute of the object, a keyword of a `partial`."""
    if isinstance(loss_fn, partial):
        return loss_fn.keywords.get(name, default)
    return getattr(loss_fn, name, default)


class OfFunction(nn.Module):
    """A function of outputs and labels, which gives the mean of a batch, as a module."""

    def __init__(self, function: LossFn) -> None:
        super().__init__()
        self._function = function

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        loss = self._function(outputs, labels)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            name = getattr(self._function, "__name__", "of your own")
            raise ModelError(f"the loss {name!r} returns {got}, not the mean of a batch, a single number")
        return loss


class PerSample(nn.Module):
    """A loss that only gives the mean of a batch, as the loss of each sample: takes (n, ...) and returns (n,)."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return torch.stack([self.loss(outputs[i : i + 1], labels[i : i + 1]) for i in range(len(labels))])
