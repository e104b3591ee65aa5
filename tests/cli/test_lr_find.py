"""`dlw lr-find` as a user meets it."""

from __future__ import annotations

import re

import pytest


@pytest.fixture(scope="module")
def quick():
    return ("lr-find", "tinyvgg", "--steps", "60", "--set", "threads=1")


def test_it_says_a_rate_and_why_and_leaves_no_file(dlw, in_tmp, quick):
    answer = dlw(*quick)

    assert answer.code == 0
    assert re.match(r"suggested: --lr [\d.e-]+\nwhy: the loss falls fastest at ", answer.out)
    assert list(in_tmp.iterdir()) == []


def test_it_draws_the_curve_where_asked(dlw, in_tmp, quick):
    answer = dlw(*quick, "--plot", "rates.png")

    assert answer.code == 0
    assert [path.name for path in in_tmp.iterdir()] == ["rates.png"]


def test_settings_are_checked_as_for_training(dlw, in_tmp):
    answer = dlw("lr-find", "tinyvg", "--batch-size", "x")

    assert answer.code == 2
    assert "--batch-size: must be a whole number or 'full', not 'x'" in answer.err


def test_where_no_rate_helps_it_fails_and_says_so(dlw, in_tmp):
    answer = dlw("lr-find", "circles_v0", "--low", "1e-9", "--high", "1e-8")

    assert answer.code == 1
    assert "no learning rate to suggest: the loss does not fall at any learning rate from 1e-09 to 1e-08" in answer.err
