"""`dlw lr-find`: which learning rate to begin with, found without leaving anything behind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlworkflow.cli.options import (
    DataDirOption,
    DeviceOption,
    OfflineOption,
    OverwriteOption,
    RecipeOption,
    SetOption,
    complete_data,
    complete_models,
    figure_file,
    say,
)
from dlworkflow.errors import RunError
from dlworkflow.files.paths import user_path


def lr_find(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="A name of `dlw models`.", autocompletion=complete_models),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help="As for `dlw train`.", autocompletion=complete_data),
    ] = None,
    config: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A YAML file of settings.")] = None,
    settings: SetOption = None,
    recipe: RecipeOption = None,
    batch_size: Annotated[str | None, typer.Option(metavar="N|full", help="Samples an update, or all of them.")] = None,
    optimizer: Annotated[str | None, typer.Option(metavar="NAME", help="sgd, adam, adamw or rmsprop.")] = None,
    low: Annotated[float, typer.Option(help="The first rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The last rate, where the loss does not diverge before.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Updates, each at a higher rate than the one before.")] = 100,
    out: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curve: .png, .svg or .pdf.")
    ] = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = None,
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
) -> None:
    """Suggest a learning rate, from what a growing one does to the loss.

    \b
    dlw lr-find tinyvgg --data path/to/folder --plot rates.png
    dlw lr-find circles_v2 --optimizer adam

    Data, model, loss, batches and optimizer are set as for `dlw train`; schedule, accumulation, clipping, averaging,
    mixup and precision are left out. No run is made; the model is thrown away.
    """
    from dlworkflow.cli.train import number_or_text, with_data
    from dlworkflow.config import from_flags, from_overrides, read_file, together
    from dlworkflow.data import input_files, locate

    target = figure_file("--plot", out, overwrite)
    flags = from_flags(
        {
            "model.name": ("MODEL", model),
            "recipe": ("--recipe", recipe),
            "data.data_dir": ("--data-dir", data_dir),
            "data.batch_size": ("--batch-size", number_or_text(batch_size)),
            "optimizer.name": ("--optimizer", optimizer),
            "device": ("--device", device),
        }
    )
    flags = flags if data is None else with_data(flags, locate(data))
    layers = [*(read_file(user_path(path)) for path in config or ()), together(from_overrides(settings or ()), flags)]

    from dlworkflow.training.lr_finder import search_lr
    from dlworkflow.training.settings import resolve_config

    resolved = resolve_config(layers)
    if target is not None:
        target.check(input_files(resolved.data.model_dump()))
    found = search_lr(resolved, low=low, high=high, steps=steps, offline=offline)
    if target is not None:
        from dlworkflow.plotting import plot_lr_search

        figure = plot_lr_search(found.rates, found.losses, found.smoothed, found.suggestion)
        say(f"figure  {target.save(figure)}")
    if found.suggestion is None:
        raise RunError(f"no rate to suggest: {found.reason}; widen it with --low and --high, or give more --steps")
    typer.echo(f"suggested: --lr {found.suggestion:.2g}")
    typer.echo(f"why: {found.reason} ({len(found.rates)} updates)")
