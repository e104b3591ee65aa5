"""A trained run scored over samples, reported, written to its folder; `scored_data` loads what it is scored on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlworkflow.analysis.scored_data import Part, load_part, load_splits
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.protocol import (
    AnswersBatches,
    Streamed,
    drop_left_out,
    left_out_of,
)
from dlworkflow.data.tables.boosting import boosting_score
from dlworkflow.engine.device import choose_device, choose_threads, thread_count
from dlworkflow.engine.loop import Evaluation, evaluate
from dlworkflow.engine.losses import build_loss
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import MissingDataError
from dlworkflow.files.text import LABEL_SEPARATOR
from dlworkflow.inference.averaging import TTA, mean_scores, tempered, with_tta
from dlworkflow.inference.rebuild import check_alike, load_run_model, take_code
from dlworkflow.inference.stored import stored_target, stored_temperature, stored_thresholds
from dlworkflow.metrics.functions import Settings
from dlworkflow.metrics.report import EvaluationReport, boosting_warnings, make_report
from dlworkflow.runs import EvaluationSummary, Run, RunLike, Summary, as_run

STREAMED_BATCH = 256
"""Samples of shards that are scored at once where the run was trained on all of its data as one batch."""


def evaluate_part(
    run: Run,
    part: Part,
    *,
    weights: str = "best",
    device: str = "auto",
    tta: TTA | None = None,
    calibrated: bool = True,
) -> Evaluation:
    """Score a run's weights on a part, with test-time augmentation where given; means are over samples.

    Raw scores, and so the loss, are those after calibration where the run has one, unless that is not wanted.
    """
    summary = run.summary()
    take_code(run, ("model", "loss"))
    task = get_task(summary.task)
    temperature = stored_temperature(run, weights) if calibrated else None
    model = with_tta(tempered(load_run_model(run, weights), temperature), tta, task, kind=summary.kind, owner=run.name)
    size = summary.config["data"]["batch_size"]
    if size == "full" and isinstance(part.dataset, Streamed):
        size = STREAMED_BATCH
    batches = make_loader(part.dataset, size, generator=torch.Generator())
    loss_fn = build_loss(task, summary.config["loss"])
    with thread_count(choose_threads(summary.threads, model, summary.in_shape)):
        result = evaluate(model, batches, loss_fn, choose_device(device), task=task)
    drop_left_out(part.dataset)  # files and labels are those of the samples that were scored
    return replace(result, temperature=temperature)


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
    return evaluation_of(runs[0], mean_scores(torch.stack(scores), task), alone[0].y), alone


def evaluation_of(run: Run, logits: Tensor, y: Tensor) -> Evaluation:
    """Return the evaluation of raw scores (n, n_outputs) of samples with labels y (n, ...), with the run's loss."""
    take_code(run, ("loss",))
    summary = run.summary()
    task = get_task(summary.task)
    logits = task.align(logits, y)
    loss = float(build_loss(task, summary.config["loss"])(logits, y))
    acc = float(task.is_correct(logits, y).double().mean()) if task.has_accuracy else math.nan
    return Evaluation(loss, acc, logits, y)


def evaluate_run(
    run: RunLike,
    split: str = "test",
    *,
    weights: str = "best",
    device: str = "auto",
    data_dir: str | None = None,
    tta: TTA | None = None,
) -> Evaluation:
    """Score a run's weights on a split of its own data, with test-time augmentation where given."""
    run = as_run(run)
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
    run: RunLike, split: str = "test", *, weights: str = "best", device: str = "auto", tta: TTA | None = None
) -> EvaluationReport:
    """Return the report of a run's weights on a split of its own data, with test-time augmentation where given."""
    run = as_run(run)
    part = load_part(run, split)
    return report_part(run, part, evaluate_part(run, part, weights=weights, device=device, tta=tta))


def write_evaluation(
    run: Run, part: Part, report: EvaluationReport, *, weights: str = "best", tta: TTA | None = None, **more: Any
) -> list[Path]:
    """Write a report into the run's folder: evaluation.json, predictions.csv, errors.csv, confusion_matrix.csv.

    `more` are further values of evaluation.json, as for `report_data`.
    """
    found = report_data(run, part, report, weights=weights, tta=tta, **more)
    return run.write_found(found, report_tables(report))


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
    run: Run, part: Part, report: EvaluationReport, *, weights: str = "best", tta: TTA | None = None, **more: Any
) -> EvaluationSummary:
    """Return a report as `evaluation.json` holds it: without its samples, with the run, the weights and the split.

    `more` are `temperature` and `answered` of it, where there are any.
    """
    return EvaluationSummary(
        run=run.name,
        weights=weights,
        tta=tta,
        epoch=run.summary().row(weights).get("epoch"),
        split=part.name,
        data_changed=part.changed,
        skipped=part.skipped + len(left_out_of(part.dataset)),
        samples_fingerprint=samples_fingerprint(run.summary(), part),
        **more,
        **report.to_data(),
    )


def samples_fingerprint(summary: Summary, part: Part) -> str | None:
    """Return `kind:digest` of the samples of a part, None where these have no digest.

    What the data set made of them before it took the digest is the kind: nothing of files, whose bytes it is of.
    """
    if part.digest is None:
        return None
    of_content = part.files is not None or isinstance(part.dataset, Streamed)
    prepared = [summary.target] if of_content else [summary.target, summary.in_shape, summary.columns]
    kind = hashlib.blake2b(json.dumps(prepared, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{kind}:{part.digest}"


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
