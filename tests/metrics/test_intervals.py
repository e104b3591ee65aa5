"""The intervals of an evaluation: which scores have one, of how many samples, and where there can be none."""

from __future__ import annotations

import time
from functools import partial

import pytest
import torch

from dlworkflow.engine.tasks import MULTICLASS, MULTILABEL, REGRESSION
from dlworkflow.metrics.intervals import intervals_of, of_different, scores_of_classes
from dlworkflow.metrics.report import make_report


def drawn(n, classes=3, seed=0):
    """Scores (n, classes) that are right more often than not, and labels (n,)."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (n,), generator=generator)
    return torch.randn(n, classes, generator=generator) + 2 * torch.nn.functional.one_hot(y, classes), y


def report_of_classes(n=200, classes=3):
    return make_report(*drawn(n, classes), MULTICLASS, classes=[str(i) for i in range(classes)])


def report_of_labels():
    logits, _ = drawn(200)
    return make_report(logits, (logits > 1).float(), MULTILABEL, classes=["a", "b", "c"])


def report_of_numbers():
    values = torch.linspace(0, 1, 200)[:, None]
    return make_report(values, values + 0.1 * torch.sin(40 * values), REGRESSION)


@pytest.mark.parametrize(
    ("report", "names"),
    [
        (report_of_classes, ["loss", "f1_macro", "roc_auc"]),
        (partial(report_of_classes, classes=6), ["loss", "f1_macro", "roc_auc", "top_3_accuracy", "top_5_accuracy"]),
        (report_of_labels, ["loss", "f1_macro", "hamming_loss"]),
        (report_of_numbers, ["loss", "mae", "mse", "rmse", "r2"]),
    ],
)
def test_an_interval_is_around_the_score_that_is_printed(report, names):
    report = report()
    values = {"loss": report.loss, **report.metrics}

    assert list(report.intervals) == names
    assert all(low <= values[name] <= high for name, (low, high) in report.intervals.items())


def test_a_score_that_is_not_defined_has_no_interval():
    logits = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

    report = make_report(logits, torch.tensor([0, 0]), MULTICLASS, classes=["a", "b", "c"])

    assert "roc_auc" not in report.intervals


def test_a_loss_that_is_infinite_has_no_interval():
    report = make_report(torch.tensor([[torch.inf, 0.0], [1.0, 0.0]]), torch.tensor([1, 0]), MULTICLASS, classes="ab")

    assert "loss" not in report.intervals


def test_ten_predictions_of_each_sample_are_no_ten_samples():
    logits, y = drawn(100)
    probabilities, losses = logits.softmax(dim=1), torch.nn.functional.cross_entropy(logits, y, reduction="none")
    once = partial(scores_of_classes, {"f1_macro": 0.5, "roc_auc": 0.5}, y, probabilities, losses)
    often = partial(
        scores_of_classes,
        {"f1_macro": 0.5, "roc_auc": 0.5},
        *(each.repeat_interleave(10, dim=0) for each in (y, probabilities, losses)),
    )
    sample = torch.arange(100).repeat_interleave(10).tolist()

    grouped, alone = intervals_of(of_different(often, sample)), intervals_of(once())

    assert {name: pytest.approx(ends) for name, ends in alone.items()} == grouped


def test_intervals_of_10_000_samples_of_10_classes_take_less_than_two_seconds():
    report = report_of_classes(10_000, 10)
    start = time.process_time()

    assert report.intervals
    assert time.process_time() - start < 2
