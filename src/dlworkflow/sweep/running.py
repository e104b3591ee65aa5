"""Runs a sweep's points, in this process or in several, and keeps what became of each.

A point that fails is a row with its reason and the others go on. Whatever ends a sweep early, each run is written up to
its last whole epoch, and `run_sweep` on the same folder does what is left.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from dlworkflow.config import Layer, SweepSettings, build_sweep_settings
from dlworkflow.device import choose_device, thread_count
from dlworkflow.engine import Epoch
from dlworkflow.errors import ConfigError, DlwError, RunError, first_line
from dlworkflow.stopping import Halt, StopRequest, noted_signals
from dlworkflow.sweep.folder import FAILED, FINISHED, INTERRUPTED, PRUNED, WAITING, Plan, Point, Sweep
from dlworkflow.sweep.plan import config_of
from dlworkflow.sweep.vectorized import (
    AT_ONCE,
    group_of,
    obstacle,
    obstacle_in_settings,
    train_together,
)
from dlworkflow.workflow import Job, prepare, record_job, resume_training, run_training

WORKER_BYTES = 2**30
"""Free memory that another worker process is given when `jobs` is left to the rule."""

Stop = Literal["", "signal", "time", "runs"]


@dataclass(frozen=True)
class Task:
    """Points that one process trains: one after another, or `together` as one stack of models."""

    points: list[Point]
    together: bool = False
    watched: bool = False
    """Whether each epoch is told, and may be answered with a wish to give the point up."""


class Source(Protocol):
    """Where tasks come from: a list, or a search that learns from those that ended."""

    def take(self) -> Task | None:
        """Return the next task, None when there is none."""

    def hopeless(self, point: Point, number: int, loss: float) -> bool:
        """Be told of an epoch of a watched task; say whether to give the point up."""

    def ended(self, task: Task) -> None:
        """Be told that all points of a task have ended."""


class Listed:
    """Tasks that are known from the start."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = iter(list(tasks))

    def take(self) -> Task | None:
        return next(self._tasks, None)

    def hopeless(self, point: Point, number: int, loss: float) -> bool:  # noqa: ARG002 - a list gives up nothing
        return False

    def ended(self, task: Task) -> None:
        pass


class _Pruned(Halt):
    """The search gave this point up."""


@dataclass
class Progress:
    """What a sweep is told to do and how far it is in this call."""

    sweep: Sweep
    plan: Plan
    source: Source
    max_runs: int | None = None
    deadline: float | None = None
    on_end: Callable[[Point, Plan], object] | None = None
    started: int = 0
    stop: Stop = ""
    pending: list[Task] = field(default_factory=list)

    def next_task(self) -> Task | None:
        """Return the next task, cut to the budget of runs; None when there is none or the sweep stops."""
        if not self.stop and self.max_runs is not None and self.started >= self.max_runs:
            self.stop = "runs"
        if self.stop or self.is_late() or (task := self.source.take()) is None:
            return None
        if self.max_runs is not None and not task.watched:
            task = Task(task.points[: self.max_runs - self.started], task.together)
        self.started += len(task.points)
        return task

    def is_late(self) -> bool:
        """Tell whether the time is up, and note it."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.stop = self.stop or "time"
        return self.stop == "time"

    def keep(self, task: Task, outcomes: Sequence[Point]) -> None:
        """Write what became of a task's points, and tell whoever listens."""
        for outcome in outcomes:
            self.plan.points[outcome.number - 1] = outcome
        self.sweep.write(self.plan)
        for outcome in outcomes:
            if self.on_end is not None and outcome.status in (FINISHED, FAILED, PRUNED):
                self.on_end(outcome, self.plan)
        self.source.ended(Task(list(outcomes), task.together, task.watched))


