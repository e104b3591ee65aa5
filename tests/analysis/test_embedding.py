"""Features in the plane: distances of principal components, the same for the same seed, and what makes no map."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dlworkflow.analysis.embedding import embed
from dlworkflow.errors import ConfigError, DataError

rng = np.random.default_rng(0)


def test_components_of_a_plane_keep_its_distances():
    plane = rng.normal(size=(20, 2)) * [3, 1]
    features = plane @ np.linalg.qr(rng.normal(size=(5, 5)))[0][:2]

    found = embed(features.astype(np.float32))

    def distances(points):
        return np.linalg.norm(points[:, None] - points, axis=2)

    assert np.allclose(distances(found.points), distances(plane), atol=1e-5)
    assert sum(found.shares) == pytest.approx(1)


@pytest.mark.slow
def test_umap_keeps_groups_together_and_is_the_same_for_the_same_seed():
    pytest.importorskip("umap")
    features = np.concatenate([rng.normal(size=(30, 8)), rng.normal(size=(30, 8)) + 50]).astype(np.float32)

    first, again = (embed(features, "umap", seed=3).points for _ in range(2))

    assert np.array_equal(first, again)
    near = np.argsort(np.linalg.norm(first[:, None] - first, axis=2), axis=1)[:, 1]
    assert ((near < 30) == (np.arange(60) < 30)).all()


def test_umap_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)

    with pytest.raises(ConfigError, match=r"^method umap needs umap-learn.*dlworkflow\[map\]"):
        embed(rng.normal(size=(5, 3)), "umap")


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.zeros((2, 5)), "three samples or more, not 2"),
        (rng.normal(size=(9, 1)), "takes one number"),
        (np.full((9, 3), np.nan), "not finite"),
        (np.ones((9, 3)), "all samples have the same features"),
    ],
)
def test_what_makes_no_map_is_one_line(features, words):
    with pytest.raises(DataError, match=words):
        embed(features)


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="unknown method 'tsne'"):
        embed(np.zeros((9, 3)), "tsne")
