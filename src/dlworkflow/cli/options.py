"""Options that several commands share, and what a shell completes them with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer

CLOSED_PIPE = 141
"""Exit code of a training whose reader has gone: 128 + SIGPIPE, as a shell says of any program."""


def complete_models(incomplete: str) -> list[str]:
    """Return the model names that start so."""
    from dlworkflow.models import names

    return [name for name in names() if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[str]:
    """Return the data set names that start so."""
    from dlworkflow.data import names

    return [name for name in names() if name.startswith(incomplete)]


def complete_runs(incomplete: str) -> list[str]:
    """Return the run names that start so."""
    from dlworkflow.runs import list_runs

    return [name for name in ("last", "best", *(run.name for run in list_runs())) if name.startswith(incomplete)]


RUN_HELP = "A run: its path, its name, the unique start of it, `last` or `best`."

RunArgument = Annotated[str | None, typer.Argument(metavar="[RUN]", help=RUN_HELP, autocompletion=complete_runs)]
RunOption = Annotated[str | None, typer.Option("--run", metavar="RUN", help=RUN_HELP, autocompletion=complete_runs)]
RunsDirOption = Annotated[
    str | None, typer.Option("--runs-dir", metavar="DIR", help="Where runs are kept [default: DLW_RUNS_DIR or runs].")
]
DataDirOption = Annotated[
    str | None,
    typer.Option("--data-dir", metavar="DIR", help="Where data sets are kept [default: DLW_DATA_DIR or data]."),
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Fetch nothing (or set DLW_OFFLINE=1).")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting: --set model.hidden_units=32. Repeat it for more."),
]
AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="best|last", help="Which epoch of each run; last chooses none [default: best]."),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="Settings to start from: notes, or best where the model has it [default: notes].",
        autocompletion=lambda: ["notes", "best"],
    ),
]
DeviceOption = Annotated[str | None, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")]


def count(text: str) -> int:
    """Read an option's whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        raise typer.BadParameter(f"must be a whole number, not {text!r}") from None
    if number < 1:
        raise typer.BadParameter(f"must be at least 1, not {number}")
    return number


def say(text: str) -> None:
    """Print a line for people on stderr, where it is in nobody's way; that nobody is left to read it is no failure."""
    from dlworkflow.text import printable

    with suppress(OSError):  # the terminal was closed, or the pipe
        typer.echo(printable(text), err=True)


@contextmanager
def file_bar() -> Iterator[Callable[[int, int], object] | None]:
    """Show files as they are done: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    bars: list[Any] = []  # made when it is known how many files there are

    def show(done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(total=total, unit="file", leave=False, dynamic_ncols=True, file=sys.stderr))
        bars[0].update(done - bars[0].n)

    try:
        yield show
    finally:
        for bar in bars:
            bar.close()
