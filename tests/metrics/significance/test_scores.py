from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from dlworkflow.metrics.significance import (
    of_f1_macro,
    of_f1_macro_labels,
    of_mean,
    of_r2,
    of_roc_auc,
    of_root_mean,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def weighted(score, weights):
    """The score for weights of its samples, without what nobody drew."""
    return float(score.of_weights(np.append(weights, [0, 0])[None].astype(np.float32))[0])


@pytest.mark.parametrize("n_classes", [2, 5, 150])  # the widest is a sparse table
def test_macro_f1_is_that_of_scikit_learn_for_any_weights(rng, n_classes):
    truth, predicted = rng.integers(n_classes, size=(2, 200))
    weights = rng.integers(0, 3, size=200)
    known = metrics.f1_score(
        *(truth, predicted),
        average="macro",
        sample_weight=weights,
        labels=np.unique(truth[weights > 0]),
        zero_division=0,
    )

    assert weighted(of_f1_macro(truth, predicted, n_classes), weights) == pytest.approx(known, rel=1e-5)


def test_macro_f1_of_several_labels_is_that_of_scikit_learn(rng):
    there, answered = rng.integers(2, size=(2, 60, 4))
    weights = rng.integers(0, 3, size=60)
    known = metrics.f1_score(there, answered, average="macro", sample_weight=weights)

    assert weighted(of_f1_macro_labels(there, answered), weights) == pytest.approx(known, rel=1e-5)


def test_the_area_under_the_curve_is_that_of_scikit_learn(rng):
    truth, scores = rng.integers(3, size=90), rng.dirichlet(np.ones(3), size=90).round(2)
    scores[:, 2] = 1 - scores[:, 0] - scores[:, 1]
    known = metrics.roc_auc_score(truth, scores, multi_class="ovr")

    assert of_roc_auc(truth, scores).value == pytest.approx(known, rel=1e-5)


def test_the_area_under_the_curve_for_weights_is_near_that_of_scikit_learn(rng):
    truth, scores = rng.integers(2, size=2_000), rng.random((2_000, 2))
    scores[:, 1] += truth / 2
    weights = rng.integers(0, 3, size=2_000)
    both = np.stack([-scores[:, 1], scores[:, 1]], axis=1)
    score = of_roc_auc(truth, both)
    known = metrics.roc_auc_score(truth, scores[:, 1], sample_weight=weights)

    assert abs(weighted(score, weights) - known) < 0.05 * abs(score.value - known)


def test_a_class_that_never_occurs_is_not_part_of_the_area(rng):
    truth, scores = rng.integers(2, size=50), rng.random((50, 3))

    assert of_roc_auc(truth, scores).value == pytest.approx(of_roc_auc(truth, scores[:, :2]).value)


def test_regression_scores_are_those_of_scikit_learn_for_any_weights(rng):
    targets, values = rng.normal(100, 1, size=(2, 40))
    weights = rng.integers(0, 3, size=40)
    r2 = metrics.r2_score(targets, values, sample_weight=weights)
    rmse = metrics.root_mean_squared_error(targets, values, sample_weight=weights)

    assert weighted(of_r2(targets, values), weights) == pytest.approx(r2, rel=1e-5)
    assert weighted(of_root_mean((targets - values) ** 2), weights) == pytest.approx(rmse, rel=1e-5)


def test_a_difference_is_that_of_both_values(rng):
    truth, a, b = rng.integers(150, size=(3, 60))
    narrow, wide = of_mean(truth == a), of_f1_macro(truth, b, 150)

    assert (wide - narrow).value == pytest.approx(wide.value - narrow.value)


def test_scores_of_different_numbers_of_samples_have_no_difference():
    with pytest.raises(ValueError, match="3 and 2 samples"):
        of_mean([1.0, 2.0, 3.0]) - of_mean([1.0, 2.0])
