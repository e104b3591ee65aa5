"""The worker processes of a sweep, each with a task at a time. Knows tasks, not how they train."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from dlworkflow.engine.child_processes import guarded_start, leave_interrupts_to_the_parent
from dlworkflow.engine.signals import Halt, StopRequest, noted_signals
from dlworkflow.errors import naming_options, options_are_named
from dlworkflow.registry.user_code import named_files, use_code
from dlworkflow.training.sweep.folder import FAILED, INTERRUPTED, WAITING, Plan, Point, Sweep
from dlworkflow.training.sweep.queue import SweepProgress, Work
from dlworkflow.training.sweep.training import train_task

PATIENCE = 10.0
"""Seconds that workers have to end by themselves when their sweep has ended."""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Work | None = None


class Pool:
    """Worker processes that train a task each and send back the outcome; the parent handles Ctrl-C."""

    def __init__(self, progress: SweepProgress, jobs: int) -> None:
        self._progress, self._jobs = progress, jobs
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def run(self, progress: SweepProgress) -> None:
        """Train the tasks; end all workers however this ends."""
        try:
            with noted_signals() as request:
                self._serve(request)
                self._end(patience=PATIENCE)
                if request.signal is not None:
                    progress.stop = "signal"
                    request.raise_as_asked()
        except KeyboardInterrupt:  # a second Ctrl-C, or nobody is left
            self._end(patience=0)
            raise
        except BaseException:
            for worker in self._workers:
                worker.process.terminate()
            self._end(patience=PATIENCE)
            raise

    def _end(self, patience: float) -> None:
        """End all workers: close the pipes of those that wait for a task, kill those that are left after a time."""
        for worker in self._workers:
            worker.pipe.close()
        deadline = time.monotonic() + patience
        for worker in self._workers:
            worker.process.join(timeout=max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _serve(self, request: StopRequest) -> None:
        terminated = False
        while True:
            if request.signal is not None:
                self._progress.stop = "signal"
            stopping = self._is_stopping(request)
            if stopping and not terminated:
                terminated = True
                for worker in self._workers:
                    worker.process.terminate()  # noted by whoever trains: the batch ends, the run is written
            if not stopping:
                self._hand_out()
            busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
            if not busy:
                return
            for pipe in wait(list(busy), timeout=0.2):
                self._hear(busy[pipe], request)  # type: ignore[index]

    def _is_stopping(self, request: StopRequest) -> bool:
        return request.signal is not None or self._progress.stop == "signal" or self._progress.is_late()

    def _hand_out(self) -> None:
        """Give every idle worker a task, and start workers while there are tasks for them."""
        while True:
            idle = next((worker for worker in self._workers if worker.task is None), None)
            if idle is None and len(self._workers) >= self._jobs:
                return
            if (task := self._progress.next_task()) is None:
                return
            worker = idle or self._start()
            try:
                worker.pipe.send(task)
            except OSError:  # it died as it waited: another one does it
                self._workers.remove(worker)
                self._progress.give_back(task)
                if idle is None:
                    raise
                continue
            worker.task = task

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work,
            args=(theirs, self._progress.sweep, self._progress.plan, options_are_named(), named_files()),
            daemon=False,
        )
        with guarded_start():
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _hear(self, worker: _Worker, request: StopRequest) -> None:
        assert worker.task is not None
        try:
            kind, *content = worker.pipe.recv()
        except (EOFError, OSError):  # also in the middle of a message
            self._bury(worker, request)
            return
        if kind == "epoch":
            with suppress(OSError):  # it died since: the next look finds that
                worker.pipe.send(self._progress.source.hopeless(*content))
            return
        task, worker.task = worker.task, None
        self._progress.keep(task, content[0])

    def _bury(self, worker: _Worker, request: StopRequest) -> None:
        """Record the outcome of the points of a process that has died."""
        worker.process.join()
        self._workers.remove(worker)
        task, worker.task = worker.task, None
        assert task is not None
        code = worker.process.exitcode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        for point in task.points:
            if self._is_stopping(request):
                point.status = INTERRUPTED
            else:
                point.status, point.reason = FAILED, f"its process was {how}; out of memory? try a lower --jobs"
        self._progress.keep(task, task.points)


def _work(pipe: Connection, sweep: Sweep, plan: Plan, names_options: bool, code: Sequence[str]) -> None:
    """Train what comes through the pipe until it is closed; `names_options` is whether errors name options here.

    `code` are the files of code that the user has named.
    """
    use_code(*code)
    with naming_options() if names_options else nullcontext():
        _train_from(pipe, sweep, plan)


def _train_from(pipe: Connection, sweep: Sweep, plan: Plan) -> None:
    leave_interrupts_to_the_parent()
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
            task: Work = pipe.recv()
            watched = task.watched
            try:
                train_task(sweep, plan, task, watch, is_late=is_orphan)
            finally:
                for point in task.points:
                    if point.status == WAITING and point.run is not None:
                        point.status = INTERRUPTED
                pipe.send(("ended", task.points))
