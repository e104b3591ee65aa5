"""Removes and renames runs and sweeps, so that the sweep of a run knows of it; trains and prints nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlworkflow.runs import Run
from dlworkflow.runs.keeping import check_folder, remove_folder, rename_folder
from dlworkflow.training.sweep.folder import Sweep, is_sweep


def check_removable(found: Run | Sweep) -> None:
    """Raise RunError where `remove` would, and for what only has a file named as that of a sweep."""
    if isinstance(found, Sweep):
        found.read()
    check_folder(found.path, found.runs() if isinstance(found, Sweep) else ())


def remove(found: Run | Sweep) -> None:
    """Remove a run, or a sweep with all its runs; the sweep of a removed run continues without it.

    Raises RunError as `remove_folder` does, and where the sweep is being trained.
    """
    if isinstance(found, Sweep):
        remove_folder(found.path, found.runs())
        return
    with _sweep_of(found) as sweep:
        remove_folder(found.path)
        if sweep is not None:
            sweep.replace_run(found.name, None)


def rename(found: Run | Sweep, name: str) -> Path:
    """Rename a run, in its sweep too, or a sweep, whose runs keep their names; return the new path.

    Raises as `rename_folder` does, and RunError where the sweep is being trained.
    """
    if isinstance(found, Sweep):
        found.read()  # a folder with somebody else's file of this name stays
        return rename_folder(found.path, name, found.runs())
    with _sweep_of(found) as sweep:
        new = rename_folder(found.path, name)
        if sweep is not None:
            sweep.replace_run(found.name, name)
    return new


@contextmanager
def _sweep_of(run: Run) -> Iterator[Sweep | None]:
    """Yield the sweep that a run belongs to, which nobody trains meanwhile; None of a run on its own."""
    sweep = Sweep(run.path.parent)
    if not is_sweep(sweep.path):
        yield None
        return
    with sweep.locked():
        sweep.read()  # a damaged plan is reported before anything is changed
        yield sweep
