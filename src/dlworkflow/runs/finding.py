"""Which runs a folder has, and which of them a user means. Knows nothing of what is in a run but its summary."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path

from dlworkflow.errors import RunError, nearest, system_reason
from dlworkflow.files.paths import user_path
from dlworkflow.runs.averaging import over_samples
from dlworkflow.runs.folder import CONFIG, SUMMARY, Run
from dlworkflow.runs.index import RunIndex, states
from dlworkflow.runs.summary import Summary

RunLike = Run | str | os.PathLike[str]
"""A run, or what `find_run` takes: a path, a name, `last`."""

_NUMBERED = re.compile(r"-[0-9]+")


def runs_folder(runs_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of runs: as given, else DLW_RUNS_DIR, else `runs` in the working folder."""
    return user_path(runs_dir or os.environ.get("DLW_RUNS_DIR") or "runs")


def find_run(
    given: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    *,
    fits: Callable[[Summary], bool] | None = None,
    what: str = "run",
) -> Run:
    """Return the run that `given` means: a path, a name, a name without its number (the newest), a unique prefix,
    `last` or `best`; None is `last`.

    `last` and `best` choose from the runs whose summary `fits`, called `what` in the error; `best` has the lowest loss
    of those with the data and the loss function of the last. Raises RunError that lists what there is.
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


def as_run(run: RunLike) -> Run:
    """Return a run as it is, else the one that a path or name means, as for `find_run`."""
    return run if isinstance(run, Run) else find_run(os.fspath(run))


def is_run(path: Path) -> bool:
    """Return whether a folder is a run."""
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
    """Return the folder that `given` means: an existing one, else by name or prefix of a name; None for none.

    A path is relative to the working folder, then to the folder of runs (SWEEP/RUN). `is_one` checks such a folder,
    `names_in` lists those in a folder. Raises RunError for a prefix of several names.
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
    """Return the name that is meant: `given` itself, the newest that only adds a number, the one with this prefix.

    Raises RunError where several names have it.
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
    """Return the runs in a folder, oldest first, damaged ones included; other folders are left out.

    So are hidden ones: a run that is not complete yet has such a name.
    """
    folder = runs_folder(runs_dir)
    if not folder.is_dir():
        return []
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208 - thousands of Paths
    except OSError as error:
        raise RunError(f"cannot list folder {str(folder)!r}: {system_reason(error)}") from None
    index, found = RunIndex.of(folder), []
    for name in names:
        path = folder / name
        if (started := index.started(name, states(path, [SUMMARY]))) is not None:
            found.append((started, name, Run(path)))
        elif is_run(path) or (path / CONFIG).is_file():
            found.append((*_age(run := Run(path)), run))
    return [run for *_, run in sorted(found, key=itemgetter(0, 1))]


def _last_or_best(folder: Path, which: str, fits: Callable[[Summary], bool] | None, what: str) -> Run:
    summaries = []
    for run in reversed(list_runs(folder)):
        try:
            summary = run.summary()
        except RunError:
            continue  # `dlw runs` and `dlw compare` report a damaged run
        if fits is None or fits(summary):
            if which == "last":
                return run
            summaries.append((run, summary))
    if not summaries:
        raise RunError(f"no {what} in {str(folder)!r} yet; make one with `dlw train MODEL`")
    last = summaries[0][1]
    scored = [
        (over_samples(summary, summary.best)[0][f"{summary.chosen_on}_loss"], run)
        for run, summary in reversed(summaries)
        if summary.best and (summary.data, summary.config["loss"]) == (last.data, last.config["loss"])
    ]
    if not scored:
        raise RunError(f"no run on {last.data!r} has finished an epoch yet")
    return min(scored, key=lambda pair: pair[0])[1]


def _age(run: Run) -> tuple[str, str]:
    try:
        return run.summary().started, run.name
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
