"""Runs tasks on a Dask cluster: runs of a sweep, evaluations. Knows not what they do; an optional extra.

Dask gets text alone, and starts a task again on another worker when one dies.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlworkflow.engine.signals import StopRequest, noted_signals
from dlworkflow.errors import DlwError, RunError, options_are_named
from dlworkflow.registry.user_code import named_files
from dlworkflow.training.sweep import worker
from dlworkflow.training.sweep.cluster_tasks import Task, Tasks
from dlworkflow.training.sweep.parcel import MARK, unpack
from dlworkflow.training.sweep.scheduler import Scheduler

WAIT_MINUTES = 10.0
"""How long a command waits for a scheduler, or for a worker, that has gone."""

ATTEMPTS = 3
"""How often a task is started again after its worker has lost the command."""

_LOST = (OSError, asyncio.CancelledError, concurrent.futures.CancelledError)  # what Dask raises without a scheduler
_EVERY = 1.0  # seconds between two exchanges with the workers
_PATIENCE = worker.PATIENCE + 10  # seconds for processes to end that are to stop


@dataclass
class _Sent:
    """A task on its way."""

    task: Task
    token: str
    attempt: int = 0
    key: str = ""
    future: Any = None
    order: str = ""
    is_running: bool = False


@dataclass
class Cluster(Scheduler):
    """A Dask cluster that runs tasks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._id = f"dlw-{secrets.token_hex(8)}"
        self._busy: list[_Sent] = []
        self._next_exchange, self._last_worker = 0.0, 0.0
        self._failure: DlwError | None = None

    def run(self, tasks: Tasks) -> None:
        """Run tasks once connected; `tasks.stop` is set where a signal stops them, which is then raised.

        Raises RunError where the scheduler stays away.
        """
        self._tasks = tasks
        try:
            self._last_worker = time.monotonic()
            with noted_signals() as request:
                self._serve(request)
                if request.signal is not None:
                    tasks.stop = "signal"
                    request.raise_as_asked()
        finally:
            for sent in self._busy:
                tasks.leave(sent.task)
            self.close()
        if self._failure is not None:
            raise self._failure

    def _serve(self, request: StopRequest) -> None:
        stopped_at = None
        while True:
            if request.signal is not None:
                self._tasks.stop = "signal"
            stopping = self._is_stopping()
            if stopping and stopped_at is None:
                stopped_at = time.monotonic()
                self._next_exchange = 0.0
            if not stopping:
                self._hand_out()
            if not self._busy or (stopped_at is not None and time.monotonic() - stopped_at > _PATIENCE):
                return
            if self._client.status != "running":
                self._find_again(request)
            elif time.monotonic() >= self._next_exchange:
                self._exchange(stopping)
            for sent in list(self._busy):
                self._look(sent, stopping)
            time.sleep(0.05)

    def _is_stopping(self) -> bool:
        return self._failure is not None or self._tasks.stop == "signal" or self._tasks.is_late()

    def _hand_out(self) -> None:
        """Send as many tasks as the workers take at once."""
        if len(self._busy) < self._at_once and (task := self._tasks.next_task()) is not None:
            sent = _Sent(task, secrets.token_hex(16))
            (task.folder / MARK).write_text(sent.token, encoding="ascii")
            self._busy.append(sent)
            self._send(sent)

    def _send(self, sent: _Sent) -> None:
        """Submit a task, or submit it again."""
        sent.attempt += 1
        sent.key = f"{self._id}-{sent.task.name}-{sent.attempt}"
        sent.is_running = False
        content = sent.task.content() | {
            "key": sent.key,
            "folder": str(sent.task.folder.resolve()),
            "token": sent.token,
            "versions": worker.versions(),
            "code": {file: worker.text_of(Path(file)) for file in named_files()},
            "cwd": str(Path.cwd()),
            "names_options": options_are_named(),
        }
        try:
            archive = b"" if self._is_seen(sent) else sent.task.files()
            files = [self._client.scatter(archive)] if archive else []
            sent.future = self._client.submit(
                worker.run, json.dumps(content), *files, key=sent.key, resources=self._resources(), pure=False
            )
        except _LOST:
            sent.future = None  # sent again once the scheduler is found

    def _is_seen(self, sent: _Sent) -> bool:
        """Return whether all workers see the folder of a task, by a file with a random text."""
        folder = str(sent.task.folder.resolve())
        return all(
            each is True for each in self._client.run(worker.sees, folder, sent.token, on_error="return").values()
        )

    def _look(self, sent: _Sent, stopping: bool) -> None:
        """Keep the outcome of a task that has ended; send one again that was lost."""
        status = sent.future.status if sent.future is not None else "lost"
        if status == "pending":
            return
        has_ended = status == "error"
        if status == "finished":
            try:
                if archive := sent.future.result(timeout=600):
                    unpack(archive, sent.task.folder)
            except _LOST:
                return
            has_ended = sent.attempt > ATTEMPTS or not sent.task.is_unfinished()
        elif status == "error":
            self._note_error(sent, sent.future.exception(timeout=60))
        elif stopping or self._client.status != "running":
            return
        if not has_ended and not stopping:
            self._send(sent)
            return
        self._busy.remove(sent)
        self._tasks.keep(sent.task)

    def _note_error(self, sent: _Sent, error: BaseException) -> None:
        """Hand a task the reason why it failed; what a worker refuses ends the command."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            sent.task.fail("each worker that had it has died; out of memory? try a higher --task-cores")
        elif isinstance(error, worker.TaskError):
            sent.task.fail(str(error))
        elif isinstance(error, DlwError):
            self._failure = self._failure or error
        else:
            self._failure = self._failure or worker.failure("--cluster: a machine", error)

    def _exchange(self, stopping: bool) -> None:
        """Give the workers their orders, and hand each task what its process reports."""
        if stopping:
            for sent in self._busy:
                sent.order = worker.STOP
        heard: dict[str, Any] = {"command": self._id, "live": [sent.key for sent in self._busy]}
        heard["orders"] = {sent.key: sent.order for sent in self._busy if sent.order}
        try:
            found = self._client.run(worker.exchange, json.dumps(heard), on_error="ignore")
        except _LOST:
            return
        answers = {address: json.loads(text) for address, text in found.items()}
        workers = {address: answer["about"] for address, answer in answers.items()}
        self._next_exchange = time.monotonic() + _EVERY
        slots = self._slots(workers)
        self._at_once = slots if self._jobs == "auto" else min(slots, self._jobs)
        if workers:
            self._last_worker = time.monotonic()
        elif time.monotonic() - self._last_worker > 60 * WAIT_MINUTES:
            self._failure = RunError(f"--cluster: {self.address} has had no worker for {WAIT_MINUTES:g} minutes")
        reports = {key: found for answer in answers.values() for key, found in answer["reports"].items()}
        for sent in list(self._busy):
            sent.is_running |= sent.key in reports
            for report in reports.get(sent.key, ()):
                if sent.task.is_hopeless(*report) and not sent.order:
                    sent.order = worker.PRUNE
            if stopping and not sent.is_running and sent.future is not None and sent.future.status == "pending":
                sent.future.cancel()
                self._busy.remove(sent)
                self._tasks.keep(sent.task)

    def _find_again(self, request: StopRequest) -> None:
        """Connect anew to a scheduler that has gone, and send again what it had; RunError after ten minutes."""
        self.on_note(f"{self.address} does not answer; waiting up to {WAIT_MINUTES:g} minutes for it")
        self.close()
        deadline = time.monotonic() + 60 * WAIT_MINUTES
        while self._client is None:
            if request.signal is not None:
                request.raise_as_asked()
            if self._tasks.is_late():
                raise RunError(f"--cluster: {self.address} does not answer")
            try:
                self._client = self._connected(5)
            except DlwError:  # nobody answers, or the scheduler's file is still to be written
                if time.monotonic() > deadline:
                    raise
        self.on_note(f"{self.address} answers again")
        self._last_worker = time.monotonic()
        for sent in self._busy:
            sent.future = None
