"""Looks: the same for copies, none for pictures with nothing in them, and grouped without comparing all with all."""

import random
import time

import numpy as np
import pytest
from PIL import Image

from dlworkflow.data.check.near_duplicates import FARTHEST, SMALLEST_SIDE, alike, look_of

RAMP = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))


def noise(seed=0, side=SMALLEST_SIDE):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def at(distance, look=0x5A5A << 60):
    """A look that differs from `look` in so many bits, spread over all of it."""
    return f"{look ^ sum(1 << 7 * bit for bit in range(distance)):032x}"


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (64, 64), "white"),
        Image.fromarray(RAMP),
        Image.fromarray(RAMP.T.copy()),
        noise(side=SMALLEST_SIDE - 1),
    ],
    ids=["flat", "gradient", "gradient downwards", "small"],
)
def test_a_picture_with_too_little_in_it_has_no_look(picture):
    assert look_of(picture) == ""


def test_a_look_is_128_bits():
    assert len(bytes.fromhex(look_of(noise()))) == 16


def test_photos_look_as_their_small_copies_and_as_no_other(photos):
    pictures = [Image.open(path).convert("RGB") for path in sorted((photos / "test").rglob("*.jpg"))]
    copies = [picture.resize((picture.width // 2, picture.height // 2)) for picture in pictures]

    assert alike(map(look_of, pictures + copies)) == [[n, n + len(pictures)] for n in range(len(pictures))]


@pytest.mark.parametrize(("distance", "groups"), [(0, [[0, 1]]), (FARTHEST, [[0, 1]]), (FARTHEST + 1, [])])
def test_looks_are_one_picture_up_to_the_farthest(distance, groups):
    assert alike([at(0), at(distance)]) == groups


def test_pictures_without_a_look_are_like_no_other():
    assert alike(["", at(0), ""]) == []


@pytest.mark.parametrize("bits", [128, 20], ids=["all differ", "many are alike"])
def test_fifty_thousand_looks_are_grouped_in_reasonable_time(bits):
    chance = random.Random(0)
    looks = [f"{chance.getrandbits(bits):032x}" for _ in range(50_000)]
    started = time.monotonic()
    alike(looks)

    assert time.monotonic() - started < 10
