"""A trained run on data: its own splits or another data set, scored over samples, reported, written to its folder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dlworkflow import data
from dlworkflow.config import DataSettings
from dlworkflow.data.datasets.labelled import load_labelled
from dlworkflow.data.folders.image_table import Columns
from dlworkflow.data.images.options import OnBad
from dlworkflow.data.images.transforms import parse
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.protocol import (
    AnswersBatches,
    Streamed,
    drop_left_out,
    files_of,
    left_out_of,
    without_augmentation,
)
from dlworkflow.data.selection import SELECTION, limited_part, select
from dlworkflow.data.shards.loading import load_labelled_shards
from dlworkflow.data.shards.names import shards_path
from dlworkflow.data.splits import Splits, has_changed, is_former
from dlworkflow.data.tables.boosting import boosting_score
from dlworkflow.data.tables.labelled import load_labelled_table
from dlworkflow.engine.device import choose_device, choose_threads, thread_count
from dlworkflow.engine.loop import Evaluation, evaluate
from dlworkflow.engine.losses import build_loss
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import ConfigError, DataError, MissingDataError, RunError, few
from dlworkflow.files.paths import user_path
from dlworkflow.files.text import LABEL_SEPARATOR
from dlworkflow.inference.averaging import TTA, mean_scores, with_tta
from dlworkflow.inference.rebuild import (
    check_alike,
    load_run_model,
    stored_columns,
    stored_target,
    stored_thresholds,
    take_code,
)
from dlworkflow.metrics.functions import Settings
from dlworkflow.metrics.report import EvaluationReport, boosting_warnings, make_report
from dlworkflow.registry.user_code import is_code
from dlworkflow.runs import EvaluationSummary, Run, Summary

STREAMED_BATCH = 256
"""Samples of shards that are scored at once where the run was trained on all of its data as one batch."""


@dataclass(frozen=True)
class Part:
    """A split to score: its samples in evaluation's preprocessing, a name for it, and files where there are any.

    `fingerprint` is that of a split of the run's own data at training, where it is known.
    `skipped` unreadable images were left out; `notes` name them.
    """

    name: str
    dataset: Dataset[Any]
    fingerprint: str | None = None
    skipped: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def changed(self) -> bool:
        """Whether a split of the run's own data is not what it was trained on.

        Files that have not been read yet are read for it: scoring the split first saves that.
        """
        return has_changed(self.dataset, self.fingerprint)

    @property
    def fingerprint_is_former(self) -> bool:
        """Whether names and sizes alone are compared, as all that an older version noted of the files."""
        return is_former(self.fingerprint, self.dataset)

    @property
    def files(self) -> Sequence[Path] | None:
        """The image files of the samples, in order, or None."""
        return files_of(self.dataset)


def load_splits(
    run: Run,
    *,
    offline: bool = False,
    data_dir: str | None = None,
    on_bad: OnBad | None = None,
    without_folds: bool = False,
) -> Splits:
    """Load the data that a run was trained on, by its own settings, `on_bad` as given.

    `without_folds` gives the whole training data and the own test split of a run whose test split is a fold. Raises
    DataError when the data is not there, and RunError when its classes are no longer those of the run.
    """
    summary = run.summary()
    take_code(run)
    stored = summary.config["data"]
    settings = {key: value for key, value in stored.items() if key not in DataSettings.model_fields}
    settings |= _on_bad(stored["name"], on_bad)
    splits = data.load(stored["name"], data_dir=data_dir or stored["data_dir"], offline=offline, **settings)
    chosen = ("limit",) if without_folds and stored.get("folds") else SELECTION
    splits = select(splits, **{key: stored[key] for key in chosen if key in stored})
    if list(splits.classes) != summary.classes:
        raise RunError(
            f"the classes of {splits.name!r} are no longer those of {run.name}: "
            f"now {few(splits.classes)}; then {few(summary.classes)}"
        )
    return splits


def load_part(
    run: Run,
    split: str = "test",
    *,
    other: str | None = None,
    ignore_extra: bool = False,
    on_bad: OnBad | None = None,
    data_dir: str | None = None,
    offline: bool = False,
    limit: float | None = None,
    without_folds: bool = False,
) -> Part:
    """Load a split of a run's own data, or of `other`: a path to images, or a data set by name or `file.py:load`.

    Images' classes are matched to the run's by name; a data set of the table and shards must have the run's own.
    `on_bad` is what becomes of images that cannot be read: as in the run's settings for its own data, else an
    error. `limit` takes some of the samples, see `limited_part`; `without_folds` is as for `load_splits`. Raises
    DataError when classes differ or the split is not there.
    """
    if other is None:
        splits = _own_splits(run, data_dir=data_dir, offline=offline, on_bad=on_bad, without_folds=without_folds)
        known = {} if without_folds else run.data_fingerprints()
        part = replace(_part(split, split, splits), fingerprint=known.get(split))
        part = replace(part, notes=tuple(dict.fromkeys((*splits.selected, *part.notes))))
    else:
        other = data.locate(other)["name"] if is_code(other) else other
        load = _part_of_table if other in data.names() else _part_of_path
        given: dict[str, Any] = {"ignore_extra": ignore_extra, "on_bad": on_bad}
        part = load(run, other, split, **given, data_dir=data_dir, offline=offline)
    return part if limit is None else _limited(part, limit, classes=bool(run.summary().classes))


def _limited(part: Part, limit: float, *, classes: bool) -> Part:
    """Return some samples of a part, under a name of its own, so that its files stand beside those of the whole."""
    some, _ = limited_part(part.dataset, limit, classes=classes, name=part.name)
    note = f"limited to {len(some):,} of {len(part.dataset):,} samples: the scores are of these alone"  # type: ignore[arg-type]
    return replace(part, name=f"{part.name}-limited", dataset=some, fingerprint=None, notes=(*part.notes, note))


def _part_of_path(run: Run, path: str, split: str, *, ignore_extra: bool, on_bad: OnBad | None, **_: object) -> Part:
    """Load a table, images or shards of a user's own."""
    summary = run.summary()
    if (columns := stored_columns(summary)) is not None:
        known = {
            "task": summary.task,
            "split": split,
            "split_column": summary.config["data"].get("split_column") or "split",
        }
        rows = load_labelled_table(path, columns, summary.classes, stored_target(summary), **known)
        return Part(_name_of(Path(path), split), rows)
    if summary.kind != "image":
        raise DataError(f"--data: {run.name} takes numbers; name a data set of `dlw data list`, not {path!r}")
    channels = summary.in_shape[0]
    pipeline = parse(summary.transform, channels=channels)
    options: dict[str, Any] = {"split": split, "on_bad": on_bad or "error"}
    if (shards := shards_path(path)) is None:
        options |= {"columns": _columns(summary), "target": stored_target(summary)}
        found = load_labelled(path, summary.classes, pipeline, channels, ignore_extra=ignore_extra, **options)
        return Part(_name_of(Path(path), split), found.images, skipped=found.skipped, notes=found.notes)
    if summary.task != "multiclass":
        raise DataError(f"--data: shards hold one class per image; the task of {run.name} is {summary.task}")
    if ignore_extra:
        raise DataError(f"--ignore-extra: shards must have the classes of the run: {path!r}")
    streamed, skipped, notes = load_labelled_shards(shards, summary.classes, pipeline, channels, **options)
    whole = Path(shards)
    name = _name_of(whole, split) if whole.is_dir() else f"{whole.parent.name}-shards"
    return Part(name, streamed, skipped=skipped, notes=notes)


