"""Processes of this machine that were stopped (SIGSTOP) while others wait for them: they are found, and ended.

Looked up in /proc; where there is none, nothing is found. Knows process ids, not what the processes do.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path


def is_stopped(pid: int, parent: int) -> bool:
    """Tell whether a process stands stopped; False where it has gone, or is no child of `parent` any more."""
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
    tell: Callable[[int], object],
    interval: float = 1.0,
) -> None:
    """End for as long as this process lives what stands stopped for `patience` seconds; `tell` hears of it before.

    `pids` are the children of `parent` by rank, this process's own rank is `own`. Of several that run the lowest acts.
    """
    stood = dict.fromkeys(pids, 0.0)
    while True:
        time.sleep(interval)  # counted, not measured: while this process stood itself, it saw nothing
        stopped = {rank for rank, pid in pids.items() if rank != own and is_stopped(pid, parent)}
        stood = {rank: stood[rank] + interval if rank in stopped else 0.0 for rank in pids}
        if own != min(pids.keys() - stopped):
            continue
        for rank in stopped:
            if stood[rank] >= patience:
                tell(rank)
                stood[rank] = 0.0
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pids[rank], signal.SIGKILL)
