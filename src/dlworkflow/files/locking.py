"""Locks on files that end with the process that holds them; where there are none, nothing is known."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HAS_LOCKS = fcntl is not None
_PATIENCE = 1.0  # seconds within which whoever only looks has let go: it takes microseconds
_PAUSE = 0.02
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe of that name must not hang


def try_lock(descriptor: int, *, shared: bool = False) -> bool | None:
    """Try to lock an open file: True, False where another process holds it, None where that cannot be told.

    A shared lock is for looking: any number of processes have one at a time.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def wait_for_lock(descriptor: int) -> bool | None:
    """Lock an open file, waiting for whoever has it; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return None
    return True


@contextmanager
def locked_file(path: Path) -> Iterator[bool | None]:
    """Keep a file locked within the block; give True, False where a process holds it, None where nothing is known."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | _AT_ONCE, 0o666)
    except OSError:
        yield None  # a read-only folder: nobody writes there
        return
    try:
        until = time.monotonic() + _PATIENCE
        while (held := try_lock(descriptor)) is False and time.monotonic() < until:
            time.sleep(_PAUSE)  # perhaps another process only looks
        yield held
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool | None:
    """Tell whether a process keeps a file locked, without being in its way; None where nothing is known."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        free = try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)
    return None if free is None else not free
