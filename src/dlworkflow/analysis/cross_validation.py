"""A cross-validation's result: every training sample predicted by the model of the fold that it was held out of."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dlworkflow.analysis.evaluation import evaluate_part, report_part, report_result, report_tables, with_boosting
from dlworkflow.analysis.scored_data import Part, load_splits
from dlworkflow.config import Layer, TrainConfig, from_mapping
from dlworkflow.data.protocol import files_of, left_out_of
from dlworkflow.data.selection import held_out, with_fold
from dlworkflow.data.splits import Splits
from dlworkflow.engine.loop import Evaluation
from dlworkflow.errors import RunError
from dlworkflow.files.notebook import Shown
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.metrics.intervals import of_different
from dlworkflow.metrics.report import EvaluationReport, classification_warnings
from dlworkflow.runs import Run
from dlworkflow.runs.evaluation import FoldsSummary
from dlworkflow.runs.naming import OUT_OF_FOLD
from dlworkflow.training.sweep.folder import FINISHED, Plan, Point, Sweep
from dlworkflow.training.sweep.folds import place_of, plan_folds, scored_at
from dlworkflow.training.sweep.running import run_sweep

Row = dict[str, Any]

SHOWN = ("accuracy", "subset_accuracy", "f1_macro", "mean_average_precision", "mae", "r2")
"""The metrics of a table of folds, of those that its task has."""


@dataclass(frozen=True)
class CrossValidation(Shown):
    """The result of a cross-validation.

    `folds` has a row for each run: fold, repeat, samples, loss, metrics, epoch, run. `mean` and `deviation` are over
    these rows (sample standard deviation). `report` is that of all predictions: its `samples` have the index in the
    training data, fold and repeat. `samples` is the number of different ones, on which the interval rests. `weights`
    are those that were scored: `last`, or `best` where a validation split chose them. `changed` names runs whose data
    is no longer what it was.
    """

    sweep: Sweep
    folds: list[Row]
    mean: dict[str, float]
    deviation: dict[str, float]
    report: EvaluationReport
    samples: int
    weights: str
    changed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        scores = ", ".join(f"{key} {self.mean[key]:.5f} ± {spread:.5f}" for key, spread in self.deviation.items())
        return f"CrossValidation({self.sweep.name!r}: {len(self.folds)} runs, {self.samples:,} samples; {scores})"

    def shown_rows(self) -> list[Row]:
        """Return what a notebook shows: a row for each fold."""
        return self.folds

    @property
    def kind(self) -> str:
        """`image` or `tabular`."""
        return self.sweep.run(self.folds[0]["run"]).summary().kind

    def summary(self) -> FoldsSummary:
        """Return the result as `evaluation.json` holds it."""
        found: Row = {"run": self.sweep.name, "weights": self.weights, "epoch": None, "split": OUT_OF_FOLD}
        found |= {"folds": self.folds, "mean": self.mean, "deviation": self.deviation}
        return FoldsSummary(**found, skipped=0, data_changed=bool(self.changed), **self.report.to_data())

    def write(self) -> list[Path]:
        """Write evaluation.json, predictions.csv, errors.csv and confusion_matrix.csv into the sweep's folder."""
        return Run(self.sweep.path).write_found(self.summary(), report_tables(self.report))


def cross_validate(
    config: TrainConfig | Mapping[str, Any] | None = None,
    *,
    folds: int = 5,
    repeats: int = 1,
    runs_dir: str | os.PathLike[str] | None = None,
    name: str | None = None,
    offline: bool = False,
    jobs: int = 1,
    on_end: Callable[[Point, Plan], object] | None = None,
    **settings: Any,
) -> CrossValidation:
    """Train a model once for each fold of the training data and return what each predicts of the fold held out.

    Settings are those of `run_training`: `cross_validate({"model": "tinyvgg", "data": "digits"}, folds=5, epochs=3)`.
    The test split is not used. Without a validation split the weights of the last epoch are scored, with one
    (`data.val_fraction`) those of the best. Each of the `repeats` makes other folds. The runs are in a folder
    `runs_dir/<name>-NNN`, with `predictions.csv` and `evaluation.json`; with `jobs` above 1 they train in processes of
    their own. `on_end` gets each run as it ends. Raises RunError where a fold has failed.
    """
    base = Layer(config.to_tree()) if isinstance(config, TrainConfig) else from_mapping(config or {})
    plan, chosen, _ = plan_folds([base, from_mapping(settings)], folds=folds, repeats=repeats, offline=offline)
    sweep = Sweep.create(runs_dir, name or f"{plan.base['model']['name']}-crossval", plan)
    plan, _ = run_sweep(sweep, chosen.model_copy(update={"jobs": jobs}), on_end=on_end)
    found = read_cross_validation(sweep, plan)
    found.write()
    return found


