"""What is measured in an image: known images have known brightness, sharpness, size and aspect."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from dlworkflow.data.images.measured import measured
from dlworkflow.data.images.pixels import to_bytes


def test_black_is_0_and_white_is_1():
    assert [measured(np.full((3, 4, 4), value, np.uint8)).brightness for value in (0, 255)] == pytest.approx([0, 1])


def test_a_blurred_image_is_less_sharp():
    image = Image.effect_noise((40, 40), 60)
    blurred = image.filter(ImageFilter.GaussianBlur(2))

    assert measured(to_bytes(blurred)).sharpness < 0.1 * measured(to_bytes(image)).sharpness


def test_size_and_aspect_are_those_before_it_was_shrunk():
    found = measured(np.zeros((1, 4, 8), np.uint8), size=(800, 400))

    assert (found.size, found.aspect) == (320_000, 2)


def test_an_image_without_an_inside_has_no_sharpness():
    assert np.isnan(measured(np.zeros((3, 2, 2), np.uint8)).sharpness)
