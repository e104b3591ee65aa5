"""Finds processes of this machine that were stopped (SIGSTOP) while others wait for them, and ends them.

Reads /proc; without one nothing is found. Knows process ids, not what the processes do.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path


def is_stopped(pid: int, parent: int) -> bool:
    """Return whether a process is stopped; False where it has ended or is no longer a child of `parent`."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    state, found = stat.rpartition(")")[2].split()[:2]
    return state == "T" and int(found) == parent


def end_stopped(
    own: int,
    pids: Mapping[int, int],
    *,
    parent: int,
    patience: float,
    on_stopped: Callable[[int], object],
    interval: float = 1.0,
) -> None:
    """Kill processes that were stopped for `patience` seconds, for as long as this process lives.

    `pids` are the children of `parent` by rank, `own` is this process's rank. Of the processes that run, the one of
    the lowest rank acts. `on_stopped` is called with the rank before it is killed.
    """
    stopped_for = dict.fromkeys(pids, 0.0)
    while True:
        time.sleep(interval)  # counted, not measured: while this process was stopped itself, it saw nothing
        stopped = {rank for rank, pid in pids.items() if rank != own and is_stopped(pid, parent)}
        stopped_for = {rank: stopped_for[rank] + interval if rank in stopped else 0.0 for rank in pids}
        if own != min(pids.keys() - stopped):
            continue
        for rank in stopped:
            if stopped_for[rank] >= patience:
                on_stopped(rank)
                stopped_for[rank] = 0.0
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pids[rank], signal.SIGKILL)
