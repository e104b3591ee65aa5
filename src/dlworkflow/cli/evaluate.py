"""`dlw evaluate`: what a run is worth, in numbers, tables and warnings, and as files in its folder."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import (
    DataDirOption,
    DeviceOption,
    LimitOption,
    MaxErrorOption,
    MinConfidenceOption,
    OfflineOption,
    RunArgument,
    RunsDirOption,
    TtaOption,
    UncalibratedOption,
    Weights,
    say,
)
from dlworkflow.cli.predict_model import chosen_weights, finished_runs, note_stale_calibration, warn_of_mirroring
from dlworkflow.cli.tables import FORMAT_HELP, Format, print_table
from dlworkflow.errors import few
from dlworkflow.files.numbers import number, percent
from dlworkflow.files.text import json_text

if TYPE_CHECKING:
    from dlworkflow.metrics.report import EvaluationReport
    from dlworkflow.runs import EvaluationSummary, Run, Summary

Split = Literal["test", "train", "val"]


@takes_code
def evaluate(
    run: RunArgument = None,
    split: Annotated[Split, typer.Option(help="Split of the data to score.")] = "test",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Data to score, as for `dlw train`; classes match by name [default: the run's own].",
        ),
    ] = None,
    ignore_extra: Annotated[
        bool,
        typer.Option(
            "--ignore-extra",
            help="With --data: skip images of classes that the model does not know [default: an error].",
        ),
    ] = False,
    on_bad: Annotated[
        Literal["error", "skip"] | None,
        typer.Option(
            "--on-bad",
            help="Images that cannot be read: error stops, skip leaves them out [default: as in training, else error].",
        ),
    ] = None,
    limit: LimitOption = None,
    weights: Annotated[Weights, typer.Option(help="Weights of the best or of the last epoch.")] = Weights.best,
    tta: TtaOption = None,
    thresholds: Annotated[
        str | None,
        typer.Option(
            metavar="best|NUMBER",
            help="Probability from which a label is predicted, kept in the run: a number, or best, the best F1 of each "
            "class on the validation split [default: those of the run, else 0.5].",
        ),
    ] = None,
    min_confidence: MinConfidenceOption = None,
    max_error: MaxErrorOption = None,
    uncalibrated: UncalibratedOption = False,
    slices: Annotated[
        bool,
        typer.Option(
            "--slices",
            help="Score parts of the data instead: by class, brightness, sharpness, size, folder, column, cluster.",
        ),
    ] = False,
    slice_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,NAME]",
            help="With --slices: class, brightness, sharpness, size, aspect, folder, cluster, a column of the CSV "
            "[default: all that fit].",
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            help="Score corrupted images instead: JPEG, blur, noise, rotation, crop, brightness, at three strengths.",
        ),
    ] = False,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="Save the figures in the run folder.")] = True,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="METRIC.SETTING=VALUE",
            help="Setting of a metric, as calibration_error.n_bins=10; may be repeated.",
        ),
    ] = None,
    device: DeviceOption = None,
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
    runs_dir: RunsDirOption = None,
    output: Annotated[Format, typer.Option("--format", help=FORMAT_HELP)] = Format.table,
) -> None:
    """Evaluate a run: metrics, classes, baseline and figures.

    Loss, metrics, classes, the most confused pairs, the majority baseline and a 95 % interval. Writes evaluation.json,
    predictions.csv, errors.csv (highest loss first), confusion_matrix.csv and figures into the run's folder. The runs
    of a sweep are averaged, and nothing is written. With --min-confidence or --max-error also how many
    samples are answered, and how many of these rightly.
    """
    from dlworkflow.errors import ConfigError, short
    from dlworkflow.runs import find_run

    if data is not None and not data.strip():
        raise ConfigError("--data: is empty; give a name of `dlw data list` or a path")
    if ignore_extra and data is None:
        raise ConfigError("--ignore-extra: only with --data; a run's own classes are all known")
    runs = finished_runs(run, runs_dir) if run not in (None, "last", "best") else []
    found = runs[0] if runs else find_run(run, runs_dir, fits=lambda summary: bool(summary.best), what="trained run")

    import_torch()
    from dlworkflow.analysis.calibration import answered
    from dlworkflow.analysis.evaluation import evaluate_part, report_data, report_part, write_evaluation
    from dlworkflow.analysis.scored_data import load_part
    from dlworkflow.config import from_overrides
    from dlworkflow.data.splits import ONLY_NAMES
    from dlworkflow.inference.caution import of_run
    from dlworkflow.inference.stored import stored_temperature
    from dlworkflow.metrics.functions import check_settings
    from dlworkflow.runs import leakage_warnings

    chosen = check_settings(from_overrides(settings or ()).values)
    options: dict[str, Any] = {"ignore_extra": ignore_extra, "data_dir": data_dir, "offline": offline}
    options |= {"other": data, "on_bad": on_bad, "limit": limit}
    scoring: dict[str, Any] = {"weights": weights.value, "device": device or "auto", "tta": tta}
    cautious = {"--min-confidence": min_confidence, "--max-error": max_error}
    limited = [f"{option} {100 * value:g}%" for option, value in cautious.items() if value is not None]
    if slices or slice_by or robustness:
        from dlworkflow.cli.evaluate_parts import evaluate_parts

        given: dict[str, Any] = {"slices": slices, "robustness": robustness, "plots": plots, "options": options}
        given["by"] = [name.strip() for names in slice_by or () for name in names.split(",")] or None
        given["refused"] = {"--thresholds": thresholds is not None, "--set": bool(settings)}
        given["refused"] |= {option: value is not None for option, value in cautious.items()}
        given["refused"]["--uncalibrated"] = uncalibrated
        evaluate_parts(runs or [found], split, output, **given, scoring=scoring)
        return
    scoring["calibrated"] = not uncalibrated
    if len(runs) > 1 and thresholds is not None:
        raise ConfigError("--thresholds: are kept in a run, one at a time; name one of the runs")
    if len(runs) > 1 and limited:
        raise ConfigError(f"{limited[0]}: takes one run with its validation split; name one of the runs")
    if len(runs) > 1:
        _evaluate_together(runs, split, output, chosen, options, scoring)
        return
    more: dict[str, Any] = {"temperature": stored_temperature(found, weights.value) if not uncalibrated else None}
    say(f"run {found.path} {chosen_weights(weights.value, tta, temperatures=[more['temperature']])}")
    if not uncalibrated:
        note_stale_calibration(found, weights.value)
    limits = None
    if limited:
        limits = of_run(found, weights.value, min_confidence=min_confidence, max_error=max_error)
        if tta is not None and limits.is_measured:
            raise ConfigError("--tta: not with --max-error, whose limit was measured without it")
        for note in limits.notes:
            say(f"note: {note}")
    if thresholds is not None:
        from dlworkflow.analysis.thresholds import set_thresholds

        kept = set_thresholds(found, thresholds, **scoring, data_dir=data_dir, offline=offline)
        named = ", ".join(f"{name} {value:.3f}" for name, value in kept.items())
        say(f"thresholds {short(named)}: kept in the run")
    part = load_part(found, split, **options)
    for note in part.notes:
        say(f"note: {note}")
    warn_of_mirroring(found, tta)
    result = evaluate_part(found, part, **scoring)
    if part.changed:
        say(f"note: {part.change(found.name)}")
    elif part.fingerprint_is_former:
        say(f"note: {found.name} {ONLY_NAMES}")
    if data is None and (shown := _as_trained(found.summary(), split, weights.value)):
        say(f"note: while it trained the run showed {shown}: means over batches (averaging: batch)")
    report = report_part(found, part, result, chosen)
    if limits is not None:
        more["answered"] = answered(result, limits, task=report.task, by=limited[0])
    data_of = report_data(found, part, report, weights=weights.value, tta=tta, **more)
    try:  # before it is printed: a reader that has gone (`| head`) leaves the files whole
        paths = write_evaluation(found, part, report, weights=weights.value, tta=tta, **more)
    finally:
        _print(data_of, report, output)
    leaked = leakage_warnings(found.summary()) if data is None else []
    for warning in (*report.warnings, *leaked):
        say(f"warning: {warning}")
    figures = []
    if plots:
        from dlworkflow.analysis.figures import draw_evaluation

        figures = draw_evaluation(found, part, result, report, weights=weights.value)
        paths += figures
    if found.summary().config.get("track"):
        from dlworkflow.training.trackers.tracking import track_evaluation

        track_evaluation(found, data_of, figures)
    say(f"wrote {', '.join(path.name for path in paths)} in {found.path}")


def _evaluate_together(
    runs: list[Run],
    split: Split,
    output: Format,
    chosen: Any,
    options: dict[str, Any],
    scoring: dict[str, Any],
) -> None:
    """Print the scores of several runs' mean prediction, and the range of those of each; writes nothing."""
    import_torch()
    from dlworkflow.analysis.evaluation import evaluate_together, report_data, report_part
    from dlworkflow.analysis.scored_data import load_part
    from dlworkflow.errors import ConfigError

    if split != "test":
        raise ConfigError(f"--split {split}: several runs were trained on different samples; give --split test")
    weights, tta = scoring["weights"], scoring["tta"]
    say(f"mean of {len(runs)} runs: {few([run.name for run in runs], 5, quoted=False)} {chosen_weights(weights, tta)}")
    part = load_part(runs[0], split, without_folds=True, **options)
    for note in part.notes:
        say(f"note: {note}")
    warn_of_mirroring(runs[0], tta)
    result, alone = evaluate_together(runs, part, **scoring)
    report = report_part(runs[0], part, result, chosen)
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
