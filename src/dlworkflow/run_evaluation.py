"""A trained run on data: its own splits or another data set, scored as samples, reported, written into its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from dlworkflow import data
from dlworkflow.config import DataSettings
from dlworkflow.data.image_folder import load_labelled
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.splits import Splits, labels_of, with_validation
from dlworkflow.data.transforms import parse
from dlworkflow.device import choose_device, choose_threads, thread_count
from dlworkflow.engine import Evaluation, evaluate
from dlworkflow.errors import DataError, RunError
from dlworkflow.evaluation import EvaluationReport, make_report
from dlworkflow.inference import load_run_model
from dlworkflow.metrics import majority_baseline
from dlworkflow.runs import Run
from dlworkflow.tasks import build_loss, get_task


@dataclass(frozen=True)
class Part:
    """A split to score: its samples in evaluation's preprocessing, a name for it, and files where there are any."""

    name: str
    dataset: Dataset[Any]

    @property
    def files(self) -> Sequence[Path] | None:
        """The picture files of the samples, in order, or None."""
        return getattr(self.dataset, "paths", None)

    @property
    def labels(self) -> list[int] | None:
        """The labels of the samples, in order, or None where only the samples know them."""
        labels = labels_of(self.dataset)
        return None if labels is None else labels.long().tolist()


def load_splits(run: Run, *, offline: bool = False, data_dir: str | None = None) -> Splits:
    """Load the data that a run was trained on, as its own settings say.

    Raises DataError when it is not there, and RunError when its classes are no longer those of the run.
    """
    summary = run.summary()
    stored = summary["config"]["data"]
    settings = {key: value for key, value in stored.items() if key not in DataSettings.model_fields}
    splits = data.load(stored["name"], data_dir=data_dir or stored["data_dir"], offline=offline, **settings)
    if stored.get("val_fraction") is not None:
        splits = with_validation(splits, stored["val_fraction"], random_state=stored["val_seed"])
    if list(splits.classes) != summary["classes"]:
        raise RunError(
            f"the classes of {splits.name!r} are no longer those of {run.name}: "
            f"now {', '.join(splits.classes)}; then {', '.join(summary['classes'])}"
        )
    return splits


def load_part(
    run: Run,
    split: str = "test",
    *,
    other: str | None = None,
    ignore_extra: bool = False,
    data_dir: str | None = None,
    offline: bool = False,
) -> Part:
    """Load a split of a run's own data, or of `other`: a path to pictures, or a data set of the table.

    Pictures' classes are matched to the run's by name; a data set of the table must have
    the run's own. Raises DataError when they differ or the split is not there.
    """
    if other is None:
        return Part(split, _as_evaluated(load_splits(run, data_dir=data_dir, offline=offline).part(split)))
    summary = run.summary()
    if other not in data.names():
        if summary["kind"] != "image":
            raise DataError(f"--data: {run.name} takes numbers; name a data set of `dlw data list`, not {other!r}")
        channels = summary["in_shape"][0]
        pipeline = parse(summary["transform"], channels=channels)
        pictures = load_labelled(other, summary["classes"], pipeline, channels, split=split, ignore_extra=ignore_extra)
        return Part(f"{Path(other).stem}-{split}", pictures)
    taken = data.settings(other)
    channels = summary["in_shape"][0]
    given = {"image_size": summary["in_shape"][1:], "transform": summary["transform"], "channels": channels}
    given = given if summary["kind"] == "image" else {}
    splits = data.load(
        other, data_dir=data_dir, offline=offline, **{key: value for key, value in given.items() if key in taken}
    )
    if ignore_extra:
        raise DataError(f"--ignore-extra: is for pictures of your own; {other!r} has the run's classes or it has not")
    if list(splits.classes) != summary["classes"] or splits.in_shape != tuple(summary["in_shape"]):
        raise DataError(
            f"data {other!r} is not of the kind that {run.name} was trained on: it has classes "
            f"{', '.join(splits.classes) or 'none'} and samples of {splits.in_shape}, "
            f"the run {', '.join(summary['classes']) or 'none'} and {tuple(summary['in_shape'])}"
        )
    return Part(f"{other}-{split}", _as_evaluated(splits.part(split)))


def evaluate_part(run: Run, part: Part, *, weights: str = "best", device: str = "auto") -> Evaluation:
    """Score a run's weights on a part, as samples, not as batches."""
    summary = run.summary()
    model = load_run_model(run, weights)
    task = get_task(summary["task"])
    batches = make_loader(part.dataset, summary["config"]["data"]["batch_size"], generator=torch.Generator())
    loss_fn = build_loss(task, summary["config"]["loss"])
    with thread_count(choose_threads(summary["threads"], model, summary["in_shape"])):
        return evaluate(model, batches, loss_fn, choose_device(device), task=task)


def evaluate_run(
    run: Run, split: str = "test", *, weights: str = "best", device: str = "auto", data_dir: str | None = None
) -> Evaluation:
    """Score a run's weights on a split of its own data."""
    return evaluate_part(run, load_part(run, split, data_dir=data_dir), weights=weights, device=device)


def report_part(run: Run, part: Part, result: Evaluation) -> EvaluationReport:
    """Say what an evaluation is worth, against what answering without looking would score on the same samples."""
    summary = run.summary()
    score, answer = _baseline(summary, result)
    return make_report(
        result.logits,
        result.y,
        get_task(summary["task"]),
        loss_name=summary["config"]["loss"],
        classes=summary["classes"],
        baseline=score,
        baseline_answer=answer,
        files=part.files,
    )


def report_run(run: Run, split: str = "test", *, weights: str = "best", device: str = "auto") -> EvaluationReport:
    """Score a run's weights on a split of its own data and say what they are worth."""
    part = load_part(run, split)
    return report_part(run, part, evaluate_part(run, part, weights=weights, device=device))


def write_report(run: Run, part: Part, report: EvaluationReport) -> list[Path]:
    """Write a report into the run's folder: evaluation.json, predictions.csv, errors.csv, confusion_matrix.csv."""
    tables: dict[str, list[dict[str, Any]]] = {"predictions": report.samples, "errors": report.errors()}
    if report.matrix is not None:
        tables["confusion_matrix"] = [
            {"truth": name, **dict(zip(report.classes, row, strict=True))}
            for name, row in zip(report.classes, report.matrix, strict=True)
        ]
    return run.write_evaluation(part.name, {"run": run.name, "split": part.name, **report.to_data()}, tables)


def _as_evaluated(dataset: Dataset[Any]) -> Dataset[Any]:
    """Return a data set without training's random transforms."""
    plain: Dataset[Any] = dataset.without_augmentation() if hasattr(dataset, "without_augmentation") else dataset
    return plain


def _baseline(summary: dict[str, Any], result: Evaluation) -> tuple[float | None, str | None]:
    """Return what the most frequent training class (or the training mean) scores on these samples, and its name."""
    stored = summary.get("baseline") or {}
    if not stored:
        return None, None
    if stored["metric"] == "loss":
        task = get_task(summary["task"])
        constant = result.y.new_full(result.y.shape, stored["answer"])
        return float(build_loss(task, summary["config"]["loss"])(constant, result.y)), "the training mean"
    label = summary["classes"].index(stored["answer"])
    return majority_baseline([label], result.y.long().reshape(-1).tolist())[1], stored["answer"]
