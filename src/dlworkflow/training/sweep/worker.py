"""What a worker of a cluster runs: it starts a process for a task, and hears from the command meanwhile.

Texts come in, texts and archives go out. Imports no torch: the process does.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dlworkflow._version import __version__
from dlworkflow.engine.child_processes import guarded_start
from dlworkflow.errors import ConfigError, RunError, first_line
from dlworkflow.training.sweep.folder import FAILED, INTERRUPTED, WAITING, Sweep
from dlworkflow.training.sweep.parcel import MARK, pack, unpack

LEASE = 90.0
"""Seconds without a word of its command after which a process is stopped: the command is gone."""

PATIENCE = 30.0
"""Seconds that a process has to end once it is to stop: a training writes its state."""

PRUNE, STOP = "prune", "stop"
REPORT = "dlw-epoch "
"""What a line of a training begins with that reports an epoch; its code may print other lines."""

_processes: dict[str, _Process] = {}  # those that this one has started, by key


class TaskError(RunError):
    """A task whose process failed; its text is the reason."""


def versions() -> dict[str, str]:
    """Return what has to be the same on all machines for the same figures."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"dlworkflow": __version__, "torch": version("torch"), "Python": python}


def about(dask_worker: Any = None) -> str:
    """Return what a command asks of a worker first: versions, threads and resources, as JSON."""
    return json.dumps(_about(dask_worker))


def _about(dask_worker: Any) -> dict[str, Any]:
    found = {"versions": versions(), "threads": dask_worker.state.nthreads}
    return found | {"resources": dict(dask_worker.state.total_resources)}


def exchange(text: str, dask_worker: Any = None) -> str:
    """Take the orders of a command, `live` keys and `orders` by key.

    Returns the new `reports` of its processes by key, and what the worker is.
    """
    heard = json.loads(text)
    found = {}
    for key, process in list(_processes.items()):
        if key.startswith(heard["command"]):
            process.heard = time.monotonic()
            process.take(heard["orders"].get(key, "") if key in heard["live"] else STOP)
            found[key] = process.new_reports()
    return json.dumps({"reports": found, "about": _about(dask_worker)})


def run(text: str, files: bytes = b"") -> bytes:
    """Start a process for a task; `files` is what it needs of its folder, where this is not shared.

    The `kind` of a task is `train`, with the `plan` of a small sweep, or `evaluate`, with the words of the command.
    Returns the files that are new in its folder as an archive, empty where the command sees the folder itself. Raises
    ConfigError where this machine's versions are others, TaskError for an evaluation that fails.
    """
    from distributed import get_worker

    task = json.loads(text)
    worker = get_worker()
    _check(task, worker.address)
    folder, is_shared = Path(task["folder"]), sees(task["folder"], task["token"])
    own = Path(worker.local_directory) / "dlworkflow" / task["key"]
    if not is_shared:
        folder = own / folder.name
        folder.mkdir(parents=True)
        if files:
            unpack(files, folder)
    try:
        task["code"] = _code_here(task["code"], own / "code")
        before = {} if is_shared else _stamps(folder)
        process = _processes[task["key"]] = _KINDS[task["kind"]](folder, task)
        try:
            process.wait(lambda: worker.status.name not in ("running", "paused", "closing_gracefully"))
        finally:
            del _processes[task["key"]]
        if is_shared:
            return b""
        return pack(folder, [path for path, stamp in _stamps(folder).items() if before.get(path) != stamp])
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return time and size of each file of a folder."""
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}


def _check(task: dict[str, Any], address: str) -> None:
    if others := other_versions(task["versions"], versions()):
        raise ConfigError(f"--cluster: worker {address} has {others}; install the same versions there")


def other_versions(ours: dict[str, str], theirs: dict[str, str]) -> str:
    """Return where versions differ from ours: `torch 2.6.0 (here 2.7.0)`; empty where they are the same."""
    return ", ".join(f"{name} {theirs.get(name)} (here {mine})" for name, mine in ours.items() if theirs[name] != mine)


def text_of(file: Path) -> str:
    """Return the text of a user's file; of one in another encoding than UTF-8, `_code_here` restores the bytes."""
    return file.read_bytes().decode("utf-8", "surrogateescape")


def _code_here(code: dict[str, str], folder: Path) -> list[str]:
    """Return where this machine has the user's files, given as texts by path: there, or all written into `folder`.

    In the folder they lie to each other as they do on the user's machine, so that one may import another.
    """
    if all(Path(file).is_file() and text_of(Path(file)) == text for file, text in code.items()):
        return list(code)
    places = {folder / place: code[file] for file, place in places_of(code).items()}
    for place, text in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode("utf-8", "surrogateescape"))
    return [str(place) for place in places]


def places_of(files: Collection[str]) -> dict[str, Path]:
    """Return where each file is below the folder that all have in common."""
    if not files:
        return {}
    common = os.path.commonpath([Path(file).parent for file in files])
    return {file: Path(file).relative_to(common) for file in files}


