"""`dlw plot`: the figures of a run, into its folder or where the user wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dlworkflow.analysis.run_figures import FIGURES
from dlworkflow.cli.command import takes_code
from dlworkflow.cli.evaluate import Split
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import (
    RUN_HELP,
    DataDirOption,
    OverwriteOption,
    RunsDirOption,
    Weights,
    complete_runs,
    count_in_grid,
    echo_path,
    figure_file,
    say,
)
from dlworkflow.errors import ConfigError, RunError, few, nearest, unknown


def _complete(incomplete: str) -> list[str]:
    return [*complete_runs(incomplete), *(kind for kind in FIGURES.names() if kind.startswith(incomplete))]


@takes_code
def plot(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [FIGURE]...",
            help=f"{RUN_HELP} Figures: {', '.join(FIGURES.table)} [default: all that fit the run, but map and why].",
            autocompletion=_complete,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File of the one figure: .png, .svg or .pdf [default: in the run folder]."),
    ] = None,
    overwrite: OverwriteOption = False,
    split: Annotated[Split, typer.Option(help="Split of the data, for figures of one.")] = "test",
    weights: Annotated[
        Weights, typer.Option(help="Weights of the best or of the last epoch, for figures of the model.")
    ] = Weights.best,
    n: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=count_in_grid,
            help="Images in a figure of predictions, errors or why, up to 25 [default: 9].",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed that chooses the images of predictions, and of a map [default: 42]."),
    ] = None,
    palette: Annotated[
        str | None,
        typer.Option(
            metavar="COLOURS",
            help="Colours of the classes of a boundary or a map: notes (0 red, 1 blue), a colormap of matplotlib, or "
            "red,blue [default: colours that colour-blind people can tell apart].",
        ),
    ] = None,
    method: Annotated[
        Literal["pca", "umap"] | None,
        typer.Option(
            help="How the map is made: pca shows the two directions in which features vary most, umap keeps "
            "neighbours together and takes half a minute [default: pca]."
        ),
    ] = None,
    thumbnails: Annotated[
        bool | None,
        typer.Option("--thumbnails", help="Show images on the map, of those close together one [default: dots]."),
    ] = None,
    data_dir: DataDirOption = None,
    runs_dir: RunsDirOption = None,
) -> None:
    """Save the figures of a run.

    Examples:
    dlw plot                         all that fit the last run, in its folder
    dlw plot circles boundary        the run whose name starts with circles
    dlw plot circles boundary --palette notes
    dlw plot curves --out curves.svg
    dlw plot predictions --n 16 --seed 1
    dlw plot map --split train --thumbnails
    dlw plot tinyvgg why             what made the worst errors; takes captum, see `dlw guide explain`
    """
    from dlworkflow.runs import find_run

    known = FIGURES.names()
    kinds = [name for name in names or () if name in known]
    runs = [name for name in names or () if name not in known]
    if len(runs) > 1:
        raise ConfigError(f"one run at a time; {unknown('figure', runs[-1], known)}")
    try:
        found = find_run(runs[0] if runs else None, runs_dir)
    except RunError as error:
        if runs and (guess := nearest(runs[0], known)):
            raise RunError(f"{error}; or did you mean the figure {guess!r}?") from None
        raise
    if out is not None and len(kinds) != 1:
        raise ConfigError("--out: name one figure, for example `dlw plot curves --out curves.png`")

    colours = palette.split(",") if palette and "," in palette else palette
    given = {"n": n, "seed": seed, "palette": colours, "method": method, "thumbnails": thumbnails}
    chosen = {key: value for key, value in given.items() if value is not None}

    import_torch()
    from dlworkflow.analysis.figures import draw_all, file_stem, fitting_kinds
    from dlworkflow.data import input_files
    from dlworkflow.plotting import save_figure

    for key in chosen:
        if not any(key in FIGURES.needs(kind) for kind in kinds or fitting_kinds(found)):
            using = few((kind for kind in known if key in FIGURES.needs(kind)), quoted=False)
            raise ConfigError(f"--{key}: only for figures of {using}")
    target = figure_file("--out", out, overwrite, input_files(found.summary().config["data"]))
    say(f"run {found.path}")
    for kind, figure in draw_all(found, kinds, split=split, data_dir=data_dir, weights=weights.value, **chosen):
        path = found.plot_path(file_stem(kind, split, weights.value))
        echo_path(target.save(figure) if target else save_figure(figure, path))
