"""Which runs there are in a folder, and which of them a user means."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlworkflow.errors import RunError, first_line, nearest
from dlworkflow.files.paths import user_path
from dlworkflow.runs.averaging import over_samples
from dlworkflow.runs.folder import CONFIG, SUMMARY, Run

_NUMBERED = re.compile(r"-[0-9]+")


def runs_folder(runs_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where runs are kept: as given, else DLW_RUNS_DIR, else `runs` in the working folder."""
    return user_path(runs_dir or os.environ.get("DLW_RUNS_DIR") or "runs")


def find_run(
    given: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    *,
    fits: Callable[[Mapping[str, Any]], bool] | None = None,
    what: str = "run",
) -> Run:
    """Return the run that `given` means: a path, a name, one without its number (the newest), the only one that starts
    so, `last` or `best`; None is `last`.

    `last` and `best` look among runs whose summary `fits`, called `what` in the error; `best` is the lowest loss among
    those with the data and the loss function of the last. Raises RunError that says what there is.
    """
    folder = runs_folder(runs_dir)
    if given is None or given in ("last", "best"):
        return _last_or_best(folder, given or "last", fits, what)
    found = find_folder(given, runs_dir, is_run, run_names)
    if found is None and (path := user_path(given)).name != given and path.is_dir():
        raise RunError(f"{given!r} is no run folder: it has no {SUMMARY}")
    if found is None:
        raise RunError(f"no run {given!r} in {str(folder)!r}; {_there_is(given, run_names(folder))}")
    return Run(found)


def is_run(path: Path) -> bool:
    """Tell whether a folder is a run's."""
    return (path / SUMMARY).is_file()


def run_names(folder: Path) -> list[str]:
    """Return the names of the runs in a folder, oldest first."""
    return [run.name for run in list_runs(folder)]


def find_folder(
    given: str,
    runs_dir: str | os.PathLike[str] | None,
    is_one: Callable[[Path], bool],
    names_in: Callable[[Path], Sequence[str]],
) -> Path | None:
    """Return the folder that `given` means: one that is there, else by name or start of a name; None for none.

    A path is looked for from here, then below the folder of runs (SWEEP/RUN). `is_one` tells such a folder from others,
    `names_in` names those in a folder. Raises RunError for another folder, and for a start that several names have.
    """
    path, below = user_path(given), runs_folder(runs_dir) / given
    for there in (path, below):
        if is_one(there):
            return there.resolve() if there.name in ("", "..") else there
    is_path = path.name != given
    if is_path and path.is_dir():
        return None
    for folder in dict.fromkeys([path.parent, below.parent] if is_path else [below.parent]):
        if path.name and (name := choose_name(path.name, names_in(folder))) is not None:
            return folder / name
    return None


def choose_name(given: str, names: Sequence[str]) -> str | None:
    """Return which name is meant: `given` itself, the newest of those that only add a number, the one that starts so.

    Raises RunError where several start so.
    """
    starting = [name for name in names if name.startswith(given)]
    numbered = {int(name[len(given) + 1 :]): name for name in starting if _NUMBERED.fullmatch(name, len(given))}
    if given in names:
        return given
    if numbered:
        return numbered[max(numbered)]
    if len(starting) > 1:
        raise RunError(f"{given!r} fits several runs: {_some(starting)}; write more of the name")
    return starting[0] if starting else None


def list_runs(runs_dir: str | os.PathLike[str] | None = None) -> list[Run]:
    """Return the runs in a folder, oldest first; a damaged one is among them, a folder that never was a run is not.

    Nor is a hidden one: such a name has a run that is not whole yet.
    """
    folder = runs_folder(runs_dir)
    if not folder.is_dir():
        return []
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise RunError(f"cannot list folder {str(folder)!r}: {error.strerror or first_line(error)}") from None
    found = [
        Run(path)
        for path in entries
        if not path.name.startswith(".") and ((path / SUMMARY).is_file() or (path / CONFIG).is_file())
    ]
    return sorted(found, key=_age)


def _last_or_best(folder: Path, which: str, fits: Callable[[Mapping[str, Any]], bool] | None, what: str) -> Run:
    summaries = []
    for run in list_runs(folder):
        try:
            summary = run.summary()
        except RunError:
            continue  # a damaged run is no candidate; `dlw runs` and `dlw compare` name it
        if fits is None or fits(summary):
            summaries.append((run, summary))
    if not summaries:
        raise RunError(f"no {what} in {str(folder)!r} yet; make one with `dlw train MODEL`")
    run, last = summaries[-1]
    if which == "last":
        return run
    scored = [
        (over_samples(summary, summary["best"])[0][f"{summary['chosen_on']}_loss"], run)
        for run, summary in summaries
        if summary.get("best") and all(_of_a_kind(summary, last))
    ]
    if not scored:
        raise RunError(f"no run on {last.get('data')!r} has finished an epoch yet")
    return min(scored, key=lambda pair: pair[0])[1]


def _of_a_kind(summary: Mapping[str, Any], last: Mapping[str, Any]) -> Iterator[bool]:
    """Tell whether two runs' losses can be ranked: of the same data and the same loss function, and numbers."""
    yield summary.get("data") == last.get("data")
    yield summary["config"].get("loss") == last["config"].get("loss")
    yield summary["best"].get(f"{summary['chosen_on']}_loss") is not None


def _age(run: Run) -> tuple[str, str]:
    try:
        return str(run.summary().get("started", "")), run.name
    except RunError:
        return "", run.name


def _there_is(given: str, names: Sequence[str]) -> str:
    if not names:
        return "there are none yet; make one with `dlw train MODEL`"
    if guess := nearest(given, names):
        return f"did you mean {guess!r}?"
    return f"there are {_some(names)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[-5:]) + more
