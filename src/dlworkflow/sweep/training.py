"""Trains the points of one task, one after another or as one stack of models, and notes what became of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlworkflow.device import thread_count
from dlworkflow.engine import Epoch
from dlworkflow.errors import DlwError, RunError, first_line
from dlworkflow.stopping import Halt, noted_signals
from dlworkflow.sweep.folder import FAILED, FINISHED, INTERRUPTED, PRUNED, WAITING, Plan, Point, Sweep
from dlworkflow.sweep.plan import config_of
from dlworkflow.sweep.tasks import Task
from dlworkflow.sweep.vectorized import train_together
from dlworkflow.workflow import Job, prepare, record_job, resume_training, run_training

Watch = Callable[[Point, int, float], bool]


class _Pruned(Halt):
    """The search gave this point up."""


def train_task(
    sweep: Sweep, plan: Plan, task: Task, watch: Watch, *, is_late: Callable[[], bool] = lambda: False
) -> None:
    """Train a task's points and note in each what became of it; a signal is raised after the epochs are written."""
    if task.together:
        _train_together(sweep, plan, task.points, is_late)
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
        run.update_summary(sweep=_belongs(sweep, point))

    def end_of(epoch: Epoch) -> None:
        if watch(point, epoch.number, (epoch.val or epoch.test).loss):
            raise _Pruned

    if point.run is not None and sweep.run(point.run).is_being_trained():
        point.status = INTERRUPTED  # by a worker whose sweep was killed and that has yet to notice
        return
    try:
        if point.run is not None:
            resume_training(sweep.run(point.run), offline=plan.offline, on_epoch=end_of)
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
        assert point.run is not None
        sweep.run(point.run).update_summary(status=PRUNED)
        point.status, point.reason = PRUNED, "worse than the median of the others at the same epoch"
    except (Halt, KeyboardInterrupt, SystemExit, BrokenPipeError) as stop:
        point.status = INTERRUPTED
        if not isinstance(stop, Halt):
            raise
    except Exception as error:  # noqa: BLE001 - whatever a model raises is this point's reason, and the others go on
        _fail(point, error)


def _fail(point: Point, error: Exception) -> None:
    text = str(error) if isinstance(error, DlwError) else f"{type(error).__name__}: {first_line(error)}"
    point.status, point.reason = FAILED, text


def _belongs(sweep: Sweep, point: Point) -> dict[str, Any]:
    return {"name": sweep.name, "point": point.number, "values": point.values}


def _train_together(sweep: Sweep, plan: Plan, points: list[Point], is_late: Callable[[], bool]) -> None:
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

        trained = train_together(jobs, stop=stop)
        for point, job, (left, diverged) in zip(points, jobs, trained, strict=True):
            whole = len(left.rows) == job.config.epochs
            point.status = FAILED if diverged else FINISHED if whole else INTERRUPTED
            point.reason = str(diverged) if diverged else None
            more = {"sweep": _belongs(sweep, point), "vectorized": len(jobs)}
            try:
                point.run = record_job(
                    job, left, status=point.status, runs_dir=sweep.path, name=sweep.name, **more
                ).name
            except RunError as fault:
                _fail(point, fault)
        if request.signal is not None:
            request.raise_as_asked()
