"""Closed standard streams, broken pipes and a backend that is not there, each with a real process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dlworkflow.runs import list_runs

DLW = f"exec {sys.executable} -m dlworkflow"


def shell(line, **environment):
    return subprocess.run(["sh", "-c", line], env=os.environ | environment, capture_output=True, text=True)


@pytest.mark.parametrize("command", ["models", "--version", "--help", "data list"])
def test_output_that_cannot_be_printed_is_a_failure_in_one_line(command, in_tmp):
    ended = shell(f"{DLW} {command} >&-")

    assert ended.returncode == 1
    assert ended.stderr.endswith("dlw: standard output is closed: what was to be printed there is lost\n")


@pytest.mark.parametrize(("command", "code"), [("models", 0), ("models --nope", 2), ("show none", 1)])
def test_a_closed_stderr_leaves_output_and_exit_code_as_they_are(command, code, in_tmp):
    ended = shell(f"{DLW} {command} 2>&-")

    assert (ended.returncode, ended.stderr) == (code, "")
    assert ("tinyvgg" in ended.stdout) == (code == 0)


@pytest.fixture(scope="module")
def without_streams(tmp_path_factory):
    """A training without any stream, with a backend for figures that is not there: its exit code and its run."""
    folder = tmp_path_factory.mktemp("streams")
    backend = {"MPLBACKEND": "module://not_there.backend_inline"}
    ended = shell(f"cd '{folder}'; {DLW} train line --epochs 2 --plots <&- >&- 2>&-", **backend)
    (run,) = list_runs(folder / "runs")
    return ended.returncode, run


def test_a_training_without_any_stream_writes_its_files_whole(without_streams):
    code, run = without_streams

    assert code == 1
    assert (run.summary().status, len(run.history())) == ("finished", 2)


def test_figures_are_drawn_whatever_backend_the_environment_names(without_streams):
    assert (without_streams[1].path / "plots" / "curves.png").is_file()


def test_a_pipe_that_breaks_within_the_program_is_no_reader_that_has_gone(in_tmp):
    code = (
        "import sys, dlworkflow.runs as runs\nfrom dlworkflow.cli.app import main\n"
        "def broken(*_): raise BrokenPipeError\nruns.list_runs = broken\nmain(['runs'])"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert ended.returncode == 1
    assert "BrokenPipeError" in ended.stderr
