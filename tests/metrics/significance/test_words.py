from __future__ import annotations

import pytest

from dlworkflow.metrics.significance import chance


@pytest.mark.parametrize(
    ("p", "words"),
    [
        *[(0.115, "1 time in 9"), (0.05, "1 time in 20"), (0.0031, "1 time in 320"), (0.001, "1 time in 1,000")],
        *[(0.0009, "less than 1 time in 1,000"), (0.0, "less than 1 time in 1,000")],
        *[(0.181, "1 time in 6"), (0.19, "1 time in 5"), (0.5, "1 time in 2"), (0.66, "2 times in 3")],
        *[(0.93, "9 times in 10"), (0.97, "nearly every time"), (1.0, "nearly every time")],
    ],
)
def test_a_probability_is_so_many_times_in_so_many(p, words):
    assert chance(p) == words


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_an_error(p):
    with pytest.raises(ValueError, match="from 0 to 1"):
        chance(p)