def read_cross_validation(sweep: Sweep, plan: Plan | None = None, *, device: str = "auto") -> CrossValidation:
    """Predict every training sample with the model of its fold. Raises RunError where a fold has no finished run."""
    plan = plan or sweep.read()
    if unfinished := [point for point in plan.points if point.status != FINISHED or point.run is None]:
        point = unfinished[0]
        raise RunError(
            f"{sweep.name}: {len(unfinished)} of {len(plan.points)} runs have not finished; the first, fold "
            f"{place_of(point, plan)[0]}: {point.reason or point.status}"
        )
    whole = load_splits(sweep.run(str(plan.points[0].run)), offline=plan.offline, without_folds=True)
    scored = [_scored(sweep, plan, point, whole, device) for point in plan.points]
    rows = [one.row for one in scored]
    keys = [key for key in rows[0] if key == "loss" or key in SHOWN]
    columns = {key: [row[key] for row in rows if row[key] is not None] for key in keys}
    return CrossValidation(
        sweep,
        rows,
        {key: statistics.fmean(values) for key, values in columns.items() if values},
        {key: statistics.stdev(values) for key, values in columns.items() if len(values) > 1},
        _all_of(scored, len({index for one in scored for index in one.indices})),
        len({index for one in scored for index in one.indices}),
        scored_at(scored[0].run.summary()),
        tuple(one.run.name for one in scored if one.changed),
    )


@dataclass(frozen=True)
class _Scored:
    """What the model of a fold predicts of the samples held out, and their indices in the training data."""

    run: Run
    row: Row
    result: Evaluation
    indices: Sequence[int]
    files: Sequence[Path] | None
    changed: bool
    boosting: float | None


def _scored(sweep: Sweep, plan: Plan, point: Point, whole: Splits, device: str) -> _Scored:
    run, (fold, repeat) = sweep.run(str(point.run)), place_of(point, plan)
    summary = run.summary()
    folds, seed, at = summary.config["data"]["folds"], summary.config["data"]["fold_seed"], scored_at(summary)
    indices: Sequence[int] = held_out(whole, folds, seed)[fold - 1]
    dataset = with_fold(whole, folds, fold, random_state=seed).test
    part = Part("test", dataset, run.data_fingerprints().get("test"))  # as the run calls the fold held out
    before = files_of(dataset)
    result = evaluate_part(run, part, weights=at, device=device)
    if lost := left_out_of(dataset):
        indices = [index for index, file in zip(indices, before or (), strict=True) if file not in lost]
    report = report_part(run, part, result)
    repeats = {"repeat": repeat} if len({place_of(each, plan)[1] for each in plan.points}) > 1 else {}
    row: Row = {"fold": fold, **repeats, "samples": len(indices), "loss": report.loss}
    row |= {key: report.metrics[key] for key in SHOWN if key in report.metrics}
    row |= {"epoch": int(summary.row(at)["epoch"]), "seconds": summary.seconds, "run": run.name}
    return _Scored(run, row, result, indices, part.files, part.changed, report.boosting)


def _all_of(scored: Sequence[_Scored], n: int) -> EvaluationReport:
    """Return the report of all predictions, whose interval is that of the n different samples."""
    logits, y = (torch.cat([getattr(one.result, key) for one in scored]) for key in ("logits", "y"))
    files = [file for one in scored for file in one.files or ()] or None
    report = report_result(scored[0].run, Evaluation(float("nan"), float("nan"), logits, y), files)
    places = [
        {"index": index, "fold": one.row["fold"], "repeat": one.row.get("repeat", 1)}
        for one in scored
        for index in one.indices
    ]
    report = replace(report, samples=[row | place for row, place in zip(report.samples, places, strict=True)])
    if len(y) > n:
        report = _of_different(report, n)
    known = [one.boosting * len(one.indices) for one in scored if one.boosting is not None]
    return with_boosting(report, sum(known) / len(y) if len(known) == len(scored) else None)


def _of_different(report: EvaluationReport, n: int) -> EvaluationReport:
    """Return a report with the intervals of n samples, each of which was predicted several times."""
    scores = partial(of_different, report.scores, [row["index"] for row in report.samples])
    if report.interval is None:
        return replace(report, scores=scores)
    accuracy = report.accuracy or 0.0
    interval = wilson_interval(round(accuracy * n), n)
    answered = sorted({str(row["prediction"]) for row in report.samples})
    baseline, answer = report.baseline, report.baseline_answer
    warnings = classification_warnings(accuracy, answered=answered, interval=interval, baseline=baseline, answer=answer)
    return replace(report, interval=interval, warnings=warnings, scores=scores)
