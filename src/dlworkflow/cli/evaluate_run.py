"""One evaluation of `dlw evaluate`: scores a run, or several together, prints the result and writes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import typer

from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import say
from dlworkflow.cli.predict_model import chosen_weights, note_stale_calibration, warn_of_mirroring
from dlworkflow.cli.tables import Format, print_table
from dlworkflow.errors import few
from dlworkflow.files.numbers import number, percent
from dlworkflow.files.text import json_text

if TYPE_CHECKING:
    from dlworkflow.metrics.report import EvaluationReport
    from dlworkflow.runs import EvaluationSummary, Run, Summary


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked of an evaluation: `options` of the data, the `place` of data sets, settings of `metrics`."""

    split: str
    weights: str
    options: dict[str, Any]
    place: dict[str, Any]
    metrics: Any
    device: str
    tta: Any
    calibrated: bool
    thresholds: str | None
    min_confidence: float | None
    max_error: float | None
    plots: bool

    @property
    def is_own_data(self) -> bool:
        """Whether the run's own data is scored."""
        return self.options["other"] is None

    @property
    def limited(self) -> list[str]:
        """The options that leave samples unanswered, as they were typed."""
        cautious = {"--min-confidence": self.min_confidence, "--max-error": self.max_error}
        return [f"{option} {100 * value:g}%" for option, value in cautious.items() if value is not None]

    @property
    def scoring(self) -> dict[str, Any]:
        """How the model is applied."""
        return {"weights": self.weights, "device": self.device, "tta": self.tta, "calibrated": self.calibrated}


def evaluate_one(found: Run, asked: Asked, output: Format | None) -> EvaluationSummary:
    """Evaluate a run, print the result in a format, if any, and write it into the run's folder."""
    import_torch()
    from dlworkflow.analysis.calibration import answered
    from dlworkflow.analysis.evaluation import evaluate_part, report_data, report_part, write_evaluation
    from dlworkflow.analysis.scored_data import load_part
    from dlworkflow.data.splits import ONLY_NAMES
    from dlworkflow.errors import ConfigError, short
    from dlworkflow.inference.caution import of_run
    from dlworkflow.inference.stored import stored_temperature
    from dlworkflow.runs import leakage_warnings

    more: dict[str, Any] = {"temperature": stored_temperature(found, asked.weights) if asked.calibrated else None}
    say(f"run {found.path} {chosen_weights(asked.weights, asked.tta, temperatures=[more['temperature']])}")
    if asked.calibrated:
        note_stale_calibration(found, asked.weights)
    limits = None
    if asked.limited:
        limits = of_run(found, asked.weights, min_confidence=asked.min_confidence, max_error=asked.max_error)
        if asked.tta is not None and limits.is_measured:
            raise ConfigError("--tta: not with --max-error, whose limit was measured without it")
        for note in limits.notes:
            say(f"note: {note}")
    if asked.thresholds is not None:
        from dlworkflow.analysis.thresholds import set_thresholds

        kept = set_thresholds(found, asked.thresholds, **asked.scoring, **asked.place)
        named = ", ".join(f"{name} {value:.3f}" for name, value in kept.items())
        say(f"thresholds {short(named)}: kept in the run")
    part = load_part(found, asked.split, **asked.options, **asked.place)
    for note in part.notes:
        say(f"note: {note}")
    warn_of_mirroring(found, asked.tta)
    result = evaluate_part(found, part, **asked.scoring)
    if part.changed:
        say(f"note: {part.change(found.name)}")
    elif part.fingerprint_is_former:
        say(f"note: {found.name} {ONLY_NAMES}")
    if asked.is_own_data and (shown := _as_trained(found.summary(), asked.split, asked.weights)):
        say(f"note: while it trained the run showed {shown}: means over batches (averaging: batch)")
    report = report_part(found, part, result, asked.metrics)
    if limits is not None:
        more["answered"] = answered(result, limits, task=report.task, by=asked.limited[0])
    data_of = report_data(found, part, report, weights=asked.weights, tta=asked.tta, **more)
    try:  # before it is printed: a reader that has gone (`| head`) leaves the files whole
        paths = write_evaluation(found, part, report, weights=asked.weights, tta=asked.tta, **more)
    finally:
        if output is not None:
            _print(data_of, report, output)
    leaked = leakage_warnings(found.summary()) if asked.is_own_data else []
    for warning in (*report.warnings, *leaked):
        say(f"warning: {warning}")
    figures = []
    if asked.plots:
        from dlworkflow.analysis.figures import draw_evaluation

        figures = draw_evaluation(found, part, result, report, weights=asked.weights)
        paths += figures
    if found.summary().config.get("track"):
        from dlworkflow.training.trackers.tracking import track_evaluation

        track_evaluation(found, data_of, figures)
    say(f"wrote {', '.join(path.name for path in paths)} in {found.path}")
    return data_of


