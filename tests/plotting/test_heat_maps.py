"""Heat maps over images: red where above 0, blue where below, on one scale; a map that does not fit is an error."""

from __future__ import annotations

import numpy as np
import pytest

from dlworkflow.errors import DlwError
from dlworkflow.plotting import plot_heat_maps
from dlworkflow.plotting.style import BLUE, RED


def overlay(axis):
    return axis.get_images()[1].get_array()


def test_what_speaks_for_a_class_is_red_and_what_speaks_against_it_blue():
    figure = plot_heat_maps([np.ones((2, 2))], [[np.array([[1.0, -1.0], [0.5, 0.0]])]], [["x.png", "cat"]])

    colours = overlay(figure.axes[1])
    red, blue = (tuple(int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)) for code in (RED, BLUE))
    assert tuple(colours[0, 0, :3]) == pytest.approx(red)
    assert tuple(colours[0, 1, :3]) == pytest.approx(blue)
    assert list(colours[:, :, 3].ravel()) == pytest.approx([0.85, 0.85, 0.425, 0], abs=0.01)


def test_the_maps_of_an_image_have_one_scale():
    maps = [np.full((2, 2), 1.0), np.full((2, 2), 0.1)]
    figure = plot_heat_maps([np.ones((2, 2))], [maps], [["x.png", "cat", "dog"]])

    assert overlay(figure.axes[2])[0, 0, 3] == pytest.approx(overlay(figure.axes[1])[0, 0, 3] / 10)


def test_what_the_model_sees_has_a_frame():
    figure = plot_heat_maps([np.ones((4, 8))], [[np.ones((4, 8))]], [["x", "cat"]], seen=[(2, 0, 6, 4)])

    [frame] = figure.axes[1].patches
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((1.5, -0.5), 4, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], [], []), "no images"),
        (([np.ones((2, 2))], [[np.ones((3, 2))]], [["x", "cat"]]), r"a map of \(3, 2\) over an image of \(2, 2\)"),
        (([np.ones((2, 2))], [[np.ones((2, 2))]], [["x"]]), "1 maps and 1 titles"),
    ],
)
def test_what_does_not_fit_is_an_error(arguments, words):
    with pytest.raises(DlwError, match=words):
        plot_heat_maps(*arguments)
