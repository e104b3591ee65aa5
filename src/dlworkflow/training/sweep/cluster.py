"""Runs the tasks of a sweep on a Dask cluster. Knows tasks, not how they train; an optional extra.

Dask gets text alone, and starts a task again on another worker when one dies.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dlworkflow.engine.signals import StopRequest, noted_signals
from dlworkflow.errors import ConfigError, DlwError, RunError, first_line, not_installed, options_are_named, short
from dlworkflow.files.paths import user_path
from dlworkflow.registry.user_code import named_files
from dlworkflow.training.sweep import worker
from dlworkflow.training.sweep.folder import ENDED, FAILED, FINISHED, INTERRUPTED, Plan, Point
from dlworkflow.training.sweep.parcel import MARK, Parcel, pack, unpack
from dlworkflow.training.sweep.queue import SweepProgress, Work

WAIT_MINUTES = 10.0
"""How long a sweep waits for a scheduler, or for a worker, that has gone."""

ANSWER_SECONDS = 10.0
"""How long a scheduler may take to answer for the first time."""

ATTEMPTS = 3
"""How often a task is started again after its worker has lost the sweep."""

_LOST = (OSError, asyncio.CancelledError, concurrent.futures.CancelledError)  # what Dask raises without a scheduler
_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://\S+|[\w.-]+:\d+")
_EVERY = 1.0  # seconds between two exchanges with the workers
_PATIENCE = worker.PATIENCE + 10  # seconds for trainings to end that are to stop


@dataclass
class _Sent:
    """A task on its way."""

    task: Work
    parcel: Parcel
    token: str
    attempt: int = 0
    key: str = ""
    future: Any = None
    files: Any = None
    order: str = ""
    is_training: bool = False


@dataclass
class Cluster:
    """A Dask cluster by the address of its scheduler; each task takes `cores` cores or, with `gpu`, a GPU.

    `address` is `tcp://HOST:PORT`, `tls://HOST:PORT` or the path of a scheduler file. Raises ConfigError for what is
    no address, and where Dask is not installed.
    """

    address: str
    cores: int | None = None
    gpu: bool = False
    on_note: Callable[[str], object] = field(default=lambda _: None)

    def __post_init__(self) -> None:
        try:
            import distributed  # noqa: F401 - imported here only to say so early
        except ImportError:
            raise ConfigError(not_installed("--cluster", "Dask", "cluster")) from None
        self._file = None if _ADDRESS.fullmatch(self.address) else user_path(self.address)
        if self._file is not None and not self._file.is_file():
            raise ConfigError(
                f"--cluster: {short(self.address)!r} is no address of a scheduler and no file; give tcp://HOST:8786, "
                "tls://HOST:8786 or the path of a scheduler file"
            )
        if self.cores is not None and self.gpu:
            raise ConfigError("--task-gpu: contradicts --task-cores; a task takes cores or a GPU, leave one out")
        self._client: Any = None
        self._id = f"dlw-{secrets.token_hex(8)}"
        self._busy: list[_Sent] = []
        self._next_exchange, self._last_worker = 0.0, 0.0
        self._failure: DlwError | None = None

    def connect(self, plan: Plan, jobs: int | Literal["auto"] = "auto") -> int:
        """Connect to the scheduler, check its workers, and return how many tasks they take at once, at most `jobs`.

        Raises RunError where no scheduler answers or no worker is there, ConfigError where versions or resources of
        the workers do not fit.
        """
        threads = plan.base.get("threads", 1)
        if not self.gpu and self.cores is None and threads != 1:
            if not isinstance(threads, int):
                raise ConfigError("--task-cores: say how many cores a task takes, as the runs have --threads auto")
            self.cores = threads
        if self._client is None:
            self._client = self._connected(ANSWER_SECONDS)
        if not (workers := self._workers()):
            raise RunError(f"--cluster: {self.address} has no worker; start one with: {self._to_start()}")
        for address, found in workers.items():
            if others := worker.other_versions(worker.versions(), found["versions"]):
                raise ConfigError(f"--cluster: worker {address} has {others}; install the same versions there")
        if not (slots := self._slots(workers)):
            raise ConfigError(
                f"--cluster: no worker of {self.address} offers {self._needs()}; start workers with: {self._to_start()}"
            )
        self._jobs, self._at_once = jobs, slots if jobs == "auto" else min(slots, jobs)
        return self._at_once

    def run(self, progress: SweepProgress) -> None:
        """Train the tasks once connected. Raises as `run_sweep` does, and RunError where the scheduler stays away."""
        self._progress = progress
        try:
            self._last_worker = time.monotonic()
            self._is_shared = self._shares(progress.sweep.path)
            with noted_signals() as request:
                self._serve(request)
                if request.signal is not None:
                    progress.stop = "signal"
                    request.raise_as_asked()
        finally:
            for sent in self._busy:
                if not sent.parcel.is_being_trained:  # else the next call of the sweep finds it
                    self._keep(sent)
            self.close()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Leave the cluster; its trainings that are left end by themselves."""
        if self._client is not None:
            self._client.close(timeout=2)
            self._client = None

    def _serve(self, request: StopRequest) -> None:
        stopped_at = None
        while True:
            if request.signal is not None:
                self._progress.stop = "signal"
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
        return self._failure is not None or self._progress.stop == "signal" or self._progress.is_late()

    def _hand_out(self) -> None:
        """Send as many tasks as the workers take at once."""
        if len(self._busy) < self._at_once and (task := self._progress.next_task()) is not None:
            token = secrets.token_hex(16)
            sent = _Sent(task, Parcel.make(self._progress.sweep, self._progress.plan, task, token), token)
            self._busy.append(sent)
            self._progress.sweep.write(self._progress.plan)  # a search has made the points just now
            self._send(sent)

    def _send(self, sent: _Sent) -> None:
        """Submit a task, or submit it again."""
        sent.attempt += 1
        sent.key = f"{self._id}-{sent.task.points[0].number}-{sent.attempt}"
        sent.is_training = False
        content = {
            "key": sent.key,
            "folder": str(sent.parcel.small.path.resolve()),
            "token": sent.token,
            "plan": (sent.parcel.small.path / "sweep.json").read_text(encoding="utf-8"),
            "versions": worker.versions(),
            "code": {file: worker.digest_of(Path(file)) for file in named_files()},
            "cwd": str(Path.cwd()),
            "together": sent.task.together,
            "watched": sent.task.watched,
            "names_options": options_are_named(),
        }
        files = []
        try:
            if sent.parcel.has_runs and not self._is_shared:
                files = [self._client.scatter(pack(sent.parcel.small.path))]
            sent.future = self._client.submit(
                worker.train, json.dumps(content), *files, key=sent.key, resources=self._resources(), pure=False
            )
        except _LOST:
            sent.future = None  # sent again once the scheduler is found

    def _look(self, sent: _Sent, stopping: bool) -> None:
        """Keep the outcome of a task that has ended; send one again that was lost."""
        status = sent.future.status if sent.future is not None else "lost"
        if status == "pending":
            return
        points: list[Point] | None = None
        if status == "finished":
            try:
                if archive := sent.future.result(timeout=600):
                    unpack(archive, sent.parcel.small.path)
            except _LOST:
                return
            points = sent.parcel.small.read().points
        elif status == "error":
            self._note_error(sent, sent.future.exception(timeout=60))
        elif stopping or self._client.status != "running":
            return
        if points is not None and self._is_unfinished(points) and not stopping and sent.attempt <= ATTEMPTS:
            points = None
        if points is None and status != "error" and not stopping:
            self._send(sent)
            return
        self._busy.remove(sent)
        self._keep(sent)

    @staticmethod
    def _is_unfinished(points: list[Point]) -> bool:
        return any(point.status == INTERRUPTED for point in points)

    def _note_error(self, sent: _Sent, error: BaseException) -> None:
        """Write the reason of a task that failed into its plan; what a worker refuses ends the sweep."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            plan = sent.parcel.small.read()
            for point in plan.points:
                if point.status not in ENDED:
                    point.status = FAILED
                    point.reason = "each worker that trained it has died; out of memory? try a higher --task-cores"
            sent.parcel.small.write(plan)
        elif isinstance(error, DlwError):
            self._failure = self._failure or error
        else:
            self._failure = self._failure or RunError(f"--cluster: {type(error).__name__}: {first_line(error)}")

    def _keep(self, sent: _Sent) -> None:
        """Record the outcome of a task's points."""
        points = sent.parcel.adopt()
        for point in points:
            if point.status == FINISHED and (other := self._other_data(point)):
                point.status, point.reason = FAILED, other
        sent.task = replace(sent.task, points=points)
        self._progress.keep(sent.task, points)

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

    def _exchange(self, stopping: bool) -> None:
        """Give the workers their orders, and give the new epochs to the source of tasks."""
        if stopping:
            for sent in self._busy:
                sent.order = worker.STOP
        heard: dict[str, Any] = {"sweep": self._id, "live": [sent.key for sent in self._busy]}
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
        trained = {key: found for answer in answers.values() for key, found in answer["trainings"].items()}
        for sent in list(self._busy):
            sent.is_training |= sent.key in trained
            for number, epoch, loss in trained.get(sent.key, ()):
                point = next(each for each in sent.task.points if each.number == number)
                if self._progress.source.hopeless(point, epoch, loss) and not sent.order:
                    sent.order = worker.PRUNE
            if stopping and not sent.is_training and sent.future is not None and sent.future.status == "pending":
                sent.future.cancel()
                self._busy.remove(sent)
                self._keep(sent)

    def _find_again(self, request: StopRequest) -> None:
        """Connect anew to a scheduler that has gone, and send again what it had; RunError after ten minutes."""
        self.on_note(f"{self.address} does not answer; waiting up to {WAIT_MINUTES:g} minutes for it")
        self.close()
        deadline = time.monotonic() + 60 * WAIT_MINUTES
        while self._client is None:
            if request.signal is not None:
                request.raise_as_asked()
            if self._progress.is_late():
                raise RunError(f"--cluster: {self.address} does not answer")
            try:
                self._client = self._connected(5)
            except RunError:
                if time.monotonic() > deadline:
                    raise
        self.on_note(f"{self.address} answers again")
        self._last_worker = time.monotonic()
        for sent in self._busy:
            sent.future = None

    def _connected(self, seconds: float) -> Any:
        from distributed import Client

        for name in ("distributed", "distributed.client"):  # Dask's configuration gives each a level
            logging.getLogger(name).setLevel(logging.CRITICAL)
        place: dict[str, Any] = {"scheduler_file": str(self._file)} if self._file else {"address": self.address}
        try:
            return Client(**place, timeout=seconds, set_as_default=False, name="dlw")
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"--cluster: no scheduler answers at {self.address}: {first_line(error)}; start it with: dask scheduler"
            ) from None

    def _workers(self) -> dict[str, dict[str, Any]]:
        """Return what each worker offers, by address."""
        found = self._client.run(worker.about, on_error="return")
        worker.check_seen(found)
        return {address: json.loads(text) for address, text in found.items() if isinstance(text, str)}

    def _shares(self, folder: Path) -> bool:
        """Return whether all workers see a folder, by a file with a random text."""
        token = secrets.token_hex(16)
        file = folder / MARK
        file.write_text(token, encoding="ascii")
        try:
            return all(self._client.run(worker.sees, str(folder.resolve()), token).values())
        finally:
            file.unlink()

    def _slots(self, workers: dict[str, dict[str, Any]]) -> int:
        """Return how many tasks the workers take at once."""
        slots = 0
        for found in workers.values():
            fit = [int(found["resources"].get(name, 0) // need) for name, need in self._resources().items()]
            slots += min([found["threads"], *fit])
        return slots

    def _resources(self) -> dict[str, int]:
        return {"GPU": 1} if self.gpu else {"CPU": self.cores} if self.cores is not None else {}

    def _needs(self) -> str:
        return " and ".join(f"{name}={need}" for name, need in self._resources().items())

    def _to_start(self) -> str:
        place = f"--scheduler-file {self._file}" if self._file else self.address
        return f"dask worker {place}" + (f" --resources {self._needs()}" if self._resources() else "")
