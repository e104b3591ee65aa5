"""Images and what a model said of them, and how a figure is written."""

from __future__ import annotations

import numpy as np
import pytest

from dlworkflow.errors import DlwError
from dlworkflow.plotting import (
    plot_predicted_images,
    plot_prediction_bars,
    plot_prediction_grid,
    plot_probability_bars,
    plot_worst_errors,
    save_figure,
)
from dlworkflow.plotting.style import BAD, GOOD


def drawn(figure):
    return [axis for axis in figure.axes if axis.get_title()]


def test_each_image_bears_its_title():
    figure = plot_predicted_images([np.zeros((4, 4)), np.ones((4, 4, 3))], ["Pred: a | Prob: 0.374", "Pred: b"])

    assert [axis.get_title() for axis in drawn(figure)] == ["Pred: a | Prob: 0.374", "Pred: b"]
    assert drawn(figure)[1].images[0].get_array().shape == (4, 4, 3)


def test_an_image_that_could_not_be_read_has_a_place_and_no_image():
    [axis] = drawn(plot_predicted_images([None], ["no such file"]))

    assert not axis.images
    assert axis.texts[0].get_text() == "not readable"


def test_more_than_25_images_are_cut_and_the_figure_says_so():
    figure = plot_predicted_images([np.zeros((2, 2))] * 40, ["t"] * 40)

    assert len(drawn(figure)) == 25
    assert figure._supxlabel.get_text() == "the first 25 of 40 images"


def test_no_images_is_an_error():
    with pytest.raises(DlwError, match="no images"):
        plot_predicted_images([], [])


@pytest.mark.parametrize("name", ["f.png", "f.svg", "f.pdf"])
def test_a_figure_is_written_in_the_format_of_its_name(tmp_path, name):
    path = save_figure(plot_predicted_images([np.zeros((2, 2))], ["t"]), tmp_path / name)

    assert path.stat().st_size > 500


@pytest.mark.parametrize(("name", "words"), [("f.bmpx", "name it"), ("none/f.png", "cannot write")])
def test_a_format_or_a_folder_that_is_not_there_is_named(tmp_path, name, words):
    with pytest.raises(DlwError, match=words):
        save_figure(plot_predicted_images([np.zeros((2, 2))], ["t"]), tmp_path / name)


def test_right_is_green_with_a_tick_and_wrong_is_red_with_a_cross():
    figure = plot_prediction_grid([np.zeros((4, 4))] * 2, ["pizza", "steak"], ["pizza", "sushi"], [0.9, 0.374])

    assert [axis.get_title() for axis in drawn(figure)] == [
        "✓ Pred: pizza | Prob: 0.900\nTruth: pizza",
        "✗ Pred: sushi | Prob: 0.374\nTruth: steak",
    ]
    assert [axis.title.get_color() for axis in drawn(figure)] == [GOOD, BAD]


def test_without_probabilities_the_title_has_none():
    [axis] = drawn(plot_prediction_grid([np.zeros((4, 4))], ["a"], ["b"], names=["f.jpg"]))

    assert axis.get_title() == "✗ Pred: b\nTruth: a"
    assert axis.texts[0].get_text() == "f.jpg"


def test_a_class_name_with_dollars_is_printed_as_it_stands():
    [axis] = drawn(plot_prediction_grid([np.zeros((4, 4))], ["5$ or 6$"], ["a"]))

    axis.figure.draw_without_rendering()

    assert axis.get_title().endswith(r"Truth: 5\$ or 6\$")


def test_a_long_class_name_is_cut_once_and_keeps_its_probability():
    name = "class_019_with_a_really_very_long_name_x"
    [axis, _] = drawn(plot_prediction_grid([np.zeros((4, 4))] * 2, [name] * 2, [f"{name}2"] * 2, [0.0884] * 2))

    answer, truth = axis.get_title().split("\n")
    assert answer.count("…") == truth.count("…") == 1
    assert answer.startswith("✗ Pred: class_0")
    assert answer.endswith("x2 | Prob: 0.088")


def test_worst_errors_are_sorted_by_loss_and_right_ones_left_out():
    images = [np.full((2, 2), i / 4) for i in range(4)]
    figure = plot_worst_errors(images, list("aaaa"), list("bbab"), [0.6, 0.9, 0.9, 0.7], [1, 3, 9, 2], names="wxyz")

    assert [axis.get_title().split("\n")[2] for axis in drawn(figure)] == ["Loss: 3.000", "Loss: 2.000", "Loss: 1.000"]
    assert [axis.images[0].get_array()[0, 0] for axis in drawn(figure)] == [0.25, 0.75, 0]
    assert [axis.texts[0].get_text() for axis in drawn(figure)] == ["x", "z", "w"]


