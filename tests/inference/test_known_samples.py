"""The nearest of known samples: those of least distance, the nearest first."""

from __future__ import annotations

import numpy as np
import pytest

from dlworkflow.inference.known_samples import DistanceFrom, KnownSamples

rng = np.random.default_rng(0)


def test_the_nearest_are_those_of_least_distance():
    features, given = rng.normal(size=(500, 8)).astype(np.float32), rng.normal(size=(300, 8)).astype(np.float32)
    known = KnownSamples(features, [f"class {i % 3}" for i in range(500)])
    distances = np.linalg.norm(given[:, None] - features, axis=2)

    found = known.nearest(given, 4)

    assert [[each.sample for each in row] for row in found] == np.argsort(distances, axis=1)[:, :4].tolist()
    assert np.allclose([[each.distance for each in row] for row in found], np.sort(distances, axis=1)[:, :4], atol=1e-5)


def test_a_sample_is_its_own_nearest_with_its_truth_and_file():
    known = KnownSamples(
        1000 + rng.normal(size=(9, 3)).astype(np.float32), list("abcdefghi"), [f"{i}.png" for i in range(9)]
    )

    [[nearest]] = known.nearest(known.features[4:5], 1)

    assert nearest == (0, "e", 4, "4.png")


def test_an_input_is_far_by_another_direction_or_another_length():
    known = DistanceFrom(KnownSamples(np.array([[1, 1], [2, 2.2]], np.float32), ["a", "b"]))

    same, turned, longer, nothing = known(np.array([[2, 2.2], [2, -2.2], [200, 220], [0, 0]], np.float32))

    assert same == pytest.approx(0, abs=1e-6)
    assert turned > 1
    assert longer == pytest.approx(np.log(100), rel=0.01)
    assert nothing > longer


def test_equal_samples_are_in_their_order():
    known = KnownSamples(np.zeros((50, 2), np.float32), [""] * 50)

    [found] = known.nearest(np.zeros((1, 2), np.float32), 3)

    assert len(found) == 3
    assert {each.distance for each in found} == {0.0}
