"""Which runs there are in a folder, and which of them a user means."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlworkflow.errors import RunError, nearest
from dlworkflow.paths import user_path
from dlworkflow.runs.folder import CONFIG, NEW, SUMMARY, Run


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
    """Return the run that `given` means: a path, a name, a unique prefix, `last` or `best`; None is `last`.

    `last` and `best` look among runs whose summary `fits`, called `what` in the error; `best` is the lowest loss among
    those with the data and the loss function of the last. Raises RunError that says what there is.
    """
    folder = runs_folder(runs_dir)
    if given is None or given in ("last", "best"):
        return _last_or_best(folder, given or "last", fits, what)
    as_path = user_path(given)
    if (as_path / SUMMARY).is_file():
        return Run(as_path.resolve() if as_path.name in ("", "..") else as_path)
    if as_path.is_dir() and as_path.name != given:
        raise RunError(f"{given!r} is no run folder: it has no {SUMMARY}")
    if (folder / given / SUMMARY).is_file():  # also SWEEP/RUN
        return Run(folder / given)
    names = [run.name for run in list_runs(folder)]
    if given in names:
        return Run(folder / given)
    matching = [name for name in names if name.startswith(given)]
    if len(matching) == 1:
        return Run(folder / matching[0])
    if matching:
        raise RunError(f"{given!r} fits several runs: {_some(matching)}; write more of the name")
    raise RunError(f"no run {given!r} in {str(folder)!r}; {_there_is(given, names)}")


def list_runs(runs_dir: str | os.PathLike[str] | None = None) -> list[Run]:
    """Return the runs in a folder, oldest first; a damaged one is among them, a folder that never was a run is not."""
    folder = runs_folder(runs_dir)
    if not folder.is_dir():
        return []
    found = [
        Run(path)
        for path in folder.iterdir()
        if not path.name.startswith(NEW) and ((path / SUMMARY).is_file() or (path / CONFIG).is_file())
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
        (summary["best"][f"{summary['chosen_on']}_loss"], run)
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
