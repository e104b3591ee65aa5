"""`dlw sweep`: many runs of one base of settings, resumable, ending in a table of means over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlworkflow.cli.cluster import ClusterOption, TaskCoresOption, TaskGpuOption, named_cluster
from dlworkflow.cli.command import Given, named_model, takes_code, typed_layers, with_settings
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import (
    ConfigOption,
    OfflineOption,
    OverwriteOption,
    RunsDirOption,
    SetOption,
    figure_file,
)
from dlworkflow.cli.sweep_lines import SweepLines, counted
from dlworkflow.cli.sweep_table import print_sweep
from dlworkflow.cli.tables import FORMAT_HELP, Format
from dlworkflow.config.flags import OF_SWEEP, OUTPUT, RUN, SEARCH
from dlworkflow.errors import ConfigError, RunError, few

if TYPE_CHECKING:
    from dlworkflow.cli.options import FigureFile
    from dlworkflow.config import Layer, SweepSettings
    from dlworkflow.training.sweep.cluster import Cluster
    from dlworkflow.training.sweep.folder import Sweep


@takes_code
@with_settings(*OF_SWEEP)
def sweep(
    given: Given,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|FILE.yaml", help="Model of all runs, or a YAML file of settings with a section `sweep`."
        ),
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V1,V2",
            help="Values of a setting, or a range as 1e-4..1e-1; may be repeated: every combination is a run.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    vectorize: Annotated[
        bool | None,
        typer.Option(
            "--vectorize/--no-vectorize",
            help="Train tiny full-batch models together in one process [default: where the runs allow it].",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="SWEEP", help="Resume a sweep: a name, a path or last [default: start anew].", rich_help_panel=RUN
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: train failed runs again.", rich_help_panel=RUN)
    ] = False,
    cluster: ClusterOption = None,
    task_cores: TaskCoresOption = None,
    task_gpu: TaskGpuOption = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check and count all combinations, train nothing.", rich_help_panel=OUTPUT),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Name of the sweep; a number is appended [default: MODEL-sweep].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Save a figure of the metric by setting: .png, .svg or .pdf [default: none].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    output: Annotated[Format, typer.Option("--format", help=FORMAT_HELP, rich_help_panel=OUTPUT)] = Format.table,
    runs_dir: RunsDirOption = None,
    offline: OfflineOption = False,
) -> None:
    """Train a model with many settings, and compare means over seeds.

    Examples:
    dlw sweep circles_v2 --grid optimizer.lr=0.01,0.1,1 --seeds 5
    dlw sweep tinyvgg --data digits --grid optimizer.lr=1e-4..1e-1 --grid model.hidden_units=8..64 --random 20
    dlw sweep tinyvgg --data digits --seeds 20 --cluster tcp://host:8786
    dlw sweep --resume last
    """
    from dlworkflow.config import from_flags
    from dlworkflow.training.sweep.points import parse_grid

    target = figure_file("--plot", plot, overwrite)
    workers = named_cluster(cluster, task_cores, task_gpu)
    is_file = what is not None and what.lower().endswith((".yaml", ".yml"))
    of_runs = named_model(
        None if is_file else what, {key: value for key, value in given.items() if not key.startswith("sweep.")}
    )
    of_the_sweep = from_flags(
        {"sweep.grid": ("--grid", parse_grid(grid) if grid else None), "sweep.vectorize": ("--vectorize", vectorize)}
        | {key: value for key, value in given.items() if key.startswith("sweep.")}
    )
    files = [what] if what is not None and is_file else []
    layers = [*typed_layers([*files, *(config or ())], settings, of_runs), of_the_sweep]
    if resume is not None:
        refuse_settings(layers, {"--name": name, "--dry-run": dry_run})
        found, now = found_to_resume(resume, runs_dir, of_the_sweep)
    else:
        if retry_failed:
            raise ConfigError("--retry-failed: only with --resume SWEEP")
        made = _made(layers, runs_dir, name, offline, dry_run, workers)
        if made is None:
            return
        found, now = made
    lines = SweepLines(found, now, resume is not None, workers)
    _run(found, now, lines, retry_failed, target, output)


def _made(
    layers: list[Layer],
    runs_dir: str | None,
    name: str | None,
    offline: bool,
    dry_run: bool,
    cluster: Cluster | None,
) -> tuple[Sweep, SweepSettings] | None:
    """Check a new sweep and make its folder; None for a dry run."""
    import_torch()
    from dlworkflow.training.sweep.folder import Sweep
    from dlworkflow.training.sweep.plan import plan_sweep
    from dlworkflow.training.sweep.running import check_vectorize

    plan, settings = plan_sweep(layers, offline=offline)
    if settings.sampler == "tpe":
        import dlworkflow.training.sweep.search  # noqa: F401 - says here already that Optuna is missing
    if settings.vectorize:
        check_vectorize(plan)
    if cluster is not None:
        cluster.connect(plan.base.get("threads", 1))
    if dry_run:
        total = len(plan.points) or (settings.random or 0) * settings.seeds
        typer.echo(f"dry run: all settings of {counted(total, settings.seeds)} fit; nothing was written")
        return None
    return Sweep.create(runs_dir, name or plan.stem("sweep"), plan), settings


def found_to_resume(
    name: str, runs_dir: str | None, given: Layer, *, folds: bool = False
) -> tuple[Sweep, SweepSettings]:
    """Return a sweep to resume and its settings, those of this call among them: budgets are of one call.

    With `folds` it is a cross-validation, and otherwise none. Raises RunError for the other kind.
    """
    from dlworkflow.config import Layer, build_sweep_settings
    from dlworkflow.training.sweep.folder import find_sweep
    from dlworkflow.training.sweep.folds import is_cross_validation

    found = find_sweep(name, runs_dir, fits=lambda plan: is_cross_validation(plan) is folds)
    plan = found.read()
    if is_cross_validation(plan) is not folds:
        what, command = ("a sweep", "sweep") if folds else ("a cross-validation", "crossval")
        raise RunError(f"{found.name} is {what}; resume it with: dlw {command} --resume {found.name}")
    then = plan.sweep | {"max_runs": None, "max_minutes": None}
    values = {"sweep": then | given.values.get("sweep", {})}
    return found, build_sweep_settings(Layer(values, given.labels))


def refuse_settings(layers: list[Layer], more: dict[str, object]) -> None:
    """Raise ConfigError for options beside --resume that are not about how the sweep continues."""
    free = ("sweep.jobs", "sweep.max_runs", "sweep.max_minutes", "sweep.by", "sweep.at")
    given = [label for layer in layers for key, label in layer.labels.items() if key not in free]
    given += [flag for flag, value in more.items() if value]
    if given:
        raise ConfigError(f"{few(given, quoted=False)}: a resumed sweep keeps its settings; leave them out")


def _run(
    found: Sweep,
    settings: SweepSettings,
    progress: SweepLines,
    retry_failed: bool,
    target: FigureFile | None,
    output: Format,
) -> None:
    from dlworkflow.data import input_files

    if target is not None:
        target.check(input_files(found.read().base.get("data", {})))
    import_torch()
    plan, stop = progress.run(retry_failed=retry_failed)
    print_sweep(found, plan, settings, target, output)
    progress.say_what_is_left(plan, stop)
    failed = [point for point in plan.points if point.status == "failed"]
    if failed and len(failed) == len(plan.points):
        raise RunError(f"all {len(failed)} runs failed; the first: {failed[0].reason}")
