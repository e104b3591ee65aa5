"""`dlw train`: settings from flags, files and recipes; a bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.options import (
    DataDirOption,
    DeviceOption,
    OfflineOption,
    RecipeOption,
    RunsDirOption,
    SetOption,
    complete_data,
    complete_models,
    complete_runs,
    file_bar,
    say,
)
from dlworkflow.cli.progress import Progress, print_end, say_job
from dlworkflow.errors import ConfigError, few
from dlworkflow.files.paths import user_path

if TYPE_CHECKING:
    from dlworkflow.config import Layer
    from dlworkflow.runs import Run
    from dlworkflow.training.distributed import Processes

STARTED_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that say which of several processes this is."""


_PLACE = ("name", "path", "test", "data_dir")
"""Settings of the data that say where it is: a resumed run takes them, as its data may have moved."""


def _in_processes(command: Callable[..., None]) -> Callable[..., None]:
    """Start the processes that --processes asks for, or join those that were started with this one."""

    @wraps(command)
    def run(ctx: typer.Context, processes: int | None = None, **settings: Any) -> None:
        looks = settings["print_config"] or settings["dry_run"]
        if not all(variable in os.environ for variable in STARTED_BY_TORCHRUN):
            if processes is not None and not looks:
                from dlworkflow.training.distributed import launch

                raise SystemExit(launch(processes, ctx.obj, settings["runs_dir"]))
            ctx.obj = None
            command(ctx, **settings)
            return
        from dlworkflow.training.distributed import joined

        with joined(settings["runs_dir"]) as ctx.obj:
            if processes not in (None, ctx.obj.size):
                raise ConfigError(f"--processes: torchrun has started {ctx.obj.size}, not {processes}; leave it out")
            command(ctx, **settings)

    return run


def _reading_anew(command: Callable[..., None]) -> Callable[..., None]:
    """Believe nothing that is remembered of files where --recheck asks for that."""

    @wraps(command)
    def run(*arguments: Any, recheck: bool = False, **settings: Any) -> None:
        from dlworkflow.data.images.cache import rechecked

        with rechecked(recheck):
            command(*arguments, **settings)

    return run


