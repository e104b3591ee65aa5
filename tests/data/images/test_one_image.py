"""An image file in numbers: as it is in the file, and as a tensor."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dlworkflow.data.images.decoding import ImageError
from dlworkflow.data.images.one_image import describe_image


@pytest.fixture
def saved(tmp_path):
    def save(array, name="a.png", **options):
        Image.fromarray(array).save(tmp_path / name, **options)
        return describe_image(tmp_path / name)

    return save


def test_the_size_of_a_file_is_what_it_has_on_the_disk(tmp_path, saved):
    facts = saved(np.zeros((5, 7, 3), np.uint8))

    assert (facts.format, facts.mode, facts.width, facts.height) == ("PNG", "RGB", 7, 5)
    assert facts.n_bytes == (tmp_path / "a.png").stat().st_size


def test_values_are_bytes_in_the_file_and_between_0_and_1_in_the_tensor(saved):
    file, tensor = saved(np.array([[[0, 51, 255]]], np.uint8)).values

    assert (file["dtype"], file["shape"], file["min"], file["max"], file["mean"]) == ("uint8", "3x1x1", 0, 255, 102)
    assert (tensor["dtype"], tensor["min"], tensor["max"], tensor["mean"]) == ("float32", 0, 1, pytest.approx(0.4))


def test_a_grey_image_has_one_channel(saved):
    assert [row["shape"] for row in saved(np.zeros((2, 3), np.uint8)).values] == ["1x2x3", "1x2x3"]


def test_16_bits_are_shown_as_they_are_and_scaled_in_the_tensor(saved):
    file, tensor = saved(np.array([[0, 65535]], np.uint16)).values

    assert (file["max"], tensor["max"]) == (65535, 1)


def test_an_image_whose_range_is_not_known_has_no_tensor_and_a_reason(saved):
    facts = saved(np.array([[-3.5, 9.0]], np.float32), "a.tif")

    assert [row["max"] for row in facts.values] == [9.0]
    assert "go from -3.5 to 9" in facts.note


def test_an_image_is_upright_as_its_camera_held_it(saved):
    turned = Image.Exif()
    turned[0x0112] = 6
    facts = saved(np.zeros((5, 7, 3), np.uint8), "a.jpg", exif=turned)

    assert (facts.width, facts.height) == (5, 7)


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")

    with pytest.raises(ImageError, match=r"a\.png"):
        describe_image(tmp_path / "a.png")
