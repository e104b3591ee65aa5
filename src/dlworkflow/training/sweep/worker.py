"""What a worker of a cluster runs: it starts a process for a task, and hears from the sweep meanwhile.

Texts come in, texts and archives go out. Imports no torch: the process that trains does.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dlworkflow._version import __version__
from dlworkflow.engine.child_processes import guarded_start
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.training.sweep.folder import FAILED, INTERRUPTED, WAITING, Sweep
from dlworkflow.training.sweep.parcel import MARK, pack, unpack

LEASE = 90.0
"""Seconds without a word of its sweep after which a training is stopped: the sweep is gone."""

PATIENCE = 30.0
"""Seconds that a training has to write its state once it is to stop."""

PRUNE, STOP = "prune", "stop"
REPORT = "dlw-epoch "
"""What a line of a training begins with that reports an epoch; its code may print other lines."""

_trainings: dict[str, _Training] = {}  # those of this process, by key


def versions() -> dict[str, str]:
    """Return what has to be the same on all machines for the same figures."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"dlworkflow": __version__, "torch": version("torch"), "Python": python}


def about(dask_worker: Any = None) -> str:
    """Return what a sweep asks of a worker first: versions, threads and resources, as JSON."""
    return json.dumps(_about(dask_worker))


def _about(dask_worker: Any) -> dict[str, Any]:
    found = {"versions": versions(), "threads": dask_worker.state.nthreads}
    return found | {"resources": dict(dask_worker.state.total_resources)}


def exchange(text: str, dask_worker: Any = None) -> str:
    """Take the orders of a sweep, `live` keys and `orders` by key.

    Returns the new epochs of its `trainings` by key, and what the worker is.
    """
    heard = json.loads(text)
    found = {}
    for key, training in list(_trainings.items()):
        if key.startswith(heard["sweep"]):
            training.heard = time.monotonic()
            training.take(heard["orders"].get(key, "") if key in heard["live"] else STOP)
            found[key] = training.new_reports()
    return json.dumps({"trainings": found, "about": _about(dask_worker)})


def train(text: str, files: bytes = b"") -> bytes:
    """Train a task in a process of its own; `files` is what it has so far, where no folder is shared.

    Returns its folder as an archive, empty where the sweep sees the folder itself. Raises ConfigError where this
    machine's versions or code are others.
    """
    from distributed import get_worker

    task = json.loads(text)
    worker = get_worker()
    _check(task, worker.address)
    sweep, is_shared = Sweep(Path(task["folder"])), sees(task["folder"], task["token"])
    if not is_shared:
        sweep = Sweep(Path(worker.local_directory) / "dlworkflow" / task["key"] / Path(task["folder"]).name)
        sweep.path.mkdir(parents=True)
        (sweep.path / "sweep.json").write_text(task["plan"], encoding="utf-8")
        if files:
            unpack(files, sweep.path)
    training = _trainings[task["key"]] = _Training(sweep, task)
    try:
        training.wait(lambda: worker.status.name not in ("running", "paused", "closing_gracefully"))
    finally:
        del _trainings[task["key"]]
    if is_shared:
        return b""
    archive = pack(sweep.path)
    shutil.rmtree(sweep.path.parent, ignore_errors=True)
    return archive


def _check(task: dict[str, Any], address: str) -> None:
    if others := other_versions(task["versions"], versions()):
        raise ConfigError(f"--cluster: worker {address} has {others}; install the same versions there")
    for file, digest in task["code"].items():
        if not Path(file).is_file() or digest_of(Path(file)) != digest:
            raise ConfigError(f"--code: worker {address} has no such {file!r}; copy the file there, to the same path")


def other_versions(ours: dict[str, str], theirs: dict[str, str]) -> str:
    """Return where versions differ from ours: `torch 2.6.0 (here 2.7.0)`; empty where they are the same."""
    return ", ".join(f"{name} {theirs.get(name)} (here {mine})" for name, mine in ours.items() if theirs[name] != mine)


def digest_of(file: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def sees(folder: str, token: str) -> bool:
    """Return whether this machine may write into the folder of a sweep, and finds the text there."""
    with suppress(OSError):
        return (Path(folder) / MARK).read_text(encoding="ascii") == token and os.access(folder, os.W_OK)
    return False


class _Training:
    """The process that trains a task; it ends by itself, too, when this process dies."""

    def __init__(self, sweep: Sweep, task: dict[str, Any]) -> None:
        self._sweep = sweep
        self.heard = time.monotonic()
        self._reports: list[Any] = []
        self._stopped_at: float | None = None
        self._pruned = False
        self._log = sweep.path / ".log"
        folder = task["cwd"] if Path(task["cwd"]).is_dir() else sweep.path
        command = [sys.executable, "-m", "dlworkflow.training.sweep.child", str(sweep.path)]
        with self._log.open("wb") as log, guarded_start():
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder
            )
        self._tell(
            json.dumps({key: task[key] for key in ("together", "watched", "names_options")} | {"code": [*task["code"]]})
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def take(self, order: str) -> None:
        """Follow an order: `prune` ends it after the epoch, `stop` after the batch."""
        if order == PRUNE and not self._pruned:
            self._pruned = True
            self._tell(PRUNE)
        if order == STOP and self._stopped_at is None:
            self._stopped_at = time.monotonic()
            with suppress(OSError):
                self._process.stdin.close()  # type: ignore[union-attr] # the end of its input asks it to stop

    def new_reports(self) -> list[Any]:
        """Return the epochs since the last call: number of the point, number of the epoch, loss."""
        new, self._reports = self._reports, []
        return new

    def wait(self, is_closing: Any) -> None:
        """Wait for the end; what a process that was killed could not write is written into its plan."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)
                break
            if is_closing() or time.monotonic() - self.heard > LEASE:
                self.take(STOP)
            if self._stopped_at is not None and time.monotonic() - self._stopped_at > PATIENCE:
                self._process.kill()
        self._reader.join()
        plan = self._sweep.read()
        for point in plan.points:
            if point.status == WAITING and self._stopped_at is not None:
                point.status = INTERRUPTED
            elif point.status == WAITING:
                point.status, point.reason = FAILED, self._reason()
        self._sweep.write(plan)

    def _reason(self) -> str:
        code = self._process.returncode
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}; out of memory? try a higher --task-cores"
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"its process ended with code {code}" + (f": {lines[-1]}" if lines else "")

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # it has ended
            self._process.stdin.write(f"{line}\n".encode())  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def _read(self) -> None:
        for line in self._process.stdout or ():
            text = line.decode("utf-8", errors="replace")
            if text.startswith(REPORT):
                self._reports.append(json.loads(text.removeprefix(REPORT)))


def check_seen(results: dict[str, Any]) -> None:
    """Raise RunError for a worker that could not answer, as one without dlworkflow."""
    for address, found in results.items():
        if isinstance(found, ModuleNotFoundError):
            raise RunError(f"worker {address} has no {found.name}; there: pip install 'dlworkflow[cluster]'")
        if isinstance(found, BaseException) and not isinstance(found, OSError):  # or it has just gone
            raise RunError(f"worker {address} failed: {type(found).__name__}: {found}")
