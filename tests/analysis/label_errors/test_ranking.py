"""Confident learning on arrays: which labels are flagged, and what is an error."""

from __future__ import annotations

import numpy as np
import pytest

from dlworkflow.analysis.label_errors.ranking import rank_labels
from dlworkflow.errors import DataError


def predictions(truth, classes, *, certain=0.9):
    """Return probabilities of a model that is always right, and as certain every time."""
    return np.where(np.eye(classes, dtype=bool)[truth], certain, (1 - certain) / (classes - 1))


def test_the_labels_that_were_swapped_are_flagged_and_no_others():
    truth = np.arange(200) % 4
    labels = truth.copy()
    labels[[3, 50, 121]] = (labels[[3, 50, 121]] + 1) % 4

    assert np.flatnonzero(rank_labels(labels, predictions(truth, 4)).flagged).tolist() == [3, 50, 121]


def test_the_score_is_the_probability_of_the_label():
    truth = np.arange(40) % 4
    labels = np.where(np.arange(40) == 7, 0, truth)

    assert rank_labels(labels, predictions(truth, 4)).scores[[6, 7]] == pytest.approx([0.9, 0.1 / 3])


def test_nothing_is_flagged_where_every_label_is_predicted():
    truth = np.arange(202) % 101

    assert (
        rank_labels(truth, predictions(truth, 101)).flagged.sum(),
        rank_labels(truth, predictions(truth, 101)).estimated,
    ) == (0, 0)


def test_a_class_with_one_sample_is_no_warning():
    truth = np.array([0] * 20 + [1] * 20 + [2])

    assert not rank_labels(truth, predictions(truth, 3)).flagged.any()


def test_a_sample_with_several_labels_is_flagged_for_one_that_is_wrong():
    truth = np.random.default_rng(0).random((300, 3)) < 0.5
    labels = truth.copy()
    labels[17, 1] = ~labels[17, 1]

    assert np.flatnonzero(rank_labels(labels, np.where(truth, 0.95, 0.05)).flagged).tolist() == [17]


def test_predictions_of_a_model_that_has_diverged_are_an_error():
    truth = np.arange(40) % 4
    probabilities = predictions(truth, 4)
    probabilities[5] = np.nan

    with pytest.raises(DataError, match="1 predictions are not finite: a model of the cross-validation has diverged"):
        rank_labels(truth, probabilities)


def test_labels_of_one_class_are_an_error():
    with pytest.raises(DataError, match="all labels are of one class"):
        rank_labels(np.zeros(10, int), predictions(np.zeros(10, int), 2))
