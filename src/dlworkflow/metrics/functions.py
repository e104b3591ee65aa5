"""Metrics: functions of labels and of what a model answered, and the table of those that an evaluation reports.

The names of its parameters say what a metric needs, and so for which tasks it is:

    confusion         int64 (classes, classes), counts with the true class by row: one class a sample, also in an epoch
    y_true, y_pred    int64 (n,), true and predicted labels: one class a sample
    probabilities     float64 (n, classes): one class a sample
    class_counts      int64 (3, classes), how often each class is predicted rightly, is predicted, and is the truth:
                      one class or several, also in an epoch
    label_counts      the same, where a sample has several labels alone
    label_sets, label_answers, label_scores
                      int64, int64, float64 (n, classes), true and predicted labels, probabilities: several labels
    targets, values   float64 (n,), labels and predicted values: regression

All are on the CPU. Further parameters have defaults and are the metric's settings. A metric returns a number, or None
where it is not defined. Numbers agree with scikit-learn's where it has them: a class that is never predicted has
precision 0, a class that never occurs is not part of a macro mean. What is more than counting is torchmetrics', which
takes seconds to import: it and torch are imported where they compute. Knows no run and no terminal.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlworkflow.errors import ConfigError, DataError, unknown
from dlworkflow.metrics.multilabel import f1_micro, hamming_loss, mean_average_precision, subset_accuracy
from dlworkflow.registry import Count, Registry, pyplot_left_alone

if TYPE_CHECKING:
    from torch import Tensor


def accuracy(confusion: Tensor) -> float:
    """Fraction of samples that are predicted correctly."""
    return float(confusion.diagonal().double().sum() / confusion.sum())


def precision_macro(class_counts: Tensor) -> float:
    """Precision, the mean over the classes."""
    return _macro(class_counts, precisions(class_counts))


def precision_weighted(class_counts: Tensor) -> float:
    """Precision, the mean over the classes weighted by their samples."""
    return _weighted(class_counts, precisions(class_counts))


def recall_macro(class_counts: Tensor) -> float:
    """Recall, the mean over the classes (balanced accuracy)."""
    return _macro(class_counts, recalls(class_counts))


def recall_weighted(class_counts: Tensor) -> float:
    """Recall, the mean over the classes weighted by their samples."""
    return _weighted(class_counts, recalls(class_counts))


def f1_macro(class_counts: Tensor) -> float:
    """F1, the mean over the classes."""
    return _macro(class_counts, f1s(class_counts))


def f1_weighted(class_counts: Tensor) -> float:
    """F1, the mean over the classes weighted by their samples."""
    return _weighted(class_counts, f1s(class_counts))


def roc_auc(y_true: Tensor, probabilities: Tensor) -> float | None:
    """Area under the ROC curve, one class against the rest, the mean over the classes that are present."""
    with pyplot_left_alone():
        from torchmetrics.functional.classification import multiclass_auroc

    counts = y_true.bincount(minlength=probabilities.shape[1])
    defined = (counts > 0) & (counts < len(y_true))
    if not defined.any():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes without samples, which are left out below
        areas = multiclass_auroc(probabilities, y_true, num_classes=probabilities.shape[1], average="none")
    return float(areas[defined].mean())


def top_3_accuracy(y_true: Tensor, probabilities: Tensor) -> float | None:
    """Fraction of samples whose class is among the 3 most probable, where there are more classes."""
    return top_k_accuracy(y_true, probabilities, 3) if probabilities.shape[1] > 3 else None


def top_5_accuracy(y_true: Tensor, probabilities: Tensor) -> float | None:
    """Fraction of samples whose class is among the 5 most probable, where there are more classes."""
    return top_k_accuracy(y_true, probabilities, 5) if probabilities.shape[1] > 5 else None


def calibration_error(y_true: Tensor, probabilities: Tensor, n_bins: Count = 15) -> float:
    """Calibration error: the mean gap between confidence and accuracy over `n_bins` bins of confidence."""
    bins = calibration_bins(y_true, probabilities, n_bins)
    gaps = zip(bins["count"], bins["confidence"], bins["accuracy"], strict=True)
    return math.fsum(n * abs(confidence - right) for n, confidence, right in gaps if n) / len(y_true)


def mae(targets: Tensor, values: Tensor) -> float:
    """Mean absolute error, in the labels' units."""
    with pyplot_left_alone():
        from torchmetrics.functional import mean_absolute_error

    return float(mean_absolute_error(values, targets))


def mse(targets: Tensor, values: Tensor) -> float:
    """Mean squared error, in the labels' units squared."""
    with pyplot_left_alone():
        from torchmetrics.functional import mean_squared_error

    return float(mean_squared_error(values, targets))


def rmse(targets: Tensor, values: Tensor) -> float:
    """Root of the mean squared error, in the labels' units."""
    return math.sqrt(mse(targets, values))


