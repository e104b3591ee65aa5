"""Starts several processes of this machine, as torchrun does. Knows a command line, not what it trains."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence

import torch

from dlworkflow.engine.device import available_cores
from dlworkflow.errors import ConfigError
from dlworkflow.files.text import shell_command
from dlworkflow.training.distributed.group import LostProcessError
from dlworkflow.training.distributed.joining import check_available, chosen_timeout
from dlworkflow.training.distributed.training import run_of


def launch(processes: int, arguments: Sequence[str], runs_dir: str | os.PathLike[str] | None = None) -> int:
    """Run `dlw` with these arguments in several processes of this machine, as torchrun does; return the exit code.

    Ctrl-C and SIGTERM go to all of them. Raises ConfigError for more than the machine has cores or CUDA devices, and
    LostProcessError, with the command that resumes the run, when one was killed.
    """
    check_available()
    _check_count(processes)
    chosen_timeout()
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
        logging.disable()  # what torchrun logs: the processes report their errors themselves
        try:
            elastic_launch(settings, sys.executable)("-P", "-m", "dlworkflow", *arguments)
        except SignalException as stop:
            return 128 + stop.sigval
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            return _code(codes, processes, name, runs_dir)
        finally:
            logging.disable(logging.NOTSET)
    return 0


def _check_count(processes: int) -> None:
    most = max(available_cores(), torch.cuda.device_count())
    if not 1 <= processes <= most:
        raise ConfigError(f"--processes: from 1 to {most} on this machine, not {processes}")


def _code(codes: dict[int, int], processes: int, name: str, runs_dir: str | os.PathLike[str] | None) -> int:
    """Return the exit code of processes that failed: rank 0's own where it has one."""
    killed = [rank for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM]
    if killed:
        run = run_of(name, runs_dir)
        how = f"; resume with: {shell_command(['dlw', 'train', '--resume', str(run.path)])}" if run is not None else ""
        what = signal.Signals(-codes[killed[0]]).name
        raise LostProcessError(f"process {killed[0]} of {processes} was killed ({what}){how}")
    return next((codes[rank] for rank in sorted(codes) if codes[rank] > 0), 1)
