from __future__ import annotations

import numpy as np
import pytest

from dlworkflow.metrics.significance import optimism_of_best, optimism_of_draws


def drawn_runs(rng, n_runs, n, *, spread=0.0, shared=0.0):
    """True accuracies, and whether each run is right on n samples; `shared` is how much their errors are the same."""
    true = np.clip(0.7 + spread * rng.normal(size=n_runs), 0, 1)
    alike = rng.random((n_runs, n)) < shared
    return true, np.where(alike, rng.random(n), rng.random((n_runs, n))) < true[:, None]


def real_and_expected(n_runs, n, expected, draws=120, **how):
    """By how much the best of runs of known truth was overrated, on average, and what was expected of it."""
    rng, real, promised = np.random.default_rng(0), [], []
    for _ in range(draws):
        true, right = drawn_runs(rng, n_runs, n, **how)
        means = right.mean(axis=1)
        real.append(means.max() - true[means.argmax()])
        promised.append(expected(right))
    return np.mean(real), np.mean(promised)


def of_answers(right):
    return optimism_of_best(right, resamples=200)


@pytest.mark.parametrize("how", [{}, {"shared": 0.7}, {"spread": 0.1, "shared": 0.5}], ids=["equal", "alike", "spread"])
def test_the_best_of_ten_looks_as_much_better_as_the_answers_promise(how):
    real, promised = real_and_expected(10, 75, of_answers, **how)

    assert promised == pytest.approx(real, rel=0.2)


def test_without_answers_the_best_of_ten_equal_runs_looks_as_much_better_as_draws_promise():
    real, promised = real_and_expected(10, 75, lambda right: optimism_of_draws(right.mean(axis=1), 75, resamples=500))

    assert promised == pytest.approx(real, rel=0.2)


def test_without_answers_runs_that_fail_alike_are_promised_too_much_rather_than_too_little():
    real, promised = real_and_expected(
        *(10, 75, lambda right: optimism_of_draws(right.mean(axis=1), 75, resamples=500)), shared=0.7
    )

    assert promised > real


def test_the_lowest_loss_looks_better_than_it_is_too():
    losses = np.random.default_rng(0).exponential(size=(10, 100))

    assert 0.05 < optimism_of_best(losses, lowest=True) < 0.25


def test_a_run_that_is_far_better_than_all_others_looks_no_better_than_it_is():
    _, right = drawn_runs(np.random.default_rng(0), 5, 300)
    right[0] = True

    assert 0 <= optimism_of_best(right) < 1e-9


def test_copies_of_a_run_are_no_choice():
    right = np.tile(np.random.default_rng(0).random(75) < 0.6, (4, 1))

    assert optimism_of_best(right) == pytest.approx(0, abs=0.01)


def test_a_single_run_was_not_chosen():
    assert optimism_of_best([[True, False]]) == 0
    assert optimism_of_draws([0.7], 75) == 0


def test_few_samples_of_which_some_draws_have_none_are_no_error():
    assert 0 < optimism_of_best([[True, False], [False, True], [False, False]]) < 1