def run_sweep(
    sweep: Sweep,
    settings: SweepSettings | None = None,
    *,
    retry_failed: bool = False,
    on_start: Callable[[Plan, int], object] | None = None,
    on_end: Callable[[Point, Plan], object] | None = None,
) -> tuple[Plan, Stop]:
    """Train all points of a sweep that have not ended; return the plan, and what stopped it early, if anything did.

    `settings` are those of this call, by default the sweep's own. `on_start` is told how many processes train, `on_end`
    of every run that ends. After Ctrl-C or SIGTERM every run is written, then KeyboardInterrupt or SystemExit(143)
    is raised. Raises RunError when another process is at it.
    """
    with sweep.locked():
        plan = sweep.read()
        settings = settings or build_sweep_settings(Layer({"sweep": plan.sweep}))
        _take_stock(sweep, plan, retry_failed=retry_failed)
        source, tasks = _source(sweep, plan, settings)
        jobs = choose_jobs(settings.jobs, tasks, plan)
        progress = Progress(sweep, plan, source, settings.max_runs, on_end=on_end)
        if settings.max_minutes is not None:
            progress.deadline = time.monotonic() + 60 * settings.max_minutes
        plan.status = "running"
        sweep.write(plan)
        if on_start is not None:
            on_start(plan, jobs)
        try:
            (_run_here if jobs == 1 else _Pool(progress, jobs).run)(progress)
        finally:
            done = not plan.waiting() and not progress.stop
            plan.status = "finished" if done else INTERRUPTED
            sweep.write(plan)
        return plan, progress.stop


def check_vectorize(plan: Plan) -> None:
    """Raise ConfigError that says why the runs of a plan cannot train together, where they cannot."""
    config = config_of(plan, plan.points[0])
    reason = obstacle_in_settings(config) or obstacle(prepare(config, offline=plan.offline))
    if reason is not None:
        raise ConfigError(f"--vectorize: {reason}; leave it out, and the runs train one by one")


