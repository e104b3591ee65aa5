"""The runs of a sweep as tasks of a cluster. Trains nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dlworkflow.registry.user_code import named_files
from dlworkflow.runs import Run
from dlworkflow.training.sweep.folder import ENDED, FAILED, FINISHED, INTERRUPTED, Point
from dlworkflow.training.sweep.parcel import Parcel, pack
from dlworkflow.training.sweep.queue import Source, Stop, SweepProgress, Work
from dlworkflow.training.sweep.worker import places_of


class RunTask:
    """Points of a sweep that a process of a worker trains, in a folder of their own."""

    def __init__(self, work: Work, parcel: Parcel, source: Source) -> None:
        self.work, self.parcel, self._source = work, parcel, source
        self.name = str(work.points[0].number)
        self.folder: Path = parcel.small.path

    def content(self) -> dict[str, Any]:
        plan = (self.folder / "sweep.json").read_text(encoding="utf-8")
        return {"kind": "train", "plan": plan, "together": self.work.together, "watched": self.work.watched}

    def files(self) -> bytes:
        return pack(self.folder) if self.parcel.has_runs else b""

    def is_unfinished(self) -> bool:
        return any(point.status == INTERRUPTED for point in self.parcel.small.read().points)

    def fail(self, reason: str) -> None:
        plan = self.parcel.small.read()
        for point in plan.points:
            if point.status not in ENDED:
                point.status, point.reason = FAILED, reason
        self.parcel.small.write(plan)

    def is_hopeless(self, number: int, epoch: int, loss: float) -> bool:
        point = next(each for each in self.work.points if each.number == number)
        return self._source.hopeless(point, epoch, loss)


class RunTasks:
    """What a sweep still has to train, as tasks of a cluster."""

    def __init__(self, progress: SweepProgress) -> None:
        self._progress = progress

    @property
    def stop(self) -> Stop:
        """Why the sweep stops early, if it does."""
        return self._progress.stop

    @stop.setter
    def stop(self, reason: Stop) -> None:
        self._progress.stop = reason

    def is_late(self) -> bool:
        return self._progress.is_late()

    def next_task(self) -> RunTask | None:
        if (work := self._progress.next_task()) is None:
            return None
        sweep, plan = self._progress.sweep, self._progress.plan
        task = RunTask(work, Parcel.make(sweep, plan, work), self._progress.source)
        sweep.write(plan)  # a search has made the points just now
        return task

    def keep(self, task: RunTask) -> None:
        points = task.parcel.adopt()
        for point in points:
            if point.run is not None and point.status != FAILED:
                _name_own_code(self._progress.sweep.run(point.run))
            if point.status == FINISHED and (other := self._other_data(point)):
                point.status, point.reason = FAILED, other
        self._progress.keep(replace(task.work, points=points), points)

    def leave(self, task: RunTask) -> None:
        if not task.parcel.is_being_trained:  # else the next call of the sweep finds it
            self.keep(task)

    def _other_data(self, point: Point) -> str:
        """Return how the data of a run differs from that of the first run with the same data; empty if it does not."""
        run = self._progress.sweep.run(str(point.run))
        for other in self._progress.plan.points:
            if other.status != FINISHED or other.run == point.run:
                continue
            first = self._progress.sweep.run(str(other.run))
            if first.summary().config.get("data") == run.summary().config.get("data"):
                ours, theirs = first.data_fingerprints(), run.data_fingerprints()
                if any(ours[key] != theirs[key] for key in ours.keys() & theirs.keys()):
                    return f"its data differs from that of {first.name}; copy the same files to each machine"
                return ""
        return ""


def _name_own_code(run: Run) -> None:
    """Let a run name the user's own files where a worker had copies of them."""
    kept = run.summary().code or []
    code = [record | {"path": _own_path(str(record["path"]))} for record in kept]
    if code != kept:
        run.update_summary(code=code)


def _own_path(path: str) -> str:
    """Return the user's path of a file of code that may be a copy."""
    for file, place in places_of(named_files()).items():
        if path == file or Path(path).parts[-len(place.parts) :] == place.parts:
            return file
    return path
