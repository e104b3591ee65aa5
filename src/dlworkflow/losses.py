"""The loss that training minimises, where it is another than the one that scores: smoothed labels, weighed classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlworkflow.errors import ConfigError, unknown
from dlworkflow.tasks import Task, build_loss

ClassWeights = Literal["balanced"] | Mapping[str, float] | None


def build_training_loss(
    task: Task, name: str | None = None, *, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> nn.Module:
    """Return the loss function that training minimises; without further settings, that of `build_loss`.

    `weights` has one number a class, (classes,); a mean over a batch is then divided by the weights of its samples,
    as torch's own is. Raises ConfigError for a loss that takes neither.
    """
    plain = build_loss(task, name)
    if not label_smoothing and weights is None:
        return plain
    if isinstance(plain, nn.CrossEntropyLoss):
        return nn.CrossEntropyLoss(weights, label_smoothing=label_smoothing)
    if isinstance(plain, nn.BCEWithLogitsLoss):
        return BinaryCrossEntropy(weights, label_smoothing=label_smoothing)
    if isinstance(plain, nn.MultiMarginLoss) and not label_smoothing:
        return nn.MultiMarginLoss(weight=weights)
    setting = "label_smoothing" if label_smoothing else "loss_weights"
    raise ConfigError(f"{setting}: the loss {name or task.losses[0]!r} has no use for it")


class BinaryCrossEntropy(nn.BCEWithLogitsLoss):
    """Cross entropy of two classes, with what `nn.CrossEntropyLoss` has for more: class weights, smoothed labels.

    Takes logits (n,) and labels (n,) of 0 and 1, returns a mean in nats. `weights` is (2,): of class 0 and class 1.
    """

    classes: Tensor | None

    def __init__(self, weights: Tensor | None = None, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("classes", weights)
        self._smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        smooth = labels * (1 - self._smoothing) + self._smoothing / 2
        if self.classes is None:
            return F.binary_cross_entropy_with_logits(logits, smooth)
        of_one, of_zero = self.classes[1] * smooth, self.classes[0] * (1 - smooth)
        losses = F.softplus(-logits) * of_one + F.softplus(logits) * of_zero
        return losses.sum() / self.classes[labels.long()].sum()


def class_weights(setting: ClassWeights, classes: Sequence[str], counts: Tensor | None) -> Tensor | None:
    """Return a weight a class, (classes,) float32; None where there is no `setting`.

    `balanced` gives every class the same say: n / (classes * samples of it). Names that are left out weigh 1. Raises
    ConfigError that names every unknown class, or when `counts` (classes,) of samples are needed and not known.
    """
    if setting is None:
        return None
    if setting == "balanced":
        return balanced(classes, counts, "loss_weights")
    wrong = [f"loss_weights: {unknown('class', name, classes)}" for name in setting if name not in classes]
    if wrong:
        raise ConfigError(*wrong)
    return torch.tensor([float(setting.get(name, 1.0)) for name in classes])


def sample_weights(classes: Sequence[str], labels: Tensor | None) -> Tensor:
    """Return a weight a sample, (n,), with which every class is drawn as often as any other."""
    counts = None if labels is None else torch.bincount(labels.long(), minlength=len(classes))
    weights = balanced(classes, counts, "data.sampler")
    assert labels is not None
    return weights[labels.long()]


def balanced(classes: Sequence[str], counts: Tensor | None, setting: str) -> Tensor:
    """Return n / (classes * samples of it) for every class, (classes,) float32; 0 for one without samples."""
    if counts is None:
        raise ConfigError(f"{setting}: the data set does not keep its labels beside its samples (attribute labels)")
    n = int(counts.sum())
    return torch.where(counts > 0, n / (len(classes) * counts.float().clamp(min=1)), 0.0)
