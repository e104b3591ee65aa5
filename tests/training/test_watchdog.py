"""Stopped processes are found and ended, and no others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dlworkflow.training.distributed.watchdog import end_stopped, is_stopped

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="states are looked up in /proc")


@pytest.fixture
def children():
    """Two processes that do nothing."""
    started = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2)]
    yield started
    for child in started:
        child.kill()
        child.communicate()


def stop(child):
    child.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 10
    while not is_stopped(child.pid, os.getpid()) and time.monotonic() < deadline:
        time.sleep(0.01)


def test_only_a_stopped_child_of_the_parent_is_stopped(children):
    stop(children[0])

    assert is_stopped(children[0].pid, os.getpid())
    assert not is_stopped(children[0].pid, os.getpid() + 1)
    assert not is_stopped(children[1].pid, os.getpid())


def test_what_stands_too_long_is_told_and_ended_and_what_runs_is_left_alone(children):
    stop(children[0])
    told = []
    pids = {0: os.getpid()} | {rank: child.pid for rank, child in enumerate(children, start=1)}
    settings = {"parent": os.getpid(), "patience": 0.05, "on_stopped": told.append, "interval": 0.01}

    threading.Thread(target=end_stopped, args=(0, pids), kwargs=settings, daemon=True).start()

    assert children[0].wait(10) == -signal.SIGKILL
    assert children[1].poll() is None
    assert told == [1]
