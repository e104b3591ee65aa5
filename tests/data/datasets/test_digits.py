import numpy as np
import pytest
import torch
from PIL import Image
from sklearn import datasets
from torchvision import transforms

from dlworkflow import data
from dlworkflow.data.images.dataset import load_image
from dlworkflow.data.images.pixels import to_pil, to_uint8
from dlworkflow.errors import DataError, DlwError


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def order(digits):
    """Where each digit of scikit-learn's list is when the test split is laid behind the training split."""
    return np.argsort(digits.indices["train"] + digits.indices["test"])


def test_every_digit_is_in_one_split_with_its_own_pixels(digits, order):
    values, _ = datasets.load_digits(return_X_y=True)
    pixels = torch.cat([digits.train.images, digits.test.images]).numpy()[order]

    assert np.array_equal(pixels.reshape(1797, 64), np.round(values * 255 / 16))


def test_every_digit_keeps_its_label(digits, order):
    labels = torch.cat([digits.train.labels, digits.test.labels]).numpy()[order]

    assert np.array_equal(labels, datasets.load_digits().target)


def test_a_digit_comes_back_from_a_png_file_with_the_same_pixels(digits, tmp_path):
    for index, picture in enumerate(digits.test.images):
        to_pil(picture).save(tmp_path / f"{index}.png")
    back = [to_uint8(load_image(tmp_path / f"{index}.png", channels=1)) for index in range(len(digits.test))]

    assert torch.equal(torch.stack(back), digits.test.images)


def test_every_digit_has_its_share_in_the_test_split(digits):
    shares = digits.test.labels.bincount() / torch.cat([digits.train.labels, digits.test.labels]).bincount()

    assert shares.tolist() == pytest.approx([0.2] * 10, abs=0.005)


def test_the_splits_are_the_same_every_time(digits):
    assert data.load("digits").indices == digits.indices


def test_another_random_state_splits_otherwise(digits):
    assert data.load("digits", random_state=1).indices != digits.indices


def test_a_batch_is_grey_floats_up_to_one(digits):
    X, _ = digits.train.batch(range(100))

    assert (X.shape, X.dtype, X.min().item(), X.max().item()) == ((100, 1, 8, 8), torch.float32, 0.0, 1.0)


def test_a_larger_image_size_is_what_torchvision_makes_of_the_picture(digits):
    larger = data.load("digits", image_size=[12, 20])
    picture = Image.fromarray(digits.test.images[0, 0].numpy())
    way = transforms.Compose([transforms.Resize((12, 20)), transforms.ToTensor()])

    assert torch.equal(larger.test[0][0], way(picture))


def test_augmentation_touches_the_training_split_only():
    digits = data.load("digits", transform="trivial_augment")

    assert (digits.train.pipeline.augmentations != (), digits.test.pipeline.augmentations) == (True, ())


def test_too_small_a_test_fraction_is_refused():
    with pytest.raises(DataError, match=r"data\.test_fraction: 0\.001 of 1797 samples leaves a class without"):
        data.load("digits", test_fraction=0.001)


def test_a_random_state_that_no_generator_takes_is_refused():
    with pytest.raises(DlwError, match=r"data\.random_state"):
        data.load("digits", random_state=2**33)
