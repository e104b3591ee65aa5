"""The library on systems that lack what Linux has, and the commands that it prints there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dlworkflow
from dlworkflow.files import text
from dlworkflow.files.text import shell_command

MODULES = sorted(
    ".".join(path.relative_to(Path(dlworkflow.__file__).parents[1]).with_suffix("").parts).removesuffix(".__init__")
    for path in Path(dlworkflow.__file__).parent.rglob("*.py")
    if path.name != "__main__.py"
)

WITHOUT = """
import builtins, importlib, io, os, pathlib, signal, sys
import torch, torchvision, matplotlib, sklearn, torchmetrics, multiprocessing.util  # these know what they may use

sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["pwd"] = sys.modules["grp"] = None
for name in ("fork", "register_at_fork", "sched_getaffinity", "sysconf", "O_NONBLOCK", "O_NOFOLLOW", "getppid"):
    vars(os).pop(name, None)
for name in ("SIGHUP", "SIGKILL", "SIGSTOP", "pthread_sigmask"):
    vars(signal).pop(name, None)

def without_proc(function):
    def opened(path, *arguments, **more):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return function(path, *arguments, **more)
    return opened

io.open = builtins.open = without_proc(io.open)
os.open = without_proc(os.open)
"""

USED = """
print("imported", file=sys.stderr, flush=True)
from dlworkflow.cli.app import main

def dlw(*arguments):
    try:
        main([*arguments])
    except SystemExit as ended:
        assert not ended.code, (arguments, ended.code)

dlw("train", "line", "--epochs", "3")
dlw("train", "circles_v1", "--epochs", "2")
dlw("train", "--resume", "line", "--epochs", "4")
dlw("runs")
dlw("compare")
dlw("predict", "0.5", "--run", "line")
dlw("sweep", "line", "--grid", "optimizer.lr=0.01,0.1", "--epochs", "2")
"""


@pytest.fixture(scope="module")
def without_linux(tmp_path_factory):
    """A process without Linux that imports every module and then trains, resumes, lists, compares and sweeps."""
    code = f"{WITHOUT}\nfor name in {MODULES}: importlib.import_module(name)\n{USED}"
    folder = tmp_path_factory.mktemp("without_linux")
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_every_module_is_imported_where_fork_locks_signals_and_proc_are_missing(without_linux):
    assert without_linux.stderr.startswith("imported\n"), without_linux.stderr


def test_runs_are_trained_resumed_listed_compared_and_swept_there(without_linux):
    assert without_linux.returncode == 0, without_linux.stderr
    assert re.search(r"line-line-001 +finished", without_linux.stdout)
    assert "killed" not in without_linux.stdout


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("tinyvgg", "tinyvgg"),
        (r"C:\runs\line-001", r"C:\runs\line-001"),
        ("my photos", '"my photos"'),
        ("a&b", '"a&b"'),
        ("[1,2]", '"[1,2]"'),
        ('say "x"', r'"say \"x\""'),
        ("with space\\", '"with space\\\\"'),
        ("", '""'),
    ],
)
def test_a_printed_command_is_quoted_as_windows_reads_it(word, quoted, monkeypatch):
    monkeypatch.setattr(text.os, "name", "nt")

    assert shell_command(["dlw", word]) == f"dlw {quoted}"


def test_a_printed_command_is_quoted_as_posix_shells_read_it():
    assert shell_command(["dlw", "train", "my photos", "it's"]) == """dlw train 'my photos' 'it'"'"'s'"""
