"""What a prediction needs of a run, as plain data: preprocessing, columns, thresholds, its weights file. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlworkflow.data.columns import Columns
from dlworkflow.data.images.transforms import Pipeline, Spec, parse
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.errors import RunError
from dlworkflow.runs import Run, Summary
from dlworkflow.runs.calibration import CALIBRATED_ON, CalibrationSummary


def stored_transform(summary: Summary) -> Pipeline | None:
    """Return a run's preprocessing of images, None for numbers; where none was stored, it only resizes."""
    if summary.kind != "image":
        return None
    return pipeline_of(summary.transform, summary.in_shape)


def pipeline_of(spec: Spec, in_shape: Sequence[int]) -> Pipeline:
    """Return the preprocessing of images that become (channels, height, width)."""
    channels, *size = in_shape
    return parse(spec, image_size=size, channels=channels)


def stored_target(summary: Summary) -> TargetScale | None:
    """Return the scale of a run's targets, None where they were not scaled."""
    return TargetScale(**summary.target) if summary.target else None


def stored_thresholds(summary: Summary) -> tuple[float, ...]:
    """Return the probability from which each class of a multilabel task is predicted; empty for another task."""
    if summary.task != "multilabel":
        return ()
    return tuple((summary.thresholds or dict.fromkeys(summary.classes, 0.5)).values())


def stored_columns(summary: Summary) -> Columns | None:
    """Return the columns of the table that a run was trained on, None for other data."""
    return Columns.from_data(summary.columns) if summary.columns else None


def stored_calibration(run: Run, weights: str = "best") -> CalibrationSummary | None:
    """Return what `dlw calibrate` found of a run's best or last weights, None before, and of weights of another epoch.

    Where the last epoch is the best, what was found of either is of both. Raises RunError when it is damaged.
    """
    summary = run.summary()
    for split in sorted(CALIBRATED_ON.values(), key=lambda split: split != CALIBRATED_ON[weights]):
        found = run.found(CalibrationSummary, split)
        if found is not None and found.is_of_weights(summary, weights):
            return found
    return None


def stored_temperature(run: Run, weights: str = "best") -> float | None:
    """Return by what the raw scores of a run's weights are divided, None where they are not calibrated."""
    found = stored_calibration(run, weights)
    return found.temperature if found is not None else None


def stored_weights(run: Run, weights: str = "best") -> Path:
    """Return the file of a run's best or last weights. Raises RunError when it has none."""
    path = run.weights_path(weights)
    if not path.is_file():
        raise RunError(f"{run.name} has no weights {path.name!r} (status: {run.summary().status})")
    return path