@_in_processes
@_reading_anew
def train(
    ctx: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="A name of `dlw models`.", autocompletion=complete_models),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A name of `dlw data list`, a folder of pictures, a CSV of path,label[,split], or shards.",
            autocompletion=complete_data,
        ),
    ] = None,
    val_fraction: Annotated[
        str | None,
        typer.Option(
            metavar="F", help="Cut this part of the training data off to choose by, so that the test data stays unseen."
        ),
    ] = None,
    config: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="A YAML file of settings. Repeat it: the later wins.")
    ] = None,
    settings: SetOption = None,
    recipe: RecipeOption = None,
    epochs: Annotated[str | None, typer.Option(metavar="N", help="Passes over the training data.")] = None,
    lr: Annotated[str | None, typer.Option(metavar="NUMBER", help="Learning rate.")] = None,
    batch_size: Annotated[str | None, typer.Option(metavar="N|full", help="Samples an update, or all of them.")] = None,
    on_bad: Annotated[
        str | None,
        typer.Option(metavar="error|skip", help="What to do about pictures that cannot be read [default: error]."),
    ] = None,
    fast_decode: Annotated[
        bool,
        typer.Option("--fast-decode", help="Decode JPEGs no larger than needed: less time, slightly other pixels."),
    ] = False,
    optimizer: Annotated[str | None, typer.Option(metavar="NAME", help="sgd, adam, adamw or rmsprop.")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How the rate changes: constant, step, multi_step, exponential, cosine, one_cycle or plateau.",
        ),
    ] = None,
    patience: Annotated[
        str | None,
        typer.Option(metavar="N", help="Stop after N epochs without a lower loss (validation, else test)."),
    ] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="Seed of every random number.")] = None,
    device: DeviceOption = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="fp32|bf16|fp16",
            help="Of the forward pass in training; weights, scores and predictions stay float32.",
        ),
    ] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Keep pictures in memory pixel by pixel: faster convolutions.")
    ] = False,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Compile the model first (torch.compile): pays in long runs.")
    ] = False,
    threads: Annotated[
        str | None, typer.Option(metavar="N|auto", help="CPU threads; auto is 1 for models without convolutions.")
    ] = None,
    processes: Annotated[  # noqa: ARG001 - `_in_processes` answers to it
        int | None,
        typer.Option(metavar="N", help="Processes that share each batch; for several machines: dlw guide scale."),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Name of the run, before its number.")] = None,
    init_from: Annotated[
        str | None,
        typer.Option("--init-from", metavar="RUN|FILE", help="Start from these weights, where they match."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="default|NAME|FILE", help="Pretrained weights of a backbone: torchvision's by name, or a file."
        ),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option(metavar="backbone", help="Train the classifier alone, on what the backbone sees.")
    ] = None,
    freeze_epochs: Annotated[
        str | None, typer.Option(metavar="N", help="Freeze for N epochs; then the backbone is trained too.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Go on where a run stopped; --epochs may be raised.", autocompletion=complete_runs
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Resume although the data has changed, or other settings are given.")
    ] = False,
    recheck: Annotated[  # noqa: ARG001 - `_reading_anew` answers to it
        bool, typer.Option("--recheck", help="Read every picture from the disk, whatever is remembered of it.")
    ] = False,
    data_dir: DataDirOption = None,
    runs_dir: RunsDirOption = None,
    offline: OfflineOption = False,
    plots: Annotated[
        bool | None,
        typer.Option("--plots/--no-plots", help="Draw the curves into the run's folder [default: on a terminal]."),
    ] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the settings as YAML and stop.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Load the data and build the model, say what would run, and stop.")
    ] = False,
) -> None:
    """Train a model and leave a run folder.

    \b
    dlw train tinyvgg --data pizza_steak_sushi
    dlw train circles_v2 --epochs 1000 --lr 0.1
    dlw train tinyvgg --data path/to/folder --set optimizer.weight_decay=1e-4 --config my.yaml
    dlw train resnet18 --data path/to/folder --weights default --freeze backbone
    dlw train --resume last --epochs 40

    Settings are looked for in this order: flags, --set, --config, the model's recipe.
    """
    from dlworkflow.config import from_flags, from_overrides, read_file, together
    from dlworkflow.data import locate

    group: Processes | None = ctx.obj
    quiet = group is not None and group.rank > 0
    flags = from_flags(
        {
            "model.name": ("MODEL", model),
            "recipe": ("--recipe", recipe),
            "data.data_dir": ("--data-dir", data_dir),
            "data.val_fraction": ("--val-fraction", number_or_text(val_fraction)),
            "data.on_bad": ("--on-bad", on_bad),
            "data.fast_decode": ("--fast-decode", fast_decode or None),
            "data.batch_size": ("--batch-size", number_or_text(batch_size)),
            "optimizer.name": ("--optimizer", optimizer),
            "optimizer.lr": ("--lr", number_or_text(lr)),
            "schedule.name": ("--schedule", schedule),
            "early_stopping.patience": ("--patience", number_or_text(patience)),
            "epochs": ("--epochs", number_or_text(epochs)),
            "seed": ("--seed", number_or_text(seed)),
            "device": ("--device", device),
            "precision": ("--precision", precision),
            "channels_last": ("--channels-last", channels_last or None),
            "compile": ("--compile", compile_ or None),
            "threads": ("--threads", number_or_text(threads)),
            "init_from": ("--init-from", _weights_file(init_from, runs_dir)),
            "weights": ("--weights", _absolute(weights)),
            "freeze": ("--freeze", freeze),
            "freeze_epochs": ("--freeze-epochs", number_or_text(freeze_epochs)),
        }
    )
    if data is not None:
        flags = with_data(flags, locate(data))
    layers = [*(read_file(user_path(path)) for path in config or ()), together(from_overrides(settings or ()), flags)]
    progress = Progress(quiet)
    if resume is not None:
        _refuse_settings(layers, {"--name": name, "--print-config": print_config}, force)
        if dry_run:
            if not quiet:
                _dry_resume(resume, layers, runs_dir, force, offline)
            return
        run = _resume(resume, layers, runs_dir, force, offline, progress, group)
    else:
        if force:
            raise ConfigError("--force: only with --resume RUN")
        from dlworkflow.training.job import prepare
        from dlworkflow.training.run import train_job
        from dlworkflow.training.settings import fill_defaults, resolve_config

        resolved = resolve_config(layers)
        if print_config and not quiet:
            typer.echo(fill_defaults(resolved).to_yaml().rstrip())
        if print_config:
            return
        with file_bar() as on_images:
            job = prepare(resolved, offline=offline, group=group, on_images=on_images)
        if dry_run and not quiet:
            say_job(job)
            typer.echo("dry run: all settings fit; nothing was written")
        if dry_run:
            return
        with progress:
            told: dict[str, Any] = {"on_start": progress.start, "on_epoch": progress}
            if group is None:
                run = train_job(job, runs_dir=runs_dir, name=name, **told)
            else:
                from dlworkflow.training.distributed import train_together

                run = train_together(group, job, runs_dir=runs_dir, name=name, offline=offline, **told)
    if quiet:
        return
    print_end(run)
    if plots or (plots is None and sys.stdout.isatty()):
        from dlworkflow.analysis.figures import draw
        from dlworkflow.plotting import save_figure

        say(f"figure  {save_figure(draw(run, 'curves'), run.plot_path('curves'))}")


