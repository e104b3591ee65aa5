"""Accuracy by time: every run is drawn, and the line joins those that no other surpasses in both."""

from __future__ import annotations

import numpy as np
import pytest

from dlworkflow.errors import DlwError
from dlworkflow.plotting.tradeoff import plot_tradeoff


def lines_of(figure):
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in figure.axes[0].get_lines()]


def test_the_line_leaves_out_a_run_that_is_slower_and_no_more_accurate():
    figure = plot_tradeoff(["a", "b", "c", "d"], [1, 2, 2, 9], [0.5, 0.5, 0.8, 0.9])

    assert lines_of(figure)[0] == ([1, 2, 9], [50, 80, 90])


def test_every_run_is_a_point_in_milliseconds_and_percent():
    figure = plot_tradeoff(["a", "b"], [3, 1], [0.5, 0.25], [(0.4, 0.6), None])

    assert lines_of(figure)[1:] == [([3], [50]), ([1], [25])]


def test_of_many_runs_those_of_the_line_are_named():
    figure = plot_tradeoff([f"run {i}" for i in range(30)], np.arange(1, 31), [0.1] * 29 + [0.2])

    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["run 0", "run 29", "no run as fast is more accurate"]


@pytest.mark.parametrize("times", [[0.076, 0.24], [1, 1.2], [0.3, 700]])
def test_times_can_be_read_from_at_least_two_numbers_of_the_axis(times):
    axis = plot_tradeoff(["a", "b"], times, [0.5, 0.6]).axes[0]

    assert sum(axis.get_xlim()[0] <= tick <= axis.get_xlim()[1] for tick in axis.xaxis.get_majorticklocs()) > 1


def test_a_time_of_zero_is_refused():
    with pytest.raises(DlwError, match="above 0"):
        plot_tradeoff(["a"], [0], [0.5])
