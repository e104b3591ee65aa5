"""Precision, recall and F1 of every class, as data and as a table of text; knows no run and no terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlworkflow.files.text import display_width, padded
from dlworkflow.metrics import functions
from dlworkflow.metrics.functions import (
    check_lengths,
    confusion_matrix,
    counts_of_classes,
    counts_of_labels,
    f1s,
    precisions,
    recalls,
)
from dlworkflow.metrics.multilabel import average_precisions

if TYPE_CHECKING:
    from torch import Tensor

SCORES = ("precision", "recall", "f1")


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class; `support` counts its samples, `predicted` how often it was answered."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True)
class LabelScores(ClassScores):
    """Those of a class that a sample may have beside others, and the threshold from which it is predicted.

    `average_precision` needs no threshold; it is None where no sample has the class.
    """

    average_precision: float | None
    threshold: float


@dataclass(frozen=True)
class ClassificationReport:
    """Scores of every class and their means; `str()` of it is a table.

    `accuracy` is the fraction of samples that are predicted rightly, with all their labels where there are several.
    """

    classes: tuple[ClassScores, ...]
    accuracy: float
    macro: tuple[float, ...]
    weighted: tuple[float, ...]

    def to_data(self) -> dict[str, Any]:
        """Return the report as plain dictionaries, as JSON can hold them."""
        return {
            "classes": [vars(scores) for scores in self.classes],
            "accuracy": self.accuracy,
            "macro": dict(zip(SCORES, self.macro, strict=True)),
            "weighted": dict(zip(SCORES, self.weighted, strict=True)),
        }

    def __str__(self) -> str:
        n = sum(scores.support for scores in self.classes)
        rows = [(s.label, *(f"{getattr(s, key):.4f}" for key in SCORES), f"{s.support}") for s in self.classes]
        rows.append(("accuracy", "", "", f"{self.accuracy:.4f}", f"{n}"))
        for name in ("macro", "weighted"):
            rows.append((f"{name} mean", *(f"{score:.4f}" for score in getattr(self, name)), f"{n}"))
        width = max(display_width(row[0]) for row in rows)
        return "\n".join(
            padded(first, width) + "".join(f"{cell:>11}" for cell in cells)
            for first, *cells in [("", *SCORES, "support"), *rows]
        )


def classification_report(
    y_true: Tensor, y_pred: Tensor, class_names: Sequence[str] | None = None
) -> ClassificationReport:
    """Return precision, recall and F1 of every class for labels (n,) and predicted labels (n,).

    Without names, the classes are 0 to the highest label that occurs. Raises DataError without a sample and
    ValueError for a label without a name.
    """
    check_lengths(y_true, y_pred)
    y_true, y_pred = y_true.cpu().long().reshape(-1), y_pred.cpu().long().reshape(-1)
    highest = int(max(y_true.max(), y_pred.max()))
    names = list(class_names) if class_names is not None else [str(label) for label in range(highest + 1)]
    if highest >= len(names) or int(min(y_true.min(), y_pred.min())) < 0:
        raise ValueError(f"labels reach {highest}, there are {len(names)} class names")
    confusion = confusion_matrix(y_true, y_pred, len(names))
    counts = counts_of_classes(confusion)
    scores = [ClassScores(*row) for row in zip(names, *_of_classes(counts), strict=True)]
    return _report(scores, counts, functions.accuracy(confusion))


def multilabel_report(
    label_sets: Tensor, label_scores: Tensor, thresholds: Sequence[float], class_names: Sequence[str]
) -> ClassificationReport:
    """Return the scores of every class for labels and probabilities (n, classes), `LabelScores` each."""
    check_lengths(label_sets, label_scores)
    sets, probabilities = label_sets.cpu().long(), label_scores.cpu().double()
    answers = (probabilities >= probabilities.new_tensor(thresholds)).long()
    counts = counts_of_labels(sets, answers)
    areas = [None if area != area else area for area in average_precisions(sets, probabilities).tolist()]
    rows = zip(class_names, *_of_classes(counts), areas, thresholds, strict=True)
    return _report([LabelScores(*row) for row in rows], counts, functions.subset_accuracy(sets, answers))


def _of_classes(counts: Tensor) -> list[list[Any]]:
    """Return precision, recall, F1, support and answers of each class."""
    return [part.tolist() for part in (precisions(counts), recalls(counts), f1s(counts), counts[2], counts[1])]


def _report(scores: Sequence[ClassScores], counts: Tensor, accuracy: float) -> ClassificationReport:
    return ClassificationReport(
        classes=tuple(scores),
        accuracy=accuracy,
        macro=tuple(getattr(functions, f"{name}_macro")(counts) for name in SCORES),
        weighted=tuple(getattr(functions, f"{name}_weighted")(counts) for name in SCORES),
    )
