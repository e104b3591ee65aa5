"""`dlw serve`: what it refuses before it starts; what it answers is tested with the server."""

from __future__ import annotations

import importlib.util

import pytest

from dlworkflow.inference.server.running import listen


def test_it_reports_where_it_serves_which_run(dlw, runs, monkeypatch):
    served = []
    monkeypatch.setattr("dlworkflow.inference.server.running.serve", lambda *given: served.append(given))

    answer = dlw("serve", "circles", "--port", "0", "--queue", "3", "--max-mb", "2")

    assert (answer.code, answer.out) == (0, "")
    assert answer.err.startswith("run runs/circles_v2-circles-001 (best weights) at http://127.0.0.1:")
    limits = served[0][2]
    assert (limits.queue, limits.bytes) == (3, 2_000_000)


def test_a_server_that_others_reach_says_so(dlw, runs, monkeypatch):
    monkeypatch.setattr("dlworkflow.inference.server.running.serve", lambda *given: None)

    assert "note    whoever reaches this machine can use it" in dlw("serve", "--host", "0.0.0.0", "--port", "0").err


def test_a_port_in_use_is_one_line(dlw, runs):
    with listen("127.0.0.1", 0) as listening:
        answer = dlw("serve", "--port", listening.getsockname()[1])

    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "is in use; give another one, or 0 for any that is free" in answer.err


def test_a_missing_package_is_one_line(dlw, runs, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else find(name))

    answer = dlw("serve")

    assert answer.code == 2
    assert answer.err == (
        "dlw: dlw serve needs uvicorn, which is not installed; get it with: pip install 'dlworkflow[serve]'\n"
    )


@pytest.mark.parametrize("port", ["65536", "-1", "http", "٣", "1.5", ""])
def test_a_port_is_a_number(port, dlw, in_tmp):
    answer = dlw("serve", f"--port={port}")

    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "must be a whole number from 0 to 65535" in answer.err


def test_there_must_be_a_run(dlw, in_tmp):
    answer = dlw("serve")

    assert answer.code == 1
    assert "trained run" in answer.err