def r2(targets: Tensor, values: Tensor) -> float | None:
    """Coefficient of determination; not defined where all labels are equal."""
    with pyplot_left_alone():
        from torchmetrics.functional import r2_score

    return None if (targets == targets[0]).all() else float(r2_score(values, targets))


METRICS: Registry[Callable[..., float | None]] = Registry(
    "metric",
    {
        metric.__name__: metric
        for metric in (
            *(accuracy, subset_accuracy, mean_average_precision, f1_micro),
            *(precision_macro, precision_weighted, recall_macro, recall_weighted, f1_macro, f1_weighted),
            *(roc_auc, top_3_accuracy, top_5_accuracy, calibration_error, hamming_loss),
            *(mae, mse, rmse, r2),
        )
    },
    "metrics",
    section="",
    supplied=(
        *("confusion", "y_true", "y_pred", "probabilities", "targets", "values"),
        *("class_counts", "label_counts", "label_sets", "label_answers", "label_scores"),
    ),
)
"""All metrics, in the order of the report. `METRICS.register(name, function)` adds yours, as does the entry-point group
`dlworkflow.metrics` of another package.
"""

Settings = Mapping[str, Mapping[str, Any]]


def classification_metrics(
    y_true: Tensor, probabilities: Tensor, settings: Settings | None = None
) -> dict[str, float | None]:
    """Return all metrics of a classification: labels (n,), probabilities (n, classes), two classes or more.

    `settings` are those of single metrics: {metric: {setting: value}}.
    """
    check_lengths(y_true, probabilities)
    y_true, probabilities = y_true.cpu().long().reshape(-1), probabilities.cpu().double()
    y_pred = probabilities.argmax(dim=1)
    confusion = confusion_matrix(y_true, y_pred, probabilities.shape[1])
    known = {"y_true": y_true, "y_pred": y_pred, "probabilities": probabilities}
    return _computed(known | of_confusion(confusion), settings)


def multilabel_metrics(
    label_sets: Tensor, label_scores: Tensor, thresholds: Sequence[float], settings: Settings | None = None
) -> dict[str, float | None]:
    """Return all metrics of samples with several labels: labels and probabilities (n, classes).

    A label is predicted from its class's threshold on; `settings` as above.
    """
    check_lengths(label_sets, label_scores)
    sets, scores = label_sets.cpu().long(), label_scores.cpu().double()
    answers = (scores >= scores.new_tensor(thresholds)).long()
    known = {"label_sets": sets, "label_answers": answers, "label_scores": scores}
    return _computed(known | of_labels(counts_of_labels(sets, answers)), settings)


def of_confusion(confusion: Tensor) -> dict[str, Tensor]:
    """Return what a metric of an epoch may need where a sample has one class, by the names of its parameters."""
    return {"confusion": confusion, "class_counts": counts_of_classes(confusion)}


def of_labels(counts: Tensor) -> dict[str, Tensor]:
    """Return what a metric of an epoch may need where a sample has several labels, by the names of its parameters."""
    return {"class_counts": counts, "label_counts": counts}


def regression_metrics(y_true: Tensor, y_pred: Tensor, settings: Settings | None = None) -> dict[str, float | None]:
    """Return all metrics of a regression: labels and predicted values (n, ...), `settings` as above."""
    check_lengths(y_true, y_pred)
    known = {"targets": y_true.cpu().double().reshape(-1), "values": y_pred.cpu().double().reshape(-1)}
    return _computed(known, settings)


def check_settings(settings: Mapping[str, Any]) -> Settings:
    """Return the values of `--set` as they are. Raises ConfigError for an unknown metric or a wrong setting."""
    errors = []
    for name, given in settings.items():
        if name not in METRICS:
            errors.append(f"--set: {unknown('metric', name, METRICS.names())}")
        elif not isinstance(given, Mapping):
            errors.append(f"--set {name}: name one of its settings: METRIC.SETTING=VALUE, not {name}={given}")
        else:
            errors += [f"--set {name}.{key}: {sentence}" for key, sentence in METRICS.faults(name, given).items()]
    if errors:
        raise ConfigError(*errors)
    return settings


def epoch_fault(names: object, task: str = "any") -> str | None:
    """Return why metrics cannot be computed in each epoch, None where they can or where this is no list of names."""
    given = {"any": {"confusion", "class_counts", "label_counts"}, "multilabel": {"class_counts", "label_counts"}}
    for name in names if isinstance(names, list) else ():
        counted = given.get(task, {"confusion", "class_counts"})
        cheap = [known for known in METRICS.names() if METRICS.needs(known) and METRICS.needs(known) <= counted]
        if name not in METRICS:
            return unknown("metric", str(name), cheap)
        if name not in cheap:
            return f"{name} takes more than counts: `dlw evaluate` computes it; in an epoch {', '.join(cheap)}"
    return None


