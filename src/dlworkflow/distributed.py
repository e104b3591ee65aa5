"""Many processes, on one machine or several: how they are started, find each other, and train one run together.

`torchrun` starts them, or `launch`, which does on one machine what torchrun does. Rank 0 writes the run; the others
keep what they need of it in a folder of their own, so that machines need not share a disk.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from dlworkflow.engine import Epoch
from dlworkflow.errors import ConfigError, DivergedError, DlwError, RunError
from dlworkflow.runs import Run, find_run, list_runs, runs_folder
from dlworkflow.sharing import share_batch_norms
from dlworkflow.standstill import end_stopped
from dlworkflow.workflow import Job, resume_training, train_job

TIMEOUT = timedelta(minutes=15)
"""A process that waits so long for the others in training gives up, unless DLW_TIMEOUT says otherwise in seconds.

One that died is noticed at once, one of the same machine that was stopped after a minute.
"""

STOPPED_TIMEOUT = timedelta(minutes=1)
"""So long may a process stand stopped (SIGSTOP) before another of its machine ends it; a third of TIMEOUT at most."""

PREPARE_TIMEOUT = timedelta(hours=6)
"""So long may one process load, or fetch, the data while the others wait for it."""

_log = logging.getLogger(__name__)

_FILES = ("config.yaml", "environment.json", "summary.json", "history.csv", "resume.pth")


class LostProcessError(DlwError):
    """A process that trains with this one has ended, or no longer answers."""


class ToldElsewhereError(DlwError):
    """Something that went wrong on every process, or that another one tells."""


class Processes:
    """A `sharing.Group` over torch.distributed: gloo for what lies on the CPU, nccl for what lies on a GPU."""

    def __init__(self, store: distributed.Store, rank: int, size: int, timeout: timedelta = TIMEOUT) -> None:
        self.rank, self.size = rank, size
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))
        self.backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        self.launch = _launch_name()
        # torchrun keeps one store for all its restarts: what dead processes wrote there must not be read
        begun = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{size}"
        self._store, self._turns = distributed.PrefixStore(f"dlworkflow/{begun}", store), 0
        if self.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(self.local_rank)
        self.beside = self._find_beside()
        distributed.init_process_group(self.backend, store=self._store, rank=rank, world_size=size, timeout=timeout)

    def sum(self, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    def highest(self, number: int) -> int:
        found = torch.tensor(number)
        distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
        return int(found)

    def share(self, model: nn.Module) -> nn.Module:
        share_batch_norms(model, self)
        return _Parallel(model)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        self._turns += 1
        first = f"first/{self._turns}/{os.environ.get('GROUP_RANK', 0)}"
        if self.local_rank:
            self._store.wait([first], PREPARE_TIMEOUT)
        error: DlwError | None = None
        try:
            yield
        except DlwError as found:
            error = found
        finally:
            if not self.local_rank:
                self._store.set(first, "gone")
        said = self.tell(str(error or ""))
        if error is not None and not self.rank:
            raise error
        if any(said):
            raise _elsewhere(self.rank, said)

    def tell(self, text: str) -> list[str]:
        """Return the texts of all processes, in their order."""
        self._turns += 1
        keys = [f"said/{self._turns}/{rank}" for rank in range(self.size)]
        self._store.set(keys[self.rank], text)
        self._store.wait(keys, PREPARE_TIMEOUT)
        return [self._store.get(key).decode() for key in keys]

    def send(self, content: bytes | None) -> bytes | None:
        """Return what rank 0 has: bytes, or None."""
        length = self.highest(len(content) + 1 if content is not None and not self.rank else 0)
        if not length:
            return None
        parcel = torch.empty(length - 1, dtype=torch.uint8)
        if content and not self.rank:
            parcel.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        if len(parcel):
            distributed.broadcast(parcel, src=0)
        return parcel.numpy().tobytes()

    def _find_beside(self) -> dict[int, int]:
        """Return the process ids of all processes on this machine by rank, as soon as all have begun."""
        keys = [f"place/{rank}" for rank in range(self.size)]
        self._store.set(keys[self.rank], f"{os.getpid()} {socket.gethostname()}")
        self._store.wait(keys, TIMEOUT)
        places = [self._store.get(key).decode().partition(" ") for key in keys]
        return {rank: int(pid) for rank, (pid, _, host) in enumerate(places) if host == socket.gethostname()}

    def answering(self, patience: timedelta) -> list[int]:
        """Return which processes have come here, once all have or after that time: those that have lost others."""
        keys = [f"lost/{rank}" for rank in range(self.size)]
        try:
            self._store.set(keys[self.rank], "")
            with suppress(RuntimeError):
                self._store.wait(keys, patience)
            return [rank for rank, key in enumerate(keys) if self._store.check([key])]
        except RuntimeError:  # what holds the store has ended too
            return [0]

    def last_words(self, text: str, patience: timedelta) -> str | None:
        """Return how rank 0 ended: `text` there; elsewhere wait for it, as torchrun stops all when one has failed.

        None where it has not ended after all that time.
        """
        if not self.rank:
            self._store.set("ended", text)
            return text
        try:
            self._store.wait(["ended"], patience)
        except RuntimeError:
            return None
        return self._store.get("ended").decode()


def _elsewhere(rank: int, said: Sequence[str]) -> DlwError:
    number = next(number for number, text in enumerate(said) if text)
    return ToldElsewhereError(said[number]) if rank else RunError(f"process {number}: {said[number]}")


class _Parallel(nn.Module):
    """A model whose gradients are shared; it is wrapped anew when other weights of it learn than before.

    Scoring needs nothing of the others, and calls the model itself.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._learns: list[bool] = []
        self._wrapped: list[nn.Module] = []  # a list, or its weights would count twice

    def forward(self, x: Tensor) -> Any:
        if not torch.is_grad_enabled():
            return self.model(x)
        learns = [parameter.requires_grad for parameter in self.model.parameters()]
        if learns != self._learns:
            parallel = nn.parallel.DistributedDataParallel(self.model)
            self._learns, self._wrapped = learns, [parallel]
        return self._wrapped[0](x)


