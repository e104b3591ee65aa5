"""Removes and renames folders of runs: whole or not at all, and never one that is being trained."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlworkflow.errors import ConfigError, RunError, system_reason
from dlworkflow.files.locking import IS_POSIX, is_locked, locked_file
from dlworkflow.files.paths import read_json
from dlworkflow.files.writing import write_text
from dlworkflow.runs.finding import is_run
from dlworkflow.runs.folder import CONFIG, LOCK, Run
from dlworkflow.runs.naming import safe_name
from dlworkflow.runs.stored import as_json

_REMOVED = re.compile(r"\..+\.[0-9a-f]{16}\.dlw-removed", re.DOTALL)
_LONGEST = 50  # letters of a name within that of its remains: file systems take 255 bytes
_MEANINGS = ("last", "best")  # names that mean a run without being one's own


def remove_folder(folder: Path, members: Sequence[Run] = ()) -> None:
    """Remove the folder of a run, or of a sweep with its `members`.

    It gets a hidden name first: a process that is killed leaves no half run, and the next call removes what it left.
    Raises RunError for a link, for a run that is being trained, for a folder that holds the working folder or runs
    that are not its own, and where nothing can be removed; then all of it stays.
    """
    check_folder(folder, members)
    remains = folder.with_name(f".{folder.name[:_LONGEST]}.{os.urandom(8).hex()}.dlw-removed")
    _move(folder, remains, "remove")
    for left in folder.parent.iterdir():
        if _REMOVED.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
    if remains.exists():
        raise RunError(f"{folder.name} is removed, but some of its files cannot be deleted: see {str(remains)!r}")


def check_folder(folder: Path, members: Sequence[Run] = ()) -> None:
    """Raise RunError for a folder that `remove_folder` would not remove."""
    if is_run(folder) and not (folder / CONFIG).is_file():
        Run(folder).summary()  # somebody else's file of this name makes no run
    here = Path.cwd()
    if folder.is_symlink():
        raise RunError(f"{str(folder)!r} is a link to another folder; name that one, or remove the link itself")
    if here.is_relative_to(folder.resolve()):
        raise RunError(f"the working folder {str(here)!r} is in {folder.name}; change to another one first")
    own = {run.name for run in members}
    own |= {path.name for path in folder.iterdir() if path.name.startswith(".")}  # what killed processes left
    others = sorted(path.name for path in folder.iterdir() if path.name not in own and is_run(path))
    if others:
        raise RunError(f"{str(folder)!r} holds other runs, as {others[0]!r}, and is no sweep; remove those first")
    if not os.access(folder, os.W_OK):
        raise RunError(f"cannot remove {str(folder)!r}: its files may not be changed")
    for run in (Run(folder), *members):
        _check_idle(run)


def rename_folder(folder: Path, name: str, members: Sequence[Run] = ()) -> Path:
    """Give the folder of a run another name, or that of a sweep with its `members`, and return its path.

    What commands wrote into it has the new name, too. Raises ConfigError for what is no name of a run, and RunError for
    one that is taken and for a run that is being trained.
    """
    if (fitting := safe_name(name)) != name or name in _MEANINGS:
        way_out = f"write {fitting!r}" if fitting != name else "it means another run"
        raise ConfigError(f"{name!r} cannot be the name of a run: {way_out}")
    for run in (Run(folder), *members):
        _check_idle(run)
    new = folder.with_name(name)
    if os.path.lexists(new):
        raise RunError(f"{str(new)!r} exists already; choose another name")
    _move(folder, new, "rename")
    rename_in_files(new, folder.name, name)
    return new


def rename_in_files(folder: Path, old: str, new: str) -> None:
    """Replace the name of a run in what commands as `dlw evaluate` and `dlw crossval` wrote into a folder."""
    for file in folder.glob("*.json"):
        with suppress(OSError, ValueError):  # a damaged file is reported by whoever reads it
            found = read_json(file)
            if (renamed := _renamed(found, old, new)) != found:
                write_text(file, as_json(renamed))


def _renamed(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: new if (key, part) == ("run", old) else _renamed(part, old, new) for key, part in value.items()}
    return [_renamed(part, old, new) for part in value] if isinstance(value, list) else value


def _check_idle(run: Run) -> None:
    held = is_locked(run.path / LOCK)
    if held or (held is None and _says_running(run)):
        raise RunError(f"{run.name} is being trained by another process")


def _says_running(run: Run) -> bool:
    with suppress(RunError):
        return run.summary().status == "running"
    return False


def _move(folder: Path, target: Path, what: str) -> None:
    """Rename a folder, which nobody starts to train meanwhile; Windows renames none with a locked file in it."""
    try:
        if not IS_POSIX:
            folder.rename(target)
            return
        with locked_file(folder / LOCK) as held:
            if held is False:
                raise RunError(f"{folder.name} is being trained by another process")
            folder.rename(target)
    except OSError as error:
        raise RunError(f"cannot {what} {str(folder)!r}: {system_reason(error)}") from None
