"""Metrics of several labels a sample; every number agrees with scikit-learn's."""

from __future__ import annotations

import pytest
import torch
from sklearn import metrics as sk

from dlworkflow.engine.tasks import MULTILABEL
from dlworkflow.metrics.functions import multilabel_metrics
from dlworkflow.metrics.multilabel import best_thresholds, commonest_set
from dlworkflow.metrics.per_class import multilabel_report
from dlworkflow.metrics.report import make_report

CLASSES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def case():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(80, 3, generator=generator)
    labels = (scores + 0.5 * torch.randn(80, 3, generator=generator) > 0.6).float()
    return labels, scores, multilabel_metrics(labels, scores, [0.5, 0.5, 0.5])


def test_f1_precision_and_recall_are_those_of_scikit_learn(case):
    labels, scores, found = case
    for average in ("macro", "weighted"):
        theirs = sk.precision_recall_fscore_support(labels, scores >= 0.5, average=average)[:3]

        assert [found[f"{name}_{average}"] for name in ("precision", "recall", "f1")] == pytest.approx(theirs)
    assert found["f1_micro"] == pytest.approx(sk.f1_score(labels, scores >= 0.5, average="micro"))


def test_what_needs_no_threshold_or_all_labels_is_that_of_scikit_learn(case):
    labels, scores, found = case

    assert found["mean_average_precision"] == pytest.approx(sk.average_precision_score(labels, scores))
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(labels, scores >= 0.5))
    assert found["hamming_loss"] == pytest.approx(sk.hamming_loss(labels, scores >= 0.5))


def test_metrics_of_one_class_a_sample_are_left_out(case):
    assert not {"accuracy", "roc_auc", "mae"} & case[2].keys()


def test_a_class_that_no_sample_has_has_no_average_precision(case):
    labels, scores, _ = case
    labels = labels * torch.tensor([1, 1, 0])

    report = multilabel_report(labels, scores, [0.5] * 3, CLASSES)

    assert [each.average_precision is None for each in report.classes] == [False, False, True]


def test_the_best_threshold_of_a_class_has_the_highest_f1():
    labels = torch.tensor([[1, 0], [1, 0], [0, 0], [0, 0]])
    scores = torch.tensor([[0.3, 0.9], [0.2, 0.8], [0.1, 0.7], [0.05, 0.6]])

    first, never = best_thresholds(labels, scores)

    assert 0.1 < first < 0.2
    assert never == 0.5


def test_the_commonest_set_of_labels_is_the_constant_answer():
    assert commonest_set(torch.tensor([[1, 1], [0, 1], [1, 1]])).tolist() == [1, 1]


def test_a_report_names_labels_and_counts_samples_with_every_label_right():
    logits = torch.tensor([[3.0, 3.0, -3.0], [-3.0, -3.0, -3.0], [3.0, -3.0, -3.0]])
    y = torch.tensor([[1.0, 1, 0], [0, 0, 0], [0, 1, 0]])

    report = make_report(logits, y, MULTILABEL, classes=CLASSES)

    assert [(row["truth"], row["prediction"]) for row in report.samples] == [
        ("cat|dog", "cat|dog"),
        ("", ""),
        ("dog", "cat"),
    ]
    assert report.metrics["subset_accuracy"] == pytest.approx(2 / 3)
    assert [row["index"] for row in report.errors()] == [2]


def test_thresholds_decide_what_is_predicted():
    report = make_report(torch.zeros(1, 3), torch.ones(1, 3), MULTILABEL, classes=CLASSES, thresholds=[0.4, 0.5, 0.6])

    assert report.samples[0]["prediction"] == "cat|dog"
    assert report.to_data()["thresholds"] == {"cat": 0.4, "dog": 0.5, "owl": 0.6}
