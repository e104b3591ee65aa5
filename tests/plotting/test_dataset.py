"""Figures of data: what is drawn is what was given."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from dlworkflow.errors import DlwError
from dlworkflow.plotting import (
    display_random_images,
    plot_class_balance,
    plot_image_pairs,
    plot_points,
    plot_predictions,
)
from dlworkflow.plotting.style import BLUE, GREEN, RED

X = torch.arange(0, 1, 0.02)[:, None]
Y = 0.7 * X + 0.3
PICTURES = [(torch.full((3, 4, 5), i / 30), i % 3) for i in range(30)]


def shown(figure):
    return [axis for axis in figure.axes if axis.images]


def test_a_line_has_blue_training_green_test_and_red_predicted_points():
    [axis] = plot_predictions(X[:40], Y[:40], X[40:], Y[40:], Y[40:] - 0.1).axes

    assert [to_hex(c.get_facecolor()[0]) for c in axis.collections] == [BLUE, GREEN, RED]
    assert np.allclose(axis.collections[0].get_offsets(), torch.cat([X, Y], 1)[:40])
    assert np.allclose(axis.collections[2].get_offsets()[:, 1], Y[40:, 0] - 0.1)
    assert [t.get_text() for t in axis.get_legend().texts] == ["Training data", "Testing data", "Predictions"]


def test_without_predictions_there_are_no_red_points():
    assert len(plot_predictions(X[:40], Y[:40], X[40:], Y[40:]).axes[0].collections) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], [], [], []), "no points"),
        (([1.0], [1.0, 2.0], [], []), "1 inputs and 2 values"),
        (([1.0], [1.0], [2.0], [2.0], [1.0, 2.0]), "predictions: 1 inputs and 2 values"),
        ((np.zeros((3, 2)), np.zeros(3), [], []), r"train_data: .* \(3, 2\)"),
    ],
)
def test_what_is_no_line_is_an_error(arguments, words):
    with pytest.raises(DlwError, match=words):
        plot_predictions(*arguments)


def test_points_stand_in_a_panel_a_split_and_a_collection_a_class():
    points, labels = np.arange(12.0).reshape(6, 2), np.array([0, 1, 1, 0, 1, 1])
    figure = plot_points({"train": (points[:4], labels[:4]), "test": (points[4:], labels[4:])}, ["a", "b"])
    train, test = figure.axes

    assert train.collections[1].get_offsets().tolist() == points[1:3].tolist()
    assert len(test.collections) == 1
    assert (train.get_title(), test.get_title()) == ("train: 4 points", "test: 2 points")
    assert train.get_xlim() == test.get_xlim()
    assert [t.get_text() for t in figure.legends[0].texts] == ["a", "b"]


def test_101_classes_have_a_colour_bar_instead_of_a_legend():
    figure = plot_points(
        {"all": (np.random.default_rng(0).random((101, 2)), np.arange(101))}, [f"c{i}" for i in range(101)]
    )

    assert not figure.legends
    assert len(figure.axes[0].collections) == 101
    names = [t.get_text() for t in figure.axes[1].get_yticklabels()]
    assert names[0] == "c0"
    assert 5 < len(names) < 50


def test_no_two_of_64_classes_share_colour_and_shape():
    from dlworkflow.plotting.points import class_marker
    from dlworkflow.plotting.style import COLOURS

    assert len({(COLOURS[i % 8], class_marker(i)) for i in range(64)}) == 64


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ((np.zeros((3, 3)), [0, 0, 0]), r"two features .* \(3, 3\)"),
        ((np.zeros((3, 2)), [0, 0]), "3 points and 2 labels"),
        ((np.zeros((1, 2)), [2]), "label 2 is no class"),
        ((np.zeros((1, 2)), [0.5]), "found 0.5"),
        ((np.zeros((1, 2)), [-1]), "found -1"),
        ((np.zeros((0, 2)), []), "every split is empty"),
        ((np.full((1, 2), np.nan), [0]), "none has two finite features"),
    ],
)
def test_what_are_no_points_of_classes_is_an_error(part, words):
    with pytest.raises(DlwError, match=words):
        plot_points({"train": part}, ["a", "b"])


def test_random_images_bear_class_and_shape():
    figure = display_random_images(PICTURES, ["a", "b", "c"], n=4, seed=1)
    axes = shown(figure)

    assert len(axes) == 4
    for axis in axes:
        value = round(float(axis.images[0].get_array()[0, 0, 0]) * 30)
        assert axis.get_title() == f"class: {'abc'[value % 3]}\nshape: (4, 5, 3)"
    assert figure._supxlabel.get_text() == "4 of 30 images, seed 1"


def test_more_than_ten_are_cut_to_ten_without_shapes():
    axes = shown(display_random_images(PICTURES, ["a", "b", "c"], n=25))

    assert len(axes) == 10
    assert not any("shape" in axis.get_title() for axis in axes)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_draws_the_same_images_and_touches_no_other_generator(seed):
    before = random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    titles = [[a.get_title() for a in display_random_images(PICTURES, n=5, seed=seed).axes] for _ in range(2)]

    assert titles[0] == titles[1]
    assert (random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before


def test_a_small_data_set_is_drawn_once_through():
    assert len(shown(display_random_images(PICTURES[:2], n=5))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(([],), "empty"), ((PICTURES, ["a"]), "is no class"), ((PICTURES, None, 0), "at least 1")],
)
def test_images_that_cannot_be_drawn_are_an_error(arguments, words):
    with pytest.raises(DlwError, match=words):
        display_random_images(*arguments, seed=0)


def test_a_pair_stands_in_a_row_with_both_sizes():
    figure = plot_image_pairs([np.zeros((6, 8, 3))] * 2, [torch.ones(3, 4, 4)] * 2, ["pizza", "steak"])
    titles = [axis.get_title().strip() for axis in figure.axes]

    assert titles == [
        "class: pizza\nOriginal: 8 × 6 pixels",
        "Transformed: 4 × 4 pixels",
        "class: steak\nOriginal: 8 × 6 pixels",
        "Transformed: 4 × 4 pixels",
    ]
    assert [axis.images[0].get_array().max() for axis in figure.axes] == [0, 1, 0, 1]


def test_more_than_ten_pairs_are_cut_and_the_figure_says_so():
    figure = plot_image_pairs([np.zeros((2, 2))] * 12, [np.zeros((2, 2))] * 12, ["a"] * 12)

    assert len(figure.axes) == 20
    assert figure._supxlabel.get_text() == "the first 10 of 12 images"


@pytest.mark.parametrize(("originals", "words"), [([], "no images"), ([np.zeros((2, 2))] * 2, "not pairs")])
def test_what_are_no_pairs_is_an_error(originals, words):
    with pytest.raises(DlwError, match=words):
        plot_image_pairs(originals, originals[:1], ["a"])


def test_balance_draws_a_bar_a_class_and_split():
    figure = plot_class_balance({"train": {"pizza": 78, "steak": 75}, "test": {"pizza": 25, "sushi": 31}})
    [axis] = figure.axes

    assert [[bar.get_width() for bar in bars] for bars in axis.containers] == [[78, 75, 0], [25, 0, 31]]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["pizza", "steak", "sushi"]
    assert [t.get_text() for t in figure.legends[0].texts] == ["train: 153", "test: 56"]
    assert "78" in [t.get_text() for t in axis.texts]


def test_101_classes_stand_in_three_columns_all_named():
    figure = plot_class_balance({"train": {f"class {i}": i for i in range(101)}})

    assert len(figure.axes) == 3
    assert [t.get_text() for axis in figure.axes for t in axis.get_yticklabels()] == [f"class {i}" for i in range(101)]
    assert [bar.get_width() for axis in figure.axes for bar in axis.containers[0]] == list(range(101))


def test_1000_classes_are_a_line_from_the_largest_to_the_smallest():
    figure = plot_class_balance({"train": {f"c{i}": i for i in range(1000)}})

    assert figure.axes[0].lines[0].get_ydata().tolist() == list(range(999, -1, -1))
    assert figure.legends[0].texts[0].get_text() == "train: most c999 (999), fewest c0 (0)"


@pytest.mark.parametrize("counts", [{}, {"train": {}}])
def test_no_class_is_an_error(counts):
    with pytest.raises(DlwError, match="no classes"):
        plot_class_balance(counts)
