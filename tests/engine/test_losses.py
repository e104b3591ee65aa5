"""The loss that training minimises: torch's own where torch has it, the same for two classes where it has not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dlworkflow.engine.class_weights import class_weights, sample_weights
from dlworkflow.engine.loss_means import BinaryCrossEntropy, shares_of
from dlworkflow.engine.losses import build_training_loss
from dlworkflow.engine.scores import Total
from dlworkflow.engine.tasks import BINARY, MULTICLASS, MULTILABEL, REGRESSION
from dlworkflow.errors import ConfigError

LOGITS = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 3
WEIGHTS = torch.tensor([1.0, 2.0, 0.5])


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_smoothed_labels_and_class_weights_are_torchs(weights):
    mine = build_training_loss(MULTICLASS, label_smoothing=0.1, weights=weights)

    expected = nn.functional.cross_entropy(LOGITS, LABELS, weights, label_smoothing=0.1)
    assert torch.equal(mine(LOGITS, LABELS), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS[:2]])
def test_two_classes_are_weighed_and_smoothed_as_by_cross_entropy(weights, smoothing):
    logits, labels = LOGITS[:, 0], (LABELS > 0).float()
    mine = build_training_loss(BINARY, label_smoothing=smoothing, weights=weights)(logits, labels)

    both = torch.stack([torch.zeros(20), logits], dim=1)
    assert mine.item() == pytest.approx(
        nn.functional.cross_entropy(both, labels.long(), weights, label_smoothing=smoothing).item(), rel=1e-5
    )


def test_without_settings_it_is_the_loss_that_scores():
    assert type(build_training_loss(BINARY)) is nn.BCEWithLogitsLoss


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = torch.tensor([0] * 6 + [1] * 3 + [2])

    expected = compute_class_weight("balanced", classes=torch.arange(3).numpy(), y=labels.numpy())
    assert class_weights("balanced", ["a", "b", "c"], labels.bincount()).tolist() == pytest.approx(expected.tolist())


def test_a_class_that_is_not_named_weighs_one():
    assert class_weights({"b": 3.0}, ["a", "b"], None).tolist() == [1.0, 3.0]


def test_every_unknown_class_is_named():
    with pytest.raises(ConfigError) as caught:
        class_weights({"pizzza": 2.0, "x": 1.0, "steak": 1.0}, ["pizza", "steak"], None)

    assert caught.value.faults == (
        "loss_weights: unknown class 'pizzza'; did you mean 'pizza'?",
        "loss_weights: unknown class 'x'; possible: pizza, steak",
    )


def test_samples_of_a_rare_class_weigh_as_much_together_as_those_of_another():
    weights = sample_weights(["a", "b"], labels := torch.tensor([0, 0, 0, 1]))

    assert weights[labels == 0].sum() == weights[labels == 1].sum()


@pytest.mark.parametrize(
    ("task", "name", "more", "fault"),
    [
        (REGRESSION, "huber", {"label_smoothing": 0.1}, "label_smoothing: the loss 'huber' has no use for it"),
        (MULTICLASS, "multi_margin", {"label_smoothing": 0.1}, "label_smoothing: the loss 'multi_margin'"),
        (REGRESSION, None, {"weights": WEIGHTS}, "loss_weights: the loss 'l1' has no use for it"),
    ],
)
def test_a_loss_that_has_no_use_for_a_setting_refuses_it(task, name, more, fault):
    with pytest.raises(ConfigError, match=fault):
        build_training_loss(task, name, **more)


@pytest.mark.parametrize("shape", [(0,), (0, 1), (0, 4, 4)])
def test_a_batch_of_which_this_process_has_no_sample_adds_nothing(shape):
    labels = torch.zeros(shape)
    weighed = BinaryCrossEntropy(torch.tensor([1.0, 5.0]))

    assert shares_of(weighed)(labels).shape == (0,)
    assert shares_of(nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0])))(labels.long()).shape == (0,)


def test_scores_count_an_empty_batch_as_nothing():
    total = Total(MULTICLASS, "sample", nn.CrossEntropyLoss())
    total.add(torch.tensor(1.0), torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    total.add(torch.tensor(0.0), torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))

    assert total.scores() == (1.0, 1.0)


def test_weights_of_labels_are_those_of_the_labels_that_are_there():
    logits, y = torch.tensor([[0.5, -1.0]]), torch.tensor([[1.0, 0.0]])
    weights = class_weights("balanced", ["a", "b"], torch.tensor([2, 8]), of_labels=10)

    assert weights.tolist() == [4.0, 0.25]
    ours = build_training_loss(MULTILABEL, weights=weights, label_smoothing=0.1)(logits, y)
    theirs = nn.BCEWithLogitsLoss(pos_weight=weights)(logits, torch.tensor([[0.95, 0.05]]))
    assert ours == pytest.approx(theirs)
