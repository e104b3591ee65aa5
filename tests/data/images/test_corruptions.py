"""What is done to an image: always the same to the same one, more at each strength, and of its own kind."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dlworkflow.data.images.corruptions import CORRUPTIONS

EACH = pytest.mark.parametrize("name", CORRUPTIONS)


@pytest.fixture(scope="module")
def photo():
    """A smooth image with edges, 96x64."""
    y, x = np.mgrid[:64, :96]
    values = 120 + 60 * np.sin(x / 9) + 40 * (y > 32) - 30 * (x > 50)
    return Image.fromarray(np.stack([values, values * 0.8, 255 - values], axis=2).clip(0, 255).astype(np.uint8))


def apart(image, other):
    """Return how different two images are at the size of the first, 0 to 255."""
    other = other.resize(image.size)
    return np.abs(np.asarray(image, float) - np.asarray(other, float)).mean()


@EACH
def test_the_same_image_is_corrupted_the_same_way_and_left_as_it_is(photo, name):
    before, (kind, strength) = photo.copy(), (CORRUPTIONS[name], CORRUPTIONS[name].strengths[1])
    first, second = (kind(photo, strength, name) for _ in range(2))

    assert first.tobytes() == second.tobytes()
    assert photo.tobytes() == before.tobytes()


@EACH
def test_a_higher_strength_changes_the_image_more(photo, name):
    kind = CORRUPTIONS[name]
    changes = [apart(photo, kind(photo, strength, name)) for strength in kind.strengths]

    assert 0 < changes[0] < changes[1] < changes[2]


@EACH
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (5, 90)])
def test_any_image_keeps_its_mode_and_is_never_empty(name, mode, size):
    for strength in CORRUPTIONS[name].strengths:
        found = CORRUPTIONS[name](Image.new(mode, size, "gray"), strength, name)
        assert found.mode == mode
        assert min(found.size) >= 1


def test_a_rotated_image_has_no_empty_corners():
    white = Image.new("L", (120, 80), 255)

    assert np.asarray(CORRUPTIONS["rotation"](white, 20, "rotation")).min() == 255


def test_images_are_turned_either_way():
    kind, turned = CORRUPTIONS["rotation"], set()
    for value in range(16):
        image = Image.new("L", (64, 64), value)
        image.paste(255, (0, 0, 64, 32))
        corners = np.asarray(kind(image, 10, "rotation"), int)
        turned.add(bool(corners[32, 2] > corners[32, -3]))

    assert turned == {True, False}


def test_a_crop_keeps_the_shape_of_the_image(photo):
    assert CORRUPTIONS["crop"](photo, 0.5, "crop").size == (48, 32)
