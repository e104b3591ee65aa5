"""What all figures share: no display, the notes' current axes, names that fit."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dlworkflow import plotting
from dlworkflow.plotting import plot_confusion_matrix, plot_learning_rate
from dlworkflow.plotting.style import as_array, axes_for, fit, legend_below, new_figure, text_width


@pytest.fixture
def pyplot(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.close("all")
    yield plt
    plt.close("all")


def test_importing_and_drawing_loads_neither_pyplot_nor_torch():
    code = (
        "import sys, dlworkflow.plotting as p; p.plot_learning_rate([0.1, 0.2]).draw_without_rendering();"
        "print([n for n in ('matplotlib.pyplot', 'torch', 'pandas') if n in sys.modules])"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("name", plotting.__all__)
def test_every_name_of_all_is_there(name):
    assert callable(getattr(plotting, name))


def test_a_given_ax_is_drawn_on_and_its_figure_returned():
    figure = Figure()
    left, right = figure.subplots(1, 2)

    assert plot_learning_rate([0.1, 0.2], ax=right) is figure
    assert (len(left.lines), len(right.lines)) == (0, 1)


def test_an_ax_of_a_subfigure_gives_the_whole_figure():
    figure = Figure()

    assert plot_learning_rate([0.1], ax=figure.subfigures(1, 2)[0].subplots()) is figure


def test_a_new_figure_is_none_of_pyplots(pyplot):
    pyplot.figure()

    assert plot_learning_rate([0.1]).axes
    assert not pyplot.gcf().axes


def test_a_confusion_matrix_on_small_axes_leaves_its_cells_empty():
    axes = Figure(figsize=(2, 2)).subplots()

    plot_confusion_matrix(np.ones((9, 9)), [f"c{i}" for i in range(9)], ax=axes)

    assert not axes.texts


def test_axes_for_says_whether_the_figure_is_new():
    _, axis, is_new = axes_for(None, 2, 2)

    assert is_new
    assert axes_for(axis, 2, 2) == (axis.figure, axis, False)


@pytest.mark.parametrize("name", ["W" * 80, "a rather long name of a class", "short", "", "a\nb"])
def test_a_fitted_name_is_no_wider_than_its_room(name):
    text = fit(name, 1.0, 9)

    assert text_width(text, 9) <= 1.0
    assert "\n" not in text


@pytest.mark.parametrize("name", ["T-shirt/top", "AVATAR", "a b  c", "W" * 20, "iiiiiiii"])
def test_a_width_is_the_drawn_one_but_for_kerning(name):
    figure = new_figure(4, 1)
    renderer = FigureCanvasAgg(figure).get_renderer()
    drawn = figure.text(0, 0.5, name, fontsize=9).get_window_extent(renderer).width / figure.dpi

    assert 0.97 * drawn <= text_width(name, 9) <= 1.15 * drawn


def test_dollars_in_a_name_are_no_mathematics():
    axis = new_figure(2, 2).subplots()
    axis.set_title(fit("5$ or 6$", 2, 9))

    axis.figure.draw_without_rendering()

    assert axis.title._preprocess_math(axis.get_title()) == ("5$ or 6$", False)


def test_a_legend_keeps_a_name_that_begins_with_an_underscore():
    figure = new_figure(3, 3)
    legend_below(figure, figure.subplots().plot([1, 2]), ["_hidden"])

    assert [text.get_text().strip() for text in figure.legends[0].texts] == ["_hidden"]


def test_tensors_with_a_gradient_become_arrays():
    assert as_array(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