@contextmanager
def joined(runs_dir: str | os.PathLike[str] | None = None) -> Iterator[Processes]:
    """Join the processes that were started with this one, for the block; runs are written to `runs_dir`.

    What fails on all of them alike is raised on rank 0 and ends the others silently, with the same exit code; what
    fails on one alone is raised there, and as LostProcessError on rank 0, which says which no longer answer. A process
    whose starter was killed ends as SIGTERM asks; one that was stopped is ended by another of its machine.
    """
    _check_available()
    timeout = _timeout()
    try:
        store, rank, size = next(distributed.rendezvous("env://", timeout=TIMEOUT))
        group = Processes(store, rank, size, timeout)
    except RuntimeError as error:
        raise LostProcessError("the other processes of this training cannot be reached") from error
    if "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_stop_without, args=(os.getppid(),), daemon=True).start()
        _watch(group, min(STOPPED_TIMEOUT, timeout / 3))
    if rank:
        logging.getLogger("dlworkflow").setLevel(logging.ERROR)
    try:
        yield group
    except BaseException as error:
        _end(group, error, runs_dir)
        raise
    distributed.destroy_process_group()


def _check_available() -> None:
    if not distributed.is_available() or not distributed.is_gloo_available():
        raise ConfigError("--processes: this PyTorch was built without torch.distributed; train in one process")


def _timeout() -> timedelta:
    """Return how long a process waits for the others in training."""
    given = os.environ.get("DLW_TIMEOUT", "").strip()
    try:
        timeout = timedelta(seconds=float(given)) if given else TIMEOUT
    except (ValueError, OverflowError):
        timeout = timedelta(0)
    if timeout < timedelta(seconds=1):
        raise ConfigError(f"DLW_TIMEOUT: seconds to wait for other processes, at least 1, not {given!r}")
    return timeout


def _watch(group: Processes, patience: timedelta) -> None:
    """End processes of this machine that were stopped, from a thread of this one."""

    def tell(rank: int) -> None:
        seconds = patience.total_seconds()
        _log.error("process %d of %d has stood stopped for %.0f s and is ended", rank, group.size, seconds)

    settings = {"parent": os.getppid(), "patience": patience.total_seconds(), "tell": tell}
    threading.Thread(target=end_stopped, args=(group.rank, group.beside), kwargs=settings, daemon=True).start()


def _end(group: Processes, error: BaseException, runs_dir: str | os.PathLike[str] | None) -> None:
    """Raise what this process should end with instead of `error`, or return."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # torchrun stops all when one ends; this one is ending
    if isinstance(error, RuntimeError) and _is_of_the_connection(error):
        hangs = "imed out" in str(error)
        answering = group.answering(timedelta(seconds=5 if hangs else 1))
        if group.rank and not (hangs and group.rank == min(answering)):
            raise SystemExit(1) from None
        raise LostProcessError(_who_is_lost(group, answering, runs_dir)) from error
    agreed = isinstance(error, (KeyboardInterrupt, SystemExit, DivergedError, ToldElsewhereError))
    if not agreed and not isinstance(error, DlwError):
        return
    told = group.last_words(str(error), timedelta(seconds=30 if agreed else 5))
    if group.rank and isinstance(error, KeyboardInterrupt):
        raise SystemExit(128 + signal.SIGINT) from None
    if group.rank and isinstance(error, DlwError) and (agreed or told == str(error)):
        raise SystemExit(error.exit_code) from None


def _who_is_lost(group: Processes, answering: Sequence[int], runs_dir: str | os.PathLike[str] | None) -> str:
    """Name the processes that have ended or hang, and the command that goes on without them."""
    lost = [str(rank) for rank in range(group.size) if rank not in answering]
    who = f"process {' and '.join(lost)}" if lost else "another process"
    ends = f"{who} of {group.size} has ended, or no longer answers"
    if group.rank:  # the run is where rank 0 writes it
        return f"{ends}; go on with: dlw train --resume last"
    run = _run_of(group.launch, runs_dir)
    return ends if run is None else f"{ends}; go on with: dlw train --resume {shlex.quote(str(run.path))}"


def _is_of_the_connection(error: RuntimeError) -> bool:
    words = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "Timed out waiting")
    return isinstance(error, distributed.DistError) or any(word in str(error) for word in words)


def _stop_without(parent: int) -> None:
    """Ask this process to stop when the one that started it is no more, and end it when that does not help."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
    os._exit(1)


