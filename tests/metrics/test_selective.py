"""Answers that are given keep their promise of few errors as often as they say, whatever the confidence is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dlworkflow.metrics.calibration import probabilities_at
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.metrics.selective import (
    SHARES,
    SURE,
    Step,
    certainty,
    chosen_step,
    coverage_curve,
    least_samples,
    steps,
)

LIMIT, DRAWS = 0.1, 1_000
MOST_BROKEN = 0.05 + 3 * math.sqrt(0.05 * 0.95 / DRAWS)
"""Promises broken, with Monte Carlo error."""


def test_the_error_of_the_answers_is_under_its_limit_as_often_as_promised():
    random = np.random.default_rng(0)
    broken = found = 0
    for _ in range(DRAWS):
        certain = random.exponential(2, size=300)
        step = chosen_step(steps(certain, random.random(300) >= 0.5 * np.exp(-certain)), LIMIT)
        if step is not None:
            found += 1
            broken += 0.5 * np.exp(-max(step.threshold, 0)) / 3 > LIMIT  # the true error above the threshold

    assert found > 0.8 * DRAWS
    assert broken / DRAWS <= MOST_BROKEN


def test_a_confidence_that_is_worth_nothing_promises_nothing_more_often_than_1_time_in_20():
    random = np.random.default_rng(1)
    promised = 0
    for _ in range(DRAWS):
        right = random.random(300) >= LIMIT + 1e-6  # every threshold breaks its promise, by next to nothing
        promised += chosen_step(steps(random.random(300), right), LIMIT) is not None

    assert 0.005 < promised / DRAWS <= MOST_BROKEN


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.3])
def test_the_least_number_of_samples_is_enough_without_an_error_and_one_fewer_is_not(limit):
    n = least_samples(limit)
    all_steps = [[Step(0.0, number, 0)] + [Step(0.0, 0, 0)] * (len(SHARES) - 1) for number in (n, n - 1)]

    assert [chosen_step(found, limit) is not None for found in all_steps] == [True, False]


def test_samples_of_the_threshold_itself_are_not_answered():
    found = steps(np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.array([True, False, True, True, True]))

    assert found[0] == Step(-SURE, 5, 1)
    assert found[-3] == Step(2.0, 1, 0)


def test_certainty_is_the_log_odds_before_calibration():
    scores = np.random.default_rng(0).normal(scale=3, size=(50, 4))
    p = probabilities_at(scores).max(axis=1)

    assert certainty(probabilities_at(scores, 2.0), 2.0) == pytest.approx(np.log(p / (1 - p)))


@pytest.mark.parametrize(("row", "expected"), [([1.0, 0.0], SURE), ([np.nan, np.nan], -SURE), ([0.5, 0.5], 0.0)])
def test_certainty_is_a_finite_number(row, expected):
    assert certainty(np.array([row])) == expected


def test_the_accuracy_falls_from_the_most_certain_to_all():
    curve = coverage_curve(np.array([1.0, 3.0, 2.0, 0.0]), np.array([False, True, True, False]))

    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.accuracy.tolist() == pytest.approx([1, 1, 2 / 3, 0.5])
    assert [*zip(curve.low, curve.high, strict=True)] == [
        wilson_interval(*part) for part in ((1, 1), (2, 2), (2, 3), (2, 4))
    ]
