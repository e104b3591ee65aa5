"""Features as points of a map: by principal components, or by UMAP where it is installed. Draws nothing."""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple, get_args

import numpy as np

from dlworkflow.errors import ConfigError, DataError, not_installed, unknown

Method = Literal["pca", "umap"]


class Embedding(NamedTuple):
    """Points (n, 2) of n samples, and which share of the variance of their features each axis shows; None of UMAP."""

    points: np.ndarray
    shares: tuple[float, float] | None


def embed(features: np.ndarray, method: str = "pca", *, seed: int = 42) -> Embedding:
    """Place features (n, d) in the plane, the same for the same seed.

    `pca` takes the two directions in which they vary most: distances are theirs, less what the other directions add.
    `umap` keeps neighbours together: near means alike, and sizes and distances of groups mean nothing. Raises
    ConfigError for an unknown method and where UMAP is missing, DataError for features that make no map.
    """
    if method not in get_args(Method):
        raise ConfigError(f"--method: {unknown('method', method, get_args(Method))}")
    _check(features)
    return _by_components(features, seed) if method == "pca" else Embedding(_by_neighbours(features, seed), None)


def _check(features: np.ndarray) -> None:
    n, width = features.shape
    if n < 3:
        raise DataError(f"a map needs three samples or more, not {n}; name a larger split with --split")
    if width < 2:
        raise DataError("the last layer of the model takes one number: a map needs two or more")
    if not np.isfinite(features).all():
        raise DataError("some features are not finite: the model has diverged, or its inputs are not finite")
    if (features == features[0]).all():
        raise DataError("all samples have the same features: the model tells none from another, there is no map of it")


def _by_components(features: np.ndarray, seed: int) -> Embedding:
    from sklearn.decomposition import PCA

    found = PCA(n_components=2, random_state=seed)
    points = found.fit_transform(features.astype(np.float64))
    first, second = found.explained_variance_ratio_.tolist()
    return Embedding(points, (first, second))


def _by_neighbours(features: np.ndarray, seed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap reports what else could be installed, and that a seed takes one thread
        try:
            from umap import UMAP
        except ImportError:
            raise ConfigError(not_installed("--method umap", "umap-learn", "map")) from None
        start = "spectral" if len(features) > 20 else "random"  # eigenvectors need more samples than that
        nearest = min(15, len(features) - 1)
        points: np.ndarray = UMAP(n_neighbors=nearest, init=start, random_state=seed, n_jobs=1).fit_transform(features)
    return points
