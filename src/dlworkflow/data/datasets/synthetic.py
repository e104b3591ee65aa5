"""Data made on the spot: a line, and points in the plane in rings, clouds, half moons and spirals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import torch

from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.partition import shuffled_split
from dlworkflow.data.splits import Splits
from dlworkflow.errors import DataError
from dlworkflow.registry import Count, Fraction, NonNegative, Positive, Range, Seed

if TYPE_CHECKING:
    import numpy as np


MOST_POINTS = 10_000_000
"""More are no exercise but a way to run out of memory."""
Points = Annotated[int, Range(1, MOST_POINTS)]


def load_line(
    *,
    slope: float = 0.7,
    intercept: float = 0.3,
    start: float = 0.0,
    end: float = 1.0,
    step: Positive = 0.02,
    test_fraction: Fraction = 0.2,
) -> Splits:
    """Load y = slope * X + intercept over [start, end) in steps; the last part is the test split, in order."""
    if (end - start) / step > MOST_POINTS:
        raise DataError(f"data.step: {step:g} from {start:g} to {end:g} gives more than {MOST_POINTS:,} points")
    X = torch.arange(start, end, step).unsqueeze(dim=1) if start < end else torch.empty(0, 1)
    y = slope * X + intercept
    cut = math.floor((1 - test_fraction) * len(X) + 1e-9)
    if not 0 < cut < len(X):
        raise DataError(
            f"data.step: {step:g} from {start:g} to {end:g} gives {len(X)} points, too few for training and test"
        )
    train, test = TensorData(X[:cut], y[:cut]), TensorData(X[cut:], y[cut:])
    return Splits("line", "regression", train, test, in_shape=(1,))


def load_circles(
    *, n_samples: Points = 1000, noise: NonNegative = 0.03, test_fraction: Fraction = 0.2, random_state: Seed = 42
) -> Splits:
    """Load a small ring of points (class 1) inside a larger one (class 0)."""
    from sklearn.datasets import make_circles

    X, y = make_circles(n_samples, noise=noise, random_state=random_state)
    return _points("circles", X, y, ("outer", "inner"), test_fraction, random_state)


def load_moons(
    *, n_samples: Points = 1000, noise: NonNegative = 0.1, test_fraction: Fraction = 0.2, random_state: Seed = 42
) -> Splits:
    """Load two half moons that reach into each other."""
    from sklearn.datasets import make_moons

    X, y = make_moons(n_samples, noise=noise, random_state=random_state)
    return _points("moons", X, y, ("upper", "lower"), test_fraction, random_state)


def load_blobs(
    *,
    n_samples: Points = 1000,
    n_features: Count = 2,
    centers: Count = 4,
    cluster_std: NonNegative = 1.5,
    test_fraction: Fraction = 0.2,
    random_state: Seed = 42,
) -> Splits:
    """Load round clouds of points, one per class."""
    if max(n_samples, centers) * n_features > 10 * MOST_POINTS:
        raise DataError(
            f"data.n_features: {n_features:,} numbers for each of {max(n_samples, centers):,} points are more than "
            f"{10 * MOST_POINTS:,} in all; they would not fit into memory"
        )
    from sklearn.datasets import make_blobs

    X, y = make_blobs(
        n_samples, n_features=n_features, centers=centers, cluster_std=cluster_std, random_state=random_state
    )
    return _points("blobs", X, y, tuple(map(str, range(centers))), test_fraction, random_state)


def load_spirals(
    *,
    n_samples: Points = 900,
    arms: Count = 3,
    noise: NonNegative = 0.2,
    test_fraction: Fraction = 0.2,
    random_state: Seed = 42,
) -> Splits:
    """Load spiral arms around the origin, one per class; `noise` is the standard deviation of the angle in radians."""
    import numpy as np

    draw = np.random.default_rng(random_state)
    labels = np.arange(n_samples) % arms
    radius = np.linspace(0.05, 1.0, n_samples)
    angle = 2 * np.pi * labels / arms + 4 * radius + draw.normal(0, noise, n_samples)
    X = radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return _points("spirals", X, labels, tuple(map(str, range(arms))), test_fraction, random_state)


def _points(
    name: str, X: np.ndarray, y: np.ndarray, classes: tuple[str, ...], test_fraction: float, random_state: int
) -> Splits:
    """Split points as the notes do (shuffled, seeded): float32 points; float32 labels of two classes, else int64."""
    binary = len(classes) == 2
    inputs = torch.from_numpy(X).to(torch.float32)
    labels = torch.from_numpy(y).to(torch.float32 if binary else torch.int64)
    if len(classes) < 2:
        raise DataError(f"data {name!r}: one class is nothing to tell apart; two or more are needed")
    n_test = math.ceil(len(y) * test_fraction)
    if not 0 < n_test < len(y):
        raise DataError(f"data.n_samples: {len(y)} points cannot be split into training and test; give more")
    train, test = shuffled_split(len(y), n_test, random_state)
    return Splits(
        name,
        "binary" if binary else "multiclass",
        TensorData(inputs[train], labels[train]),
        TensorData(inputs[test], labels[test]),
        in_shape=(inputs.shape[1],),
        classes=classes,
        indices={"train": train, "test": test},
    )
