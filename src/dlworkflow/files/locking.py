"""Locks on files that end with the process that holds them. Knows neither what is locked nor why.

They are `flock` locks or, on Windows, locks on a range of bytes. On a file system without either, the answer is None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


fcntl, msvcrt = _module("fcntl"), _module("msvcrt")
IS_POSIX = fcntl is not None
"""Whether folders can be locked too, and files renamed and removed while they are open: not on Windows."""
_PATIENCE = 1.0  # seconds to wait for a process that only looks: it needs microseconds
_PAUSE = 0.02
_BYTE = 2**31 - 2  # the byte that is locked on Windows, where others cannot read what is locked
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe of that name must not hang


def try_lock(descriptor: int, *, shared: bool = False) -> bool | None:
    """Lock an open file: True, False where another process holds it, None where that cannot be found out.

    A `shared` lock is for looking: any number of processes have one at a time (on Windows, one).
    """
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        elif msvcrt is not None:
            before = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.lseek(descriptor, _BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, before, os.SEEK_SET)
        else:
            return None
    except (BlockingIOError, PermissionError):  # of flock, of Windows
        return False
    except OSError:
        return None
    return True


def wait_for_lock(descriptor: int, seconds: float = float("inf")) -> bool | None:
    """Lock an open file, waiting for the process that holds it; see `try_lock`."""
    until = time.monotonic() + seconds
    while (held := try_lock(descriptor)) is False and time.monotonic() < until:
        time.sleep(_PAUSE)
    return held


@contextmanager
def locked_file(path: Path, seconds: float = _PATIENCE) -> Iterator[bool | None]:
    """Lock a file within the block and yield what `try_lock` returns; None where the folder is read-only.

    A process that holds it is waited for so many seconds.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _AT_ONCE, 0o666)
    except OSError:
        yield None
        return
    try:
        yield wait_for_lock(descriptor, seconds)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool | None:
    """Return whether a process holds the lock of a file, without writing; None where that cannot be found out."""
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
