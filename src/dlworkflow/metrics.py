"""Functions of predictions and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor


def accuracy_fn(y_true: Tensor, y_pred: Tensor) -> float:
    """Return how many predicted labels are right, in percent. Both are (n,); no sample is nan."""
    if y_true.shape != y_pred.shape:
        raise ValueError(f"labels of shape {tuple(y_true.shape)} and predictions of shape {tuple(y_pred.shape)}")
    return 100 * torch.eq(y_true, y_pred).double().mean().item()


def majority_baseline(train_labels: Sequence[int], labels: Sequence[int]) -> tuple[int, float]:
    """Return the most frequent training label (the lowest of equals) and the accuracy of always answering it."""
    counts = Counter(train_labels)
    label = min(counts, key=lambda name: (-counts[name], name))
    return label, Counter(labels)[label] / len(labels)
