"""The folder of one task of a sweep, as it goes to a worker of a cluster and comes back. Trains nothing.

It is a small sweep with the name of the whole one: `.tasks/NUMBER/NAME` in its folder, or anywhere else on a machine
that does not share this folder.
"""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from dlworkflow.errors import RunError
from dlworkflow.training.sweep.folder import FAILED, FINISHED, PRUNED, WAITING, Plan, Point, Sweep
from dlworkflow.training.sweep.queue import Work

_TASKS = ".tasks"  # hidden: no run
MARK = ".shared"
"""A file whose text shows a worker that it sees the same folder."""


@dataclass(frozen=True)
class Parcel:
    """A task's folder: `small` is the sweep of its points alone, `whole` the one that they belong to."""

    whole: Sweep
    small: Sweep

    @classmethod
    def make(cls, whole: Sweep, plan: Plan, task: Work) -> Parcel:
        """Move what the points have been trained so far into a new folder, with a plan of these points alone."""
        small = Sweep(whole.path / _TASKS / str(task.points[0].number) / whole.name)
        small.path.mkdir(parents=True, exist_ok=True)
        points = [replace(point, status=WAITING) for point in task.points]
        for point in points:
            if point.run is not None:
                whole.run(point.run).path.rename(small.path / point.run)
        small.write(replace(plan, points=points))
        return cls(whole, small)

    @property
    def has_runs(self) -> bool:
        """Whether there is something to resume."""
        return bool(self.small.runs())

    @property
    def is_being_trained(self) -> bool:
        """Whether a process still trains one of its runs."""
        return any(run.is_being_trained() for run in self.small.runs())

    def adopt(self) -> list[Point]:
        """Move the runs into the whole sweep, remove the folder, and return the points with their outcome."""
        plan = self.small.read()
        take_stock(self.small, plan)
        for point in plan.points:
            if point.run is not None and (self.small.path / point.run).is_dir():
                name = self._free(point.run)
                (self.small.path / point.run).rename(self.whole.path / name)
                point.run = name
        shutil.rmtree(self.small.path.parent)
        with suppress(OSError):  # other tasks are there
            self.small.path.parent.parent.rmdir()
        return plan.points

    def _free(self, wanted: str) -> str:
        names = (f"{self.whole.name}-{number:03d}" for number in count(1))
        return next(name for name in chain([wanted], names) if not os.path.lexists(self.whole.path / name))


def left_parcels(whole: Sweep) -> list[Parcel]:
    """Return the folders of tasks that an earlier call has left, as when it was killed.

    Raises RunError where a worker still trains one.
    """
    found = [Parcel(whole, Sweep(path.parent)) for path in sorted(whole.path.glob(f"{_TASKS}/*/*/sweep.json"))]
    for parcel in found:
        if parcel.is_being_trained:
            raise RunError(
                f"a worker of the cluster still trains {parcel.small.runs()[0].name} for a sweep that has ended; "
                "it stops within two minutes, resume then"
            )
    return found


def take_stock(sweep: Sweep, plan: Plan) -> None:
    """Update the plan from the run folders: the process that wrote it last may have been killed."""
    by_number: dict[int, Point] = {point.number: point for point in plan.waiting()}
    for run in sweep.runs():
        with suppress(RunError):  # a damaged run is no run of any point: the point is trained anew
            summary = run.summary()
            point: Point | None = by_number.get((summary.sweep or {}).get("point", 0))
            if point is not None and summary.status != FAILED:
                point.run = run.name
                if summary.status in (FINISHED, PRUNED):
                    point.status = summary.status


def pack(folder: Path, files: Iterable[Path] | None = None) -> bytes:
    """Return all files of a folder, or those named, as one archive, uncompressed: weights hardly shrink."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*") if files is None else files):
            archive.write(path, path.relative_to(folder))
    return into.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """Write the files of an archive into a folder."""
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        found.extractall(folder)
