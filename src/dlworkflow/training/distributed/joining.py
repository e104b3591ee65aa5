"""Joining the processes started with this one, and ending together when some fail, die or hang. Trains nothing."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from torch import distributed

from dlworkflow.errors import ConfigError, DivergedError, DlwError
from dlworkflow.files.text import shell_command
from dlworkflow.training.distributed.group import (
    STOPPED_TIMEOUT,
    TIMEOUT,
    LostProcessError,
    Processes,
    ReportedElsewhereError,
)
from dlworkflow.training.distributed.training import run_of
from dlworkflow.training.distributed.watchdog import end_stopped

_log = logging.getLogger(__name__)


@contextmanager
def joined(runs_dir: str | os.PathLike[str] | None = None) -> Iterator[Processes]:
    """Join the processes started with this one for the block; runs are in `runs_dir`.

    An error of all processes is raised on rank 0 and ends the others silently with the same exit code. An error of one
    is raised there, and as LostProcessError on rank 0, which names the processes that do not respond. A process whose
    starter was killed ends as with SIGTERM; a stopped one is ended by another of its machine.
    """
    check_available()
    timeout = chosen_timeout()
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


def check_available() -> None:
    """Raise ConfigError where PyTorch was built without torch.distributed."""
    if not distributed.is_available() or not distributed.is_gloo_available():
        raise ConfigError("--processes: this PyTorch was built without torch.distributed; train in one process")


def chosen_timeout() -> timedelta:
    """Return how long a process waits for the others in training. Raises ConfigError for an invalid DLW_TIMEOUT."""
    given = os.environ.get("DLW_TIMEOUT", "").strip()
    try:
        timeout = timedelta(seconds=float(given)) if given else TIMEOUT
    except (ValueError, OverflowError):
        timeout = timedelta(0)
    if timeout < timedelta(seconds=1):
        raise ConfigError(f"DLW_TIMEOUT: seconds to wait for other processes, at least 1, not {given!r}")
    return timeout


def _watch(group: Processes, patience: timedelta) -> None:
    """End stopped processes of this machine, from a thread of this process."""

    def warn(rank: int) -> None:
        seconds = patience.total_seconds()
        _log.error("process %d of %d was stopped for %.0f s and is ended", rank, group.size, seconds)

    settings = {"parent": os.getppid(), "patience": patience.total_seconds(), "on_stopped": warn}
    threading.Thread(target=end_stopped, args=(group.rank, group.beside), kwargs=settings, daemon=True).start()


def _end(group: Processes, error: BaseException, runs_dir: str | os.PathLike[str] | None) -> None:
    """Raise what ends this process in place of `error`, or return where `error` does."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # torchrun stops all when one ends; this one is ending
    if isinstance(error, RuntimeError) and _is_of_the_connection(error):
        hangs = "imed out" in str(error)
        answering = group.answering(timedelta(seconds=5 if hangs else 1))
        if group.rank and not (hangs and group.rank == min(answering)):
            raise SystemExit(1) from None
        raise LostProcessError(_who_is_lost(group, answering, runs_dir)) from error
    agreed = isinstance(error, (KeyboardInterrupt, SystemExit, DivergedError, ReportedElsewhereError))
    if not agreed and not isinstance(error, DlwError):
        return
    reported = group.last_words(str(error), timedelta(seconds=30 if agreed else 5))
    if group.rank and isinstance(error, KeyboardInterrupt):
        raise SystemExit(128 + signal.SIGINT) from None
    if group.rank and isinstance(error, DlwError) and (agreed or reported == str(error)):
        raise SystemExit(error.exit_code) from None


def _who_is_lost(group: Processes, answering: Sequence[int], runs_dir: str | os.PathLike[str] | None) -> str:
    """Name the processes that have ended or hang, and the command that resumes the run."""
    lost = [str(rank) for rank in range(group.size) if rank not in answering]
    who = f"process {' and '.join(lost)}" if lost else "another process"
    ends = f"{who} of {group.size} has ended or does not respond"
    if group.rank:  # the run is where rank 0 writes it
        return f"{ends}; resume with: dlw train --resume last"
    run = run_of(group.launch, runs_dir)
    return ends if run is None else f"{ends}; resume with: {shell_command(['dlw', 'train', '--resume', str(run.path)])}"


def _is_of_the_connection(error: RuntimeError) -> bool:
    words = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "Timed out waiting")
    return isinstance(error, distributed.DistError) or any(word in str(error) for word in words)


def _stop_without(parent: int) -> None:
    """Send this process SIGTERM once the process that started it has ended, and kill it if that does not help."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
    os._exit(1)
