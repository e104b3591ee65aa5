"""How much each class or sample counts where classes are of unequal size; knows class names and labels only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from dlworkflow.errors import ConfigError, unknown

ClassWeights = Literal["balanced"] | Mapping[str, float] | None


def class_weights(
    setting: ClassWeights, classes: Sequence[str], counts: Tensor | None, *, of_labels: int | None = None
) -> Tensor | None:
    """Return a weight a class, (classes,) float32; None where there is no `setting`.

    `balanced` gives every class the same say: n / (classes * samples of it). Where `of_labels` samples have any number
    of labels each, it gives a label that is there the same say as one that is not: samples without it / samples with
    it. Names that are left out weigh 1. Raises ConfigError that names every unknown class, or when `counts` (classes,)
    of samples are needed and not known.
    """
    if setting is None:
        return None
    if setting == "balanced" and of_labels is not None and counts is not None:
        return (of_labels - counts).float() / counts.float().clamp(min=1)
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
