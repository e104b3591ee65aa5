"""Augmentations by name; those of other packages are known as the library's own."""

import pytest
from PIL import ImageOps

from dlworkflow.data.images.augmentations import AUGMENTATIONS, register
from dlworkflow.data.images.transforms import parse
from dlworkflow.errors import ConfigError


def border(*, width: int = 1, size: tuple[int, int]):
    """Paint a border of some pixels in grey."""

    def paint(image):
        inner = ImageOps.crop(image.resize(size[::-1]), width)
        return ImageOps.expand(inner, width, fill=(128,) * len(image.getbands()))

    return paint


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(AUGMENTATIONS, "registered", {})
    register("border", border)


def test_an_augmentation_of_ones_own_is_applied_with_its_settings_and_the_size(own, paint, tmp_path):
    pipeline = parse([{"border": {"width": 2}}], image_size=[6, 9])

    image = pipeline.augmentation(pipeline.read(paint(tmp_path / "0.png"), 3))

    assert image.size == (9, 6)
    assert {image.getpixel((x, y)) for x in range(9) for y in (0, 1, 4, 5)} == {(128, 128, 128)}


def test_its_settings_are_checked_by_its_signature(own):
    with pytest.raises(ConfigError) as caught:
        parse([{"border": {"width": 1.5, "height": 1, "size": 3}}], image_size=8)

    assert [fault.split(": ")[0] for fault in caught.value.faults] == [
        "data.transform.border.width",
        "data.transform.border.height",
        "data.transform.border.size",
    ]


def test_an_unknown_one_is_an_error_that_names_the_nearest(own):
    with pytest.raises(ConfigError, match="unknown transform 'bordr'; did you mean 'border'"):
        parse("bordr", image_size=8)


def test_a_name_of_the_library_cannot_be_taken(own):
    with pytest.raises(ConfigError, match="augmentation 'flip' is the library's own"):
        register("flip", border)


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_each_has_a_line_of_help_and_defaults_that_work(name, paint, tmp_path):
    pipeline = parse(name, image_size=16)

    assert AUGMENTATIONS.about(name)
    assert pipeline.augmentation(pipeline.read(paint(tmp_path / "0.png"), 3)).size == (16, 16)
