"""Figures of training: the curves are the history's numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from dlworkflow.errors import DlwError
from dlworkflow.plotting import plot_learning_rate, plot_loss_curves, plot_run_curves
from dlworkflow.plotting.style import COLOURS, SPLIT_COLOURS
from dlworkflow.runs import Run


def history(n=3, **more):
    rise = np.linspace(0.2, 0.8, n)
    return {
        "train_loss": list(1.5 - rise),
        "train_acc": list(rise),
        "test_loss": list(1.6 - rise),
        "test_acc": list(rise / 2),
        **more,
    }


def drawn(axis):
    return {line.get_label(): line.get_ydata().tolist() for line in axis.lines}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].texts]


def test_losses_stand_left_and_accuracies_in_percent_right():
    losses, accs = plot_loss_curves(history()).axes

    assert drawn(losses)["train"] == pytest.approx([1.3, 1.0, 0.7])
    assert drawn(accs)["test"] == pytest.approx([10, 25, 40])
    assert accs.get_ylabel() == "accuracy (%)"
    assert losses.lines[0].get_xdata().tolist() == [1, 2, 3]


def rows(columns):
    """Return a history as `Run.history()` does, with columns that are no curves."""
    epochs = zip(*columns.values(), strict=True)
    return [{"epoch": i, "lr": 0.1, **dict(zip(columns, values, strict=True))} for i, values in enumerate(epochs, 1)]


def test_the_rows_of_a_run_are_drawn_as_what_train_returns():
    for draw in (plot_loss_curves, lambda results: plot_run_curves({"a": results, "b": history(2)})):
        assert list(map(drawn, draw(rows(history())).axes)) == list(map(drawn, draw(history()).axes))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plot_loss_curves(Run("r")), "not Run; run.history\\(\\) of a run is one"),
        (lambda: plot_run_curves([history()]), "a dictionary of histories, {'name': run.history\\(\\)}, not list"),
        (lambda: plot_run_curves({"a": Run("r")}), "not Run; run.history"),
    ],
)
def test_what_is_no_history_is_named_with_the_way_out(call, words):
    with pytest.raises(DlwError, match=words):
        call()


def test_the_loss_may_be_named_with_its_unit():
    assert plot_loss_curves(history(), loss_label="cross entropy (nats)").axes[0].get_ylabel() == "cross entropy (nats)"


def test_a_validation_split_has_a_curve_and_each_split_its_colour():
    figure = plot_loss_curves(history(val_loss=[1, 1, 1], val_acc=[0.5] * 3))

    assert legend(figure) == ["train", "val", "test"]
    assert {x.get_label(): to_hex(x.get_color()) for x in figure.axes[0].lines} == SPLIT_COLOURS


@pytest.mark.parametrize("n", [3, 300])
def test_curves_are_told_apart_without_their_colours(n):
    splits = plot_loss_curves(history(n, val_loss=[1.0] * n, val_acc=[0.5] * n)).axes[0].lines
    runs = plot_run_curves({f"r{i}": history(n, train_loss=[i + 1.0] * n) for i in range(8)}).axes[0].lines

    assert [len({line.get_marker() for line in lines} - {""}) for lines in (splits, runs)] == [3, 8]


def test_the_best_epoch_is_a_line_in_both_panels_and_named_in_the_legend():
    figure = plot_loss_curves(history(), best_epoch=2)

    assert [axis.lines[-1].get_xdata() for axis in figure.axes] == [[2, 2], [2, 2]]
    assert legend(figure)[-1] == "best epoch: 2"


@pytest.mark.parametrize("best", [0, 4, -1])
def test_a_best_epoch_outside_the_history_is_an_error(best):
    with pytest.raises(DlwError, match="outside the history of 3 epochs"):
        plot_loss_curves(history(), best_epoch=best)


def test_a_regression_has_only_the_loss_panel():
    nothing = [math.nan] * 3

    assert len(plot_loss_curves(history(train_acc=nothing, test_acc=nothing)).axes) == 1


@pytest.mark.parametrize("results", [{}, {"train_loss": [], "test_loss": []}, {"epoch": [1]}])
def test_an_empty_history_is_an_error(results):
    with pytest.raises(DlwError, match="empty history"):
        plot_loss_curves(results)


def test_one_epoch_is_a_dot_and_its_tick_is_1():
    axis = plot_loss_curves(history(1)).axes[0]

    assert axis.lines[0].get_marker() == "o"
    assert [tick for tick in axis.get_xticks() if 0.5 <= tick <= 1.5] == [1]


def test_1000_epochs_are_a_line_with_a_few_marks_over_whole_epochs():
    axis = plot_loss_curves(history(1000)).axes[0]

    assert axis.lines[0].get_markevery() == (0, 125)
    assert len(axis.lines[0].get_ydata()) == 1000
    assert all(float(tick).is_integer() for tick in axis.get_xticks())


def test_nan_and_infinity_are_gaps():
    line = plot_loss_curves(history(3, train_loss=[1.0, math.nan, math.inf])).axes[0].lines[0]

    assert np.isnan(line.get_ydata()).tolist() == [False, True, True]


def test_an_epoch_between_two_gaps_is_a_dot():
    values = np.full(40, np.nan)
    values[7] = 0.5
    axis = plot_loss_curves({"train_loss": values}).axes[0]
    [dot] = [line for line in axis.lines if line.get_label() == "_alone"]

    assert (dot.get_xdata().tolist(), dot.get_ydata().tolist()) == ([8], [0.5])


def test_a_history_of_nothing_but_nan_says_so():
    [axis] = plot_loss_curves({"train_loss": [math.nan] * 2}).axes

    assert axis.texts[0].get_text() == "no finite value"


def test_losses_over_orders_of_magnitude_get_a_logarithmic_axis():
    figure = plot_loss_curves(history(3, train_loss=[900.0, 1.0, 0.9]))

    assert [axis.get_yscale() for axis in figure.axes] == ["log", "linear"]


def test_noise_in_the_accuracy_is_not_blown_up():
    low, high = plot_loss_curves(history(3, train_acc=[0.98, 0.99, 1.0], test_acc=[1.0] * 3)).axes[1].get_ylim()

    assert high - low >= 10
    assert (low, high) == (89.5, 100.5)


def test_the_learning_rate_is_drawn_in_steps_by_epoch():
    [axis] = plot_learning_rate([0.1, 0.1, 0.05]).axes

    assert axis.lines[0].get_ydata().tolist() == [0.1, 0.1, 0.05]
    assert axis.lines[0].get_drawstyle() == "steps-mid"
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("learning rate", "epoch")


@pytest.mark.parametrize(
    ("rates", "scale"), [([0.1, 0.01, 0.001], "log"), ([0.1, 0.05, 0.0], "linear"), ([0.1], "linear")]
)
def test_a_rate_over_orders_of_magnitude_gets_a_logarithmic_axis(rates, scale):
    assert plot_learning_rate(rates).axes[0].get_yscale() == scale


def test_no_rate_is_an_error():
    with pytest.raises(DlwError, match="no learning rate"):
        plot_learning_rate([])


def test_runs_share_four_panels():
    figure = plot_run_curves({"a": history(3), "b": history(5)})
    titles = [axis.get_title() for axis in figure.axes]

    assert titles == ["Train loss", "Test loss", "Train accuracy", "Test accuracy"]
    assert drawn(figure.axes[3])["a"] == pytest.approx([10, 25, 40])
    assert len(drawn(figure.axes[0])["b"]) == 5
    assert figure.axes[2].get_ylim() == figure.axes[3].get_ylim()
    assert legend(figure) == ["a", "b"]


def test_runs_without_accuracy_have_two_panels():
    assert len(plot_run_curves({"a": {"train_loss": [1.0], "test_loss": [1.0]}}).axes) == 2


def test_a_run_without_an_epoch_is_named_and_has_no_line():
    figure = plot_run_curves({"a": {}, "b": history()})

    assert legend(figure) == ["a (no epoch)", "b"]
    assert drawn(figure.axes[0])["a"] == []


def test_beyond_24_runs_the_figure_says_so_and_no_two_look_alike():
    figure = plot_run_curves({f"r{i}": history(train_loss=[i + 1.0, 1.0]) for i in range(30)})

    assert figure._suptitle.get_text().startswith("the first 24 of 30 runs")
    assert len({(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}) == 24


def test_a_run_with_a_dot_between_gaps_keeps_the_legend_right():
    gaps = np.full(40, np.nan)
    gaps[5] = 1
    figure = plot_run_curves({"a": {"train_loss": gaps}, "b": {"train_loss": np.ones(40)}})
    colours = [line.get_color() for line in figure.axes[0].lines if line.get_label() in "ab"]

    assert [handle.get_color() for handle in figure.legends[0].legend_handles] == colours


def seen_colours(figure):
    """Return the colours of the pixels of a figure without its legend."""
    figure.legends[0].remove()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return {to_hex(pixel) for pixel in np.unique(np.asarray(canvas.buffer_rgba()).reshape(-1, 4), axis=0) / 255}


@pytest.mark.parametrize(("k", "n"), [(2, 300), (8, 5)])
def test_each_of_the_runs_whose_curves_coincide_is_seen(k, n):
    figure = plot_run_curves({f"r{i}": history(n) for i in range(k)})

    assert seen_colours(figure) >= set(COLOURS[:k])
    assert "coincide" in figure._suptitle.get_text()


def test_curves_that_part_are_drawn_through():
    figure = plot_run_curves({"a": history(), "b": {key: 2 * np.array(value) for key, value in history().items()}})

    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "-"]
    assert figure._suptitle is None


def test_a_longer_run_that_coincides_with_the_start_of_it_takes_turns_too():
    figure = plot_run_curves({"a": {"train_loss": [3.0, 2.0, 1.0]}, "b": {"train_loss": [3.0, 2.0]}})

    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["--", "--"]


def test_splits_that_coincide_take_turns_too():
    figure = plot_loss_curves({"train_loss": [2.0, 1.0], "test_loss": [2.0, 1.0]})

    assert seen_colours(figure) >= {SPLIT_COLOURS["train"], SPLIT_COLOURS["test"]}


@pytest.mark.parametrize("runs", [{}, {"a": {}}, {"a": {"train_loss": []}}])
def test_no_run_with_an_epoch_is_an_error(runs):
    with pytest.raises(DlwError, match="empty history"):
        plot_run_curves(runs)
