"""How Python processes are started here: they import no module from the working folder, where `random.py` is data."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

START_METHOD = "fork" if sys.platform == "linux" and hasattr(os, "fork") else "spawn"
"""How workers of a loader are started, whatever Python's default is: forked ones share the images in memory."""
_VARIABLE, _OURS = "PYTHONSAFEPATH", "set by dlworkflow"


@contextmanager
def guarded_start() -> Iterator[None]:
    """Start processes within the block that leave the working folder alone and do not see Ctrl-C while they start.

    Other places of modules (PYTHONPATH, installed packages) stay as they are.
    """
    block = getattr(signal, "pthread_sigmask", None)  # Windows has none
    before = block(signal.SIG_BLOCK, {signal.SIGINT}) if block else None
    given = os.environ.get(_VARIABLE)
    os.environ.setdefault(_VARIABLE, _OURS)
    try:
        yield
    finally:
        if given is None:
            os.environ.pop(_VARIABLE, None)
        if block:
            block(signal.SIG_SETMASK, before)


def leave_interrupts_to_the_parent(_: object = None) -> None:
    """Make a child process ignore Ctrl-C, which its parent handles; what it starts gets the user's environment."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.environ.get(_VARIABLE) == _OURS:
        del os.environ[_VARIABLE]
