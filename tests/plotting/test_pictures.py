"""The figure that `dlw predict --plot` writes."""

from __future__ import annotations

import numpy as np
import pytest

from dlworkflow.errors import DlwError
from dlworkflow.plotting import plot_predicted_images, save_figure


def drawn(figure):
    return [axis for axis in figure.axes if axis.get_title()]


def test_each_picture_bears_its_title():
    figure = plot_predicted_images([np.zeros((4, 4)), np.ones((4, 4, 3))], ["Pred: a | Prob: 0.374", "Pred: b"])

    assert [axis.get_title() for axis in drawn(figure)] == ["Pred: a | Prob: 0.374", "Pred: b"]
    assert drawn(figure)[1].images[0].get_array().shape == (4, 4, 3)


def test_a_picture_that_could_not_be_read_has_a_place_and_no_image():
    [axis] = drawn(plot_predicted_images([None], ["no such file"]))

    assert not axis.images
    assert axis.texts[0].get_text() == "not readable"


def test_more_than_25_pictures_are_cut_and_the_figure_says_so():
    figure = plot_predicted_images([np.zeros((2, 2))] * 40, ["t"] * 40)

    assert len(drawn(figure)) == 25
    assert figure._supxlabel.get_text() == "the first 25 of 40 pictures"


def test_no_pictures_is_an_error():
    with pytest.raises(DlwError, match="no pictures"):
        plot_predicted_images([], [])


@pytest.mark.parametrize("name", ["f.png", "f.svg", "f.pdf"])
def test_a_figure_is_written_in_the_format_of_its_name(tmp_path, name):
    path = save_figure(plot_predicted_images([np.zeros((2, 2))], ["t"]), tmp_path / name)

    assert path.stat().st_size > 500


@pytest.mark.parametrize(("name", "words"), [("f.bmpx", "name it"), ("none/f.png", "cannot write")])
def test_a_format_or_a_folder_that_is_not_there_is_named(tmp_path, name, words):
    with pytest.raises(DlwError, match=words):
        save_figure(plot_predicted_images([np.zeros((2, 2))], ["t"]), tmp_path / name)
