"""Outliers by features, and copies with other labels."""

from __future__ import annotations

import numpy as np

from dlworkflow.analysis.label_errors.copies import contradictions, copies_in_memory
from dlworkflow.analysis.label_errors.outliers import MOST, outliers_of
from dlworkflow.data.datasets.tabular import TensorData


def groups_of_features():
    """Return features of two labels, 60 of each, around two directions."""
    draws = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    return np.eye(8)[labels] + draws.normal(0, 0.05, (120, 8)), labels


def test_a_sample_far_from_all_others_is_an_outlier():
    features, labels = groups_of_features()
    features[7] = -features[7]

    assert np.flatnonzero(outliers_of(features, labels)).tolist() == [7]


def test_a_sample_among_those_of_the_other_label_is_an_outlier():
    features, labels = groups_of_features()
    labels[7] = 1

    assert np.flatnonzero(outliers_of(features, labels)).tolist() == [7]


def test_no_more_are_called_outliers_than_somebody_looks_at():
    features, labels = groups_of_features()
    features[:20] = np.random.default_rng(1).normal(size=(20, 8))

    assert outliers_of(features, labels).sum() == int(MOST * 120)


def test_of_a_few_samples_none_is_an_outlier():
    assert not outliers_of(np.eye(20), np.zeros(20, int)).any()


def test_a_label_with_one_sample_is_no_outlier():
    features, labels = groups_of_features()
    labels[7] = 2

    assert not outliers_of(features, labels)[7]


def test_copies_with_one_label_do_not_contradict_each_other():
    assert contradictions(["a", "a", "b", "c"], [[0, 1], [1, 2]]) == {1: [2], 2: [1]}


def test_samples_that_are_equal_to_the_bit_are_copies():
    import torch

    part = TensorData(torch.tensor([[1.0, 2.0], [1.0, 2.5], [1.0, 2.0]]), torch.tensor([0, 1, 1]))

    assert list(copies_in_memory([(part, np.arange(3))])) == [[0, 2]]
