"""Functions of predictions and labels: numbers in, numbers out; torchmetrics does the counting.

torchmetrics takes seconds to import, so it is imported where it counts. Every number agrees with scikit-learn's where
that has it (a class that is never predicted has precision 0, a class that is nowhere does not enter a macro mean).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlworkflow.errors import DataError

N_BINS = 15
"""Bins of confidence for the calibration error, the number that the field reports."""


def accuracy_fn(y_true: Tensor, y_pred: Tensor) -> float:
    """Return how many predicted labels are right, in percent. Both are (n,); no sample is nan."""
    if y_true.shape != y_pred.shape:
        raise ValueError(f"labels of shape {tuple(y_true.shape)} and predictions of shape {tuple(y_pred.shape)}")
    return 100 * torch.eq(y_true, y_pred).cpu().double().mean().item()  # not every device has float64


def majority_baseline(train_counts: Sequence[int], counts: Sequence[int]) -> tuple[int, float]:
    """Return the most frequent training label, the lowest of equals, and the accuracy of answering nothing else.

    Both are how many samples each label has, in training and in what is scored.
    """
    label = max(range(len(train_counts)), key=train_counts.__getitem__)
    return label, counts[label] / sum(counts)


def wilson_interval(n_correct: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval in which an accuracy of n_correct / n lies with 95 % confidence (Wilson's score interval).

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927). Raises ValueError without a sample.
    """
    if not 0 <= n_correct <= n or n < 1:
        raise ValueError(f"{n_correct} right of {n} samples")
    p = n_correct / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def regression_metrics(y_true: Tensor, y_pred: Tensor) -> dict[str, float | None]:
    """Return mae and mse in the labels' units (squared) and r2, None where all labels are equal. Both are (n, ...)."""
    from torchmetrics import functional as tm

    _same_length(y_true, y_pred)
    y_true, y_pred = y_true.cpu().double().reshape(-1), y_pred.cpu().double().reshape(-1)
    constant = bool((y_true == y_true[0]).all())
    return {
        "mae": float(tm.mean_absolute_error(y_pred, y_true)),
        "mse": float(tm.mean_squared_error(y_pred, y_true)),
        "r2": None if constant else float(tm.r2_score(y_pred, y_true)),
    }


