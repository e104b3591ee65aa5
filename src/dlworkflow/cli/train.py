"""`dlw train`: a training from flags, files and recipes, or a resumed one; one process or several."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.command import Given, named_model, takes_code, typed_layers, with_settings
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.next_steps import print_next
from dlworkflow.cli.options import (
    ConfigOption,
    ModelArgument,
    OfflineOption,
    RunsDirOption,
    SetOption,
    complete_runs,
    file_bar,
    say,
)
from dlworkflow.cli.progress import TrainingProgress, learned_nothing, print_end, say_job
from dlworkflow.config.flags import OF_TRAIN, OUTPUT, RUN
from dlworkflow.errors import ConfigError, few
from dlworkflow.files.paths import user_path

if TYPE_CHECKING:
    from dlworkflow.config import Layer, TrainConfig
    from dlworkflow.runs import Run
    from dlworkflow.training.distributed import Processes

STARTED_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that name this process among several."""

_PLACE = ("name", "path", "test", "data_dir")
"""Settings of the data that locate it: a resumed run takes them, as its data may have moved."""


@takes_code
@with_settings(*OF_TRAIN)
def train(
    ctx: typer.Context,
    given: Given,
    model: ModelArgument = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Processes that share each batch, each with a GPU where there are some; several machines: `dlw guide "
            "scale` [default: 1].",
            rich_help_panel=RUN,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Resume a run where it stopped, with its own settings; --epochs may raise their number.",
            autocompletion=complete_runs,
            rich_help_panel=RUN,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="With --resume: resume although the data has changed, and ignore other settings.",
            rich_help_panel=RUN,
        ),
    ] = False,
    recheck: Annotated[
        bool,
        typer.Option("--recheck", help="Read every image from disk and ignore the file cache.", rich_help_panel=RUN),
    ] = False,
    offline: OfflineOption = False,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Name of the run; a number is appended [default: MODEL-DATA].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    runs_dir: RunsDirOption = None,
    plots: Annotated[
        bool | None,
        typer.Option(
            "--plots/--no-plots",
            help="Save a figure of the curves in the run folder [default: on a terminal].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Print all settings as YAML, those of the recipe included.", rich_help_panel=OUTPUT
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Load the data, build the model, report both, write nothing.", rich_help_panel=OUTPUT
        ),
    ] = False,
) -> None:
    """Train a model and save it in a run folder.

    A setting is taken from the first of these that has it: its flag, --set, the last --config, the recipe of the model.
    `dlw config` explains all settings; `dlw train MODEL --print-config` prints their values.

    Examples:
    dlw train tinyvgg --data path/to/images --val-fraction 0.2 --epochs 20
    dlw train blobs --lr 0.05 --epochs 50
    dlw train --resume last --epochs 100
    """
    from dlworkflow.data.images.cache import rechecked

    looks = print_config or dry_run
    with _joined(processes, ctx.obj, runs_dir, looks) as group, rechecked(recheck):
        layers = typed_layers(config or (), settings, completed(given, model, runs_dir))
        quiet = group is not None and group.rank > 0
        run = None
        if resume is not None:
            _refuse_settings(layers, {"--name": name, "--print-config": print_config}, force)
            change = {"epochs": _epochs(layers), "place": _place(layers), "force": force, "offline": offline}
            run = _resume(resume, runs_dir, change, quiet, group, dry_run)
        elif force:
            raise ConfigError("--force: only with --resume RUN")
        elif print_config:
            _print_config(_with_model(layers)[0], quiet)
        else:
            run = _train(layers, {"runs_dir": runs_dir, "name": name}, offline, quiet, group, dry_run)
        if run is not None and not quiet:
            print_end(run)
            _save_curves(run, plots)
            print_next(run, poor=learned_nothing(run))


@contextmanager
def _joined(
    processes: int | None, arguments: Sequence[str], runs_dir: str | None, looks: bool
) -> Iterator[Processes | None]:
    """Join the processes that were started with this one, or start those that --processes asks for and exit."""
    if not all(variable in os.environ for variable in STARTED_BY_TORCHRUN):
        if processes is not None and not looks:
            from dlworkflow.training.distributed import launch

            raise SystemExit(launch(processes, arguments, runs_dir))
        yield None
        return
    from dlworkflow.training.distributed import joined

    with joined(runs_dir) as group:
        if processes not in (None, group.size):
            raise ConfigError(f"--processes: torchrun has started {group.size}, not {processes}; leave it out")
        yield group


def _with_model(layers: list[Layer]) -> tuple[list[Layer], str]:
    """Return the layers over the model that suits the data where a user names data and no model, and a note why."""
    from dlworkflow.config import Layer, merge
    from dlworkflow.training.choice import choose_model
    from dlworkflow.training.settings import locate_data

    given = merge([locate_data(layer) for layer in layers]).values
    model, dataset = given.get("model", {}), given.get("data", {})
    if not isinstance(model, dict) or not isinstance(dataset, dict) or "name" in model or "name" not in dataset:
        return layers, ""
    chosen, why = choose_model(dataset)
    note = f"no model was named: {chosen['model']['name']} is {why}; `dlw models` lists others"
    return [Layer(chosen), *layers], note


def _usual_data(layers: list[Layer], config: TrainConfig) -> str:
    """Return a note about the data that is taken where the user names none, "" where one is named."""
    from dlworkflow.config import merge

    if "name" in merge(layers).values.get("data", {}):
        return ""
    return f"no data was named: {config.data.name} is the usual data of {config.model.name}; your own: --data PATH"


