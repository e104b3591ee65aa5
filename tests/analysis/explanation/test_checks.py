"""Whether a map is worth anything: a good one beats chance, one that shows edges is found out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from dlworkflow.analysis.explanation.curves import FRACTIONS, measure_curves
from dlworkflow.analysis.explanation.results import Answered, ImageExplanation
from dlworkflow.analysis.explanation.sanity import correlation_with_untrained, rank_correlation, untrained


def brightness_of_the_corner(x):
    return x[:, 0, :8, :8].mean(dim=(1, 2)).numpy()


@pytest.fixture
def x():
    """An image of ones, and one of nothing."""
    return torch.ones(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)


def marked(rows, columns):
    grid = np.zeros((32, 32))
    grid[rows, columns] = 1
    return grid


def test_a_map_of_what_counts_is_better_than_all_other_places(x):
    found = measure_curves(brightness_of_the_corner, *x, marked(slice(8), slice(8)))

    assert (found.deletion_beats, found.insertion_beats) == (found.places, found.places)
    assert found.deletion[0] == found.insertion[-1] == 1
    assert found.deletion[2] == found.deletion[-1] == found.insertion[0] == 0


def test_a_map_of_what_does_not_count_is_better_than_none(x):
    far_from_the_corner = np.add.outer(np.arange(32), np.arange(32))
    found = measure_curves(brightness_of_the_corner, *x, far_from_the_corner)

    assert (found.deletion_beats, found.insertion_beats) == (0, 0)


def test_a_map_of_nothing_beats_all_places_as_often_as_chance_does():
    generator = np.random.default_rng(0)
    beaten = 0
    for seed in range(100):
        worth = torch.from_numpy(generator.random((8, 8)).astype(np.float32))
        found = measure_curves(
            lambda x, worth=worth: (x[:, 0] * worth).mean(dim=(1, 2)).numpy(),
            torch.ones(1, 1, 8, 8),
            torch.zeros(1, 1, 8, 8),
            generator.random((8, 8)),
            seed=seed,
        )
        beaten += found.deletion_beats == found.places

    assert stats.binomtest(beaten, 100, 0.1).pvalue > 0.001


def test_the_area_under_a_curve_is_the_mean_answer(x):
    areas = measure_curves(lambda x: x.mean(dim=(1, 2, 3)).numpy(), *x, marked(slice(8), slice(8))).areas

    assert areas["deletion"] == pytest.approx(0.5, abs=0.01)
    assert len(FRACTIONS) == 7


def test_the_same_seed_gives_the_same_curves(x):
    both = [measure_curves(brightness_of_the_corner, *x, marked(slice(9), slice(9)), seed=3) for _ in range(2)]

    assert both[0] == both[1]


@pytest.mark.parametrize("levels", [3, 1000])
def test_rank_correlation_is_that_of_scipy(levels):
    a, b = np.random.default_rng(0).integers(0, levels, (2, 20, 20))

    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a.ravel(), b.ravel()).statistic)


def test_a_constant_map_has_no_correlation():
    assert rank_correlation(np.zeros((3, 3)), np.arange(9).reshape(3, 3)) is None


def test_untrained_copies_leave_the_model_and_the_random_state_as_they_are():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(2)).eval()
    x = torch.rand(1, 1, 8, 8)
    before, state = model(x), torch.get_rng_state()

    copied = untrained(model, x, seed=0)

    assert torch.equal(model(x), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(copied(x), before)
    assert not model.training


def test_a_map_that_does_not_depend_on_the_weights_is_found_out():
    x, model = torch.rand(1, 1, 8, 8), nn.Sequential(nn.Flatten(), nn.Linear(64, 2))

    edges = correlation_with_untrained(model, x, x[0, 0].numpy(), lambda _: x[0, 0].numpy())
    found = ImageExplanation("x", "m", (Answered("a", 0.9),), x[0].numpy(), untrained=edges, curves=_curves())

    assert edges == pytest.approx(1)
    assert "warning: the maps of untrained copies" in found.sentences()[-1]


def test_a_map_of_the_weights_depends_on_what_was_learned():
    x, model = torch.rand(1, 1, 8, 8), nn.Sequential(nn.Flatten(), nn.Linear(64, 2))

    found = correlation_with_untrained(
        model, x, model[1].weight[0].detach().numpy(), lambda other: other[1].weight[0].detach().numpy()
    )

    assert abs(found) < 0.3


def test_the_words_have_the_numbers():
    found = ImageExplanation(
        "x", "gradcam", (Answered("pizza", 1.0),), np.eye(4)[None], curves=_curves(), untrained=0.1
    )

    first, second, third, fourth = found.sentences()
    assert first.startswith("hiding the marked tenth of the image changes the probability of 'pizza' from 100 % to ")
    assert "showing the marked tenth alone" in second
    assert "area under the deletion curve" in third
    assert fourth.endswith("the map depends on the weights")


def _curves():
    images = torch.ones(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    return measure_curves(brightness_of_the_corner, *images, marked(slice(8), slice(8)))
