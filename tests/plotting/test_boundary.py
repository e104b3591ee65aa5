"""The decision regions are what the model answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dlworkflow.errors import DlwError
from dlworkflow.plotting import plot_decision_regions

X = np.array([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
Y = np.array([0, 1, 0])


def is_right(points):
    return (points[:, 0] > 0).astype(int)


def test_the_regions_are_the_answers_at_each_place():
    axis = plot_decision_regions({"train": (X, Y)}, is_right, ["left", "right"], resolution=10).axes[0]
    regions = axis.images[0].get_array()

    assert regions.shape == (10, 10)
    assert (regions[:, :5] == 0).all()
    assert (regions[:, 5:] == 1).all()
    assert axis.images[0].origin == "lower"


def test_rows_of_the_regions_run_upwards():
    up = lambda points: (points[:, 1] > 0).astype(int)  # noqa: E731
    regions = plot_decision_regions({"a": (X, Y)}, up, ["low", "high"], resolution=4).axes[0].images[0].get_array()

    assert regions[:, 0].tolist() == [0, 0, 1, 1]


def test_train_and_test_stand_side_by_side_on_equal_ranges():
    train, test = plot_decision_regions(
        {"train": (X, Y), "test": (X[:2], Y[:2])}, is_right, ["l", "r"], resolution=4
    ).axes

    assert (train.get_title(), test.get_title()) == ("train: 2 of 3 right (66.7 %)", "test: 2 of 2 right (100.0 %)")
    assert train.get_xlim() == test.get_xlim()
    assert np.concatenate([c.get_offsets() for c in test.collections]).tolist() == X[:2].tolist()


def test_wrong_points_have_a_black_rim():
    axis = plot_decision_regions({"train": (X, Y)}, is_right, ["l", "r"], resolution=4).axes[0]

    assert axis.collections[0].get_offsets()[1].tolist() == [1, -1]
    assert axis.collections[0].get_edgecolors()[:, :3].tolist() == [[1, 1, 1], [0, 0, 0]]


def test_the_model_is_asked_in_float32_and_may_answer_with_a_tensor_column():
    asked = set()

    def predict(points):
        asked.add(points.dtype)
        return torch.from_numpy(is_right(points)).float()[:, None]

    plot_decision_regions({"train": (X, Y)}, predict, ["l", "r"], resolution=4)

    assert asked == {np.dtype(np.float32)}


@pytest.mark.parametrize("n", [1, 4, 101])
def test_any_number_of_classes_is_drawn(n):
    rng = np.random.default_rng(0)
    y = np.arange(202) % n
    figure = plot_decision_regions(
        {"train": (rng.random((202, 2)), y)}, lambda p: np.zeros(len(p)), [f"c{i}" for i in range(n)], resolution=4
    )

    assert len(figure.axes[0].collections) == n
    assert bool(figure.legends) == (n < 101)


def test_a_split_without_points_says_so():
    figure = plot_decision_regions({"a": (X, Y), "b": (X[:0], Y[:0])}, is_right, ["l", "r"], resolution=4)

    assert figure.axes[1].get_title() == "b: no points"


@pytest.mark.parametrize(
    ("parts", "predict", "words"),
    [
        ({}, is_right, "there is no split"),
        ({"a": (np.zeros((2, 5)), [0, 0])}, is_right, r"two features .* \(2, 5\)"),
        ({"a": (X, Y)}, lambda p: np.zeros((len(p), 2)), r"it returned \(16, 2\)"),
        ({"a": (X, Y)}, lambda p: np.full(len(p), 7), "it returned 7 to 7"),
        ({"a": (X, Y)}, lambda p: np.full(len(p), 0.3), "it returned 0.3"),
    ],
)
def test_what_has_no_regions_is_an_error(parts, predict, words):
    with pytest.raises(DlwError, match=words):
        plot_decision_regions(parts, predict, ["l", "r"], resolution=4)


def test_one_ax_for_two_splits_is_an_error():
    ax = plot_decision_regions({"a": (X, Y)}, is_right, ["l", "r"], resolution=2).axes[0]

    with pytest.raises(DlwError, match="ax takes one split"):
        plot_decision_regions({"a": (X, Y), "b": (X, Y)}, is_right, ["l", "r"], ax=ax)