def _computed(known: Mapping[str, Tensor], settings: Settings | None) -> dict[str, float | None]:
    """Return every metric that needs nothing but what is known."""
    computable = [name for name in METRICS.names() if METRICS.needs(name) <= known.keys()]
    return {name: METRICS.build(name, (settings or {}).get(name, {}), **known) for name in computable}


def accuracy_fn(y_true: Tensor, y_pred: Tensor) -> float:
    """Return how many predicted labels are right, in percent. Both are (n,); no sample is nan."""
    if y_true.shape != y_pred.shape:
        raise ValueError(f"labels of shape {tuple(y_true.shape)} and predictions of shape {tuple(y_pred.shape)}")
    return 100 * (y_true == y_pred).cpu().double().mean().item()  # not every device has float64


def majority_baseline(train_counts: Sequence[int], counts: Sequence[int]) -> tuple[int, float]:
    """Return the most frequent training label, the lowest of equals, and the accuracy of always predicting it.

    Both arguments count the samples of each label, in training and in what is scored.
    """
    label = max(range(len(train_counts)), key=train_counts.__getitem__)
    return label, counts[label] / sum(counts)


def wilson_interval(n_correct: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % confidence interval of an accuracy of n_correct / n (Wilson's score interval).

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927). Raises ValueError without a sample.
    """
    if not 0 <= n_correct <= n or n < 1:
        raise ValueError(f"{n_correct} right of {n} samples")
    p = n_correct / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def confusion_matrix(y_true: Tensor, y_pred: Tensor, n_classes: int) -> Tensor:
    """Return how often each class (row) was predicted as each (column): int64 (n_classes, n_classes)."""
    check_lengths(y_true, y_pred)
    cells = n_classes * y_true.long().reshape(-1) + y_pred.long().reshape(-1)
    return cells.bincount(minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def counts_of_classes(confusion: Tensor) -> Tensor:
    """Return how often each class is predicted rightly, is predicted, and is the truth: (3, classes)."""
    import torch

    return torch.stack([confusion.diagonal(), confusion.sum(dim=0), confusion.sum(dim=1)])


def counts_of_labels(label_sets: Tensor, label_answers: Tensor) -> Tensor:
    """Return the same where a sample has several labels; both are int64 (n, classes) of 0 and 1."""
    import torch

    there, answered = label_sets.long(), label_answers.long()
    return torch.stack([(there * answered).sum(dim=0), answered.sum(dim=0), there.sum(dim=0)])


def precisions(class_counts: Tensor) -> Tensor:
    """Return the precision of each class, float64 (classes,)."""
    return class_counts[0].double() / class_counts[1].clamp(min=1)


def recalls(class_counts: Tensor) -> Tensor:
    """Return the recall of each class, float64 (classes,)."""
    return class_counts[0].double() / class_counts[2].clamp(min=1)


def f1s(class_counts: Tensor) -> Tensor:
    """Return the harmonic mean of precision and recall of each class, float64 (classes,)."""
    return 2 * class_counts[0].double() / (class_counts[1] + class_counts[2]).clamp(min=1)


def top_k_accuracy(y_true: Tensor, probabilities: Tensor, k: int) -> float:
    """Return how often the true class is among the k most probable, in [0, 1]."""
    check_lengths(y_true, probabilities)
    likeliest = probabilities.topk(min(k, probabilities.shape[1]), dim=1).indices
    return float((likeliest == y_true.long()[:, None]).any(dim=1).cpu().double().mean())


def calibration_bins(y_true: Tensor, probabilities: Tensor, n_bins: int = 15) -> dict[str, list[float]]:
    """Return mean confidence, accuracy (nan where empty) and count of `n_bins` bins of confidence of equal width."""
    check_lengths(y_true, probabilities)
    confidence, y_pred = probabilities.cpu().double().max(dim=1)
    right = (y_pred == y_true.cpu().long()).double()
    bins = ((confidence * n_bins).ceil().long() - 1).clamp(0, n_bins - 1)
    inside = [bins == index for index in range(n_bins)]
    return {
        "confidence": [float(confidence[each].mean()) for each in inside],  # nan where nothing is inside
        "accuracy": [float(right[each].mean()) for each in inside],
        "count": [float(each.sum()) for each in inside],
    }


def check_lengths(y_true: Tensor, other: Tensor) -> None:
    """Raise ValueError for labels and predictions of different number, and DataError where there are none."""
    if len(y_true) != len(other):
        raise ValueError(f"{len(y_true)} labels and {len(other)} predictions")
    if not len(y_true):
        raise DataError("no sample to score")


def _macro(class_counts: Tensor, scores: Tensor) -> float:
    return float(scores[class_counts[1] + class_counts[2] > 0].mean())


def _weighted(class_counts: Tensor, scores: Tensor) -> float:
    return float((scores * class_counts[2]).sum() / class_counts[2].sum())