def _columns(summary: Summary) -> Columns:
    """Return the columns of a CSV file as those of the run's own data."""
    own = summary.config["data"]
    named: dict[str, Any] = {key: own.get(f"{key}_column") for key in ("path", "label")}
    named |= {"task": summary.task, "empty_labels": own.get("empty_labels", "error")}
    return Columns(**named, other=[own["group"]] if own.get("group") else [])


def _part_of_table(
    run: Run, name: str, split: str, *, ignore_extra: bool, on_bad: OnBad | None, data_dir: str | None, offline: bool
) -> Part:
    """Load a split of a data set of the table, prepared as the run's own data."""
    summary = run.summary()
    given: dict[str, Any] = {"transform": summary.transform, "channels": summary.in_shape[0]}
    given |= {"image_size": summary.in_shape[1:]}
    known = {key: given[key] for key in data.settings(name) if key in given and summary.kind == "image"}
    splits = data.load(name, data_dir=data_dir, offline=offline, **known | _on_bad(name, on_bad))
    if ignore_extra:
        raise DataError(f"--ignore-extra: only for your own images; {name!r} must have the classes of the run")
    if list(splits.classes) != summary.classes or splits.in_shape != tuple(summary.in_shape):
        raise DataError(
            f"data {name!r} is not of the kind that {run.name} was trained on: it has classes "
            f"{few(splits.classes) or 'none'} and samples of {splits.in_shape}, "
            f"the run {few(summary.classes) or 'none'} and {tuple(summary.in_shape)}"
        )
    return _part(f"{name}-{split}", split, splits)