def choose_jobs(jobs: int | Literal["auto"], tasks: int, plan: Plan) -> int:
    """Return how many processes train at once: as given, else one a core, each with a GiB of free memory.

    Never more than there are tasks; on an accelerator one, and runs of several threads take several cores.
    """
    if jobs != "auto":
        return max(1, min(jobs, tasks))
    if choose_device(str(plan.base.get("device", "auto"))).type != "cpu":
        return 1
    threads = plan.base.get("threads", 1)
    cores = available_cores() // (threads if isinstance(threads, int) else torch.get_num_threads())
    return max(1, min(cores, tasks, _free_bytes() // WORKER_BYTES))


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free_bytes() -> int:
    """Return how much memory new processes can have; without Linux's own figure, that of one worker a core."""
    with suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return available_cores() * WORKER_BYTES


def _take_stock(sweep: Sweep, plan: Plan, *, retry_failed: bool) -> None:
    """Bring the plan up to what the run folders say: whoever wrote it last may have been killed."""
    for failed in plan.points:
        if retry_failed and failed.status == FAILED:
            failed.status, failed.run, failed.reason = WAITING, None, None
    by_number: dict[int, Point] = {point.number: point for point in plan.waiting()}
    for run in sweep.runs():
        with suppress(RunError):  # a damaged run is no run of any point: the point is trained anew
            summary = run.summary()
            point: Point | None = by_number.get((summary.get("sweep") or {}).get("point", 0))
            if point is not None and summary["status"] != FAILED:
                point.run = run.name
                if summary["status"] in (FINISHED, PRUNED):
                    point.status = summary["status"]


def _source(sweep: Sweep, plan: Plan, settings: SweepSettings) -> tuple[Source, int]:
    """Return where tasks come from, and about how many there will be."""
    if settings.sampler == "tpe":
        from dlworkflow.sweep.search import Search

        search = Search(sweep, plan, settings)
        return search, search.left
    tasks = _tasks(plan, settings.vectorize)
    return Listed(tasks), len(tasks)


def _tasks(plan: Plan, vectorize: bool | None) -> list[Task]:
    """Put points that can train together into one task, each other point into its own."""
    groups: dict[str, list[Point]] = {}
    for point in plan.waiting():
        config = config_of(plan, point)
        alone = vectorize is False or point.run is not None or obstacle_in_settings(config) is not None
        groups.setdefault(str(point.number) if alone else group_of(config), []).append(point)
    tasks = []
    for points in groups.values():
        if len(points) == 1 or not _fits_together(plan, points[0]):
            tasks += [Task([point]) for point in points]
            continue
        size = min(AT_ONCE, max(10, -(-len(points) // available_cores())))
        tasks += [Task(points[i : i + size], together=True) for i in range(0, len(points), size)]
    return tasks


def _fits_together(plan: Plan, point: Point) -> bool:
    try:
        return obstacle(prepare(config_of(plan, point), offline=plan.offline)) is None
    except DlwError:  # each point will say so itself
        return False


def _run_here(progress: Progress) -> None:
    """Train the tasks in this process."""

    def watch(point: Point, epoch: int, loss: float) -> bool:
        if progress.is_late():
            raise Halt
        return progress.source.hopeless(point, epoch, loss)

    while (task := progress.next_task()) is not None:
        outcomes = list(task.points)
        try:
            train_task(progress.sweep, progress.plan, task, watch, is_late=progress.is_late)
        finally:
            progress.keep(task, outcomes)


Watch = Callable[[Point, int, float], bool]


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


# Several processes


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Task | None = None


class _Pool:
    """Worker processes that train a task each and tell what became of it; they pass over Ctrl-C, which is ours."""

    def __init__(self, progress: Progress, jobs: int) -> None:
        self._progress, self._jobs = progress, jobs
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def run(self, progress: Progress) -> None:
        """Train the tasks; end all workers however this ends."""
        try:
            with noted_signals() as request:
                self._serve(request)
                if request.signal is not None:
                    progress.stop = "signal"
                    request.raise_as_asked()
        finally:
            for worker in self._workers:
                worker.pipe.close()  # a worker that waits for a task ends
                worker.process.join(timeout=10)
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join()

    def _serve(self, request: StopRequest) -> None:
        told = False
        while True:
            if request.signal is not None:
                self._progress.stop = "signal"
            stopping = bool(self._progress.stop == "signal" or self._progress.is_late())
            if stopping and not told:
                told = True
                for worker in self._workers:
                    worker.process.terminate()  # noted by whoever trains: the batch ends, the run is written
            if not stopping:
                self._hand_out()
            busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
            if not busy:
                return
            for pipe in wait(list(busy), timeout=0.2):
                self._hear(busy[pipe], stopping)  # type: ignore[index]

    def _hand_out(self) -> None:
        """Give every idle worker a task, and start workers while there are tasks for them."""
        while True:
            idle = next((worker for worker in self._workers if worker.task is None), None)
            if idle is None and len(self._workers) >= self._jobs:
                return
            if (task := self._progress.next_task()) is None:
                return
            worker = idle or self._start()
            worker.task = task
            worker.pipe.send(task)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._progress.sweep, self._progress.plan), daemon=False
        )
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _hear(self, worker: _Worker, stopping: bool) -> None:
        assert worker.task is not None
        try:
            kind, *content = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker, stopping)
            return
        if kind == "epoch":
            with suppress(BrokenPipeError):  # it died since: the next look finds that
                worker.pipe.send(self._progress.source.hopeless(*content))
            return
        task, worker.task = worker.task, None
        self._progress.keep(task, content[0])

    def _bury(self, worker: _Worker, stopping: bool) -> None:
        """Note what became of the points of a process that has died."""
        worker.process.join()
        self._workers.remove(worker)
        task, worker.task = worker.task, None
        assert task is not None
        code = worker.process.exitcode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        for point in task.points:
            if stopping:
                point.status = INTERRUPTED
            else:
                point.status, point.reason = FAILED, f"its process was {how}; out of memory? try a lower --jobs"
        self._progress.keep(task, task.points)


def _work(pipe: Connection, sweep: Sweep, plan: Plan) -> None:
    """Train what comes through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()

    def is_orphan() -> bool:
        return parent is not None and not parent.is_alive()

    def watch(point: Point, epoch: int, loss: float) -> bool:
        if is_orphan():
            raise Halt
        if not watched:
            return False
        pipe.send(("epoch", point, epoch, loss))
        return bool(pipe.recv())

    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the sweep's own process has ended
        while True:
            task: Task = pipe.recv()
            watched = task.watched
            try:
                train_task(sweep, plan, task, watch, is_late=is_orphan)
            finally:
                for point in task.points:
                    if point.status == WAITING and point.run is not None:
                        point.status = INTERRUPTED
                pipe.send(("ended", task.points))
