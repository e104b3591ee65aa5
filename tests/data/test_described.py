"""What a data set says of itself, as a reader of the notes asks torchvision's."""

from __future__ import annotations

import pytest
import torch

from dlworkflow import data
from dlworkflow.data.datasets.image_folder import ImageFolderCustom
from dlworkflow.data.images.transforms import parse
from dlworkflow.data.shards.reading import ShardData
from dlworkflow.data.splits import with_validation

DIGITS = [str(label) for label in range(10)]


@pytest.fixture
def digits():
    return data.load("digits")


def test_images_have_classes_labels_and_pixels_as_torchvisions_have_them(digits):
    train = digits.train

    assert (train.classes, train.class_to_idx["7"]) == (DIGITS, 7)
    assert torch.equal(train.targets, train.labels)
    assert (train.data.shape, train.data.dtype) == ((1437, 8, 8), torch.uint8)


def test_colour_images_keep_their_channels():
    assert data.load("digits", channels=3).test.data.shape == (360, 3, 8, 8)


def test_points_have_classes_labels_and_inputs():
    train = data.load("circles").train

    assert (train.class_to_idx, train.data.shape, train.targets.shape) == ({"outer": 0, "inner": 1}, (800, 2), (800,))


def test_every_split_and_what_is_made_of_it_has_the_classes(digits):
    cut = with_validation(digits, 0.2, random_state=0)
    made = [cut.train, cut.val, cut.test, cut.test.without_augmentation(), cut.test.on_device(torch.device("cpu"))]

    assert [part.classes for part in made] == [DIGITS] * 5


def test_inputs_that_stay_in_files_are_not_in_memory(pets):
    train = data.load("image_folder", path=str(pets)).train

    assert not hasattr(train, "data")
    with pytest.raises(AttributeError, match="its files are read sample by sample"):
        train.data  # noqa: B018 - what raises


def test_the_labels_of_shards_are_in_their_files():
    assert not hasattr(ShardData((), 2, parse(None, image_size=4), 3), "targets")


@pytest.mark.parametrize(
    ("part", "lines"),
    [
        (
            lambda _: data.load("circles").test,
            ["Dataset TensorData", "Number of datapoints: 200", "Classes: outer, inner", "Sample: (2,) float32"],
        ),
        (
            lambda _: data.load("digits", transform="flip").train,
            [
                *("Dataset ImageData", "Number of datapoints: 1437", "Classes: 0, 1, 2, 3, 4, 5 and 4 more"),
                *("Sample: (1, 8, 8) float32", "Transform: resize size=[8, 8], flip"),
            ],
        ),
        (
            lambda pets: ImageFolderCustom(pets / "train", transform=str),
            [
                *("Dataset ImageFolderCustom", "Number of datapoints: 9", "Classes: cat, dog"),
                *("Root location: {pets}/train", "Transform: <class 'str'>"),
            ],
        ),
        (
            lambda _: ShardData((), 2, parse(None, image_size=4), 3),
            [
                *("Dataset ShardData", "Number of datapoints: 0", "Shards: 0", "Sample: (3, 4, 4) float32"),
                "Transform: resize size=[4, 4]",
            ],
        ),
    ],
    ids=["points", "images", "folder", "shards"],
)
def test_its_repr_describes_a_data_set(part, lines, pets):
    assert repr(part(pets)) == "\n    ".join(lines).format(pets=pets)
