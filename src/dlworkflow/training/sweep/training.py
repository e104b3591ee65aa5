"""Trains the points of one task, one after another or as one stack of models, and records the outcome of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from dlworkflow.engine.device import thread_count
from dlworkflow.engine.loop import Epoch
from dlworkflow.engine.signals import Halt, noted_signals
from dlworkflow.errors import DlwError, RunError, reason_of
from dlworkflow.training.job import Job, prepare
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.sweep.folder import FAILED, FINISHED, INTERRUPTED, PRUNED, WAITING, Plan, Point, Sweep
from dlworkflow.training.sweep.plan import config_of
from dlworkflow.training.sweep.queue import Work
from dlworkflow.training.sweep.recording import StackedRun
from dlworkflow.training.sweep.vectorized import Left, train_stacked

KEEP_SECONDS = 10.0
"""Models that train together are written this often in seconds, where that takes little of their time."""

KEEP_SHARE = 20
"""The time between two writes is at least this many times that of one write."""

Watch = Callable[[Point, int, float], bool]


class _Pruned(Halt):
    """The search has pruned this point."""

    status = PRUNED


def train_task(
    sweep: Sweep, plan: Plan, task: Work, watch: Watch, *, is_late: Callable[[], bool] = lambda: False
) -> None:
    """Train a task's points and record each outcome; a signal is raised after the epochs are written."""
    if task.together:
        _train_stack(sweep, plan, task.points, is_late)
        return
    for point in task.points:
        _train_point(sweep, plan, point, watch)
        if point.status == INTERRUPTED:
            return
        if point.status == PRUNED:
            for other in task.points:
                if other.status == WAITING:
                    other.status, other.reason = PRUNED, f"with seed {point.seed}"
            return


def _train_point(sweep: Sweep, plan: Plan, point: Point, watch: Watch) -> None:
    def start(_: Job, run: Any) -> None:
        point.run = run.name
        run.update_summary(sweep=sweep.membership(point, plan))

    def end_of(epoch: Epoch) -> None:
        if watch(point, epoch.number, epoch.compared.loss):
            raise _Pruned

    if point.run is not None and sweep.run(point.run).is_being_trained():
        point.status = INTERRUPTED  # by a worker whose sweep was killed and that has yet to notice
        return
    try:
        if point.run is not None:
            resume_training(sweep.run(point.run), offline=plan.offline, on_start=start, on_epoch=end_of)
        else:
            run_training(
                config_of(plan, point),
                runs_dir=sweep.path,
                name=sweep.name,
                offline=plan.offline,
                on_start=start,
                on_epoch=end_of,
            )
        point.status = FINISHED
    except _Pruned:
        point.status, point.reason = PRUNED, "worse than the median of the others at the same epoch"
    except (Halt, KeyboardInterrupt, SystemExit, BrokenPipeError) as stop:
        point.status = INTERRUPTED
        if not isinstance(stop, Halt):
            raise
    except Exception as error:  # noqa: BLE001 - whatever a model raises is this point's reason, and the others go on
        _fail(point, error)
        if point.run is not None and not sweep.run(point.run).path.is_dir():  # images could not be read
            point.run = None


def _fail(point: Point, error: Exception) -> None:
    point.status, point.reason = FAILED, reason_of(error)


def _train_stack(sweep: Sweep, plan: Plan, points: list[Point], is_late: Callable[[], bool]) -> None:
    jobs: list[Job] = []
    try:
        jobs = [prepare(config_of(plan, point), offline=plan.offline) for point in points]
    except DlwError as error:  # they have the same data and architecture
        for point in points:
            _fail(point, error)
        return
    with thread_count(jobs[0].threads), noted_signals() as request:

        def stop() -> bool:
            return request.signal is not None or is_late()

        runs = [StackedRun(sweep, plan, point, job, len(jobs)) for point, job in zip(points, jobs, strict=True)]
        pause = _Pause(KEEP_SECONDS)

        def keep(results: Callable[[], Iterable[Left]]) -> None:
            """Write the results so far, so that little is lost when the process is killed."""
            if pause.is_over():
                for run, (trained, _) in zip(runs, results(), strict=True):
                    with suppress(RunError):  # such as a full disk: what counts is the end
                        run.write(trained, "running")
                pause.begin()

        try:
            for run, left in zip(runs, train_stacked(jobs, stop=stop, keep=keep), strict=True):
                run.end(*left)
        finally:
            for run in runs:
                run.close()
        if request.signal is not None:
            request.raise_as_asked()


class _Pause:
    """The time between two writes: at least so many seconds, and many times as long as the last write."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._began = seconds, time.monotonic()
        self._until = self._began + seconds

    def is_over(self) -> bool:
        """Return whether it is time to write; the time until `begin` counts as the write."""
        self._began = time.monotonic()
        return self._began >= self._until

    def begin(self) -> None:
        """Begin the next pause."""
        took = time.monotonic() - self._began
        self._until = time.monotonic() + max(self._seconds, KEEP_SHARE * took)
