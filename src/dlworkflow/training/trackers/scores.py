"""What trackers are given of a run by name: its settings and facts, its result, an evaluation. Knows no tracker."""

from __future__ import annotations

from typing import Any

from dlworkflow.config.command_line import flat
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.runs import EvaluationSummary, Summary, over_samples
from dlworkflow.runs.stored import is_number


def facts_of(summary: Summary) -> dict[str, Any]:
    """Return all settings of a run by dotted key, then what it knows of its data, model and device."""
    samples = {f"samples.{split}": n for split, n in summary.samples.items()}
    return flat(summary.config) | samples | {"parameters": summary.parameters, "device": summary.device}


def results_of(summary: Summary) -> dict[str, float]:
    """Return the result of a training: its best epoch, with a 95 % interval of the accuracy, baseline and time."""
    best, by_batch = over_samples(summary, summary.best)
    found = {f"best/{key}": value for key, value in best.items() if key != "seconds"}
    accuracy, n = best.get("test_acc"), summary.samples["test"]
    if isinstance(accuracy, float) and n and "test_acc" not in by_batch:
        found |= dict(
            zip(("best/test_acc_low", "best/test_acc_high"), wilson_interval(round(accuracy * n), n), strict=True)
        )
    baseline = summary.baseline.score if summary.baseline else None
    others = {"baseline": baseline, "boosting": summary.boosting, "seconds": summary.seconds}
    return _numbers(found | {f"result/{key}": value for key, value in others.items()})


def scores_of(found: EvaluationSummary) -> dict[str, float]:
    """Return an evaluation: loss, metrics, a 95 % interval of the accuracy, and the baseline on the same samples."""
    low, high = found.accuracy_interval_95 or (None, None)
    scores = {"loss": found.loss, **found.metrics, "accuracy_low": low, "accuracy_high": high}
    scores |= {"baseline": found.baseline, "boosting": found.boosting, "samples": found.samples}
    return _numbers({f"evaluation_{found.split}/{key}": value for key, value in scores.items()})


def _numbers(scores: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in scores.items() if is_number(value)}
