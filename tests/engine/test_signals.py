"""Signals while training: the first is noted, and only Ctrl-C after it ends at once."""

from __future__ import annotations

import signal

import pytest

from dlworkflow.engine.signals import StopRequest


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_to_the_group_and_from_the_parent_says_nothing_new(again):
    request = StopRequest()
    request.note(signal.SIGTERM, None)

    request.note(again, None)

    assert request.signal == signal.SIGTERM


def test_ctrl_c_after_any_signal_ends_at_once():
    request = StopRequest()
    request.note(signal.SIGTERM, None)

    with pytest.raises(KeyboardInterrupt):
        request.note(signal.SIGINT, None)
