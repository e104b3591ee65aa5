"""An evaluation in words and as the cells of tables, as people read it. Knows no run folder and no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlworkflow.files.numbers import number, percent
from dlworkflow.runs.evaluation import Answered, EvaluationSummary, FoldsSummary

Row = dict[str, Any]

MOST_CLASSES = 25
"""A table for people shows up to this many classes."""

PAIR_COLUMNS = {"truth": "truth", "prediction": "taken for", "count": "times", "share": "of the truth"}


def metric_columns(found: EvaluationSummary) -> dict[str, str]:
    """Return {key: heading} of the table of metrics: those of intervals and of the baseline where there are any."""
    columns = {"what": f"{found.split} split", "value": "value"}
    if found.intervals_95:
        columns["interval"] = "95 % interval"
    if found.baseline_metrics is not None:
        columns["baseline"] = f"always {found.baseline_answer!r}" if found.classes else "the training mean"
    return columns


def metric_rows(found: EvaluationSummary) -> list[Row]:
    """Return the cells of the table of metrics, a row each."""
    row: Row = {"samples": found.samples, "loss": found.loss, **found.metrics}
    of_baseline = (found.baseline_metrics or {}) | {"loss": None if found.classes else found.baseline}
    accuracy = "subset_accuracy" if found.thresholds else "accuracy"
    intervals = (found.intervals_95 or {}) | {accuracy: found.accuracy_interval_95}
    return [
        {
            "what": key.replace("_", " "),
            "value": score_text(key, value),
            "interval": " to ".join(score_text(key, end) for end in intervals.get(key) or ()),
            "baseline": score_text(key, of_baseline.get(key)),
        }
        for key, value in row.items()
        if value is not None
    ]


def score_text(key: str, value: Any) -> str:
    """Return a metric as text: an accuracy in percent."""
    return percent(value) if key.endswith("accuracy") else number(value)


def fold_columns(found: FoldsSummary) -> list[str]:
    """Return the keys of the table of folds; the epoch only where it is not the same in all."""
    return [key for key in found.folds[0] if key != "epoch" or len({row["epoch"] for row in found.folds}) > 1]


def fold_rows(found: FoldsSummary) -> list[Row]:
    """Return the cells of the table of folds: a row each, then the means with their standard deviations."""
    return [*({key: score_text(key, value) for key, value in row.items()} for row in found.folds), _mean_of(found)]


def fold_sentence(found: FoldsSummary) -> str:
    """Return the means over folds with their standard deviations."""
    means = [f"{key.replace('_', ' ')} {text}" for key, text in _mean_of(found).items() if key != "fold"]
    return f"mean over {len(found.folds)} folds: {', '.join(means)}"


def _mean_of(found: FoldsSummary) -> Row:
    means = {key: score_text(key, value) for key, value in found.mean.items()}
    deviations = {key: f" ± {score_text(key, value)}" for key, value in found.deviation.items()}
    return {"fold": "mean"} | {key: f"{text}{deviations.get(key, '')}" for key, text in means.items()}


def class_columns(found: EvaluationSummary) -> dict[str, str]:
    """Return {key: heading} of the table of classes."""
    columns = {"label": "class", "precision": "precision", "recall": "recall", "f1": "f1"}
    columns |= {"support": "samples", "predicted": "answered"}
    if found.thresholds:
        columns |= {"average_precision": "average precision", "threshold": "threshold"}
    return columns


def class_rows(found: EvaluationSummary, most: int | None = MOST_CLASSES) -> list[Row]:
    """Return the cells of the table of classes; of more than `most`, those with the lowest f1, worst first."""
    shown: Sequence[Mapping[str, Any]] = found.classes
    if most is not None and len(shown) > most:
        shown = sorted(shown, key=lambda each: each["f1"])[:most]
    return [{k: f"{v:.4f}" if isinstance(v, float) else number(v) for k, v in each.items()} for each in shown]


def pair_rows(found: EvaluationSummary) -> list[Row]:
    """Return the cells of the table of the most confused pairs."""
    return [pair | {"count": number(pair["count"]), "share": percent(pair["share"])} for pair in found.confused_pairs]


def sentences(found: EvaluationSummary) -> list[str]:
    """Return what to know of the scores: the interval of the accuracy, the baseline, gradient boosting."""
    lines = []
    if found.accuracy_interval_95 is not None:
        low, high = map(percent, found.accuracy_interval_95)
        accuracy = "subset accuracy (every label right)" if found.thresholds else "accuracy"
        lines.append(
            f"with {found.samples:,} samples, the 95 % confidence interval of the {accuracy} is {low} to {high}; "
            "`dlw compare RUN OTHER` tests whether another run differs"
        )
        if found.baseline is not None:
            lines.append(f"always answering {found.baseline_answer!r} scores {percent(found.baseline)}")
    elif found.baseline is not None:
        lines.append(f"always answering the training mean has a loss of {found.baseline:.5f}")
    if (given := found.answered) is not None:
        lines.append(_of_answered(given, found.samples))
    if found.boosting is not None:
        score = percent(found.boosting) if found.classes else f"a loss of {found.boosting:.5f}"
        lines.append(f"scikit-learn's gradient boosting, trained on the same rows: {score}")
    return lines


def _of_answered(given: Answered, samples: int) -> str:
    n, right, (low, high) = given["count"], given["right"], map(percent, given["accuracy_interval_95"])
    if not n:
        return f"with {given['by']} no sample is answered: all {samples:,} are unsure"
    return (
        f"with {given['by']}, {n:,} of {samples:,} samples are answered ({percent(n / samples)}), {right:,} of these "
        f"rightly: {percent(right / n)}, 95 % confidence interval {low} to {high}"
    )
