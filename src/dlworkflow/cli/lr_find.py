"""`dlw lr-find`: a learning rate to start from, by a range test that leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlworkflow.cli.command import Given, named_model, takes_code, typed_layers, with_settings
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import (
    ConfigOption,
    ModelArgument,
    OfflineOption,
    OverwriteOption,
    SetOption,
    figure_file,
    say,
)
from dlworkflow.config.flags import OF_LR_FIND, OUTPUT, SEARCH
from dlworkflow.errors import RunError


@takes_code
@with_settings(*OF_LR_FIND)
def lr_find(
    given: Given,
    model: ModelArgument = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    low: Annotated[
        float,
        typer.Option(
            metavar="NUMBER", help="First learning rate [default: 1e-06].", show_default=False, rich_help_panel=SEARCH
        ),
    ] = 1e-6,
    high: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="Last learning rate, where the loss does not diverge before [default: 10].",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = 10.0,
    steps: Annotated[
        int,
        typer.Option(
            metavar="N", help="Updates, each with a higher learning rate than the last.", rich_help_panel=SEARCH
        ),
    ] = 100,
    out: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Save a figure of loss by learning rate: .png, .svg or .pdf [default: none].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    offline: OfflineOption = False,
) -> None:
    """Suggest a learning rate from a range test.

    The test trains a new model with a learning rate that grows at each update. Schedule, accumulation, clipping, EMA,
    mixup and mixed precision are off. No run is made.

    Examples:
    dlw lr-find circles_v2 --optimizer adam
    dlw lr-find tinyvgg --data digits --plot learning-rates.png
    """
    from dlworkflow.data import input_files

    target = figure_file("--plot", out, overwrite)
    layers = typed_layers(config or (), settings, named_model(model, given))

    import_torch()
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
        raise RunError(
            f"no learning rate to suggest: {found.reason}; widen the range with --low and --high, or give more --steps"
        )
    typer.echo(f"suggested: --lr {found.suggestion:.2g}")
    typer.echo(f"why: {found.reason} ({len(found.rates)} updates)")