def sees(folder: str, token: str) -> bool:
    """Return whether this machine may write into the folder of a task, and finds the text there."""
    with suppress(OSError):
        return (Path(folder) / MARK).read_text(encoding="ascii") == token and os.access(folder, os.W_OK)
    return False


class _Process:
    """The process of a task, started as by hand."""

    def __init__(self, folder: Path, task: dict[str, Any], arguments: list[str]) -> None:
        self.heard = time.monotonic()
        self._reports: list[Any] = []
        self._stopped_at: float | None = None
        self._pruned = False
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        cwd = task["cwd"] if Path(task["cwd"]).is_dir() else folder
        with guarded_start():
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                cwd=cwd,
                env=self._environment(task),
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def take(self, order: str) -> None:
        """Follow an order: `prune` ends it after the epoch, `stop` at once."""
        if order == PRUNE and not self._pruned:
            self._pruned = True
            self._tell(PRUNE)
        if order == STOP and self._stopped_at is None:
            self._stopped_at = time.monotonic()
            self._stop()

    def new_reports(self) -> list[Any]:
        """Return the epochs since the last call: number of the point, number of the epoch, loss."""
        new, self._reports = self._reports, []
        return new

    def wait(self, is_closing: Any) -> None:
        """Wait for the end, and see to what a process has left that was killed."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)
                break
            if is_closing() or time.monotonic() - self.heard > LEASE:
                self.take(STOP)
            if self._stopped_at is not None and time.monotonic() - self._stopped_at > PATIENCE:
                self._process.kill()
        self._reader.join()
        self._ended()

    def _environment(self, task: dict[str, Any]) -> dict[str, str] | None:  # noqa: ARG002 - of a kind that has one
        return None

    def _stop(self) -> None:
        raise NotImplementedError

    def _ended(self) -> None:
        raise NotImplementedError

    def _reason(self) -> str:
        code = self._process.returncode
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}; out of memory? try a higher --task-cores"
        self._log.seek(0)
        last = (self._log.read().decode("utf-8", errors="replace").strip().splitlines() or [""])[-1]
        if last.startswith("dlw: "):
            return last.removeprefix("dlw: ")
        return f"its process ended with code {code}" + (f": {last}" if last else "")

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # it has ended
            self._process.stdin.write(f"{line}\n".encode())  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def _read(self) -> None:
        for line in self._process.stdout or ():
            text = line.decode("utf-8", errors="replace")
            if text.startswith(REPORT):
                self._reports.append(json.loads(text.removeprefix(REPORT)))


class _Training(_Process):
    """Trains a small sweep; it ends by itself, too, when this process dies."""

    def __init__(self, folder: Path, task: dict[str, Any]) -> None:
        self._sweep = Sweep(folder)
        (folder / "sweep.json").write_text(task["plan"], encoding="utf-8")
        super().__init__(folder, task, ["dlworkflow.training.sweep.child", str(folder)])
        self._tell(json.dumps({key: task[key] for key in ("together", "watched", "names_options", "code")}))

    def _stop(self) -> None:
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr] # the end of its input asks it to stop

    def _ended(self) -> None:
        """Write into the plan what a process could not that was killed."""
        plan = self._sweep.read()
        for point in plan.points:
            if point.status == WAITING and self._stopped_at is not None:
                point.status = INTERRUPTED
            elif point.status == WAITING:
                point.status, point.reason = FAILED, self._reason()
        self._sweep.write(plan)


class _Evaluation(_Process):
    """`dlw evaluate` of the run in a folder."""

    def __init__(self, folder: Path, task: dict[str, Any]) -> None:
        code = [word for file in task["code"] for word in ("--code", file)]
        super().__init__(folder, task, ["dlworkflow", "evaluate", str(folder), *task["words"], *code])

    def _environment(self, task: dict[str, Any]) -> dict[str, str]:
        return os.environ | {"OMP_NUM_THREADS": str(task["threads"])}

    def _stop(self) -> None:
        self._process.terminate()

    def _ended(self) -> None:
        if self._process.returncode != 0 and self._stopped_at is None:
            raise TaskError(self._reason())


_KINDS: dict[str, Any] = {"train": _Training, "evaluate": _Evaluation}


def check_seen(results: dict[str, Any]) -> None:
    """Raise RunError for a worker that could not answer, as one without dlworkflow."""
    for address, found in results.items():
        if isinstance(found, BaseException) and not isinstance(found, OSError):  # or it has just gone
            raise failure(f"worker {address}", found)


def failure(who: str, error: BaseException) -> RunError:
    """Return the error of a machine that could not run a function; of its own error, Dask may send the text alone."""
    if missing := re.search(r"No module named '([^']+)'", str(error)):
        return RunError(f"{who} has no {missing[1]}; there: pip install 'dlworkflow[cluster]'")
    return RunError(f"{who} failed: {type(error).__name__}: {first_line(error)}")
