"""`dlw plot`: the figures of a run, into its folder or where the user wants them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlworkflow.analysis.figure_kinds import KINDS, OF_A_SPLIT, OF_THE_HISTORY
from dlworkflow.cli.evaluate import Split
from dlworkflow.cli.options import (
    RUN_HELP,
    DataDirOption,
    OverwriteOption,
    RunsDirOption,
    complete_runs,
    echo_path,
    figure_file,
    say,
)
from dlworkflow.cli.predict import Weights
from dlworkflow.errors import ConfigError, RunError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlworkflow.runs import Run


def _complete(incomplete: str) -> list[str]:
    return [*complete_runs(incomplete), *(kind for kind in KINDS if kind.startswith(incomplete))]


def plot(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [FIGURE]...",
            help=f"{RUN_HELP} Figures: {', '.join(KINDS)}; all that fit when none is named.",
            autocompletion=_complete,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the one figure here: .png, .svg or .pdf.")
    ] = None,
    overwrite: OverwriteOption = False,
    split: Annotated[Split, typer.Option(help="Which part of the data, where the figure is of one.")] = Split.test,
    weights: Annotated[
        Weights, typer.Option(help="Those of the best epoch or of the last, where the figure needs any.")
    ] = Weights.best,
    data_dir: DataDirOption = None,
    runs_dir: RunsDirOption = None,
) -> None:
    """Draw the figures of a run.

    \b
    dlw plot                         all that fit the last run, into its folder
    dlw plot circles boundary        the run whose name starts with circles
    dlw plot curves --out curves.svg
    """
    from dlworkflow.runs import find_run

    kinds = [name for name in names or () if name in KINDS]
    runs = [name for name in names or () if name not in KINDS]
    if len(runs) > 1:
        raise ConfigError(f"one run at a time, and {runs[-1]!r} is no figure; figures are {', '.join(KINDS)}")
    try:
        found = find_run(runs[0] if runs else None, runs_dir)
    except RunError as error:
        if runs and (guess := nearest(runs[0], KINDS)):
            raise RunError(f"{error}; or did you mean the figure {guess!r}?") from None
        raise
    if out is not None and len(kinds) != 1:
        raise ConfigError("--out: name one figure, for example `dlw plot curves --out curves.png`")

    from dlworkflow.data import input_files
    from dlworkflow.plotting import save_figure

    target = figure_file("--out", out, overwrite, input_files(found.summary()["config"]["data"]))
    say(f"run {found.path}")
    tail = "" if split is Split.test else f"-{split.value}"
    which = "" if weights is Weights.best else f"-{weights.value}"
    for kind, figure in _drawn(found, kinds, split.value, data_dir, weights.value):
        own = kind if kind in OF_THE_HISTORY else f"{kind}{tail if kind in OF_A_SPLIT else ''}{which}"
        echo_path(target.save(figure) if target else save_figure(figure, found.plot_path(own)))


def _drawn(run: Run, kinds: list[str], split: str, data_dir: str | None, weights: str) -> Iterator[tuple[str, Figure]]:
    """Draw figures; those of the history alone need no model, and no import of torch."""
    if kinds and set(kinds) <= set(OF_THE_HISTORY):
        from dlworkflow.analysis.history_figures import draw_history

        return ((kind, draw_history(run, kind)) for kind in kinds)
    from dlworkflow.analysis.figures import draw_all

    return draw_all(run, kinds, split=split, data_dir=data_dir, weights=weights)
