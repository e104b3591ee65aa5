"""The notes' helper functions, called as the notes call them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dlworkflow.course.helpers import make_predictions
from dlworkflow.errors import BatchError


class Halves(nn.Module):
    """Says class 1 to the right of 0, with a weight so that it has a device."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.scale * x[:, :1]


def test_make_predictions_gives_a_row_of_probabilities_a_sample():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    samples = [torch.rand(1, 2, 2) for _ in range(5)]

    found = make_predictions(model=model, data=samples)

    assert found.shape == (5, 3)
    assert torch.allclose(found.sum(dim=1), torch.ones(5))


ENDS = {  # what a model of points ends with -> the probability of class 1 that it means at (0.3, 0)
    "raw scores": (nn.Identity(), 1 / (1 + math.exp(-0.3))),
    "a sigmoid": (nn.Sigmoid(), 1 / (1 + math.exp(-0.3))),
    "the log of one": (nn.LogSigmoid(), 1 / (1 + math.exp(-0.3))),
    "no column": (nn.Flatten(0), 1 / (1 + math.exp(-0.3))),
}


@pytest.mark.parametrize(("last", "expected"), ENDS.values(), ids=ENDS)
def test_one_number_a_sample_stands_for_two_classes(last, expected):
    found = make_predictions(nn.Sequential(Halves(), last), [torch.tensor([0.3, 0.0]), torch.tensor([-9.0, 0.0])])

    assert found.shape == (2, 2)
    assert found[0].tolist() == pytest.approx([1 - expected, expected])
    assert found.argmax(dim=1).tolist() == [1, 0]


@pytest.mark.parametrize("last", [nn.Identity(), nn.Softmax(dim=1), nn.LogSoftmax(dim=1)])
def test_probabilities_are_not_put_through_a_softmax_again(last):
    model = nn.Linear(4, 3).requires_grad_(False)
    sample = torch.rand(4)

    found = make_predictions(nn.Sequential(model, last), [sample])

    assert found[0].tolist() == pytest.approx(torch.softmax(model(sample), dim=0).tolist(), abs=1e-6)


def test_predicting_nothing_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        make_predictions(nn.Linear(1, 2), [])


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (torch.zeros(4, dtype=torch.uint8), "wrong dtype: expected X of float32"),
        (torch.zeros(5), "wrong shape: expected"),
    ],
)
def test_a_sample_that_the_model_cannot_take_is_explained(sample, message):
    with pytest.raises(BatchError, match=message):
        make_predictions(nn.Linear(4, 3), [torch.zeros(4), sample])