def evaluate_together(runs: list[Run], asked: Asked, output: Format) -> None:
    """Print the scores of several runs' mean prediction, and the range of those of each; writes nothing."""
    import_torch()
    from dlworkflow.analysis import evaluation
    from dlworkflow.analysis.evaluation import report_data, report_part
    from dlworkflow.analysis.scored_data import load_part
    from dlworkflow.errors import ConfigError

    if asked.split != "test":
        raise ConfigError(f"--split {asked.split}: several runs were trained on different samples; give --split test")
    weights, tta = asked.weights, asked.tta
    say(f"mean of {len(runs)} runs: {few([run.name for run in runs], 5, quoted=False)} {chosen_weights(weights, tta)}")
    part = load_part(runs[0], asked.split, without_folds=True, **asked.options, **asked.place)
    for note in part.notes:
        say(f"note: {note}")
    warn_of_mirroring(runs[0], tta)
    result, alone = evaluation.evaluate_together(runs, part, **asked.scoring)
    report = report_part(runs[0], part, result, asked.metrics)
    data = report_data(runs[0], part, report, weights=weights, tta=tta)
    _print(replace(data, run=f"mean of {len(runs)} runs", epoch=None), report, output)
    if output is Format.table:
        has_accuracy = report.interval is not None
        scores = [each.acc if has_accuracy else each.loss for each in alone]
        low, mean, high = (percent(x) if has_accuracy else number(x) for x in (min(scores), fmean(scores), max(scores)))
        what = "accuracy" if has_accuracy else "loss"
        typer.echo(f"each run alone: {what} {low} to {high}, mean {mean}")
    for warning in report.warnings:
        say(f"warning: {warning}")


def _as_trained(summary: Summary, split: str, weights: str) -> str:
    """Return what the run's own lines say of these weights, where that is another mean than the one over samples."""
    from dlworkflow.runs import shows_batch_means

    row = summary.row(weights)
    if split == "train" or row.get(f"{split}_loss") is None or not shows_batch_means(summary):
        return ""
    acc = percent(row.get(f"{split}_acc"))
    return f"{split} loss {number(row[f'{split}_loss'])}" + (f", accuracy {acc}" if acc else "")


def _print(found: EvaluationSummary, report: EvaluationReport, output: Format) -> None:
    if output is Format.json:
        from dlworkflow.runs import without_nan

        typer.echo(json_text(without_nan(found.to_data()), indent=1))
        return
    part = found.split
    row: dict[str, Any] = {"run": found.run, "split": part, "samples": len(report.samples), "loss": report.loss}
    row |= report.metrics
    if report.interval is not None:
        row |= {"accuracy_low": report.interval[0], "accuracy_high": report.interval[1]}
    if found.answered is not None:
        row |= {"answered": found.answered["count"], "answered_right": found.answered["right"]}
    for key, (low, high) in report.intervals.items() if output is not Format.table else ():
        row |= {f"{key}_low": low, f"{key}_high": high}
    row |= {"baseline": report.baseline} | ({"boosting": report.boosting} if report.boosting is not None else {})
    if output is not Format.table:
        cells = {key: number(value) for key, value in row.items()}
        print_table([cells], {key: key for key in row}, output, [row])
        return
    from dlworkflow.runs.evaluation_text import metric_columns, metric_rows, sentences

    print_table(metric_rows(found), metric_columns(found))
    if found.classes and found.accuracy_interval_95 is not None:
        _print_classes(found)
    lines = sentences(found)
    for line in ["", *lines] if lines else ():
        typer.echo(line)


def _print_classes(found: EvaluationSummary) -> None:
    from dlworkflow.runs.evaluation_text import MOST_CLASSES, PAIR_COLUMNS, class_columns, class_rows, pair_rows

    typer.echo()
    print_table(class_rows(found), class_columns(found))
    if len(found.classes) > MOST_CLASSES:
        typer.echo(f"the {MOST_CLASSES} of {len(found.classes)} classes with the lowest f1; evaluation.json holds all")
    if pairs := pair_rows(found):
        typer.echo()
        print_table(pairs, PAIR_COLUMNS)
