"""Images of any layout become what imshow takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dlworkflow.errors import DlwError
from dlworkflow.plotting.grid import as_image, draw_grid


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 6), (5, 6)),
        ((1, 5, 6), (5, 6)),
        ((5, 6, 1), (5, 6)),
        ((3, 5, 6), (5, 6, 3)),
        ((5, 6, 3), (5, 6, 3)),
        ((4, 4, 3), (4, 4, 3)),
        ((5, 3, 3), (5, 3, 3)),
        ((4, 5, 6), (5, 6, 4)),
        ((5, 6, 4), (5, 6, 4)),
    ],
)
def test_channels_come_last(shape, expected):
    assert as_image(np.zeros(shape)).shape == expected


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 3, 3), (1, 5, 3), (3, 5, 3), (3, 5, 4), (1, 5, 1)])
def test_a_shape_that_has_two_readings_is_drawn_as_its_layout_says(shape):
    array = np.random.default_rng(0).random(shape)

    assert np.array_equal(as_image(array, "hwc"), array.squeeze(2) if shape[2] == 1 else array)
    assert np.array_equal(
        as_image(array, "chw"), np.moveaxis(array, 0, -1).squeeze(2) if shape[0] == 1 else np.moveaxis(array, 0, -1)
    )
    with pytest.raises(DlwError, match=r"may have its channels first or last: say layout='chw' or 'hwc'"):
        as_image(array)


def test_the_channels_of_a_pil_image_are_the_last_and_those_of_a_small_tensor_the_first():
    pixels = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)

    assert np.array_equal(as_image(Image.fromarray(pixels)), pixels)
    assert np.array_equal(as_image(Image.fromarray(pixels), "chw"), pixels)
    assert as_image(torch.zeros(3, 5, 3)).shape == (5, 3, 3)


@pytest.mark.parametrize("value", [np.float64(0.5), np.uint8(128)])
def test_no_more_pixels_are_held_than_a_figure_shows(value):
    figure = draw_grid([np.full((1500, 1000), value), np.full((1500, 1000, 3), value)], ["a", "b"])

    shown = [image.get_array() for axis in figure.axes for image in axis.images]
    assert [array.shape[:2] for array in shown] == [(1000, 667), (1000, 667)]
    assert all((array == 128).all() for array in shown)


def test_a_tensor_keeps_its_values_pixel_by_pixel():
    tensor = torch.rand(3, 4, 5)

    assert np.allclose(as_image(tensor)[2, 3], tensor[:, 2, 3])


@pytest.mark.parametrize("shape", [(5,), (2, 5, 6), (1, 3, 5, 6), (0, 4), (3, 0, 4)])
def test_what_is_no_image_is_an_error_that_names_its_shape(shape):
    with pytest.raises(DlwError, match=rf"not \({shape[0]},"):
        as_image(np.zeros(shape))


def test_bytes_stay_bytes():
    assert as_image(np.full((2, 2), 200, dtype=np.uint8)).tolist() == [[200, 200], [200, 200]]


def test_a_normalised_image_is_stretched_over_the_whole_range():
    assert as_image(np.array([[-2.0, 0.0], [0.0, 2.0]])).tolist() == [[0, 0.5], [0.5, 1]]


def test_rounding_beyond_one_is_cut_and_nothing_is_stretched():
    assert as_image(np.array([[0.5, 1.01]])).tolist() == [[0.5, 1.0]]


def test_nan_is_black():
    assert as_image(np.array([[np.nan, 1.0]])).tolist() == [[0, 1]]


def test_fewer_titles_than_images_is_an_error():
    with pytest.raises(DlwError, match="2 images and 1 titles"):
        draw_grid([np.zeros((2, 2))] * 2, ["t"])
