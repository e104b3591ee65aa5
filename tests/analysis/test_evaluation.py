"""What an evaluation says: its tables agree with each other, its warnings come when they must and not else."""

from __future__ import annotations

import pytest
import torch

from dlworkflow.engine.tasks import BINARY, MULTICLASS, REGRESSION
from dlworkflow.metrics.report import MOST_COLUMNS, make_report, regression_warnings

CLASSES = ("pizza", "steak", "sushi")


def always(label, n=(25, 19, 31)):
    """Answer one class for the notes' 75 test photos."""
    y = torch.repeat_interleave(torch.arange(3), torch.tensor(n))
    return torch.nn.functional.one_hot(torch.full((len(y),), label), 3).float(), y


def report_of(logits, y, **options):
    return make_report(logits, y, MULTICLASS, classes=CLASSES, **options)


def test_a_collapsed_model_is_called_collapsed_with_its_true_accuracy():
    report = report_of(*always(0), baseline=25 / 75, baseline_answer="pizza")

    assert report.metrics["accuracy"] == pytest.approx(0.3333, abs=1e-4)
    assert report.warnings == (
        "the model answers 'pizza' for every sample: it has collapsed to one class",
        "an accuracy of 33.33 % is no better than always answering 'pizza', which scores 33.33 %",
    )


def test_an_accuracy_within_the_noise_of_the_baseline_is_said_to_be():
    logits, y = always(0)
    logits[:, 2] += torch.where(torch.arange(75) >= 70, 2.0, 0.0)

    [warning] = report_of(logits, y, baseline=25 / 75, baseline_answer="pizza").warnings

    assert "cannot be distinguished from always answering 'pizza'" in warning


def test_a_good_model_gets_no_warning():
    _, y = always(0)

    assert report_of(5 * torch.eye(3)[y], y, baseline=25 / 75, baseline_answer="pizza").warnings == ()


def test_the_most_confused_pairs_come_first_with_their_share_of_the_truth():
    assert report_of(*always(0)).confused_pairs() == [
        {"truth": "sushi", "prediction": "pizza", "count": 31, "share": 1.0},
        {"truth": "steak", "prediction": "pizza", "count": 19, "share": 1.0},
    ]


def test_errors_are_the_wrong_samples_by_falling_loss():
    y = torch.tensor([0, 1, 2, 1])
    logits = torch.tensor([[1.0, 0, 0], [3.0, 0, 0], [9.0, 0, 0], [0, 2.0, 0]])

    errors = report_of(logits, y).errors()

    assert [row["index"] for row in errors] == [2, 1]
    assert errors[0]["loss"] > errors[1]["loss"]


def test_a_sample_names_its_file_truth_prediction_probability_and_loss():
    logits = torch.tensor([[1.0, 0.0, 0.0]])

    [row] = report_of(logits, torch.tensor([1]), files=["a b.jpg"]).samples

    p = torch.softmax(logits, dim=1)[0]
    assert row == {
        "index": 0,
        "file": "a b.jpg",
        "truth": "steak",
        "prediction": "pizza",
        "probability": pytest.approx(p[0].item()),
        "loss": pytest.approx(-p[1].log().item()),
    }


def test_the_mean_of_the_samples_losses_is_the_loss():
    report = report_of(torch.randn(20, 3), torch.arange(20) % 3)

    assert report.loss == pytest.approx(sum(row["loss"] for row in report.samples) / 20)


def test_a_binary_task_is_reported_over_both_classes():
    report = make_report(torch.tensor([[2.0], [-1.0]]), torch.tensor([1.0, 1.0]), BINARY, classes=("outer", "inner"))

    assert report.matrix == [[0, 0], [1, 1]]
    assert report.samples[1]["prediction"] == "outer"


def test_a_regression_reports_its_errors_in_the_labels_units():
    report = make_report(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.5], [4.0]]), REGRESSION, loss_name="l1")

    assert report.metrics["mae"] == pytest.approx(1.25)
    assert [row["loss"] for row in report.errors()] == [2.0, 0.5]


def test_a_regression_no_better_than_the_mean_is_warned_of():
    assert "no better than always answering the training mean" in regression_warnings(0.5, 0.35)[0]
    assert regression_warnings(0.1, 0.35) == ()
    assert regression_warnings(float("nan"), 0.35) != ()


def test_a_prediction_has_the_probability_of_each_class():
    logits = torch.tensor([[2.4, 0.1, -13.0], [0.0, 0.0, 0.0]])

    first, second = report_of(logits, torch.tensor([0, 1])).predictions()

    found = [[row[f"probability: {name}"] for name in CLASSES] for row in (first, second)]
    assert found == [pytest.approx(row, rel=1e-5) for row in logits.softmax(dim=1).tolist()]


def test_both_classes_of_a_binary_task_have_a_probability():
    [row] = make_report(torch.tensor([[-3.0]]), torch.tensor([1.0]), BINARY, classes=("no", "yes")).predictions()

    assert row["probability: no"] + row["probability: yes"] == pytest.approx(1)


def test_a_prediction_of_very_many_classes_has_that_of_the_predicted_one_alone():
    classes = [str(label) for label in range(MOST_COLUMNS + 1)]
    [row] = make_report(torch.zeros(1, len(classes)), torch.tensor([3]), MULTICLASS, classes=classes).predictions()

    assert [key for key in row if key.startswith("probability")] == ["probability"]
