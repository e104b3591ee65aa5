"""Colours, where a terminal shows them; elsewhere the same text without."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from dlworkflow.cli.colours import has_colours

CODES = re.compile(r"\x1b\[[\d;]*m")
TERMINAL, PIPE = (SimpleNamespace(isatty=lambda is_one=is_one: is_one) for is_one in (True, False))


@pytest.mark.parametrize(
    ("stream", "environment", "shown"),
    [
        (TERMINAL, {"TERM": "xterm"}, True),
        (TERMINAL, {"TERM": "dumb"}, False),
        (TERMINAL, {"NO_COLOR": "1"}, False),
        (TERMINAL, {"NO_COLOR": ""}, True),
        (TERMINAL, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (PIPE, {"TERM": "xterm"}, False),
        (PIPE, {"FORCE_COLOR": "1"}, True),
        (PIPE, {"FORCE_COLOR": "0"}, False),
    ],
)
def test_colours_are_for_terminals_unless_the_environment_says_otherwise(stream, environment, shown, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert has_colours(stream) is shown


@pytest.fixture
def plain_and_coloured(dlw, runs, monkeypatch):
    """What a command prints on a pipe, then where colours are shown."""

    def call(*arguments):
        plain = dlw(*arguments)
        with monkeypatch.context() as patch:
            patch.setenv("FORCE_COLOR", "1")
            return plain, dlw(*arguments)

    return call


@pytest.mark.parametrize("width", [None, "60"])
def test_of_compared_runs_those_are_in_colour_that_no_other_is_better_than(
    width, answered, plain_and_coloured, monkeypatch
):
    runs = [answered(right) for right in ([True] * 40 + [False] * 20, [True] * 60, [True] * 59 + [False])]
    if width:
        monkeypatch.setenv("COLUMNS", width)
    plain, coloured = plain_and_coloured("compare", *(run.path for run in runs))

    green = [CODES.sub("", line).split()[0] for line in coloured.out.splitlines() if "\x1b[32m" in line]
    assert green == [run.name for run in runs[1:]]
    assert CODES.sub("", coloured.out) == plain.out


def test_of_runs_that_are_not_told_apart_none_is_in_colour(answered, plain_and_coloured):
    plain, coloured = plain_and_coloured("compare", answered([True] * 9).path, answered([True] * 8 + [False]).path)

    assert coloured.out == plain.out


def test_no_run_is_best_among_those_of_several_data_sets(plain_and_coloured):
    plain, coloured = plain_and_coloured("compare")

    assert coloured.out == plain.out


def test_the_best_epoch_of_a_run_is_in_colour(plain_and_coloured):
    plain, coloured = plain_and_coloured("show", "tinyvgg")

    [best] = [line for line in coloured.out.splitlines() if "\x1b[32m" in line]
    assert CODES.sub("", best).split()[0] == "3"
    assert CODES.sub("", coloured.out) == plain.out


def test_errors_and_warnings_start_in_colour(plain_and_coloured):
    assert plain_and_coloured("show", "nosuch")[1].err.startswith("\x1b[31mdlw:\x1b[0m no run ")
    assert "\x1b[33mwarning:\x1b[0m " in plain_and_coloured("evaluate", "circles", "--no-plots")[1].err


def test_markdown_and_what_programs_read_have_no_colours(plain_and_coloured):
    for form in ("md", "csv", "csv-bom", "json"):
        plain, coloured = plain_and_coloured("show", "tinyvgg", "--format", form)
        assert coloured.out == plain.out


def test_output_and_errors_are_judged_apart(runs):
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "dlworkflow", "show", "nosuch"]
    environment = os.environ | {"TERM": "xterm"}
    on_terminal = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, env=environment)
    on_terminal.communicate()
    on_pipe = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, env=environment)

    assert os.read(screen, 1000).startswith(b"\x1b[31mdlw:")
    assert on_pipe.stderr.startswith(b"dlw: no run ")