def completed(given: Given, model: str | None, runs_dir: str | None) -> Given:
    """Return what was typed with the model, and with files of weights as absolute paths, found from anywhere."""
    option, weights = given["weights"]
    if weights is not None and user_path(weights).is_file():
        weights = str(user_path(weights).resolve())
    started = _weights_file(given["init_from"][1], runs_dir)
    changed = {"weights": (option, weights), "init_from": ("--init-from", started)}
    return {**named_model(model, given), **changed}


def _weights_file(given: str | None, runs_dir: str | None) -> str | None:
    """Return the file that `--init-from` names: itself, or the best weights of a run."""
    if given is None:
        return None
    path = user_path(given)
    if path.is_file():
        return str(path.resolve())
    from dlworkflow.runs import find_run

    return str(find_run(given, runs_dir).weights_path().resolve())


def _print_config(layers: list[Layer], quiet: bool) -> None:
    from dlworkflow.training.settings import fill_defaults, resolve_config

    resolved = resolve_config(layers)
    if not quiet:
        typer.echo(fill_defaults(resolved).to_yaml().rstrip())


def _train(
    layers: list[Layer], place: dict[str, Any], offline: bool, quiet: bool, group: Processes | None, dry_run: bool
) -> Run | None:
    """Train a new run in `place`; None for a dry run, which is reported."""
    from dlworkflow.config import merge
    from dlworkflow.training.choice import begin_data

    layers, note = _with_model(layers)
    begin_data(merge(layers).values)
    import_torch()
    from dlworkflow.training.job import prepare
    from dlworkflow.training.run import train_job
    from dlworkflow.training.settings import resolve_config

    resolved = resolve_config(layers)
    with file_bar() as on_images:
        job = prepare(resolved, offline=offline, group=group, on_images=on_images)
    if not quiet and (note := note or _usual_data(layers, resolved)):
        say(f"note    {note}")
    if dry_run:
        if not quiet:
            say_job(job)
            typer.echo("dry run: all settings fit; nothing was written")
        return None
    with TrainingProgress(quiet) as progress:
        shown = progress.handlers()
        if group is None:
            return train_job(job, **place, **shown)
        from dlworkflow.training.distributed import train_together

        return train_together(group, job, **place, offline=offline, **shown)


def _resume(
    name: str, runs_dir: str | None, change: dict[str, Any], quiet: bool, group: Processes | None, dry_run: bool
) -> Run | None:
    """Resume a run with what is to change of it; None for a dry run, which is reported."""
    import_torch()
    if dry_run:
        if not quiet:
            _dry_resume(name, runs_dir, change)
        return None
    with TrainingProgress(quiet) as progress:
        shown = progress.handlers()
        if group is not None:
            from dlworkflow.training.distributed import resume_together

            return resume_together(group, name, runs_dir=runs_dir, **change, **shown)
        from dlworkflow.runs import find_run

        found = find_run(name, runs_dir)
        from dlworkflow.training.resume import resume_training

        with file_bar() as on_images:
            return resume_training(found, **change, on_images=on_images, **shown)


def _dry_resume(name: str, runs_dir: str | None, change: dict[str, Any]) -> None:
    """Report at which epoch a run would resume, after all checks but that of its state."""
    from dlworkflow.runs import find_run

    found = find_run(name, runs_dir)
    from dlworkflow.training.resume import prepare_resume

    job = prepare_resume(found, **change)
    say_job(job)
    last = found.summary().last
    done = int(last["epoch"]) if last and found.state_path.is_file() else 0
    typer.echo(f"dry run: {found.path} would resume after epoch {done} of {job.config.epochs}; nothing was written")


def _save_curves(run: Run, plots: bool | None) -> None:
    if run.epochs_done() and (plots or (plots is None and sys.stdout.isatty())):
        from dlworkflow.analysis.figures import draw
        from dlworkflow.plotting import save_figure

        say(f"figure  {save_figure(draw(run, 'curves'), run.plot_path('curves'))}")


def _place(layers: list[Layer]) -> dict[str, Any]:
    """Return the settings that locate a run's data now."""
    from dlworkflow.config import merge

    given = merge(layers).values.get("data")
    return {key: given[key] for key in _PLACE if key in given} if isinstance(given, dict) else {}


def _epochs(layers: list[Layer]) -> int | None:
    """Return the number of epochs that a resumed run is to have, None for its own."""
    from dlworkflow.config import merge

    epochs = merge(layers).values.get("epochs")
    if epochs is not None and (not isinstance(epochs, int) or epochs < 1):
        raise ConfigError(f"--epochs: must be a whole number of at least 1, not {epochs!r}")
    return epochs


def _refuse_settings(layers: list[Layer], more: dict[str, object], force: bool) -> None:
    """Raise ConfigError for settings typed beside --resume; with --force, report that they are ignored."""
    allowed = {"epochs", *(f"data.{key}" for key in _PLACE)}
    given = [layer.labels.get(key, key) for layer in layers for key in layer.labels if key not in allowed]
    given += [flag for flag, value in more.items() if value]
    names = few(dict.fromkeys(given), quoted=False)
    if names and not force:
        raise ConfigError(f"{names}: a resumed run keeps its settings; leave them out, or --force ignores them")
    if names:
        say(f"note    ignored: {names}")
