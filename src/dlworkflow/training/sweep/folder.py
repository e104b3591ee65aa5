"""A sweep's folder: its plan and what became of each point, beside the runs that belong to it; imports no torch.

runs/NAME/sweep.json    the settings, and a point a run: its values, seed, status, run and, if it failed, why
runs/NAME/NAME-001 ...  run folders as `dlw train` makes them
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from types import NoneType
from typing import Any

from dlworkflow.errors import RunError, first_line, short, system_reason, unknown
from dlworkflow.files.notebook import Shown
from dlworkflow.files.paths import read_json
from dlworkflow.files.writing import write_text
from dlworkflow.runs import Run, find_run, list_runs, now, runs_folder, safe_name
from dlworkflow.runs.finding import find_folder, is_run, run_names
from dlworkflow.runs.keeping import rename_in_files

FORMAT = 1
_FILE = "sweep.json"

WAITING, FINISHED, FAILED, PRUNED, INTERRUPTED = "waiting", "finished", "failed", "pruned", "interrupted"
ENDED = (FINISHED, FAILED, PRUNED)


@dataclass
class Point:
    """One run of a sweep: the values by dotted key, the seed, and the outcome."""

    number: int
    values: dict[str, Any]
    seed: int
    status: str = WAITING
    run: str | None = None
    reason: str | None = None


@dataclass
class Plan:
    """The settings of a sweep and its points; `base` are the user's settings, `sweep` those of the sweep."""

    base: dict[str, Any]
    sweep: dict[str, Any]
    keys: list[str]
    points: list[Point] = field(default_factory=list)
    status: str = "running"
    started: str = field(default_factory=now)
    offline: bool = False
    trackers: dict[str, str | None] | None = None
    """What each of its trackers returned for the sweep, in this call of it or before."""
    lost_trackers: list[str] = field(default_factory=list)
    """Those that failed as this call of the sweep began: its runs leave them out."""

    def stem(self, kind: str) -> str:
        """Return the name of its folder without a number: the model's, of one in a file the class, and `kind`."""
        model = str(self.base.get("model", {}).get("name", "models"))
        return f"{model.rpartition('.py:')[2]}-{kind}"

    def waiting(self) -> list[Point]:
        """Return the points that have not ended."""
        return [point for point in self.points if point.status not in ENDED]