def test_a_loss_that_is_nan_counts_as_the_worst():
    figure = plot_worst_errors([np.zeros((2, 2))] * 2, ["a", "a"], ["b", "b"], [0.5, 0.5], [7.0, np.nan])

    assert [axis.get_title().split("\n")[2] for axis in drawn(figure)] == ["Loss: nan", "Loss: 7.000"]


def test_more_than_25_errors_are_cut_and_the_figure_says_so():
    figure = plot_worst_errors([np.zeros((2, 2))] * 30, ["a"] * 30, ["b"] * 30, [0.5] * 30, range(30))

    assert figure._supxlabel.get_text() == "the 25 largest losses of 30 errors"


def test_no_error_is_an_error():
    with pytest.raises(DlwError, match="every prediction is right"):
        plot_worst_errors([np.zeros((2, 2))], ["a"], ["a"], [1.0], [0.0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plot_prediction_grid([], [], []), "no images"),
        (lambda: plot_worst_errors([], [], [], [], []), "no images"),
        (lambda: plot_prediction_grid([np.zeros((2, 2))], ["a", "b"], ["a"]), "1 images and 2 truths"),
        (lambda: plot_probability_bars(np.zeros((2, 2)), {}, "t"), "no probabilities"),
        (lambda: plot_prediction_bars([], [], []), "no images"),
        (lambda: plot_prediction_bars([np.zeros((2, 2))], [], ["t"]), "1 images and 0 likeliest"),
    ],
)
def test_nothing_to_draw_and_unequal_lists_are_an_error(call, words):
    with pytest.raises(DlwError, match=words):
        call()


def test_an_image_stands_beside_its_probabilities_most_probable_first():
    figure = plot_probability_bars(np.ones((3, 4, 5)), {"steak": 0.341, "pizza": 0.374, "sushi": 0.285}, "Pred: pizza")
    left, right = figure.axes

    assert left.get_title() == "Pred: pizza"
    assert left.images[0].get_array().shape == (4, 5, 3)
    assert [bar.get_width() for bar in right.containers[0]] == pytest.approx([37.4, 34.1, 28.5])
    assert [t.get_text() for t in right.get_yticklabels()] == ["pizza", "steak", "sushi"]
    assert [t.get_text() for t in right.texts] == ["37.4 %", "34.1 %", "28.5 %"]


def test_of_101_classes_the_nine_most_probable_have_a_bar_and_the_rest_share_one():
    right = plot_probability_bars(None, {f"c{i}": 1 / 101 for i in range(101)}, "no such file").axes[1]

    assert len(right.containers[0]) == 10
    assert right.get_yticklabels()[-1].get_text() == "the other 92"
    assert right.containers[0][-1].get_width() == pytest.approx(100 * 92 / 101)


def test_each_image_stands_beside_the_bars_of_its_likeliest_classes():
    figure = plot_prediction_bars(
        [np.zeros((4, 4)), None], [[("pizza", 0.75), ("steak", 0.25)], []], ["Pred: pizza | Prob: 0.750", "cut off"]
    )

    image, bars, unreadable, none = figure.axes
    assert [text.get_text() for text in bars.texts] == ["75.0 %", "25.0 %"]
    assert [text.get_text() for text in bars.get_yticklabels()] == ["pizza", "steak"]
    assert (len(image.images), len(unreadable.images), len(none.patches)) == (1, 0, 0)


@pytest.mark.parametrize(("n", "shape"), [(3, (3, 2)), (8, (4, 4)), (30, (9, 6))])
def test_images_with_bars_stand_in_as_many_columns_as_they_need(n, shape):
    figure = plot_prediction_bars([np.zeros((4, 4))] * n, [[("a", 1.0)]] * n, ["a"] * n)

    assert figure.axes[0].get_gridspec().get_geometry() == shape
    assert (figure._supxlabel is not None) == (n > 25)


def test_at_most_ten_classes_have_a_bar_beside_an_image():
    figure = plot_prediction_bars([np.zeros((4, 4))], [[(f"c{i}", 0.01) for i in range(20)]], ["c0"])

    assert len(figure.axes[1].patches) == 10


def test_a_figure_that_cannot_be_written_leaves_the_old_one_whole(tmp_path, monkeypatch):
    figure = plot_predicted_images([np.zeros((2, 2))], ["t"])
    path = save_figure(figure, tmp_path / "f.png")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)

    with pytest.raises(DlwError, match=r"cannot write .*f\.png.*No space left"):
        save_figure(figure, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
