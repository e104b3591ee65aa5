"""The temperature that is found is the one that scores were made with; its interval holds it as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from dlworkflow.metrics.calibration import (
    HIGHEST,
    LOWEST,
    class_scores,
    fit_temperature,
    held_out_temperatures,
    measure,
    probabilities_at,
)
from dlworkflow.metrics.functions import calibration_error

TRUE = 2.5


def overconfident(n, seed=0, classes=4):
    """Scores whose probabilities are true at temperature 2.5, and labels drawn from these."""
    random = np.random.default_rng(seed)
    scores = random.normal(scale=2, size=(n, classes))
    drawn = probabilities_at(scores).cumsum(axis=1) > random.random((n, 1))
    return TRUE * scores, drawn.argmax(axis=1)


def test_the_temperature_is_the_one_that_the_scores_were_made_with():
    assert fit_temperature(*overconfident(20_000)).value == pytest.approx(TRUE, rel=0.03)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    found = [fit_temperature(*overconfident(300, seed)) for seed in range(200)]

    held = np.mean([each.low <= TRUE <= each.high for each in found])
    assert held == pytest.approx(0.95, abs=3 * np.sqrt(0.05 * 0.95 / 200))


def test_two_classes_with_one_score_have_the_temperature_of_two_scores():
    scores, y = overconfident(500, classes=2)
    one = scores[:, 1:] - scores[:, :1]

    assert fit_temperature(class_scores(one), y) == pytest.approx(fit_temperature(scores, y))


@pytest.mark.parametrize(("sign", "limit"), [(1, LOWEST), (-1, HIGHEST)])
def test_answers_that_are_all_right_or_all_wrong_end_at_a_limit(sign, limit):
    y = np.arange(30) % 3
    found = fit_temperature(sign * np.eye(3)[y], y)

    assert found.value == limit


def test_calibration_lowers_error_and_likelihood_on_samples_that_it_was_not_fitted_to():
    scores, y = overconfident(2_000)
    before = measure(probabilities_at(scores), y, resamples=50)
    after = measure(probabilities_at(scores, held_out_temperatures(scores, y)), y, resamples=50)

    assert after.nll[2] < before.nll[1]
    assert after.error[2] < before.error[1]
    assert after.error[0] < after.error_by_chance < before.error[0]


@pytest.mark.parametrize("temperature", [TRUE, 1.8])  # the probabilities are true, or nearly so
def test_the_interval_of_the_calibration_error_holds_the_truth(temperature):
    scores, y = overconfident(100_000)
    true = measure(probabilities_at(scores, temperature), y, resamples=2).error[0]
    held = []
    for part in range(100):
        some = slice(150 * part, 150 * (part + 1))
        low, high = measure(probabilities_at(scores[some], temperature), y[some], resamples=100).error[1:]
        held.append(low <= true <= high)

    assert np.mean(held) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 100)


def test_a_held_out_temperature_owes_nothing_to_its_own_sample():
    scores, y = overconfident(50)
    changed = y.copy()
    changed[7] = (y[7] + 1) % 4

    temperatures, others = held_out_temperatures(scores, y), held_out_temperatures(scores, changed)
    assert temperatures[7] == others[7]
    assert (temperatures != others).any()


def test_the_calibration_error_is_that_of_an_evaluation():
    torch = pytest.importorskip("torch")
    scores, y = overconfident(200)
    p = probabilities_at(scores)

    assert measure(p, y, resamples=2).error[0] == pytest.approx(
        calibration_error(torch.from_numpy(y), torch.from_numpy(p)), abs=1e-12
    )
