import pytest
import torch
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.model_selection import train_test_split

from dlworkflow import data
from dlworkflow.errors import ConfigError, DataError, DlwError


def as_the_notes_split(X, y, label_type):
    X, y = torch.from_numpy(X).type(torch.float), torch.from_numpy(y).type(label_type)
    return train_test_split(X, y, test_size=0.2, random_state=42)


def as_loaded(splits):
    return [splits.train.inputs, splits.test.inputs, splits.train.labels, splits.test.labels]


def same(mine, theirs):
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(mine, theirs, strict=True))


def test_line_is_the_notes_line_cut_in_order():
    X = torch.arange(0, 1, 0.02).unsqueeze(dim=1)
    y = 0.7 * X + 0.3

    assert same(as_loaded(data.load("line")), [X[:40], X[40:], y[:40], y[40:]])


def test_line_of_hundred_points_is_the_notes_second_line():
    X = torch.arange(0, 1, 0.01).unsqueeze(dim=1)
    y = 0.7 * X + 0.3

    assert same(as_loaded(data.load("line", step=0.01)), [X[:80], X[80:], y[:80], y[80:]])


def test_line_takes_slope_and_intercept():
    line = data.load("line", slope=-2.0, intercept=1.0, start=0.0, end=4.0, step=1.0, test_fraction=0.5)

    assert torch.cat([line.train.labels, line.test.labels]).flatten().tolist() == [1.0, -1.0, -3.0, -5.0]


@pytest.mark.parametrize("tenths", range(1, 10))
def test_line_gives_the_test_split_the_share_that_was_asked_for(tenths):
    assert len(data.load("line", test_fraction=tenths / 10).test) == 5 * tenths


def test_line_without_room_for_a_test_point_is_refused():
    with pytest.raises(DataError, match=r"data\.step: 0\.9 from 0 to 1 gives 2 points, too few"):
        data.load("line", step=0.9, test_fraction=0.6)


def test_line_that_ends_before_it_starts_is_refused():
    with pytest.raises(DataError, match="gives 0 points"):
        data.load("line", start=1.0, end=0.0)


def test_line_with_more_points_than_memory_is_refused():
    with pytest.raises(DlwError, match=r"data\.step"):
        data.load("line", step=1e-13)


def test_circles_are_those_of_the_notes():
    X, y = make_circles(1000, noise=0.03, random_state=42)

    assert same(as_loaded(data.load("circles")), as_the_notes_split(X, y, torch.float))


def test_moons_are_those_of_scikit_learn():
    X, y = make_moons(1000, noise=0.1, random_state=42)

    assert same(as_loaded(data.load("moons")), as_the_notes_split(X, y, torch.float))


def test_blobs_are_those_of_the_notes():
    X, y = make_blobs(1000, n_features=2, centers=4, cluster_std=1.5, random_state=42)

    assert same(as_loaded(data.load("blobs")), as_the_notes_split(X, y, torch.int64))


def test_two_blobs_are_a_binary_task():
    assert data.load("blobs", centers=2).task == "binary"


def test_one_blob_is_refused():
    with pytest.raises(DataError, match="one class is nothing to tell apart"):
        data.load("blobs", centers=1)


def test_blobs_with_more_features_are_wider():
    assert data.load("blobs", n_features=5).in_shape == (5,)


def test_spirals_are_the_same_every_time():
    assert same(as_loaded(data.load("spirals")), as_loaded(data.load("spirals")))


def test_spirals_follow_random_state():
    assert not same(as_loaded(data.load("spirals")), as_loaded(data.load("spirals", random_state=1)))


def test_spiral_arms_hold_equally_many_points():
    spirals = data.load("spirals")

    assert torch.cat([spirals.train.labels, spirals.test.labels]).bincount().tolist() == [300, 300, 300]


def test_spirals_without_noise_turn_around_the_origin_with_growing_radius():
    spirals = data.load("spirals", noise=0.0)
    radius = torch.cat([spirals.train.inputs, spirals.test.inputs]).norm(dim=1).sort().values

    assert torch.allclose(radius, torch.linspace(0.05, 1.0, 900), atol=1e-6)


@pytest.mark.parametrize("name", ["line", "circles", "moons", "blobs", "spirals"])
def test_making_points_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()
    data.load(name)

    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["circles", "moons", "blobs", "spirals"])
def test_too_few_points_to_split_are_refused(name):
    with pytest.raises(DataError, match=r"data\.n_samples: 1 points cannot be split"):
        data.load(name, n_samples=1)


@pytest.mark.parametrize(
    ("name", "setting", "value", "sentence"),
    [
        ("circles", "noise", -1, "must be at least 0, not -1"),
        ("circles", "noise", "loud", "must be a number, not 'loud'"),
        ("circles", "noise", float("nan"), "must be a finite number, not nan"),
        ("circles", "n_samples", 0, "must be between 1 and 10,000,000, not 0"),
        ("circles", "n_samples", 10**12, "must be between 1 and 10,000,000, not 1,000,000,000,000"),
        ("circles", "n_samples", 2.5, "must be a whole number, not 2.5"),
        ("circles", "n_samples", True, "must be a whole number, not True"),
        ("moons", "test_fraction", 1.0, "must be between 0 and 1, both excluded, not 1"),
        ("blobs", "cluster_std", -0.5, "must be at least 0, not -0.5"),
        ("spirals", "arms", 0, "must be at least 1, not 0"),
        ("line", "step", 0, "must be more than 0, not 0"),
    ],
)
def test_a_setting_out_of_range_is_named_with_its_bounds(name, setting, value, sentence):
    with pytest.raises(ConfigError) as caught:
        data.load(name, **{setting: value})

    assert str(caught.value) == f"data.{setting}: {sentence}"


@pytest.mark.parametrize("name", ["circles", "moons", "blobs", "spirals"])
def test_a_random_state_that_no_generator_takes_is_refused(name):
    with pytest.raises(DlwError, match=r"data\.random_state"):
        data.load(name, random_state=2**33)


def test_more_numbers_than_fit_into_memory_are_refused_before_they_are_made():
    with pytest.raises(DataError, match="would not fit into memory"):
        data.load("blobs", n_features=10**9)
