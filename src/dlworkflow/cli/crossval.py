"""`dlw crossval`: a model trained once for each fold of the training data, and scored on the folds held out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.cluster import ClusterOption, TaskCoresOption, TaskGpuOption, named_cluster
from dlworkflow.cli.command import Given, takes_code, typed_layers, with_settings
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import (
    ConfigOption,
    ModelArgument,
    OfflineOption,
    RunsDirOption,
    SetOption,
    count,
    say,
)
from dlworkflow.cli.sweep import found_to_resume, refuse_settings
from dlworkflow.cli.sweep_lines import SweepLines
from dlworkflow.cli.tables import FORMAT_HELP, Format, print_table
from dlworkflow.cli.train import completed
from dlworkflow.config.flags import DATA, OF_CROSSVAL, OUTPUT, RUN
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.files.numbers import number, percent
from dlworkflow.files.text import json_text, shell_command
from dlworkflow.registry.user_code import named_files
from dlworkflow.runs.cells import headings
from dlworkflow.runs.evaluation_text import fold_columns, fold_rows, score_text

if TYPE_CHECKING:
    from dlworkflow.analysis.cross_validation import CrossValidation
    from dlworkflow.config import Layer, SweepSettings
    from dlworkflow.runs import Summary
    from dlworkflow.training.job import Job
    from dlworkflow.training.sweep.cluster import Cluster
    from dlworkflow.training.sweep.folder import Plan, Point, Sweep


@takes_code
@with_settings(*OF_CROSSVAL)
def crossval(
    given: Given,
    model: ModelArgument = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=count, help="Folds of the training data, at least 2 [default: 5].", rich_help_panel=DATA
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=count, help="Repeats, each with other folds [default: 1].", rich_help_panel=DATA
        ),
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Resume a cross-validation: a name, a path or last [default: start anew].",
            rich_help_panel=RUN,
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: train failed folds again.", rich_help_panel=RUN)
    ] = False,
    cluster: ClusterOption = None,
    task_cores: TaskCoresOption = None,
    task_gpu: TaskGpuOption = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Load the data, make the folds, train nothing, write nothing.", rich_help_panel=OUTPUT
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Name of the folder; a number is appended [default: MODEL-crossval].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help=FORMAT_HELP, rich_help_panel=OUTPUT)] = Format.table,
    runs_dir: RunsDirOption = None,
    offline: OfflineOption = False,
) -> None:
    """Cross-validate a model on its training data.

    Each training sample is predicted by a model that was not trained on it. The data is divided into folds, stratified
    by class; groups stay whole. One run is trained for each fold, without it. The test split is not used. Settings are
    those of `dlw train`; the runs are those of `dlw sweep`. Writes evaluation.json, predictions.csv, errors.csv and
    confusion_matrix.csv beside the runs.

    Examples:
    dlw crossval tinyvgg --data digits --folds 5 --epochs 3
    dlw crossval tinyvgg --data path/to/images --folds 5 --repeats 2 --val-fraction 0.2
    dlw crossval --resume last
    """
    from dlworkflow.config import from_flags

    workers = named_cluster(cluster, task_cores, task_gpu)
    of_the_sweep = from_flags({key: value for key, value in given.items() if key.startswith("sweep.")})
    of_runs = {key: value for key, value in given.items() if not key.startswith("sweep.")}
    layers = [*typed_layers(config or (), settings, completed(of_runs, model, runs_dir)), of_the_sweep]
    if resume is not None:
        more: dict[str, object] = {"--folds": folds, "--repeats": repeats, "--name": name, "--dry-run": dry_run}
        refuse_settings(layers, more)
        found, now = found_to_resume(resume, runs_dir, of_the_sweep, folds=True)
    elif retry_failed:
        raise ConfigError("--retry-failed: only with --resume NAME")
    else:
        made = _made(layers, folds or 5, repeats or 1, runs_dir, name, offline, dry_run, workers)
        if made is None:
            return
        found, now = made
    _run(found, FoldLines(found, now, resume is not None, workers), retry_failed, output)


def _made(
    layers: list[Layer],
    folds: int,
    repeats: int,
    runs_dir: str | None,
    name: str | None,
    offline: bool,
    dry_run: bool,
    cluster: Cluster | None,
) -> tuple[Sweep, SweepSettings] | None:
    """Check a new cross-validation and make its folder; None for a dry run."""
    import_torch()
    from dlworkflow.training.sweep.folder import Sweep
    from dlworkflow.training.sweep.folds import plan_folds

    plan, settings, job = plan_folds(layers, folds=folds, repeats=repeats, offline=offline)
    say_folds(job, folds, repeats)
    for note in job.splits.selected[:-1]:
        say(f"note    {note}")
    if cluster is not None:
        cluster.connect(plan.base.get("threads", 1))
    if dry_run:
        typer.echo(f"dry run: all settings of {len(plan.points)} runs fit; nothing was written")
        return None
    return Sweep.create(runs_dir, name or plan.stem("crossval"), plan), settings


def _run(found: Sweep, lines: FoldLines, retry_failed: bool, output: Format) -> None:
    """Train what is left, and print the result once every fold has one."""
    plan = finish_folds(lines, retry_failed=retry_failed)
    if plan is None:
        return
    from dlworkflow.analysis.cross_validation import read_cross_validation

    result = read_cross_validation(found, plan, device=str(plan.base.get("device", "auto")))
    try:
        paths = result.write()
    finally:
        _print(result, output)
    for warning in result.report.warnings:
        say(f"warning: {warning}")
    if result.changed:
        say(f"warning: the data has changed since these were trained: {', '.join(result.changed)}")
    say(_how_it_is_scored(result))
    say(f"wrote {', '.join(path.name for path in paths)} in {found.path}")
    what = "photo.jpg" if result.kind == "image" else "FILE.csv"
    code = [word for file in named_files() for word in ("--code", file)]
    predict = shell_command(["dlw", "predict", what, "--run", str(found.path), *code])
    say(f"predict with all {len(plan.points)} models: {predict}")


def say_folds(job: Job, folds: int, repeats: int = 1) -> None:
    """Print which model is cross-validated on what."""
    n = sum(map(len, (job.splits.train, job.splits.test)))  # type: ignore[arg-type]
    n += len(job.splits.val) if job.config.data.val_fraction is not None else 0  # type: ignore[arg-type]
    again = f", {repeats} times" if repeats > 1 else ""
    say(f"model   {job.config.model.name}")
    say(f"data    {job.splits.name}: {n:,} training samples in {folds} folds{again}, {job.splits.source}")


def finish_folds(lines: FoldLines, *, retry_failed: bool = False) -> Plan | None:
    """Train what is left of a cross-validation; None where it was stopped early. Raises RunError for failed folds."""
    plan, stop = lines.run(retry_failed=retry_failed)
    if plan.waiting():
        lines.say_what_is_left(plan, stop)
        return None
    if failed := [point for point in plan.points if point.status == "failed"]:
        raise RunError(
            f"{len(failed)} of {len(plan.points)} runs failed; the first: {failed[0].reason}; train them again with: "
            f"{lines.to_resume('--retry-failed')}"
        )
    return plan


class FoldLines(SweepLines):
    """The lines of a sweep whose runs are folds."""

    command, heading = "crossval", "folds"

    def _called(self, point: Point, plan: Plan) -> str:
        from dlworkflow.training.sweep.folds import place_of

        fold, repeat = place_of(point, plan)
        return f"fold {fold}" + (f" of repeat {repeat}" if len(plan.keys) > 1 else "")

    def _scored(self, summary: Summary) -> tuple[str, str]:
        from dlworkflow.training.sweep.folds import scored_at

        return scored_at(summary), "test"

    def _outcome(self, point: Point) -> str:
        return super()._outcome(point).replace("test loss", "held-out loss", 1)


def _print(result: CrossValidation, output: Format) -> None:
    """Print a row for each fold and one of means; as text, the accuracy of all predictions too."""
    if output is Format.json:
        from dlworkflow.runs import without_nan

        typer.echo(json_text(without_nan(result.summary().to_data()), indent=1))
        return
    found = result.summary()
    keys, cells = fold_columns(found), fold_rows(found)
    if output is not Format.table:
        print_table(cells[:-1], {key: key for key in keys}, output, result.folds)
        return
    print_table(cells, headings(keys), output)
    report, n = result.report, f"{result.samples:,} training samples"
    if report.interval is not None:
        low, high = map(percent, report.interval)
        times = len(report.samples) // result.samples
        each = f", each predicted {times} times" if times > 1 else ""
        what = "subset accuracy (every label right)" if report.thresholds else "accuracy"
        typer.echo(f"\n{what} {percent(report.accuracy)} over all {n}{each}")
        typer.echo(f"95 % confidence interval {low} to {high}, of {result.samples:,} samples")
        typer.echo(f"over them too: {_other_scores(result)}")
        typer.echo(f"always answering {report.baseline_answer!r} scores {percent(report.baseline)}")
        if report.boosting is not None:
            typer.echo(f"gradient boosting scores {percent(report.boosting)} on the same folds")
        return
    typer.echo(f"\nover all {n}: {_other_scores(result)}")
    if report.baseline is not None:
        typer.echo(f"always answering the training mean has a loss of {number(report.baseline)}")
    if report.boosting is not None:
        typer.echo(f"gradient boosting has a loss of {number(report.boosting)} on the same folds")


def _other_scores(result: CrossValidation) -> str:
    """Return loss and metrics of the table over all samples, with their intervals; not the accuracy."""
    report = result.report
    values: dict[str, Any] = {"loss": report.loss} | report.metrics
    shown = {key: report.intervals[key] for key in result.mean if key in report.intervals}
    return ", ".join(
        f"{key.replace('_', ' ')} {score_text(key, values[key])} (95 % interval {' to '.join(ends)})"
        for key, ends in ((key, [score_text(key, end) for end in interval]) for key, interval in shown.items())
    )


def _how_it_is_scored(result: CrossValidation) -> str:
    """Return which weights were scored, and that the test split was not used."""
    if result.weights == "best":
        chosen = "the weights of each run's best epoch by its validation split"
    else:
        chosen = "the weights of each run's last epoch, as no validation split selects one (--val-fraction 0.2)"
    return f"scored: {chosen}; the test split is not used"
