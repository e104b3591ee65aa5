"""`dlw costs`: what was measured is stored and compared, and where it is missing the command for it is named."""

from __future__ import annotations

import json

import pytest

from dlworkflow.analysis import costs


@pytest.fixture
def at_once(monkeypatch):
    """Count few calls, and start no process for the memory."""
    monkeypatch.setattr(costs, "_SECONDS", 0.0)
    monkeypatch.setattr(costs, "_memory", lambda *_: 7_000_000)


@pytest.mark.usefixtures("at_once")
def test_costs_are_printed_stored_and_compared(dlw, runs):
    answer = dlw("costs", "circles", "tinyvgg", "--format", "json")
    circles, digits = json.loads(answer.out)

    assert circles["size_mb"] == (runs / "circles_v2-circles-001" / "best.pth").stat().st_size / 1e6
    assert circles["mult_adds"] == 2 * 10 + 10 * 10 + 10
    assert (circles["ms_reading"], circles["memory_mb"]) == (None, 7)
    assert digits["ms_reading"] > 0
    [row] = json.loads(dlw("compare", "circles", "--format", "json").out)
    assert {key: row[key] for key in ("ms", "ms_in_batch")} == {key: circles[key] for key in ("ms", "ms_in_batch")}


@pytest.mark.usefixtures("at_once")
def test_times_of_other_threads_are_not_compared_silently(dlw, runs):
    dlw("costs", "circles")
    dlw("costs", "tinyvgg", "--threads", "2")
    figure = dlw("compare", "circles", "tinyvgg", "--plot", "f.svg", "--plot-kind", "tradeoff")

    assert "note    times are of several machines, devices or numbers of threads" in figure.err
    assert (runs.parent / "f.svg").exists()


@pytest.mark.usefixtures("at_once")
def test_costs_of_other_weights_are_not_compared(dlw, runs):
    dlw("costs", "circles")
    file = runs / "circles_v2-circles-001" / "costs.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"epoch": 1000}))

    assert "ms" not in json.loads(dlw("compare", "circles", "--format", "json").out)[0]


def test_a_figure_of_costs_that_are_not_measured_names_the_command(dlw, runs):
    answer = dlw("compare", "circles", "tinyvgg", "--plot", "f.png", "--plot-kind", "tradeoff")

    assert answer.code == 1
    assert answer.err.endswith("do it with: dlw costs circles_v2-circles-001 tinyvgg-digits-001\n")


@pytest.mark.usefixtures("runs")
def test_a_run_that_is_not_there_is_one_line(dlw):
    answer = dlw("costs", "nosuch")

    assert (answer.code, answer.err.count("\n")) == (1, 1)
