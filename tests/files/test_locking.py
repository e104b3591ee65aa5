"""Locks on files: one holder, any number who look, and the end with the process, by flock and as on Windows."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import types

import pytest

from dlworkflow.files import locking
from dlworkflow.files.locking import is_locked, locked_file

HOLDER = """
import sys
from pathlib import Path
from dlworkflow.files.locking import locked_file
with locked_file(Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


def windows_locking(descriptor, _mode, n_bytes):
    """`msvcrt.locking` for one process: by flock, but with the error of Windows, and from where the file stands."""
    assert (os.lseek(descriptor, 0, os.SEEK_CUR), n_bytes) == (2**31 - 2, 1)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(13, "Permission denied") from None


@pytest.fixture(params=["posix", "windows"])
def system(request, monkeypatch):
    if request.param == "windows":
        monkeypatch.setattr(locking, "fcntl", None)
        monkeypatch.setattr(locking, "msvcrt", types.SimpleNamespace(locking=windows_locking, LK_NBLCK=2))
        monkeypatch.setattr(locking, "_PATIENCE", 0.05)
    return request.param


@pytest.mark.usefixtures("system")
def test_a_lock_has_one_holder_and_is_seen_by_others(tmp_path):
    with locked_file(tmp_path / "lock") as first, locked_file(tmp_path / "lock") as second:
        assert (first, second, is_locked(tmp_path / "lock")) == (True, False, True)

    assert is_locked(tmp_path / "lock") is False


def test_a_lock_ends_with_a_process_that_is_killed(tmp_path, system):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "True\n"
        assert is_locked(tmp_path / "lock") is True
        holder.kill()

    assert is_locked(tmp_path / "lock") is False


@pytest.mark.usefixtures("system")
def test_looking_leaves_the_content_and_the_place_in_a_file(tmp_path):
    (tmp_path / "lock").write_text("as it was")
    with (tmp_path / "lock").open("r+") as stream:
        stream.seek(3)
        locking.try_lock(stream.fileno())

        assert stream.read() == "as it was"[3:]


def test_without_locks_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "fcntl", None)
    with locked_file(tmp_path / "lock") as held:
        assert (held, is_locked(tmp_path / "lock")) == (None, None)
