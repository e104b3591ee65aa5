from __future__ import annotations

import pytest

from dlworkflow.errors import DlwError
from dlworkflow.plotting import plot_sweep


def rows_of(*pairs, keys=("optimizer.lr",)):
    return [{**dict(zip(keys, values, strict=True)), "test_loss": mean, "test_loss_sd": 0.1} for values, mean in pairs]


def test_one_setting_is_a_line_in_the_order_of_its_values():
    [axis] = plot_sweep(rows_of(((0.1,), 1.0), ((0.01,), 2.0)), ["optimizer.lr"], "test_loss").axes

    assert list(axis.lines[0].get_xdata()) == [0.01, 0.1]
    assert list(axis.lines[0].get_ydata()) == [2.0, 1.0]


@pytest.mark.parametrize(("values", "scale"), [((1e-4, 1e-1), "log"), ((8, 16), "linear"), ((0, 100), "linear")])
def test_values_that_span_orders_of_magnitude_have_a_logarithmic_axis(values, scale):
    figure = plot_sweep(rows_of(*(((value,), 1.0) for value in values)), ["optimizer.lr"], "test_loss")

    assert figure.axes[0].get_xscale() == scale


def test_error_bars_are_the_deviations():
    [axis] = plot_sweep(rows_of(((1,), 1.0), ((2,), 2.0)), ["optimizer.lr"], "test_loss").axes

    spans = axis.collections[0].get_segments()[0][:, 1].tolist()
    assert spans == pytest.approx([0.9, 1.1])


def test_two_settings_are_a_heat_map_with_a_hole_where_nothing_ran():
    keys = ("a", "b")
    rows = rows_of(((1, "x"), 1.0), ((1, "y"), 2.0), ((2, "x"), 3.0), keys=keys)

    image = plot_sweep(rows, keys, "test_loss").axes[0].images[0].get_array()

    assert image.shape == (2, 2)
    assert image.mask.sum() + (image != image).sum() == 1


def test_three_settings_are_ranked_bars_the_best_on_top():
    rows = rows_of(((1, 2, 3), 1.0), ((4, 5, 6), 2.0), keys=("a", "b", "c"))
    [axis] = plot_sweep(rows, ("a", "b", "c"), "test_loss").axes

    assert [bar.get_width() for bar in axis.patches] == [1.0, 2.0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a=1, b=2, c=3", "a=4, b=5, c=6"]
    assert axis.yaxis_inverted()


def test_accuracies_are_drawn_in_percent():
    [axis] = plot_sweep([{"a": 1, "test_acc": 0.5, "test_acc_sd": None}], ["a"], "test_acc").axes

    assert list(axis.lines[0].get_ydata()) == [50.0]
    assert axis.get_ylabel() == "test accuracy (%)"


def test_nothing_to_draw_is_told():
    with pytest.raises(DlwError, match="no combination has a result"):
        plot_sweep([{"a": 1, "test_loss": None}], ["a"], "test_loss")
