"""The report of an evaluation: raw scores and labels to metrics, tables and warnings; knows no run and no terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dlworkflow.engine.losses import Loss, build_loss
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.engine.tasks import Task
from dlworkflow.files.notebook import HEADLINE, Shown, named
from dlworkflow.files.numbers import percent
from dlworkflow.metrics.functions import (
    Settings,
    classification_metrics,
    confusion_matrix,
    multilabel_metrics,
    regression_metrics,
    wilson_interval,
)
from dlworkflow.metrics.intervals import intervals_of, scores_of_classes, scores_of_labels, scores_of_numbers
from dlworkflow.metrics.multilabel import NO_LABELS, set_names
from dlworkflow.metrics.per_class import ClassificationReport, classification_report, multilabel_report

if TYPE_CHECKING:
    from dlworkflow.metrics.significance import Score

Row = dict[str, Any]

MOST_COLUMNS = 200
"""With more classes, the probabilities of all would make a file many times as large as what is learned from it."""


@dataclass(frozen=True)
class EvaluationReport(Shown):
    """The evaluation of one split.

    `samples` has one row per sample, in the split's order: index, file (where there are files), truth, prediction,
    probability of the prediction, loss. `probabilities` (n, classes) are those of all classes. `interval` is the 95 %
    confidence interval of the accuracy (Wilson's). `matrix` counts, with the true class by row. `settings` are those of
    metrics that differ from their defaults.

    Where a sample has several labels, truth and prediction are these as `cat|dog`, the probability is that of the
    least certain label, accuracy counts samples with every label right, and `thresholds` are those of the classes.
    There and for a regression, `baseline_metrics` are what the baseline's answer scores. Of a table, `boosting` is the
    score of scikit-learn's gradient boosting. `scores` returns those that have `intervals`.
    """

    task: str
    loss: float
    metrics: dict[str, float | None]
    samples: list[Row]
    classes: tuple[str, ...] = ()
    probabilities: Tensor | None = None
    report: ClassificationReport | None = None
    matrix: list[list[int]] | None = None
    interval: tuple[float, float] | None = None
    scores: Callable[[], Mapping[str, Score]] = dict
    baseline: float | None = None
    baseline_answer: str | None = None
    boosting: float | None = None
    warnings: tuple[str, ...] = ()
    settings: Settings = field(default_factory=dict)
    thresholds: tuple[float, ...] = ()
    baseline_metrics: dict[str, float | None] | None = None

    def __repr__(self) -> str:
        scores = named({"samples": len(self.samples), "loss": self.loss, **self.metrics}, HEADLINE)
        return f"EvaluationReport({self.task}: {scores})"

    def shown_rows(self) -> list[Row]:
        """Return what a notebook shows: the scores of each class, or the metrics of a regression."""
        of_classes = self.report.classes if self.report else ()
        return [vars(scores) for scores in of_classes] or [{"loss": self.loss, **self.metrics}]

    @property
    def accuracy(self) -> float | None:
        """The fraction of samples that are predicted rightly, with all their labels; None of a regression."""
        return self.report.accuracy if self.report is not None else None

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % intervals of the loss and of metrics, {name: (low, high)}, by bootstrap; computed when asked for."""
        return intervals_of(self.scores())

    def confused_pairs(self, most: int = 5) -> list[Row]:
        """Return the most frequent errors: truth, prediction, count, share of the samples of the true class."""
        pairs: list[Row] = [
            {"truth": self.classes[i], "prediction": self.classes[j], "count": count, "share": count / sum(row)}
            for i, row in enumerate(self.matrix or ())
            for j, count in enumerate(row)
            if i != j and count
        ]
        return sorted(pairs, key=lambda pair: (-pair["count"], pair["truth"], pair["prediction"]))[:most]

    def errors(self) -> list[Row]:
        """Return the wrongly predicted samples (all of a regression), the highest loss first."""
        wrong = [row for row in self.samples if self.task == "regression" or row["truth"] != row["prediction"]]
        return sorted(wrong, key=lambda row: -row["loss"])

    def predictions(self) -> Iterator[Row]:
        """Yield `samples` with the probability of each class, six digits of it, in columns `probability: NAME`.

        With more than `MOST_COLUMNS` classes these are left out.
        """
        if self.probabilities is None or len(self.classes) > MOST_COLUMNS:
            yield from self.samples
            return
        names = [f"probability: {name}" for name in self.classes]
        for row, of_classes in zip(self.samples, self.probabilities, strict=True):
            yield row | {name: float(f"{p:.6g}") for name, p in zip(names, of_classes.tolist(), strict=True)}

    def to_data(self) -> Row:
        """Return the report without its samples, as JSON can hold it."""
        return {
            "task": self.task,
            "samples": len(self.samples),
            "loss": self.loss,
            "metrics": self.metrics,
            "metric_settings": self.settings or None,
            "accuracy_interval_95": self.interval,
            "intervals_95": self.intervals or None,
            "baseline": self.baseline,
            "baseline_answer": self.baseline_answer,
            "baseline_metrics": self.baseline_metrics,
            "thresholds": dict(zip(self.classes, self.thresholds, strict=True)) if self.thresholds else None,
            "boosting": self.boosting,
            "classes": [vars(scores) for scores in self.report.classes] if self.report else [],
            "confusion_matrix": self.matrix,
            "confused_pairs": self.confused_pairs(),
            "warnings": list(self.warnings),
        }


def make_report(
    logits: Tensor,
    y: Tensor,
    task: Task,
    *,
    loss_name: Loss = None,
    classes: Sequence[str] = (),
    baseline: float | None = None,
    baseline_answer: str | None = None,
    files: Sequence[object] | None = None,
    settings: Settings | None = None,
    target: TargetScale | None = None,
    thresholds: Sequence[float] = (),
    constant: Tensor | None = None,
) -> EvaluationReport:
    """Score raw outputs (n, ...) against labels (n, ...).

    `baseline` is the score of always answering `baseline_answer` (a class, or the training mean): an accuracy, or a
    loss for a regression. `settings` are those of single metrics: {metric: {setting: value}}. `target` is the scale of
    a regression's labels: all but its loss is in their own unit. `thresholds` are the probabilities from which a label
    of a multilabel task is predicted, one for each class, by default 0.5. `constant` is the baseline's answer to every
    sample: labels (classes,) of 0 and 1, or a scaled number.
    """
    losses = build_loss(task, loss_name, reduction="none")(task.align(logits, y), y).reshape(len(y), -1).mean(dim=1)
    loss = float(losses.cpu().double().mean())
    known: dict[str, Any] = {"baseline": baseline, "settings": settings or {}}
    if not task.has_accuracy:
        if target is not None:
            y, logits = target.undone(y), target.undone(logits)
            constant = target.undone(constant) if constant is not None else None
        values = {
            "truth": y.reshape(len(y), -1)[:, 0].tolist(),
            "prediction": logits.reshape(len(y), -1)[:, 0].tolist(),
        }
        metrics, warnings = regression_metrics(y, logits, settings), regression_warnings(loss, baseline)
        if constant is not None:
            known["baseline_metrics"] = regression_metrics(y, constant.expand_as(y), settings)
        known |= {"warnings": warnings, "scores": partial(scores_of_numbers, metrics, y, logits, losses)}
        return EvaluationReport(task.name, loss, metrics, _samples(files, values, losses), **known)
    probabilities = task.probabilities(logits)
    if task.name == "multilabel":
        thresholds = tuple(thresholds) or (0.5,) * len(classes)
        metrics = multilabel_metrics(y, probabilities, thresholds, settings)
        accuracy = metrics["subset_accuracy"] or 0.0
        if constant is not None:
            known["baseline_metrics"] = multilabel_metrics(y, constant.expand_as(y), [0.5] * len(classes), settings)
        answered = probabilities >= probabilities.new_tensor(thresholds)
        truths, answers = set_names(y, classes), set_names(answered, classes)
        certain = torch.where(answered, probabilities, 1 - probabilities).min(dim=1).values
        counted: dict[str, Any] = {"thresholds": thresholds}
        counted["report"] = multilabel_report(y, probabilities, thresholds, classes)
        counted["scores"] = partial(scores_of_labels, metrics, y, answered, losses)
    else:
        metrics = classification_metrics(y, probabilities, settings)
        accuracy = metrics["accuracy"] or 0.0
        truth, prediction = y.long().reshape(-1), probabilities.argmax(dim=1)
        truths, answers = ([classes[label] for label in labels.tolist()] for labels in (truth, prediction))
        certain = probabilities.max(dim=1).values
        counted = {"matrix": confusion_matrix(truth, prediction, len(classes)).tolist()}
        counted["report"] = classification_report(truth, prediction, classes)
        counted["scores"] = partial(scores_of_classes, metrics, truth, probabilities, losses)
    interval = wilson_interval(round(accuracy * len(y)), len(y))
    values = {"truth": truths, "prediction": answers, "probability": certain.tolist()}
    return EvaluationReport(
        task.name,
        loss,
        metrics,
        _samples(files, values, losses),
        classes=tuple(classes),
        probabilities=probabilities,
        interval=interval,
        baseline_answer=baseline_answer,
        warnings=classification_warnings(
            accuracy, answered=sorted(set(answers)), interval=interval, baseline=baseline, answer=baseline_answer
        ),
        **counted,
        **known,
    )


def classification_warnings(
    accuracy: float,
    *,
    answered: Sequence[str],
    interval: tuple[float, float] | None,
    baseline: float | None,
    answer: str | None,
) -> tuple[str, ...]:
    """Warn of a model that has collapsed to one answer, or is no better than always giving the same answer."""
    warnings = []
    if len(answered) == 1:
        given = answered[0] or NO_LABELS
        warnings.append(f"the model answers {given!r} for every sample: it has collapsed to one class")
    if baseline is not None and accuracy <= baseline + 1e-9:
        warnings.append(
            f"an accuracy of {percent(accuracy)} is no better than always answering {answer!r}, "
            f"which scores {percent(baseline)}"
        )
    elif baseline is not None and interval is not None and interval[0] <= baseline:
        warnings.append(
            f"an accuracy of {percent(accuracy)} cannot be distinguished from always answering {answer!r} "
            f"({percent(baseline)}) with so few samples: it may lie anywhere from {percent(interval[0])} to "
            f"{percent(interval[1])}"
        )
    return tuple(warnings)


def regression_warnings(loss: float, baseline: float | None) -> tuple[str, ...]:
    """Warn of a regression that is no better than always answering the training mean."""
    if baseline is None or loss < baseline:
        return ()
    return (f"a loss of {loss:.5f} is no better than always answering the training mean, which has {baseline:.5f}",)


def boosting_warnings(
    score: float, boosting: float | None, interval: tuple[float, float] | None = None
) -> tuple[str, ...]:
    """Warn of a network on a table that is worse than gradient boosting: its `interval` of accuracy, or its loss."""
    if boosting is None or (boosting <= interval[1] if interval is not None else score <= boosting):
        return ()
    own, others = (percent(value) if interval is not None else f"{value:.5f}" for value in (score, boosting))
    what = "an accuracy" if interval is not None else "a loss"
    return (
        f"{what} of {own} is worse than that of scikit-learn's gradient boosting on the same rows, {others}; on tables "
        "this is common",
    )


def _samples(files: Sequence[object] | None, values: dict[str, list[Any]], losses: Tensor) -> list[Row]:
    """Return a row per sample from columns."""
    known = {"file": [str(file) for file in files]} if files is not None else {}
    finite = [value if math.isfinite(value) else math.inf for value in losses.tolist()]
    columns: dict[str, Sequence[Any]] = {"index": range(len(losses)), **known, **values, "loss": finite}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
