"""What tensors hold, as plain data."""

from __future__ import annotations

import math

import pytest
import torch

from dlworkflow.models.weights.contents import contents_of


def test_a_tensor_is_described_by_its_range_and_spread():
    found = contents_of(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))

    assert (found.shape, found.count, found.mean, found.min, found.max) == ((2, 2), 4, 3.0, 1.0, 6.0)
    assert found.std == pytest.approx(math.sqrt(3.5))


@pytest.mark.parametrize(("n", "kept"), [(1000, True), (1001, False)])
def test_up_to_1000_numbers_are_kept(n, kept):
    assert (contents_of(torch.zeros(n)).values is not None) == kept


def test_numbers_are_lists_of_the_tensors_shape():
    assert contents_of(torch.tensor([[1, 2]])).values == [[1, 2]]


@pytest.mark.parametrize("tensor", [torch.tensor([math.nan, 1.0]), torch.zeros(0)])
def test_what_is_not_finite_is_none(tensor):
    assert (contents_of(tensor).mean, contents_of(tensor).max) == (None, None)


def test_a_single_number_has_no_spread():
    assert contents_of(torch.tensor(2.5)).std == 0.0