def _resume(
    name: str,
    layers: list[Layer],
    runs_dir: str | None,
    force: bool,
    offline: bool,
    progress: Progress,
    group: Processes | None,
) -> Run:
    told: dict[str, Any] = {"on_start": progress.start, "on_epoch": progress}
    if group is not None:
        from dlworkflow.training.distributed import resume_together

        settings: dict[str, Any] = {"epochs": _epochs(layers), "place": _place(layers), "force": force}
        settings["offline"] = offline
        with progress:
            return resume_together(group, name, runs_dir=runs_dir, **settings, **told)
    from dlworkflow.runs import find_run

    found, epochs = find_run(name, runs_dir), _epochs(layers)
    from dlworkflow.training.resume import resume_training

    given: dict[str, Any] = {"epochs": epochs, "place": _place(layers), "force": force, "offline": offline}
    with progress, file_bar() as on_images:
        return resume_training(found, **given, on_images=on_images, **told)


def _dry_resume(name: str, layers: list[Layer], runs_dir: str | None, force: bool, offline: bool) -> None:
    """Say from where to where a run would go on, after all checks but that of its state."""
    from dlworkflow.runs import find_run

    found, epochs = find_run(name, runs_dir), _epochs(layers)
    from dlworkflow.training.resume import prepare_resume

    job = prepare_resume(found, epochs=epochs, place=_place(layers), force=force, offline=offline)
    say_job(job)
    last = found.summary()["last"]
    done = int(last["epoch"]) if last and found.state_path.is_file() else 0
    typer.echo(f"dry run: {found.path} would go on after epoch {done} of {job.config.epochs}; nothing was written")


def _place(layers: list[Layer]) -> dict[str, Any]:
    """Return the settings that say where a run's data is now."""
    from dlworkflow.config import merge

    given = merge(layers).values.get("data")
    return {key: given[key] for key in _PLACE if key in given} if isinstance(given, dict) else {}


def _epochs(layers: list[Layer]) -> int | None:
    """Return the epochs that a resumed run is to have, None for those that it has."""
    from dlworkflow.config import merge

    epochs = merge(layers).values.get("epochs")
    if epochs is not None and (not isinstance(epochs, int) or epochs < 1):
        raise ConfigError(f"--epochs: must be a whole number of at least 1, not {epochs!r}")
    return epochs


def _refuse_settings(layers: list[Layer], more: dict[str, object], force: bool) -> None:
    """Raise ConfigError for settings typed beside --resume; with --force, say that they are ignored."""
    allowed = {"epochs", *(f"data.{key}" for key in _PLACE)}
    given = [layer.labels.get(key, key) for layer in layers for key in layer.labels if key not in allowed]
    given += [flag for flag, value in more.items() if value]
    names = few(dict.fromkeys(given), quoted=False)
    if names and not force:
        raise ConfigError(f"{names}: a resumed run keeps its settings; leave them out, or --force ignores them")
    if names:
        say(f"note    ignored: {names}")


def _weights_file(given: str | None, runs_dir: str | None) -> str | None:
    """Return the file that `--init-from` means: itself, or the best weights of a run."""
    if given is None:
        return None
    path = user_path(given)
    if path.is_file():
        return str(path.resolve())
    from dlworkflow.runs import find_run

    return str(find_run(given, runs_dir).weights_path().resolve())


def _absolute(weights: str | None) -> str | None:
    """Return a file's whole path, so that the run's settings find it from anywhere; a name as it is."""
    if weights is None or not user_path(weights).is_file():
        return weights
    return str(user_path(weights).resolve())


def with_data(flags: Layer, located: dict[str, str]) -> Layer:
    """Return the flags with what `--data` stands for."""
    from dlworkflow.config import Layer

    below = flags.values.get("data", {})
    labels = {f"data.{key}": "--data" for key in located}
    return Layer(flags.values | {"data": {**located, **below}}, {**flags.labels, **labels})


def number_or_text(text: str | None) -> int | float | str | None:
    """Read a number; leave `full`, `auto` and whatever is wrong to the check of all settings."""
    for number in (int, float):
        try:
            return None if text is None else number(text)
        except ValueError:
            continue
    return text
