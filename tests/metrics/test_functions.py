"""Functions of predictions and labels; every number agrees with scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from dlworkflow.errors import DataError
from dlworkflow.metrics.functions import (
    accuracy_fn,
    calibration_bins,
    classification_metrics,
    confusion_matrix,
    majority_baseline,
    regression_metrics,
    top_k_accuracy,
    wilson_interval,
)
from dlworkflow.metrics.per_class import classification_report


def random_case(seed, n=200, classes=5):
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.softmax(2 * torch.randn(n, classes, generator=generator), dim=1)
    return torch.randint(classes, (n,), generator=generator), probabilities


def absent_from_predictions():
    y, probabilities = random_case(1)
    probabilities[:, 2] = 0
    return y, probabilities / probabilities.sum(dim=1, keepdim=True)


def absent_from_labels():
    y, probabilities = random_case(2)
    return torch.where(y == 3, 0, y), probabilities


CASES = {
    **{f"random {seed}": random_case(seed) for seed in range(3)},
    "binary": random_case(5, classes=2),
    "a class absent from the predictions": absent_from_predictions(),
    "a class absent from the labels": absent_from_labels(),
    "one sample": random_case(7, n=1),
    "one class": (torch.zeros(20, dtype=torch.long), random_case(8, n=20, classes=3)[1]),
}
each_case = pytest.mark.parametrize(("y", "probabilities"), CASES.values(), ids=CASES)


@each_case
def test_precision_recall_and_f1_are_those_of_scikit_learn(y, probabilities):
    found = classification_metrics(y, probabilities)
    predicted = probabilities.argmax(dim=1)

    for average in ("macro", "weighted"):
        theirs = sk.precision_recall_fscore_support(y, predicted, average=average, zero_division=0)[:3]
        ours = [found[f"{name}_{average}"] for name in ("precision", "recall", "f1")]
        assert ours == pytest.approx(theirs, abs=1e-6), average


@each_case
def test_accuracy_is_that_of_scikit_learn(y, probabilities):
    ours = classification_metrics(y, probabilities)["accuracy"]

    assert ours == pytest.approx(sk.accuracy_score(y, probabilities.argmax(dim=1)), abs=1e-6)


@each_case
def test_the_confusion_matrix_is_that_of_scikit_learn(y, probabilities):
    predicted, n = probabilities.argmax(dim=1), probabilities.shape[1]

    ours = confusion_matrix(y, predicted, n)

    assert np.array_equal(ours, sk.confusion_matrix(y, predicted, labels=range(n)))


@each_case
def test_the_report_of_each_class_is_that_of_scikit_learn(y, probabilities):
    predicted, n = probabilities.argmax(dim=1), probabilities.shape[1]

    ours = classification_report(y, predicted, [str(label) for label in range(n)])

    theirs = sk.precision_recall_fscore_support(y, predicted, labels=range(n), zero_division=0)
    found = [[getattr(scores, name) for scores in ours.classes] for name in ("precision", "recall", "f1", "support")]
    assert np.allclose(found, theirs, atol=1e-6)


@pytest.mark.parametrize("name", ["random 0", "random 1", "binary", "a class absent from the predictions"])
def test_roc_auc_is_that_of_scikit_learn_where_all_classes_are_there(name):
    y, probabilities = CASES[name]
    scores = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities

    theirs = (
        sk.roc_auc_score(y, scores.double().numpy(), multi_class="ovr")
        if scores.ndim == 1
        else np.mean([sk.roc_auc_score(y == label, probabilities[:, label]) for label in range(probabilities.shape[1])])
    )

    assert classification_metrics(y, probabilities)["roc_auc"] == pytest.approx(theirs, abs=1e-6)


def test_roc_auc_leaves_out_a_class_without_samples():
    y, probabilities = CASES["a class absent from the labels"]
    theirs = np.mean([sk.roc_auc_score(y == label, probabilities[:, label]) for label in (0, 1, 2, 4)])

    assert classification_metrics(y, probabilities)["roc_auc"] == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("name", ["one sample", "one class"])
def test_roc_auc_is_nothing_where_it_is_not_defined(name):
    assert classification_metrics(*CASES[name])["roc_auc"] is None


def test_top_k_accuracy_is_that_of_scikit_learn():
    y, probabilities = CASES["random 0"]

    theirs = sk.top_k_accuracy_score(y, probabilities, k=3, labels=range(5))

    assert top_k_accuracy(y, probabilities, 3) == pytest.approx(theirs, abs=1e-6)
    assert classification_metrics(y, probabilities)["top_3_accuracy"] == pytest.approx(theirs, abs=1e-6)


def test_the_calibration_error_is_the_weighted_gap_of_the_bins():
    y, probabilities = CASES["random 0"]
    bins = calibration_bins(y, probabilities)
    gaps = np.abs(np.array(bins["confidence"]) - np.array(bins["accuracy"]))

    by_hand = float(np.nansum(gaps * bins["count"]) / len(y))

    assert classification_metrics(y, probabilities)["calibration_error"] == pytest.approx(by_hand, abs=1e-6)


def test_a_model_that_is_sure_and_right_has_no_calibration_error():
    y = torch.tensor([0, 1, 1])

    assert classification_metrics(y, torch.eye(2)[y])["calibration_error"] == pytest.approx(0, abs=1e-6)


def test_regression_metrics_are_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    y, predicted = torch.randn(50, 1, generator=generator), torch.randn(50, 1, generator=generator)

    found = regression_metrics(y, predicted)

    assert found == pytest.approx(
        {
            "mae": sk.mean_absolute_error(y, predicted),
            "mse": sk.mean_squared_error(y, predicted),
            "rmse": sk.root_mean_squared_error(y, predicted),
            "r2": sk.r2_score(y, predicted),
        },
        abs=1e-6,
    )


@pytest.mark.parametrize("y", [torch.tensor([2.0]), torch.tensor([2.0, 2.0])])
def test_r2_is_nothing_where_the_labels_do_not_vary(y):
    assert regression_metrics(y, y + 1)["r2"] is None


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (25, 75), (1, 1), (8342, 10000)])
def test_the_interval_is_wilsons(right, n):
    scipy_stats = pytest.importorskip("scipy.stats")

    theirs = scipy_stats.binomtest(right, n).proportion_ci(0.95, method="wilson")

    assert wilson_interval(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_75_photos_tell_accuracies_apart_by_11_points_at_best():
    low, high = wilson_interval(37, 75)

    assert (high - low) / 2 == pytest.approx(0.11, abs=0.005)


def test_the_report_as_text_has_a_line_a_class_and_the_means():
    text = str(classification_report(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), ["cat", "dog"]))

    assert [line.split()[0] for line in text.splitlines()] == [
        "precision",
        "cat",
        "dog",
        "accuracy",
        "macro",
        "weighted",
    ]
    assert "0.6667" in text


def test_the_report_as_data_holds_the_same_numbers():
    report = classification_report(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), ["cat", "dog"])

    data = report.to_data()

    assert data["classes"][0] == {
        "label": "cat",
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
        "predicted": 1,
    }
    assert data["macro"]["recall"] == pytest.approx(0.75)


def test_a_label_without_a_name_is_refused():
    with pytest.raises(ValueError, match="labels reach 2, there are 2 class names"):
        classification_report(torch.tensor([2]), torch.tensor([0]), ["a", "b"])


@pytest.mark.parametrize("function", [regression_metrics, classification_metrics, classification_report])
def test_nothing_to_score_is_an_error(function):
    with pytest.raises(DataError, match="no sample"):
        function(torch.zeros(0), torch.zeros(0, 2))


def test_accuracy_fn_is_in_percent():
    assert accuracy_fn(torch.tensor([1, 0, 1, 1]), torch.tensor([1, 0, 0, 0])) == 50.0


def test_accuracy_fn_of_nothing_is_nan():
    assert math.isnan(accuracy_fn(torch.tensor([]), torch.tensor([])))


def test_accuracy_fn_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match=r"\(3,\).*\(3, 1\)"):
        accuracy_fn(torch.zeros(3), torch.zeros(3, 1))


def test_the_baseline_answers_the_most_frequent_training_class():
    assert majority_baseline([1, 2], [3, 1]) == (1, 0.25)


def test_the_baseline_of_equals_is_the_lowest_label():
    assert majority_baseline([1, 1], [1, 0])[0] == 0


def test_empty_bins_of_confidence_keep_their_place():
    bins = calibration_bins(torch.tensor([0, 0]), torch.tensor([[0.55, 0.45], [0.95, 0.05]]), n_bins=10)

    assert bins["count"] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert [round(bins["confidence"][place], 2) for place in (5, 9)] == [0.55, 0.95]


def test_the_calibration_error_is_that_of_the_bins_also_at_full_confidence():
    y = torch.tensor([0, 1])
    probabilities = torch.tensor([[0.95, 0.05], [1.0, 0.0]])  # right, and wrong without a doubt

    bins = calibration_bins(y, probabilities)

    gaps = zip(bins["count"], bins["confidence"], bins["accuracy"], strict=True)
    expected = sum(n * abs(confidence - accuracy) for n, confidence, accuracy in gaps if n) / 2
    assert classification_metrics(y, probabilities)["calibration_error"] == pytest.approx(expected) == 0.475
