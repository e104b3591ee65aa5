"""What tests of the command line share: calling `dlw`, in this process or its own, and runs that were trained once."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

from dlworkflow.cli.app import main

TRAINED = (  # in this order: the last that takes one number, pictures, two numbers
    ["line", "--epochs", "200"],
    ["tinyvgg", "--recipe", "notes", "--data", "digits", "--epochs", "3", "--threads", "1"],
    ["circles_v2", "--epochs", "2"],
)


@dataclass(frozen=True)
class Answer:
    """What a command left behind on the terminal."""

    code: int
    out: str
    err: str

    @property
    def complaints(self):
        """The lines on stderr, but for the one that says which run is used."""
        return [line for line in self.err.splitlines() if not line.startswith("run ")]


@pytest.fixture(autouse=True)
def one_thread():
    """Keep convolutions this small on one thread: a second gains nothing, and stalls while other processes are busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def dlw(capsys, monkeypatch):
    """Run `dlw ARGUMENTS` in this process, where torch is imported once."""

    def run(*arguments, stdin=""):
        capsys.readouterr()
        raw = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Answer(ended.value.code, out, err)

    return run


@pytest.fixture
def start_dlw(in_tmp):
    """Start `dlw ARGUMENTS` as a process of its own and return it; it is stopped with the test."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "dlworkflow", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def train_once(tmp_path_factory):
    """Return a function that trains runs by these arguments of `dlw train`, and returns their folder."""

    def train(*commands):
        folder = tmp_path_factory.mktemp("trained") / "runs"
        for arguments in commands:
            quiet = io.StringIO()
            with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), pytest.raises(SystemExit) as end:
                main(["train", *arguments, "--runs-dir", str(folder)])
            assert end.value.code == 0, quiet.getvalue()
        return folder

    return train


@pytest.fixture(scope="session")
def trained(train_once):
    """Three finished runs, line-line-001, tinyvgg-digits-001, circles_v2-circles-001; read them, change nothing."""
    return train_once(*TRAINED)


@pytest.fixture
def runs(in_tmp, trained):
    """Work in a folder whose `runs` holds a copy of the trained runs."""
    shutil.copytree(trained, in_tmp / "runs")
    return in_tmp / "runs"


@pytest.fixture
def pictures(in_tmp):
    """A folder `pictures` of three digits of the test split, 0.png, 1.png and 2.png, as any user's files."""
    from dlworkflow import data
    from dlworkflow.data.images.pixels import to_pil

    folder = in_tmp / "pictures"
    folder.mkdir()
    test = data.load("digits").test
    for index in range(3):
        to_pil(test.images[index]).save(folder / f"{index}.png")
    return folder
