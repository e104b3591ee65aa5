"""`dlw evaluate`: what a run is worth, in numbers, tables and warnings, and as files in its folder."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from dlworkflow.cli.cluster import ClusterOption, TaskCoresOption, TaskGpuOption, named_cluster
from dlworkflow.cli.command import takes_code, typed_words
from dlworkflow.cli.evaluate_each import evaluate_each, runs_of_each
from dlworkflow.cli.evaluate_run import Asked, evaluate_one, evaluate_together
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import (
    RUN_HELP,
    DataDirOption,
    DeviceOption,
    LimitOption,
    MaxErrorOption,
    MinConfidenceOption,
    OfflineOption,
    RunsDirOption,
    TtaOption,
    UncalibratedOption,
    Weights,
    complete_runs,
)
from dlworkflow.cli.predict_model import finished_runs
from dlworkflow.cli.tables import FORMAT_HELP, Format
from dlworkflow.errors import ConfigError

Split = Literal["test", "train", "val"]


@takes_code
def evaluate(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help=RUN_HELP, autocompletion=complete_runs),
    ] = None,
    each: Annotated[
        bool,
        typer.Option("--each", help="Evaluate each of several runs, or of a sweep's, on its own: a row a run."),
    ] = False,
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
    cluster: ClusterOption = None,
    task_cores: TaskCoresOption = None,
    task_gpu: TaskGpuOption = False,
    device: DeviceOption = None,
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
    runs_dir: RunsDirOption = None,
    output: Annotated[Format, typer.Option("--format", help=FORMAT_HELP)] = Format.table,
) -> None:
    """Evaluate a run: metrics, classes, baseline and figures.

    Loss, metrics, classes, the most confused pairs, the majority baseline and a 95 % interval. Writes evaluation.json,
    predictions.csv, errors.csv (highest loss first), confusion_matrix.csv and figures into the run's folder. The runs
    of a sweep are averaged, and nothing is written; with --each, each is evaluated on its own. With --min-confidence
    or --max-error also how many samples are answered, and how many of these rightly.
    """
    from dlworkflow.runs import find_run

    if data is not None and not data.strip():
        raise ConfigError("--data: is empty; give a name of `dlw data list` or a path")
    if ignore_extra and data is None:
        raise ConfigError("--ignore-extra: only with --data; a run's own classes are all known")
    workers = named_cluster(cluster, task_cores, task_gpu)
    if workers is not None and not each:
        raise ConfigError("--cluster: only with --each; one run is evaluated on this machine")
    if len(names or ()) > 1 and not each:
        raise ConfigError(f"RUN: {len(names or ())} runs were given; add --each to evaluate each of them")
    run = names[0] if names else None
    if each:
        runs = runs_of_each(names or ["last"], runs_dir)
    else:
        runs = finished_runs(run, runs_dir) if run not in (None, "last", "best") else []
        runs = runs or [find_run(run, runs_dir, fits=lambda summary: bool(summary.best), what="trained run")]

    import_torch()
    from dlworkflow.config import from_overrides
    from dlworkflow.metrics.functions import check_settings

    asked = Asked(
        split=split,
        weights=weights.value,
        options={"ignore_extra": ignore_extra, "other": data, "on_bad": on_bad, "limit": limit},
        place={"data_dir": data_dir, "offline": offline},
        metrics=check_settings(from_overrides(settings or ()).values),
        device=device or "auto",
        tta=tta,
        calibrated=not uncalibrated,
        thresholds=thresholds,
        min_confidence=min_confidence,
        max_error=max_error,
        plots=plots,
    )
    if slices or slice_by or robustness:
        from dlworkflow.cli.evaluate_parts import evaluate_parts

        given: dict[str, Any] = {"slices": slices, "robustness": robustness, "plots": plots}
        given["by"] = [name.strip() for given_names in slice_by or () for name in given_names.split(",")] or None
        given["refused"] = {"--each": each, "--thresholds": thresholds is not None, "--set": bool(settings)}
        given["refused"] |= {"--min-confidence": min_confidence is not None, "--max-error": max_error is not None}
        given["refused"]["--uncalibrated"] = uncalibrated
        scoring = {key: value for key, value in asked.scoring.items() if key != "calibrated"}
        evaluate_parts(runs, split, output, **given, options=asked.options | asked.place, scoring=scoring)
        return
    if each:
        words = typed_words(
            context, without=("each", "cluster", "task_cores", "task_gpu", "runs_dir", "output", "code")
        )
        evaluate_each(runs, asked, output, workers, words)
        return
    if len(runs) > 1 and thresholds is not None:
        raise ConfigError("--thresholds: are kept in a run, one at a time; name one of the runs")
    if len(runs) > 1 and asked.limited:
        raise ConfigError(f"{asked.limited[0]}: takes one run with its validation split; name one of the runs")
    if len(runs) > 1:
        evaluate_together(runs, asked, output)
        return
    evaluate_one(runs[0], asked, output)
