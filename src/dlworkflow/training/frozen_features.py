"""The features of a data set in a frozen backbone, computed once for training the classifier. Knows no settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.protocol import Samples, is_random
from dlworkflow.engine.gathered import Gathered
from dlworkflow.models.backbone import Classifier, logits_and_features

FEATURES_BUDGET = 2 * 1024**3
"""Features of more bytes are not kept; the images then go through the backbone in every epoch."""


@dataclass(frozen=True)
class Features:
    """The classifier, and its inputs by split: features (n, ...) in place of images, with the same labels."""

    classifier: Classifier
    splits: Mapping[str, TensorData]


def remember_features(
    model: nn.Module,
    splits: Mapping[str, Dataset[tuple[Tensor, Tensor]]],
    batch_size: int,
    *,
    watch: Callable[[Iterable[Samples]], Iterable[Samples]] = iter,
) -> Features | None:
    """Compute the features of every sample in the splits once, on the model's device.

    Returns None where training on them would not be the same: a data set is random, the model computes more after its
    backbone than its classifier, or the features exceed `FEATURES_BUDGET`. Draws no random numbers; leaves the model
    in evaluation mode. `watch` wraps the batches, so that a signal can stop between two of them.
    """
    if any(is_random(part) for part in splits.values()):
        return None
    classifier, left = Classifier(model), FEATURES_BUDGET
    model.eval()
    found = {}
    for split, part in splits.items():
        kept = Gathered()
        for number, (X, y) in enumerate(watch(make_loader(part, batch_size, generator=torch.Generator()))):
            with torch.no_grad():
                logits, seen = logits_and_features(model, X.to(_device(model)))
                if not torch.equal(classifier(seen), logits):
                    return None
            left -= seen.numel() * seen.element_size() * (len(part) if not number else 0) // len(X)  # type: ignore[arg-type]
            if left < 0:
                return None
            kept.add(seen.cpu(), y)
        found[split] = TensorData(*kept.joined())
    return Features(classifier, found)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