@dataclass(frozen=True)
class Sweep(Shown):
    """A sweep folder. All state is in the files; this object has the path alone."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    def __repr__(self) -> str:
        try:
            plan = self.read()
        except RunError:
            return f"Sweep({str(self.path)!r}: no sweep, or damaged)"
        counts = Counter(point.status for point in plan.points)
        return f"Sweep({str(self.path)!r}: {', '.join(f'{n:,} {status}' for status, n in counts.items()) or 'no runs'})"

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return what a notebook shows: a row per run; none of a sweep that cannot be read."""
        try:
            points = self.read().points
        except RunError:
            return []
        return [{"run": each.run, "status": each.status, **each.values, "seed": each.seed} for each in points]

    @classmethod
    def create(cls, runs_dir: str | os.PathLike[str] | None, stem: str, plan: Plan) -> Sweep:
        """Make a folder `stem-001`, `stem-002`, ... with its plan. Raises RunError when it cannot be written."""
        folder, stem = runs_folder(runs_dir), safe_name(stem)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number in count(1):
                path = folder / f"{stem}-{number:03d}"
                try:
                    path.mkdir()
                    break
                except FileExistsError:  # an older sweep, or another process was faster
                    continue
        except OSError as error:
            raise RunError(
                f"cannot write into {str(folder)!r}: {system_reason(error)}; name another folder with --runs-dir"
            ) from None
        sweep = cls(path)
        sweep.write(plan)
        return sweep

    def write(self, plan: Plan) -> None:
        """Write the plan with the status of its points, whole or not at all."""
        text = json.dumps({"format": FORMAT, **asdict(plan)}, indent=1, ensure_ascii=False)
        write_text(self.path / _FILE, text + "\n")

    def read(self) -> Plan:
        """Return the plan. Raises RunError when it is missing or damaged."""
        file = self.path / _FILE
        try:
            content = read_json(file)
            version = content.pop("format")
            if version > FORMAT:
                raise RunError(f"{self.name} was written by a newer dlworkflow (format {version}); update to read it")
            plan = Plan(**content | {"points": [Point(**point) for point in content["points"]]})
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise RunError(f"{str(file)!r} is damaged: {first_line(error)}") from None
        if fault := _fault(plan):
            raise RunError(f"{str(file)!r} is damaged: {fault}")
        return plan

    def runs(self) -> list[Run]:
        """Return its runs, oldest first."""
        return list_runs(self.path)

    def run(self, name: str) -> Run:
        """Return one of its runs by name."""
        return Run(self.path / name)

    def replace_run(self, name: str, new: str | None) -> None:
        """Give a run another name in the plan and in the evaluation; None where it has been removed."""
        plan = self.read()
        for point in plan.points:
            if point.run == name:
                point.run, point.reason = new, point.reason if new is not None else "removed"
        self.write(plan)
        if new is not None:
            rename_in_files(self.path, name, new)

    def membership(self, point: Point, plan: Plan) -> dict[str, Any]:
        """Return the entry `sweep` of the summary of a point's run."""
        found = {"name": self.name, "point": point.number, "values": point.values}
        if plan.trackers is None:
            return found
        return found | {"trackers": {k: v for k, v in plan.trackers.items() if k not in plan.lost_trackers}}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this sweep within the block. Raises RunError when one does."""
        with Run(self.path).locked():
            yield


_KINDS: dict[str, Any] = {  # what each part of a plan, and of a point, is
    **{"base": dict, "sweep": dict, "keys": list, "points": list, "status": str, "started": str, "offline": bool},
    **{"number": int, "values": dict, "seed": int, "run": (str, NoneType), "reason": (str, NoneType)},
    **{"trackers": (dict, NoneType), "lost_trackers": list},
}


def _fault(plan: Plan) -> str:
    """Return what in a plan is of a wrong kind; empty if nothing."""
    for part in (plan, *plan.points):
        for key, kind in _KINDS.items():
            if hasattr(part, key) and not isinstance(value := getattr(part, key), kind):
                return f"{key} is {short(repr(value), 60)}"
    if not all(isinstance(key, str) for key in plan.keys):
        return "keys are no names"
    for point in plan.points:
        if not point.values.keys() <= set(plan.keys) or not 0 <= point.seed < 2**32 or point.number < 1:
            return f"point {short(str(point.number), 60)} has other keys, or a seed or number beyond its range"
        if point.run is not None and point.run != Path(point.run).name:
            return f"run is {short(repr(point.run), 60)}"
    return ""


def list_sweeps(runs_dir: str | os.PathLike[str] | None = None) -> list[Sweep]:
    """Return the sweeps in a folder, by name."""
    folder = runs_folder(runs_dir)
    return [Sweep(path.parent) for path in sorted(folder.glob(f"*/{_FILE}"))]


def find_sweep(
    given: str, runs_dir: str | os.PathLike[str] | None = None, *, fits: Callable[[Plan], bool] | None = None
) -> Sweep:
    """Return the sweep that `given` means: a path or a name as for `find_run`, or `last`, of those whose plan `fits`.

    Raises RunError that says what there is.
    """
    sweeps = list_sweeps(runs_dir)
    if given == "last" and (fitting := [sweep for sweep in sweeps if fits is None or _fits(sweep, fits)]):
        return max(fitting, key=lambda sweep: (sweep.path / _FILE).stat().st_mtime)
    if (found := find_folder(given, runs_dir, is_sweep, _sweep_names)) is not None:
        return Sweep(found)
    names = [sweep.name for sweep in sweeps]
    folder = str(runs_folder(runs_dir))
    if not names:
        raise RunError(f"no sweep {given!r} in {folder!r}: there are none yet; make one with `dlw sweep`")
    raise RunError(f"{unknown('sweep', given, names)} (in {folder!r})")


def find_runs(given: str, runs_dir: str | os.PathLike[str] | None = None) -> list[Run]:
    """Return the runs that `given` means: all of a sweep, or one; see `find_run`.

    Raises RunError for a sweep without a run, and as `find_run` does.
    """
    found = find_run_or_sweep(given, runs_dir)
    if isinstance(found, Run):
        return [found]
    if not (runs := found.runs()):
        raise RunError(f"the sweep {found.name} has no run yet")
    return runs


def find_run_or_sweep(given: str, runs_dir: str | os.PathLike[str] | None = None) -> Run | Sweep:
    """Return the run or the sweep that `given` means, as `find_run` does."""
    if given in ("last", "best"):
        return find_run(given, runs_dir)
    found = find_folder(
        given,
        runs_dir,
        lambda path: is_sweep(path) or is_run(path),
        lambda folder: [*_sweep_names(folder), *run_names(folder)],
    )
    if found is None or not is_sweep(found):
        return find_run(given if found is None else str(found), runs_dir)
    return Sweep(found)


def _fits(sweep: Sweep, fits: Callable[[Plan], bool]) -> bool:
    try:
        return fits(sweep.read())
    except RunError:  # whoever names it gets the error
        return False


def is_sweep(path: Path) -> bool:
    """Return whether a folder is that of a sweep."""
    return (path / _FILE).is_file()


def _sweep_names(folder: Path) -> list[str]:
    return [sweep.name for sweep in list_sweeps(folder)]
