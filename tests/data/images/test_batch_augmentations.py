"""Augmentations of a whole batch: the pixels of one image after the other, and draws as often."""

from collections import Counter
from inspect import Parameter, signature

import pytest
import torch
from torchvision.transforms import TrivialAugmentWide, v2

from dlworkflow.data import load
from dlworkflow.data.images import batch_augmentations as fast
from dlworkflow.data.images.augmentations import AUGMENTATIONS, FAST
from dlworkflow.data.images.pixels import to_pil, to_uint8
from dlworkflow.data.images.transforms import parse
from dlworkflow.errors import ConfigError

BINS = 31


def some_images(n=6, channels=3, height=19, width=24):
    generator = torch.Generator().manual_seed(5)
    coarse = torch.randint(20, 240, (n, channels, 4, 5), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (smooth + 12 * torch.rand(smooth.shape, generator=generator)).to(torch.uint8)


def by_torchvision(image, draws, monkeypatch):
    """Return what torchvision's transform of one image makes of given draws."""
    left = iter(draws)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "randint", lambda high, size, **_: torch.tensor([next(left)]))
        return to_uint8(TrivialAugmentWide(BINS)(to_pil(image)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", fast.OPERATIONS)
def test_every_operation_has_the_pixels_of_torchvisions_on_one_image(operation, channels, monkeypatch):
    which = fast.OPERATIONS.index(operation)
    draws = [(which, bin_, sign) for bin_ in (0, 1, 9, 20, 26, 30) for sign in (0, 1)]
    images = some_images(len(draws), channels)

    at_once = fast.operated(images, *torch.tensor(draws).unbind(dim=1), BINS)

    one_by_one = [by_torchvision(image, own, monkeypatch) for image, own in zip(images, draws, strict=True)]
    assert torch.equal(at_once, torch.stack(one_by_one))


def test_each_operation_is_drawn_as_often_as_torchvision_draws_it(monkeypatch):
    drawn = []
    monkeypatch.setattr(fast, "operated", lambda images, *draws: drawn.append(torch.stack(draws[:3])))
    torch.manual_seed(0)

    fast.trivial_augment(torch.zeros(14 * 2000, 1, 1, 1), num_magnitude_bins=BINS)

    for draws, n in zip(drawn[0], (14, BINS, 2), strict=True):
        share = torch.bincount(draws, minlength=n) / draws.numel()
        assert share == pytest.approx(torch.full((n,), 1 / n), rel=0.12)


def test_a_crop_is_one_of_torchvisions_with_all_places_equally_likely():
    image = torch.arange(1, 13, dtype=torch.uint8).view(1, 1, 3, 4)
    crop = v2.RandomCrop((3, 4), padding=1)
    torch.manual_seed(0)
    of_torchvision = {tuple(crop(image).flatten().tolist()) for _ in range(200)}

    found = Counter(
        map(tuple, fast.random_crop(image.expand(900, -1, -1, -1), padding=1, size=(3, 4)).flatten(1).tolist())
    )

    assert found.keys() == of_torchvision
    assert min(found.values()) > 60


@pytest.mark.parametrize("name", FAST)
def test_a_fast_way_has_the_settings_and_defaults_of_the_other(name):
    settings = {key: value.default for key, value in signature(AUGMENTATIONS[name]).parameters.items()}

    own = {key: value.default for key, value in signature(getattr(fast, FAST[name])).parameters.items()}

    assert own == {"images": Parameter.empty, **settings}


@pytest.mark.parametrize("name", FAST)
def test_each_image_of_a_batch_has_a_draw_of_its_own(name):
    pipeline = parse([{name: {}}], image_size=[19, 24], fast_augment=True)
    torch.manual_seed(1)

    changed = pipeline.batch_augmentation(some_images(1).expand(12, -1, -1, -1))

    assert len({image.numpy().tobytes() for image in changed}) > 1


def test_the_draws_of_a_batch_are_as_many_whatever_they_are():
    pipeline = parse("flip,trivial_augment,random_crop", image_size=[19, 24], fast_augment=True)
    places = set()
    for seed in range(4):
        torch.manual_seed(seed)
        pipeline.batch_augmentation(some_images())
        after = torch.get_rng_state()
        torch.manual_seed(seed)
        torch.randint(2, (6 * 6,))
        places.add(torch.equal(after, torch.get_rng_state()))

    assert places == {True}


def test_a_step_without_a_fast_way_is_applied_image_by_image_between_the_others():
    pipeline = parse("flip,rotation,trivial_augment", image_size=[19, 24], fast_augment=True)

    assert pipeline.batch_augmentation(some_images()).shape == (6, 3, 19, 24)


def test_without_the_setting_images_are_augmented_one_by_one_with_the_draws_of_torchvision():
    pipeline = parse("trivial_augment", image_size=[19, 24])
    torch.manual_seed(3)
    one_by_one = [to_uint8(pipeline.augmentation(to_pil(image))) for image in some_images()]
    torch.manual_seed(3)

    assert torch.equal(pipeline.batch_augmentation(some_images()), torch.stack(one_by_one))


def test_evaluation_has_no_fast_way_to_take():
    assert parse("flip", image_size=8, fast_augment=True).for_evaluation() == parse(None, image_size=8)


@pytest.mark.parametrize(
    ("transform", "note"),
    [
        (None, "data.fast_augment is not used: data.transform has no augmentation"),
        ("flip", "data.fast_augment is not used: flip alone is always applied to a whole batch"),
        (
            "rotation",
            "data.fast_augment is not used: rotation has no fast way; flip, trivial_augment, random_crop have one",
        ),
        (
            "flip,rotation",
            "data.fast_augment: rotation is applied image by image; flip, trivial_augment, random_crop have a fast way",
        ),
    ],
)
def test_the_setting_is_noted_where_it_does_nothing_or_not_for_all_steps(transform, note):
    assert load("digits", transform=transform, fast_augment=True).notes == (note,)


def test_no_note_where_every_step_has_a_fast_way():
    assert load("digits", transform="trivial_augment,flip", fast_augment=True).notes == ()


def test_of_data_without_images_it_is_an_unknown_setting():
    with pytest.raises(ConfigError, match=r"data\.fast_augment"):
        load("circles", fast_augment=True)
