"""`dlw runs rm`, `rename`, `tag` and `note`: what a user does with runs that are there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dlworkflow.cli.options import RUN_HELP, RunsDirOption, complete_runs, say
from dlworkflow.errors import ConfigError
from dlworkflow.files.numbers import file_size
from dlworkflow.files.paths import user_path
from dlworkflow.files.text import printable

if TYPE_CHECKING:
    from dlworkflow.runs import Run
    from dlworkflow.training.sweep.folder import Sweep

_OneRun = Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP, autocompletion=complete_runs)]
_WithSweeps = f"{RUN_HELP} A sweep stands for all its runs."


def rm(
    names: Annotated[
        list[str], typer.Argument(metavar="RUN", help=_WithSweeps, autocompletion=complete_runs, show_default=False)
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; takes names in full only [default: off, which asks].")
    ] = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Remove runs, after asking.

    A sweep is removed with all its runs. A run that is being trained stays, and so does a folder that is no run.
    """
    from dlworkflow.training.sweep.folder import find_run_or_sweep
    from dlworkflow.training.sweep.keeping import check_removable, remove

    found = {}
    for name in names:
        each = find_run_or_sweep(name, runs_dir)
        if yes and user_path(name).name != each.name:
            raise ConfigError(f"--yes: {name!r} means {each.name} here; write its name in full, or leave --yes out")
        check_removable(each)
        found[each.path.resolve()] = each
    kept = [each for path, each in found.items() if path.parent not in found]  # a sweep goes with its runs
    sizes = [_described(each) for each in kept]
    if not yes:
        _ask(sum(sizes), len(kept))
    for each, size in zip(kept, sizes, strict=True):
        remove(each)
        typer.echo(f"removed {printable(each.path)}, {file_size(size)}")


def _described(found: Run | Sweep) -> int:
    """Print what is to be removed, and return its size in bytes."""
    from dlworkflow.runs import Run, size_of
    from dlworkflow.runs.comparison import run_rows

    size = size_of(found.path)
    if isinstance(found, Run):
        [row] = run_rows([found])
        what = f", {row['model']} on {row['data']}" if "model" in row else ""
        tags = f", tagged {row['tags']}" if "tags" in row else ""
        say(f"run     {found.path}: {row['status']}{what}{tags}, {file_size(size)}")
    else:
        say(f"sweep   {found.path}: {len(found.runs()):,} runs, {file_size(size)}")
    return size


def _ask(size: int, n: int) -> None:
    """Ask whether to go on. Raises ConfigError where nobody can answer, and typer.Exit for a no."""
    if not sys.stdin.isatty():
        raise ConfigError("nothing is removed without an answer, and this is no terminal; add --yes")
    if not typer.confirm(f"Remove {'it' if n == 1 else f'these {n}'}, {file_size(size)}?", err=True):
        say("nothing is removed")
        raise typer.Exit(1)


def rename(
    run: Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN_HELP} Or a sweep.", autocompletion=complete_runs)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the folder, without a path.")],
    runs_dir: RunsDirOption = None,
) -> None:
    """Rename a run or a sweep; it stays in its folder of runs.

    The runs of a sweep keep their names.

    Examples:
    dlw runs rename tinyvgg-digits-001 digits-baseline
    """
    from dlworkflow.training.sweep.folder import find_run_or_sweep
    from dlworkflow.training.sweep.keeping import rename as rename_

    found = find_run_or_sweep(run, runs_dir)
    typer.echo(f"{printable(found.name)} is {printable(rename_(found, name))} now")


def tag(
    run: Annotated[str, typer.Argument(metavar="RUN", help=_WithSweeps, autocompletion=complete_runs)],
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="[TAG]", help="Tags to add [default: prints those of the run].")
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove these tags instead [default: off, which adds them].")
    ] = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Tag a run, to list runs by tag.

    Examples:
    dlw runs tag tinyvgg-digits-001 good baseline
    dlw runs tag tinyvgg-digits-001 baseline --remove
    dlw runs --tag good
    dlw compare --filter tag=good
    """
    from dlworkflow.training.sweep.folder import find_runs

    if remove and not tags:
        raise ConfigError("--remove: name the tags to remove")
    for found in find_runs(run, runs_dir):
        notes = found.notes() if not tags else found.untag(*tags) if remove else found.tag(*tags)
        typer.echo(f"{printable(found.name)}: {_listed(notes.tags)}")


def _listed(tags: Sequence[str]) -> str:
    return ", ".join(map(printable, tags)) or "no tags"


def note(
    run: _OneRun,
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="The note, one line [default: prints that of the run].")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the note [default: off].")] = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Write a note to a run, or print it.

    Examples:
    dlw runs note last "the first with weight decay"
    """
    from dlworkflow.runs import find_run

    if remove and text is not None:
        raise ConfigError("--remove: leave out the text, or --remove")
    found = find_run(run, runs_dir)
    notes = found.notes() if text is None and not remove else found.write_note(text or "")
    typer.echo(f"{printable(found.name)}: {printable(notes.note) or 'no note'}")
