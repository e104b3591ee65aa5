"""Regression, binary and multiclass: losses, probabilities, labels."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlworkflow.engine.losses import build_loss
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.engine.tasks import BINARY, MULTICLASS, MULTILABEL, REGRESSION, TASKS, get_task
from dlworkflow.errors import ConfigError


@pytest.mark.parametrize(
    ("loss_fn", "task"),
    [
        (nn.L1Loss(), REGRESSION),
        (nn.MSELoss(), REGRESSION),
        (nn.BCEWithLogitsLoss(), BINARY),
        (nn.CrossEntropyLoss(label_smoothing=0.1), MULTICLASS),
        (F.cross_entropy, MULTICLASS),
        (F.l1_loss, REGRESSION),
    ],
)
def test_the_task_follows_from_the_loss_function(loss_fn, task):
    assert get_task(None, loss_fn) is task


def test_an_unknown_task_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'binary'"):
        get_task("binry")


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_first_loss_of_a_task_is_the_usual_one_and_implies_it(task):
    implied = get_task(None, build_loss(task))

    assert implied is (BINARY if task is MULTILABEL else task)
    assert get_task(task, build_loss(task)) is task


def test_a_loss_of_another_task_is_refused():
    with pytest.raises(ConfigError, match="'cross_entropy' is not for regression; possible: l1, mse"):
        build_loss(REGRESSION, "cross_entropy")


def test_binary_probabilities_are_those_of_both_classes():
    assert torch.allclose(BINARY.probabilities(torch.tensor([[0.0], [2.0]])).sum(dim=1), torch.ones(2))
    assert BINARY.probabilities(torch.tensor([[2.0]]))[0, 1] == torch.sigmoid(torch.tensor(2.0))


def test_multiclass_labels_are_the_highest_scores():
    assert MULTICLASS.labels(torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])).tolist() == [1, 0]


def test_a_regression_answers_its_value():
    values = torch.tensor([[0.5], [2.0]])

    assert REGRESSION.labels(values) is values


def test_each_label_of_several_is_answered_by_itself():
    logits = torch.tensor([[2.0, -1.0, 0.5]])

    assert torch.equal(MULTILABEL.probabilities(logits), torch.sigmoid(logits))
    assert MULTILABEL.labels(logits).tolist() == [[1, 0, 1]]


def test_several_labels_are_right_together():
    logits, y = torch.tensor([[2.0, -1.0], [2.0, -1.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])

    assert MULTILABEL.is_correct(logits, y).tolist() == [True, False]


def test_a_target_scale_is_undone():
    values = torch.tensor([10.0, 20.0, 60.0])
    scale = TargetScale.of(values)

    assert scale.scaled(values).std(correction=0) == pytest.approx(1)
    assert torch.allclose(scale.undone(scale.scaled(values)), values)


def test_equal_targets_have_a_scale():
    assert TargetScale.of(torch.tensor([3.0, 3.0])) == TargetScale(3.0, 1.0)
