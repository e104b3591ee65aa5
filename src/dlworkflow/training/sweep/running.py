"""Trains a sweep's points, in this process or in several, and records the outcome of each. Prints nothing.

A point that fails is a row with its reason, and the others continue. Whatever ends a sweep early, each run is written
up to its last complete epoch, and `run_sweep` on the same folder trains what is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch

from dlworkflow.config import Layer, SweepSettings, build_sweep_settings
from dlworkflow.engine.device import available_cores, choose_device
from dlworkflow.engine.signals import Halt
from dlworkflow.errors import ConfigError, DlwError
from dlworkflow.training.job import prepare
from dlworkflow.training.sweep.cluster import Cluster
from dlworkflow.training.sweep.cluster_runs import RunTasks
from dlworkflow.training.sweep.folder import FAILED, INTERRUPTED, WAITING, Plan, Point, Sweep
from dlworkflow.training.sweep.parcel import left_parcels, take_stock
from dlworkflow.training.sweep.plan import config_of
from dlworkflow.training.sweep.pool import Pool
from dlworkflow.training.sweep.queue import Listed, Source, Stop, SweepProgress, Work
from dlworkflow.training.sweep.training import train_task
from dlworkflow.training.sweep.vectorized import AT_ONCE, group_of, obstacle, obstacle_in_settings
from dlworkflow.training.trackers.sweeps import SweepTracking

WORKER_BYTES = 2**30
"""Free memory per worker process with `jobs: auto`."""


def run_sweep(
    sweep: Sweep,
    settings: SweepSettings | None = None,
    *,
    cluster: Cluster | None = None,
    retry_failed: bool = False,
    on_start: Callable[[Plan, int], object] | None = None,
    on_end: Callable[[Point, Plan], object] | None = None,
) -> tuple[Plan, Stop]:
    """Train all points of a sweep that have not ended; return the plan, and what stopped it early, if anything did.

    `settings` are those of this call, by default the sweep's own. `on_start` gets the number of processes that train,
    `on_end` every run that ends. After Ctrl-C or SIGTERM every run is written, then KeyboardInterrupt or
    SystemExit(143) is raised. With a `cluster` its workers train. Raises RunError when another process runs the sweep,
    and where the cluster does not answer.
    """
    with sweep.locked():
        plan = sweep.read()
        settings = settings or build_sweep_settings(Layer({"sweep": plan.sweep}))
        for failed in plan.points:
            if retry_failed and failed.status == FAILED:
                failed.status, failed.run, failed.reason = WAITING, None, None
        for parcel in left_parcels(sweep):
            for point in parcel.adopt():
                plan.points[point.number - 1] = point
        take_stock(sweep, plan)
        source, tasks = _source(sweep, plan, settings)
        progress = SweepProgress(sweep, plan, source, settings.max_runs, on_end=on_end)
        if cluster is not None:
            jobs = cluster.connect(plan.base.get("threads", 1), settings.jobs)
        else:
            jobs = choose_jobs(settings.jobs, tasks, plan)
        if settings.max_minutes is not None:
            progress.deadline = time.monotonic() + 60 * settings.max_minutes
        plan.status = "running"
        tracking = SweepTracking(sweep.path, plan.base, plan.sweep, kept=plan.trackers)
        plan.trackers, plan.lost_trackers = tracking.start()
        sweep.write(plan)
        if on_start is not None:
            on_start(plan, jobs)
        try:
            if cluster is not None:
                cluster.run(RunTasks(progress))
            elif jobs == 1:
                _run_here(progress)
            else:
                Pool(progress, jobs).run(progress)
        finally:
            done = not plan.waiting() and not progress.stop
            plan.status = "finished" if done else INTERRUPTED
            sweep.write(plan)
            tracking.end(plan.status)
        return plan, progress.stop


def check_vectorize(plan: Plan) -> None:
    """Raise ConfigError with the reason where the runs of a plan cannot train together."""
    config = config_of(plan, plan.points[0])
    reason = obstacle_in_settings(config) or obstacle(prepare(config, offline=plan.offline))
    if reason is not None:
        raise ConfigError(f"--vectorize: {reason}; leave it out, and the runs train one by one")


def choose_jobs(jobs: int | Literal["auto"], tasks: int, plan: Plan) -> int:
    """Return how many processes train at once: as given, else one per core, each with a GiB of free memory.

    Never more than there are tasks; on an accelerator one, and runs of several threads take several cores.
    """
    if jobs != "auto":
        return max(1, min(jobs, tasks))
    if choose_device(str(plan.base.get("device", "auto"))).type != "cpu":
        return 1
    threads = plan.base.get("threads", 1)
    cores = available_cores() // (threads if isinstance(threads, int) else torch.get_num_threads())
    return max(1, min(cores, tasks, _free_bytes() // WORKER_BYTES))


def _free_bytes() -> int:
    """Return the available memory in bytes; on systems other than Linux, enough for one worker per core."""
    with suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return available_cores() * WORKER_BYTES


def _source(sweep: Sweep, plan: Plan, settings: SweepSettings) -> tuple[Source, int]:
    """Return where tasks come from, and about how many there will be."""
    if settings.sampler == "tpe":
        from dlworkflow.training.sweep.search import Search

        search = Search(sweep, plan, settings)
        return search, search.left
    tasks = _tasks(plan, settings.vectorize)
    return Listed(tasks), len(tasks)


def _tasks(plan: Plan, vectorize: bool | None) -> list[Work]:
    """Put points that can train together into one task, each other point into its own."""
    groups: dict[str, list[Point]] = {}
    for point in plan.waiting():
        config = config_of(plan, point)
        alone = vectorize is False or point.run is not None or obstacle_in_settings(config) is not None
        groups.setdefault(str(point.number) if alone else group_of(config), []).append(point)
    tasks = []
    for points in groups.values():
        if len(points) == 1 or not _fits_together(plan, points[0]):
            tasks += [Work([point]) for point in points]
            continue
        size = min(AT_ONCE, max(10, -(-len(points) // available_cores())))
        tasks += [Work(points[i : i + size], together=True) for i in range(0, len(points), size)]
    return tasks


def _fits_together(plan: Plan, point: Point) -> bool:
    try:
        return obstacle(prepare(config_of(plan, point), offline=plan.offline)) is None
    except DlwError:  # each point will say so itself
        return False


def _run_here(progress: SweepProgress) -> None:
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
