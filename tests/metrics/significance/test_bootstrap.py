from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dlworkflow.metrics.significance import (
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_intervals,
    bootstrap_pairs,
    of_f1_macro,
    of_mean,
    of_r2,
    of_roc_auc,
    of_root_mean,
)


def scores_of_classes(rng, n, n_classes, strength):
    """True labels and outputs (n, classes): noise, and `strength` more for the true class."""
    truth = rng.integers(n_classes, size=n)
    outputs = rng.normal(size=(n, n_classes))
    outputs[np.arange(n), truth] += strength
    return truth, outputs


def f1_of(truth, outputs):
    return of_f1_macro(truth, outputs.argmax(axis=1), outputs.shape[1])


def losses(rng, n):
    """Losses as of a good classifier: a few large ones, many small. Their mean is 0.41."""
    return np.where(rng.random(n) < 0.08, 2 + rng.exponential(2, n), rng.exponential(0.1, n))


def run_of(kind, n, n_classes=3, strength=2.5):
    """Return a function that draws the score of a run, or the difference of two alike, and its true value."""
    if kind == "loss":
        return lambda rng: of_mean(losses(rng, n)), 0.412
    of = f1_of if "F1" in kind else of_roc_auc
    if "difference" not in kind:
        true = of(*scores_of_classes(np.random.default_rng(9), 60_000, n_classes, strength)).value
        return lambda rng: of(*scores_of_classes(rng, n, n_classes, strength)), true

    def two(rng):
        truth, outputs = scores_of_classes(rng, n, n_classes, strength)
        a, b = (of(truth, outputs + rng.normal(scale=0.5, size=outputs.shape)) for _ in "ab")
        return b - a

    return two, 0.0


def share_held(draw, true, draws, resamples):
    rng = np.random.default_rng(3)
    found = [bootstrap_interval(draw(rng), resamples=resamples) for _ in range(draws)]
    return float(np.mean([each.low <= true <= each.high for each in found]))


@pytest.mark.parametrize(
    ("kind", "n", "n_classes", "least"),
    [
        *[("F1", 75, 3, 0.93), ("F1 difference", 75, 3, 0.93), ("F1", 75, 10, 0.9), ("AUC", 75, 3, 0.93)],
        *[("AUC difference", 75, 3, 0.91), ("loss", 75, 3, 0.87), ("loss", 300, 3, 0.91)],
    ],
)
def test_an_interval_holds_the_truth_about_as_often_as_it_says(kind, n, n_classes, least):
    assert share_held(*run_of(kind, n, n_classes), draws=200, resamples=250) >= least


def test_the_interval_of_a_mean_is_that_of_scipy():
    values = np.random.default_rng(0).exponential(size=500)
    known = stats.bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
    found = bootstrap_interval(of_mean(values))

    assert (found.low, found.high) == pytest.approx(known, rel=0.02)


def test_the_interval_of_a_difference_of_pairs_is_narrower_than_that_of_either():
    rng = np.random.default_rng(0)
    common = rng.exponential(size=300)
    a, b = (of_mean(common + rng.normal(scale=0.1, size=300)) for _ in "ab")
    alone, difference = bootstrap_interval(a), bootstrap_difference(a, b)

    assert difference.high - difference.low < (alone.high - alone.low) / 3


def test_the_same_input_has_the_same_interval():
    score = of_mean(np.random.default_rng(0).random(40))

    assert bootstrap_interval(score) == bootstrap_interval(score)


def test_the_intervals_of_all_pairs_are_those_of_their_differences():
    rng = np.random.default_rng(0)
    truth, outputs = scores_of_classes(rng, 80, 3, 1.5)
    answers = [outputs + rng.normal(size=outputs.shape) for _ in range(3)]
    runs = [{"F1": f1_of(truth, each), "AUC": of_roc_auc(truth, each), "loss": of_mean(each[:, 0])} for each in answers]
    found = bootstrap_pairs(runs)

    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    for (a, b), intervals in found.items():
        known = bootstrap_intervals({name: runs[b][name] - runs[a][name] for name in runs[a]})
        assert {name: pytest.approx(interval, abs=1e-6) for name, interval in known.items()} == intervals


def test_a_score_that_one_run_lacks_has_no_interval_in_any_pair():
    runs = [{"loss": of_mean([0.1, value]), "right": of_mean([True, False])} for value in (0.2, np.inf, 0.3)]

    assert {(*intervals,) for intervals in bootstrap_pairs(runs).values()} == {("right",)}


def test_an_interval_is_the_same_alone_and_beside_others():
    rng = np.random.default_rng(0)
    loss, right = of_mean(rng.random(40)), of_mean(rng.random(40) < 0.7)

    assert bootstrap_intervals({"loss": loss, "accuracy": right})["accuracy"] == bootstrap_interval(right)


@pytest.mark.parametrize("wrong", [0, 1, 75])
def test_an_interval_has_a_width_and_holds_its_value_where_all_are_right_or_wrong(wrong):
    truth = np.arange(75) % 3
    predicted = np.where(np.arange(75) < wrong, (truth + 1) % 3, truth)
    value, low, high = bootstrap_interval(of_f1_macro(truth, predicted, 3))

    assert 0 <= low <= value <= high <= 1
    assert high - low > 0.02


@pytest.mark.parametrize(
    "score",
    [
        of_mean([0.5, np.nan]),
        of_mean([0.5, np.inf]),
        of_mean([]),
        of_roc_auc([1, 1], [[0.5, 0.5], [0.1, 0.9]]),
        of_r2([2.0, 2.0], [1.0, 2.0]),
        of_root_mean([np.inf, 0.0]),
    ],
)
def test_a_score_that_is_not_defined_or_not_finite_has_no_interval(score):
    assert bootstrap_interval(score) is None


def test_scores_of_other_samples_are_an_error():
    with pytest.raises(ValueError, match="2 and 3 samples"):
        bootstrap_intervals({"a": of_mean([1.0, 2.0]), "b": of_mean([1.0, 2.0, 3.0])})
