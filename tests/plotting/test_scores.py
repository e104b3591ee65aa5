"""Figures of several labels per sample, and of numbers: what is drawn is what was given."""

from __future__ import annotations

import pytest

from dlworkflow.errors import DlwError
from dlworkflow.plotting import plot_precision_recall, plot_predicted_values


def test_each_class_has_a_curve_and_a_dot_at_its_threshold():
    figure = plot_precision_recall({"a": ([1, 0.5, 0], [0.5, 1, 1])}, {"a": (0.5, 1.0)}, {"a": 0.75})

    curve, dot = figure.axes[0].lines
    assert (curve.get_xdata().tolist(), list(dot.get_xdata()), list(dot.get_ydata())) == ([100, 50, 0], [50], [100])


def test_of_many_classes_those_of_the_lowest_average_precision_have_curves():
    names = [str(n) for n in range(30)]
    curves = {name: ([1, 0], [0.5, 1]) for name in names}

    figure = plot_precision_recall(
        curves, dict.fromkeys(names, (1, 0.5)), {name: 1 / (1 + int(name)) for name in names}
    )

    assert [text.get_text().partition(":")[0] for text in figure.legends[0].get_texts()] == names[:19:-1]


def test_predicted_numbers_are_drawn_over_true_ones():
    figure = plot_predicted_values([1, 2], [1.5, 2.5], mae=0.5, r2=0.1)

    assert figure.axes[0].collections[0].get_offsets().tolist() == [[1, 1.5], [2, 2.5]]
    assert "mean absolute error 0.5" in figure.axes[0].get_title()


@pytest.mark.parametrize(("truths", "predictions"), [([], []), ([1, 2], [1])])
def test_numbers_that_do_not_pair_are_refused(truths, predictions):
    with pytest.raises(DlwError, match="each sample has both"):
        plot_predicted_values(truths, predictions)