def _name_of(path: Path, split: str) -> str:
    """Return the name of images from elsewhere: `photos-test` for `photos`, for `photos/test` and for a CSV."""
    whole = user_path(path).resolve()
    name = whole.stem if whole.is_file() else whole.name
    return f"{whole.parent.name if name == split else name}-{split}"


def evaluate_part(
    run: Run, part: Part, *, weights: str = "best", device: str = "auto", tta: TTA | None = None
) -> Evaluation:
    """Score a run's weights on a part, with test-time augmentation where given; means are over samples."""
    summary = run.summary()
    take_code(run, ("model", "loss"))
    task = get_task(summary.task)
    model = with_tta(load_run_model(run, weights), tta, task, kind=summary.kind, owner=run.name)
    size = summary.config["data"]["batch_size"]
    if size == "full" and isinstance(part.dataset, Streamed):
        size = STREAMED_BATCH
    batches = make_loader(part.dataset, size, generator=torch.Generator())
    loss_fn = build_loss(task, summary.config["loss"])
    with thread_count(choose_threads(summary.threads, model, summary.in_shape)):
        result = evaluate(model, batches, loss_fn, choose_device(device), task=task)
    drop_left_out(part.dataset)  # files and labels are those of the samples that were scored
    return result


def evaluate_together(runs: Sequence[Run], part: Part, **options: Any) -> tuple[Evaluation, list[Evaluation]]:
    """Score the mean of several runs' predictions on a part, and each run alone; `options` as for `evaluate_part`.

    `part` is one of the first run. Raises RunError for runs that cannot be averaged.
    """
    check_alike(runs)
    alone = [evaluate_part(run, part, **options) for run in runs]
    summary, target = runs[0].summary(), stored_target(runs[0].summary())
    task = get_task(summary.task)
    scores = [result.logits for result in alone]
    if target is not None:  # each run has a scale of its own
        own = (stored_target(run.summary()) or target for run in runs)
        scores = [target.scaled(scale.undone(values)) for scale, values in zip(own, scores, strict=True)]
    logits, y = task.align(mean_scores(torch.stack(scores), task), alone[0].y), alone[0].y
    loss = float(build_loss(task, summary.config["loss"])(logits, y))
    acc = float(task.is_correct(logits, y).double().mean()) if task.has_accuracy else math.nan
    return Evaluation(loss, acc, logits, y), alone


def evaluate_run(
    run: Run,
    split: str = "test",
    *,
    weights: str = "best",
    device: str = "auto",
    data_dir: str | None = None,
    tta: TTA | None = None,
) -> Evaluation:
    """Score a run's weights on a split of its own data, with test-time augmentation where given."""
    return evaluate_part(run, load_part(run, split, data_dir=data_dir), weights=weights, device=device, tta=tta)


def report_part(run: Run, part: Part, result: Evaluation, settings: Settings | None = None) -> EvaluationReport:
    """Return the report of an evaluation, with the baseline on the same samples; `settings` are those of metrics."""
    report = report_result(run, result, part.files, settings)
    return with_boosting(report, _boosting(run, part))


def report_result(
    run: Run, result: Evaluation, files: Sequence[Path] | None = None, settings: Settings | None = None
) -> EvaluationReport:
    """Return the report of a run's raw scores; see `report_part`, which adds the score of gradient boosting."""
    summary = run.summary()
    score, answer, constant = _baseline(summary, result)
    return make_report(
        result.logits,
        result.y,
        get_task(summary.task),
        loss_name=summary.config["loss"],
        classes=summary.classes,
        baseline=score,
        baseline_answer=answer,
        files=files,
        settings=settings,
        target=stored_target(summary),
        thresholds=stored_thresholds(summary),
        constant=constant,
    )


def with_boosting(report: EvaluationReport, boosting: float | None) -> EvaluationReport:
    """Return a report with the score of gradient boosting on the same samples, where there is one."""
    if boosting is None:
        return report
    own = report.metrics["accuracy"] or 0.0 if report.classes else report.loss
    warnings = (*report.warnings, *boosting_warnings(own, boosting, report.interval))
    return replace(report, boosting=boosting, warnings=warnings)


