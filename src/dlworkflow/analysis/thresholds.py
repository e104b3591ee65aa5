"""From which probability a class of a multilabel run is predicted: found on its validation split, kept in the run."""

from __future__ import annotations

from typing import Any

from dlworkflow.analysis.evaluation import evaluate_part
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import ConfigError
from dlworkflow.inference.averaging import TTA
from dlworkflow.metrics.multilabel import best_thresholds
from dlworkflow.runs import Run


def set_thresholds(
    run: Run,
    wanted: str,
    *,
    weights: str = "best",
    device: str = "auto",
    tta: TTA | None = None,
    calibrated: bool = True,
    **of_data: Any,
) -> dict[str, float]:
    """Store the thresholds of a run and return them, {class: probability}; predictions use them from then on.

    `wanted` is a number for all classes, or `best`: for each class that with the highest F1 on the validation split.
    `of_data` are arguments of `load_part`. Raises ConfigError for a run of another task, one without a validation
    split, and another word or number.
    """
    summary = run.summary()
    if summary.task != "multilabel":
        raise ConfigError(f"--thresholds: for several labels per sample; the task of {run.name} is {summary.task}")
    if wanted != "best":
        values = [_number(wanted)] * len(summary.classes)
    elif "val" not in summary.samples:
        raise ConfigError(
            "--thresholds: best is found on a validation split, and this run has none; train with --val-fraction 0.2, "
            "or give a number"
        )
    else:
        result = evaluate_part(
            run, load_part(run, "val", **of_data), weights=weights, device=device, tta=tta, calibrated=calibrated
        )
        values = best_thresholds(result.y, get_task(summary.task).probabilities(result.logits))
    found = dict(zip(summary.classes, values, strict=True))
    run.update_summary(thresholds=found)
    return found


def _number(wanted: str) -> float:
    try:
        number = float(wanted)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise ConfigError(f"--thresholds: best, or a number between 0 and 1, not {wanted!r}")
    return number
