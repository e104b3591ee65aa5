"""Metrics where a sample has any number of labels, each answered by itself; knows no run and no table of metrics.

`label_sets` and `label_answers` are int64 (n, classes) of 0 and 1, `label_scores` float64 (n, classes) in [0, 1].
torchmetrics, which takes seconds to import, is imported where it computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlworkflow.files.text import LABEL_SEPARATOR
from dlworkflow.registry import pyplot_left_alone

if TYPE_CHECKING:
    from torch import Tensor


def subset_accuracy(label_sets: Tensor, label_answers: Tensor) -> float:
    """Fraction of samples with every label right (exact match)."""
    return float((label_sets == label_answers).all(dim=1).double().mean())


def f1_micro(label_counts: Tensor) -> float:
    """F1 of all labels of all classes together."""
    right, answered, there = label_counts.sum(dim=1).double().tolist()
    return float(2 * right / max(answered + there, 1))


def hamming_loss(label_sets: Tensor, label_answers: Tensor) -> float:
    """Fraction of labels that are wrong, over samples and classes."""
    return float((label_sets != label_answers).double().mean())


def mean_average_precision(label_sets: Tensor, label_scores: Tensor) -> float | None:
    """Average precision (area under the precision-recall curve), the mean over the classes that occur."""
    found = average_precisions(label_sets, label_scores)
    known = found[~found.isnan()]
    return float(known.mean()) if len(known) else None


def average_precisions(label_sets: Tensor, label_scores: Tensor) -> Tensor:
    """Return the average precision of each class, float64 (classes,), nan for one that no sample has."""
    import torch

    with pyplot_left_alone():
        from torchmetrics.functional.classification import multilabel_average_precision

    occurs = label_sets.sum(dim=0) > 0
    found = torch.full((label_sets.shape[1],), torch.nan, dtype=torch.float64)
    if occurs.any():
        there, scores = label_sets[:, occurs], label_scores[:, occurs]
        of_class = multilabel_average_precision(scores, there, num_labels=there.shape[1], average="none")
        found[occurs] = of_class.double()
    return found


def precision_recall(label_sets: Tensor, label_scores: Tensor) -> list[tuple[list[float], list[float]]]:
    """Return recall and precision of each class at every threshold, from high recall to none."""
    with pyplot_left_alone():
        from torchmetrics.functional.classification import binary_precision_recall_curve

    found = []
    for there, scores in zip(label_sets.T.long(), label_scores.T, strict=True):
        precision, recall, _ = binary_precision_recall_curve(scores, there)
        found.append((recall.tolist(), precision.tolist()))
    return found


def best_thresholds(label_sets: Tensor, label_scores: Tensor) -> list[float]:
    """Return for each class the threshold with the highest F1, in the middle between two scores.

    Of equals it is the one nearest to 0.5; it is 0.5 for a class that no sample has.
    """
    found = []
    for there, scores in zip(label_sets.T.bool(), label_scores.T, strict=True):
        values = scores.unique()  # ascending
        tried = [0.5, *((values[1:] + values[:-1]) / 2).tolist(), float(values[0]) / 2]
        f1s = [_f1(there, scores >= threshold) for threshold in tried]
        best = max(zip(f1s, tried, strict=True), key=lambda pair: (pair[0], -abs(pair[1] - 0.5)))
        found.append(best[1] if there.any() else 0.5)
    return found


NO_LABELS = "(none)"
"""What an answer without any label is called in a sentence."""


def set_names(label_sets: Tensor, classes: Sequence[str]) -> list[str]:
    """Return the labels of each sample as text, `cat|dog`; empty for one without any."""
    return [
        LABEL_SEPARATOR.join(name for name, there in zip(classes, row, strict=True) if there)
        for row in label_sets.tolist()
    ]


def commonest_set(label_sets: Tensor) -> Tensor:
    """Return the most frequent set of labels, (classes,)."""
    sets, counts = label_sets.unique(dim=0, return_counts=True)
    return sets[counts.argmax()]


def _f1(there: Tensor, answered: Tensor) -> float:
    return float(2 * (there & answered).sum() / (there.sum() + answered.sum()).clamp(min=1))