def _boosting(run: Run, part: Part) -> float | None:
    """Return what gradient boosting scores on a part that is no training data; None where the run has no table."""
    summary = run.summary()
    if summary.columns is None or part.name == "train" or not isinstance(part.dataset, AnswersBatches):
        return None  # out-of-fold predictions are of several trainings
    if part.name == "test" and summary.boosting is not None and not part.changed:
        return summary.boosting
    try:
        splits = load_splits(run, offline=True)
    except MissingDataError:  # other data is scored, where the run's own is no longer
        return None
    return boosting_score(splits, part.dataset, loss=summary.config["loss"])


def report_run(
    run: Run, split: str = "test", *, weights: str = "best", device: str = "auto", tta: TTA | None = None
) -> EvaluationReport:
    """Return the report of a run's weights on a split of its own data, with test-time augmentation where given."""
    part = load_part(run, split)
    return report_part(run, part, evaluate_part(run, part, weights=weights, device=device, tta=tta))


def write_report(
    run: Run, part: Part, report: EvaluationReport, *, weights: str = "best", tta: TTA | None = None
) -> list[Path]:
    """Write a report into the run's folder: evaluation.json, predictions.csv, errors.csv, confusion_matrix.csv."""
    found = report_data(run, part, report, weights=weights, tta=tta)
    return run.write_evaluation(part.name, found, report_tables(report))


def report_tables(report: EvaluationReport) -> dict[str, Iterable[dict[str, Any]]]:
    """Return the tables of a report by the names of their files: predictions, errors, confusion_matrix."""
    tables: dict[str, Iterable[dict[str, Any]]] = {"predictions": report.predictions(), "errors": report.errors()}
    if report.matrix is not None:
        tables["confusion_matrix"] = [
            {"truth": name} | {f"predicted: {other}": n for other, n in zip(report.classes, row, strict=True)}
            for name, row in zip(report.classes, report.matrix, strict=True)
        ]
    return tables


def report_data(
    run: Run, part: Part, report: EvaluationReport, *, weights: str = "best", tta: TTA | None = None
) -> EvaluationSummary:
    """Return a report as `evaluation.json` holds it: without its samples, with the run, the weights and the split."""
    return EvaluationSummary(
        run=run.name,
        weights=weights,
        tta=tta,
        epoch=run.summary().row(weights).get("epoch"),
        split=part.name,
        data_changed=part.changed,
        skipped=part.skipped + len(left_out_of(part.dataset)),
        **report.to_data(),
    )


def _part(name: str, split: str, splits: Splits) -> Part:
    skipped = splits.skipped.get(split, 0)
    return Part(name, without_augmentation(splits.part(split)), skipped=skipped, notes=splits.notes if skipped else ())


def _on_bad(name: str, on_bad: OnBad | None) -> dict[str, Any]:
    """Return the setting for a data set of the table. Raises ConfigError where it reads no image files."""
    if on_bad is None:
        return {}
    if "on_bad" not in data.settings(name):
        raise ConfigError(f"--on-bad: data {name!r} has no image files that could be left out")
    return {"on_bad": on_bad}


def _own_splits(run: Run, **options: Any) -> Splits:
    """Load a run's own data; where its images were moved, the error shows how to name their new place."""
    try:
        return load_splits(run, **options)
    except MissingDataError as error:
        if "path" not in run.summary().config["data"]:
            raise
        raise MissingDataError(
            f"{error}; if it was moved, `dlw evaluate {run.name} --data FOLDER` scores it where it is now "
            "(of class folders alone every image, those of training included)"
        ) from None


def _baseline(summary: Summary, result: Evaluation) -> tuple[float | None, str | None, Tensor | None]:
    """Return what the most frequent training class (or the training mean) scores on these samples, and its name.

    Last comes the answer as labels or a number, where it has metrics of its own.
    """
    stored = summary.baseline
    if stored is None:
        return None, None, None
    if stored.metric == "loss":
        task, constant = get_task(summary.task), result.y.new_tensor(float(stored.answer))
        loss = build_loss(task, summary.config["loss"])(constant.expand_as(result.y), result.y)
        return float(loss), "the training mean", constant
    answer = str(stored.answer)
    if summary.task == "multilabel":
        named = answer.split(LABEL_SEPARATOR)
        labels = result.y.new_tensor([float(name in named) for name in summary.classes])
        return float((result.y == labels).all(dim=1).double().mean()), answer, labels
    return float((result.y == summary.classes.index(answer)).double().mean()), answer, None
