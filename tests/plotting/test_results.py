"""Figures of what an evaluation counted: cells, bars and bins are the numbers given."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from dlworkflow.errors import DlwError
from dlworkflow.plotting import plot_accuracy_bars, plot_confusion_matrix, plot_coverage, plot_reliability

MATRIX = np.array([[19, 4, 2], [9, 7, 3], [3, 1, 27]])
FOOD = ["pizza", "steak", "sushi"]


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_each_cell_bears_count_and_percent_of_its_row():
    axis = plot_confusion_matrix(MATRIX, FOOD).axes[0]

    assert texts(axis)[:3] == ["19\n76 %", "4\n16 %", "2\n8 %"]
    assert axis.images[0].get_array()[0].tolist() == [76, 16, 8]
    assert axis.get_title() == "53 of 75 right (70.7 %)"
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class")
    assert [t.get_text() for t in axis.get_yticklabels()] == FOOD


def test_a_class_without_a_sample_has_no_percent():
    axis = plot_confusion_matrix([[0, 0], [1, 1]], ["a", "b"]).axes[0]

    assert texts(axis) == ["0\n–", "0\n–", "1\n50 %", "1\n50 %"]


def test_101_classes_have_no_cell_texts_thinned_names_and_the_worst_confusions_in_the_title():
    matrix = np.eye(101, dtype=int) * 5
    matrix[90, 12] = 4
    axis, bar = plot_confusion_matrix(matrix, [f"class {i}" for i in range(101)]).axes
    names = [t.get_text() for t in axis.get_yticklabels()]

    assert not axis.texts
    assert names[:2] == ["class 0", "class 2"]
    assert axis.get_title() == "505 of 509 right (99.2 %)\nclass 90 taken for class 12: 4"
    assert "%" in bar.get_ylabel()


@pytest.mark.parametrize(("matrix", "title"), [([[7]], "7 of 7 right (100.0 %)"), ([[0]], "no samples")])
def test_one_class_is_one_cell(matrix, title):
    axis = plot_confusion_matrix(matrix, ["only"]).axes[0]

    assert (len(axis.texts), axis.get_title()) == (1, title)


@pytest.mark.parametrize(
    ("matrix", "classes", "words"),
    [
        ([], [], r"not \(0,\)"),
        (np.zeros((0, 0)), [], r"not \(0, 0\)"),
        ([[1, 2]], ["a"], r"not \(1, 2\)"),
        (MATRIX, ["a"], "3 classes and 1 class names"),
    ],
)
def test_what_is_no_confusion_matrix_is_an_error(matrix, classes, words):
    with pytest.raises(DlwError, match=words):
        plot_confusion_matrix(matrix, classes)


def test_accuracies_are_bars_in_percent_from_the_top():
    [axis] = plot_accuracy_bars({"v0": 0.8343, "v2": 0.8838}).axes

    assert [bar.get_width() for bar in axis.containers[0]] == pytest.approx([83.43, 88.38])
    assert texts(axis) == ["83.4 %", "88.4 %"]
    assert axis.get_ylim()[0] > axis.get_ylim()[1]
    assert axis.get_xlim() == (0, 100)


def test_intervals_are_whiskers_and_the_baseline_is_a_line():
    figure = plot_accuracy_bars({"a": 0.5, "b": 0.6}, {"a": (0.4, 0.61)}, 0.3333)
    whisker, baseline = figure.axes[0].lines

    assert whisker.get_xdata() == pytest.approx([40, 61])
    assert baseline.get_xdata() == pytest.approx([33.33, 33.33])
    assert texts(figure.axes[0])[0] == "50.0 %  (40.0 to 61.0)"
    assert [t.get_text() for t in figure.legends[0].texts] == ["accuracy", "95 % interval", "baseline 33.3 %"]


def test_a_run_without_accuracy_has_no_bar():
    [axis] = plot_accuracy_bars({"broken": math.nan}).axes

    assert texts(axis) == ["–"]
    assert axis.containers[0][0].get_width() == 0


def test_on_given_axes_the_legend_stays_in_them():
    figure = Figure()
    plot_accuracy_bars({"a": 0.5}, ax=figure.subplots())

    assert figure.axes[0].get_legend() is not None
    assert not figure.legends


def test_no_run_is_an_error():
    with pytest.raises(DlwError, match="no runs"):
        plot_accuracy_bars({})


def test_reliability_draws_accuracy_gap_and_count_of_each_bin():
    top, bottom = plot_reliability([0.2, 0.8], [0.3, 0.6], [10, 30], ece=0.175).axes
    accuracy, gaps = top.containers

    assert [bar.get_height() for bar in accuracy] == [30, 60]
    assert [bar.get_height() for bar in gaps] == pytest.approx([-10, 20])
    assert [bar.get_height() for bar in bottom.containers[0]] == [10, 30]
    assert [bar.get_x() + bar.get_width() / 2 for bar in accuracy] == pytest.approx([25, 75])
    assert top.get_title() == "expected calibration error 17.5 %"
    assert top.lines[1].get_xdata().tolist() == [20, 80]


def test_an_empty_bin_has_no_gap():
    top = plot_reliability([math.nan, 0.8], [math.nan, 0.6], [0, 30], ece=0.2).axes[0]

    assert [bar.get_height() for bar in top.containers[0]] == [0, 60]
    assert len(top.containers[1]) == 1


@pytest.mark.parametrize(
    ("bins", "words"),
    [
        (([], [], []), "every bin is empty"),
        (([0.5], [0.5], [0]), "every bin is empty"),
        (([0.5], [], [1]), "one a bin"),
    ],
)
def test_no_sample_and_unequal_bins_are_an_error(bins, words):
    with pytest.raises(DlwError, match=words):
        plot_reliability(*bins, ece=0.0)


def test_accuracy_by_coverage_ends_at_that_of_all_samples():
    [axis] = plot_coverage([0.5, 1.0], [1.0, 0.5], [0.2, 0.1], [1.0, 0.9]).axes

    assert axis.get_title() == "2 samples; all answered: 50.0 % right"
    assert axis.get_lines()[0].get_ydata().tolist() == [100, 50]


def test_reliability_shows_what_it_was_before_calibration():
    figure = plot_reliability([0.9], [0.8], [5], ece=0.1, before=([0.99], [0.8]), ece_before=0.19)

    assert figure.axes[0].get_title() == "expected calibration error before 19.0 %, after 10.0 %"
    assert figure.axes[0].get_lines()[-1].get_xdata().tolist() == [99]