def confusion_matrix(y_true: Tensor, y_pred: Tensor, n_classes: int) -> Tensor:
    """Return how often each class (row) was taken for each (column): int64 (n_classes, n_classes)."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    _same_length(y_true, y_pred)
    counts: Tensor = multiclass_confusion_matrix(y_pred.long(), y_true.long(), num_classes=n_classes)
    return counts


def classification_metrics(y_true: Tensor, probabilities: Tensor) -> dict[str, float | None]:
    """Return what can be said of class probabilities (n, classes) for labels (n,), two classes or more.

    accuracy; precision, recall and f1 as macro and as weighted means; roc_auc, one class against the rest, the mean of
    the classes that are there and not alone (None without any); top_3_accuracy and top_5_accuracy where there are more
    classes; calibration_error, the expected difference of confidence and accuracy over 15 bins.
    """
    from torchmetrics.functional import classification as tm

    _same_length(y_true, probabilities)
    y_true = y_true.long()
    n_classes = probabilities.shape[1]
    y_pred = probabilities.argmax(dim=1)
    found: dict[str, float | None] = {"accuracy": accuracy_fn(y_true, y_pred) / 100}
    scores: dict[str, Callable[..., Tensor]] = {
        "precision": tm.multiclass_precision,
        "recall": tm.multiclass_recall,
        "f1": tm.multiclass_f1_score,
    }
    for name, function in scores.items():
        for average in ("macro", "weighted"):
            found[f"{name}_{average}"] = float(function(y_pred, y_true, num_classes=n_classes, average=average))
    found["roc_auc"] = _roc_auc(y_true, probabilities)
    for k in (3, 5):
        if n_classes > k:
            found[f"top_{k}_accuracy"] = top_k_accuracy(y_true, probabilities, k)
    found["calibration_error"] = calibration_error(y_true, probabilities)
    return found


def calibration_error(y_true: Tensor, probabilities: Tensor, n_bins: int = N_BINS) -> float:
    """Return the mean gap of confidence and accuracy in the bins of `calibration_bins`, weighed by their size."""
    bins = calibration_bins(y_true, probabilities, n_bins)
    gaps = zip(bins["count"], bins["confidence"], bins["accuracy"], strict=True)
    return math.fsum(n * abs(confidence - accuracy) for n, confidence, accuracy in gaps if n) / len(y_true)


def top_k_accuracy(y_true: Tensor, probabilities: Tensor, k: int) -> float:
    """Return how often the truth is among the k likeliest classes, in [0, 1]."""
    _same_length(y_true, probabilities)
    likeliest = probabilities.topk(min(k, probabilities.shape[1]), dim=1).indices
    return float((likeliest == y_true.long()[:, None]).any(dim=1).cpu().double().mean())


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and f1 of one class; `support` counts its samples, `predicted` how often it was answered."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True)
class ClassificationReport:
    """Scores of every class and their means; `str()` of it is a table."""

    classes: tuple[ClassScores, ...]
    accuracy: float
    macro: tuple[float, float, float]
    weighted: tuple[float, float, float]

    def to_data(self) -> dict[str, Any]:
        """Return the report as plain dictionaries, as JSON can hold them."""
        names = ("precision", "recall", "f1")
        return {
            "classes": [vars(scores) for scores in self.classes],
            "accuracy": self.accuracy,
            "macro": dict(zip(names, self.macro, strict=True)),
            "weighted": dict(zip(names, self.weighted, strict=True)),
        }

    def __str__(self) -> str:
        n = sum(scores.support for scores in self.classes)
        rows = [(s.label, f"{s.precision:.4f}", f"{s.recall:.4f}", f"{s.f1:.4f}", f"{s.support}") for s in self.classes]
        rows.append(("accuracy", "", "", f"{self.accuracy:.4f}", f"{n}"))
        for name in ("macro", "weighted"):
            precision, recall, f1 = getattr(self, name)
            rows.append((f"{name} mean", f"{precision:.4f}", f"{recall:.4f}", f"{f1:.4f}", f"{n}"))
        width = max(len(row[0]) for row in rows)
        headings = ("precision", "recall", "f1", "support")
        lines = [" " * width + "".join(f"{heading:>11}" for heading in headings)]
        return "\n".join([*lines, *(f"{row[0]:<{width}}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows)])


def classification_report(
    y_true: Tensor, y_pred: Tensor, class_names: Sequence[str] | None = None
) -> ClassificationReport:
    """Return precision, recall and f1 of every class for labels (n,) and predicted labels (n,).

    Without names, the classes are 0 to the highest label that occurs. Raises DataError without a sample and
    ValueError for a label without a name.
    """
    from torchmetrics.functional import classification as tm

    _same_length(y_true, y_pred)
    y_true, y_pred = y_true.long().reshape(-1), y_pred.long().reshape(-1)
    highest = int(torch.maximum(y_true.max(), y_pred.max()))
    names = list(class_names) if class_names is not None else [str(label) for label in range(highest + 1)]
    if highest >= len(names) or int(torch.minimum(y_true.min(), y_pred.min())) < 0:
        raise ValueError(f"labels reach {highest}, there are {len(names)} class names")
    n = max(len(names), 2)  # torchmetrics counts at least two
    functions: tuple[Callable[..., Tensor], ...] = (
        tm.multiclass_precision,
        tm.multiclass_recall,
        tm.multiclass_f1_score,
    )

    def scores(average: str) -> list[list[float]]:
        return [function(y_pred, y_true, num_classes=n, average=average).reshape(-1).tolist() for function in functions]

    support, predicted = (torch.bincount(labels, minlength=n).tolist() for labels in (y_true, y_pred))
    each = zip(names, *scores("none"), support, predicted, strict=False)
    macro, weighted = ([values[0] for values in scores(average)] for average in ("macro", "weighted"))
    return ClassificationReport(
        classes=tuple(ClassScores(*row) for row in each),
        accuracy=accuracy_fn(y_true, y_pred) / 100,
        macro=(macro[0], macro[1], macro[2]),
        weighted=(weighted[0], weighted[1], weighted[2]),
    )


def calibration_bins(y_true: Tensor, probabilities: Tensor, n_bins: int = N_BINS) -> dict[str, list[float]]:
    """Return mean confidence, accuracy (nan where empty) and count of `n_bins` bins of confidence of equal width."""
    _same_length(y_true, probabilities)
    confidence, y_pred = probabilities.cpu().double().max(dim=1)
    right = (y_pred == y_true.cpu().long()).double()
    bins = torch.clamp((confidence * n_bins).ceil().long() - 1, 0, n_bins - 1)
    found: dict[str, list[float]] = {"confidence": [], "accuracy": [], "count": []}
    for index in range(n_bins):
        inside = bins == index
        found["confidence"].append(float(confidence[inside].mean()))  # nan where nothing is inside
        found["accuracy"].append(float(right[inside].mean()))
        found["count"].append(float(inside.sum()))
    return found


def _roc_auc(y_true: Tensor, probabilities: Tensor) -> float | None:
    """Return the mean over the classes for which there are samples of the class and samples of others."""
    from torchmetrics.functional.classification import multiclass_auroc

    counts = torch.bincount(y_true, minlength=probabilities.shape[1])
    defined = (counts > 0) & (counts < len(y_true))
    if not defined.any():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes without samples, which are left out below
        areas = multiclass_auroc(probabilities, y_true, num_classes=probabilities.shape[1], average="none")
    return float(areas[defined].mean())


def _same_length(y_true: Tensor, other: Tensor) -> None:
    if len(y_true) != len(other):
        raise ValueError(f"{len(y_true)} labels and {len(other)} predictions")
    if not len(y_true):
        raise DataError("no sample to score")
