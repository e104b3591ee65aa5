"""Accuracy by a function of the caller or a metric of torchmetrics, in the order in which each takes its arguments."""

from __future__ import annotations

import pytest
import torch
import torchmetrics
from torch import nn

from dlworkflow.engine.loop import test_step, train_step
from dlworkflow.errors import ConfigError

CROSS_ENTROPY = nn.CrossEntropyLoss()


class Answers(nn.Module):
    """Returns its inputs as scores, with a weight so that it can be trained."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.scale * x


def batch(predicted, true, classes=3):
    return 9.0 * nn.functional.one_hot(torch.tensor(predicted), classes), torch.tensor(true)


BATCHES = [batch([0, 0, 0, 1], [0, 0, 1, 1]), batch([2], [0])]
ALL = batch([0, 0, 0, 1, 2], [0, 0, 1, 1, 0])


def metric(kind="Accuracy", **settings):
    return getattr(torchmetrics, kind)(task="multiclass", num_classes=3, **settings)


def score(accuracy_fn, batches=BATCHES, **settings):
    return test_step(Answers(), batches, CROSS_ENTROPY, accuracy_fn=accuracy_fn, **settings).acc


@pytest.mark.parametrize("kind", ["Precision", "Recall"])
def test_a_metric_of_torchmetrics_takes_predictions_first(kind):
    expected = metric(kind, average="macro")(ALL[0].argmax(dim=1), ALL[1])

    assert score(metric(kind, average="macro")) == pytest.approx(expected.item())


def test_a_metric_over_batches_is_the_mean_of_its_values_for_each():
    assert score(metric(), averaging="batch") == pytest.approx((3 / 4 + 0) / 2)


def test_a_metric_forgets_what_it_saw_before_a_pass():
    accuracy = metric()
    accuracy.update(torch.tensor([1, 1, 1]), torch.tensor([0, 0, 0]))

    assert score(accuracy) == pytest.approx(3 / 5)


def test_a_metric_holds_the_pass_afterwards():
    score(accuracy := metric())

    assert accuracy.compute().item() == pytest.approx(3 / 5)


def test_a_metric_can_be_updated_after_a_pass_without_gradients():
    score(accuracy := metric())
    accuracy.update(*reversed(batch([0], [0])[1:] * 2))

    assert accuracy.compute().item() == pytest.approx(4 / 6)


def test_a_metric_takes_the_labels_of_a_binary_loss():
    logits, y = torch.tensor([[2.0], [-1.0], [3.0]]), torch.tensor([1.0, 0.0, 0.0])
    accuracy = torchmetrics.Accuracy(task="binary")

    scores = test_step(Answers(), [(logits, y)], nn.BCEWithLogitsLoss(), accuracy_fn=accuracy)

    assert scores.acc == pytest.approx(2 / 3)


def test_a_metric_takes_the_values_of_a_regression_as_they_are():
    error = torchmetrics.MeanAbsoluteError()

    scores = test_step(Answers(), [(torch.tensor([[0.5]]), torch.tensor([[0.25]]))], nn.L1Loss(), accuracy_fn=error)

    assert scores.acc == 0.25


def test_a_metric_scores_a_pass_of_training():
    model = Answers()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)

    assert train_step(model, BATCHES, CROSS_ENTROPY, optimizer, accuracy_fn=metric()).acc == pytest.approx(3 / 5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_a_metric_of_another_device_is_moved():
    scores = test_step(Answers(), BATCHES, CROSS_ENTROPY, "cuda", accuracy_fn=metric())

    assert scores.acc == pytest.approx(3 / 5)


def test_a_function_may_take_its_arguments_by_name_only():
    def fraction(*, y_true, y_pred):
        return (y_true == y_pred).float().mean()

    assert score(fraction) == pytest.approx(3 / 5)


def test_a_function_of_other_arguments_is_named_with_what_it_gets():
    def accuracy(preds, target):
        return 0.0

    with pytest.raises(
        ConfigError, match=r"accuracy_fn\(y_true=labels, y_pred=predicted\), and takes \(preds, target\)"
    ):
        score(accuracy)


@pytest.mark.parametrize(
    ("result", "named"),
    [(torch.zeros(3), r"shape \(3,\)"), ({"acc": 1.0}, "dict"), ((1.0, 2.0), "tuple")],
)
def test_a_result_that_is_not_one_number_is_named(result, named):
    with pytest.raises(ConfigError, match=f"accuracy_fn returns one number, not {named}"):
        score(lambda y_true, y_pred: result)
