"""Functions of predictions and labels."""

from __future__ import annotations

import math

import pytest
import torch

from dlworkflow.metrics import accuracy_fn, majority_baseline


def test_accuracy_fn_is_in_percent():
    assert accuracy_fn(torch.tensor([1, 0, 1, 1]), torch.tensor([1, 0, 0, 0])) == 50.0


def test_accuracy_fn_of_nothing_is_nan():
    assert math.isnan(accuracy_fn(torch.tensor([]), torch.tensor([])))


def test_accuracy_fn_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match=r"\(3,\).*\(3, 1\)"):
        accuracy_fn(torch.zeros(3), torch.zeros(3, 1))


def test_the_baseline_answers_the_most_frequent_training_class():
    assert majority_baseline([0, 1, 1], [1, 0, 0, 0]) == (1, 0.25)


def test_the_baseline_of_equals_is_the_lowest_label():
    assert majority_baseline([1, 0], [0])[0] == 0
