"""The map of samples: every sample is drawn, wrong ones are seen, thumbnails cover nothing."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from dlworkflow.errors import DlwError
from dlworkflow.plotting.embedding import plot_embedding, plot_thumbnails, thumbnail_places

rng = np.random.default_rng(0)


def groups(classes, n):
    labels = rng.integers(0, classes, n)
    return 8 * rng.normal(size=(classes, 2))[labels] + rng.normal(size=(n, 2)), labels


def n_drawn(figure):
    return sum(len(dots.get_offsets()) for dots in figure.axes[0].collections)


@pytest.mark.parametrize("classes", [2, 101])
def test_every_sample_is_drawn(classes):
    points, labels = groups(classes, 300)

    assert n_drawn(plot_embedding(points, labels, ["x"] * classes, wrong=labels == 1)) == 300


def test_as_many_samples_have_a_black_rim_as_are_wrong():
    points, labels = groups(3, 100)
    figure = plot_embedding(points, labels, ["a", "b", "c"], wrong=np.arange(100) < 7)

    rims = [rim for dots in figure.axes[0].collections for rim in dots.get_edgecolors()]
    assert sum(tuple(rim) == to_rgba("black") for rim in rims) == 7


def test_values_are_explained_by_a_colour_bar():
    points, values = groups(3, 30)[0], rng.normal(size=30)

    assert plot_embedding(points, values, value_name="price").axes[1].get_ylabel() == "price"


def test_no_thumbnail_covers_another():
    places = thumbnail_places(rng.random((500, 2)))

    step = min(abs(a.left - b.left) for a, b in combinations(places, 2) if a.left != b.left)
    assert len(places) > 100
    for a, b in combinations(places, 2):
        assert max(abs(a.left - b.left), abs(a.bottom - b.bottom)) > 0.99 * step


def test_a_thumbnail_is_of_a_sample_of_its_cell():
    points = np.array([[0.0, 0.0], [10.0, 10.0], [0.1, 0.0]])

    assert sorted(place.sample for place in thumbnail_places(points)) in ([0, 1], [1, 2])


def test_thumbnails_of_every_shape_are_drawn():
    points, labels = groups(3, 60)
    places = thumbnail_places(points)
    images = [np.zeros(((5, 9), (9, 5, 3))[place.sample % 2], np.uint8) for place in places]

    figure = plot_thumbnails(points, places, images, labels, ["a", "b", "c"], wrong=labels == 0)

    assert len(figure.axes[0].images) == len(places)


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(DlwError, match="2 points, 3 labels"):
        plot_embedding(np.zeros((2, 2)), [0, 1, 1], ["a", "b"])
