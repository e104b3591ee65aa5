"""What a frozen backbone makes of a data set, computed once: training its classifier then needs no picture again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.protocol import Samples, is_random
from dlworkflow.models.backbone import Classifier, logits_and_features

MEMORY_BUDGET = 2 * 1024**3
"""Features of more bytes are not kept; the pictures then go through the backbone in every epoch."""


@dataclass(frozen=True)
class Features:
    """The classifier alone, and each split as it sees it: features (n, ...) for pictures, the same labels."""

    classifier: Classifier
    splits: Mapping[str, TensorData]


def remember_features(
    model: nn.Module,
    splits: Mapping[str, Dataset[tuple[Tensor, Tensor]]],
    batch_size: int,
    *,
    watch: Callable[[Iterable[Samples]], Iterable[Samples]] = iter,
) -> Features | None:
    """Send every sample of the splits through the backbone once, where the model is, and keep what comes out.

    Returns None where that would not be the same: where a data set changes from epoch to epoch, where the model does
    more after its backbone than its classifier, or where the features outgrow `MEMORY_BUDGET`. Draws from no
    generator; leaves the model in evaluation mode. `watch` wraps the batches, to stop between two of them.
    """
    if any(is_random(part) for part in splits.values()):
        return None
    classifier, left = Classifier(model), MEMORY_BUDGET
    model.eval()
    found = {}
    for split, part in splits.items():
        features: list[Tensor] = []
        labels: list[Tensor] = []
        for X, y in watch(make_loader(part, batch_size, generator=torch.Generator())):
            with torch.no_grad():
                logits, seen = logits_and_features(model, X.to(_device(model)))
                if not torch.equal(classifier(seen), logits):
                    return None
            left -= seen.numel() * seen.element_size() * (len(part) if not features else 0) // len(X)  # type: ignore[arg-type]
            if left < 0:
                return None
            features.append(seen.cpu())
            labels.append(y)
        found[split] = TensorData(torch.cat(features), torch.cat(labels))
    return Features(classifier, found)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