def _launch_name() -> str:
    """Return what names the command that started these processes, before and after torchrun starts them anew."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return name if name != "none" else f"{socket.gethostname()}:{os.getppid()}"


def train_together(
    group: Processes,
    job: Job,
    *,
    runs_dir: str | os.PathLike[str] | None = None,
    name: str | None = None,
    offline: bool = False,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> Run:
    """Do what `train_job` does with what each process of the group prepared; see there.

    Processes that torchrun started anew go on with the run that they had begun.
    """
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        begun = _run_of(group.launch, runs_dir) if not group.rank else None
        status = group.tell(begun.summary()["status"] if begun is not None else "")[0]
        if status:
            return _resumed(
                group, begun, over=status == "finished", offline=offline, on_start=on_start, on_epoch=on_epoch
            )
    with _own_folder(group) as folder:
        return train_job(job, runs_dir=folder or runs_dir, name=name, on_start=on_start, on_epoch=on_epoch)


def resume_together(
    group: Processes,
    name: str,
    *,
    runs_dir: str | os.PathLike[str] | None = None,
    epochs: int | None = None,
    force: bool = False,
    offline: bool = False,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> Run:
    """Do what `resume_training` does with the run that `name` means on rank 0; the number of processes may change."""
    run: Run | None = None
    with group.in_turn():
        if not group.rank:
            run = find_run(name, runs_dir)
    return _resumed(group, run, epochs=epochs, force=force, offline=offline, on_start=on_start, on_epoch=on_epoch)


def _resumed(group: Processes, run: Run | None, *, over: bool = False, **settings: Any) -> Run:
    """Go on with rank 0's run on every process, unless it is `over`."""
    with _own_folder(group) as folder:
        run = _copied(group, run, folder)
        return run if over else resume_training(run, group=group, **settings)


def _run_of(launch: str, runs_dir: str | os.PathLike[str] | None) -> Run | None:
    """Return the newest run that was started by this command."""
    runs = [run for run in list_runs(runs_folder(runs_dir)) if run.summary().get("launch") == launch]
    return max(runs, key=lambda run: str(run.summary()["started"]), default=None)


@contextmanager
def _own_folder(group: Processes) -> Iterator[Path | None]:
    """Give a folder that lasts as long as the block to all but rank 0, which has the true one."""
    if not group.rank:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="dlworkflow-") as folder:
        yield Path(folder)


def _copied(group: Processes, run: Run | None, folder: Path | None) -> Run:
    """Send the files of rank 0's run to the folders of the others; return each its own."""
    for file in _FILES:
        source = run.path / file if run is not None else None
        content = group.send(source.read_bytes() if source is not None and source.is_file() else None)
        if content is not None and folder is not None:
            (folder / file).write_bytes(content)
    if run is not None:
        return run
    assert folder is not None
    return Run(folder)


def launch(processes: int, arguments: Sequence[str], runs_dir: str | os.PathLike[str] | None = None) -> int:
    """Run `dlw` with these arguments in several processes of this machine, as torchrun does; return the exit code.

    Ctrl-C and SIGTERM go to all of them. Raises ConfigError for more than the machine has cores, or cuda devices, and
    LostProcessError, which says how to go on, when one was killed.
    """
    _check_available()
    _check_count(processes)
    _timeout()
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    name = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="dlworkflow-") as folder:
        settings = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=name,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        logging.disable()  # what torchrun logs: the processes tell what there is to tell
        try:
            elastic_launch(settings, sys.executable)("-m", "dlworkflow", *arguments)
        except SignalException as stop:
            return 128 + stop.sigval
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            return _code(codes, processes, name, runs_dir)
        finally:
            logging.disable(logging.NOTSET)
    return 0


def _check_count(processes: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = max(cores, torch.cuda.device_count())
    if not 1 <= processes <= most:
        raise ConfigError(f"--processes: from 1 to {most} on this machine, not {processes}")


def _code(codes: dict[int, int], processes: int, name: str, runs_dir: str | os.PathLike[str] | None) -> int:
    """Return the exit code of processes that failed: rank 0's own where it has one."""
    killed = [rank for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM]
    if killed:
        run = _run_of(name, runs_dir)
        how = f"; go on with: dlw train --resume {shlex.quote(str(run.path))}" if run is not None else ""
        what = signal.Signals(-codes[killed[0]]).name
        raise LostProcessError(f"process {killed[0]} of {processes} was killed ({what}){how}")
    return next((codes[rank] for rank in sorted(codes) if codes[rank] > 0), 1)
