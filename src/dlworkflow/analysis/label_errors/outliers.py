"""Images that are unlike the others of their label, by features: what belongs to no class is often among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from dlworkflow import models
from dlworkflow.analysis.label_errors.out_of_fold import Checked
from dlworkflow.data.images.pixels import to_pil, to_uint8
from dlworkflow.data.protocol import original_of
from dlworkflow.data.splits import Splits
from dlworkflow.errors import ConfigError, MissingDataError, ModelError
from dlworkflow.inference.features import features_of
from dlworkflow.inference.predictor import Predictor
from dlworkflow.models.libraries import published
from dlworkflow.models.weights.pretrained import at_hand, find
from dlworkflow.runs import Run
from dlworkflow.training.sweep.folds import scored_at

NEIGHBOURS = 10
"""The distance of a sample is the mean to so many nearest others of its label."""

DEVIATIONS = 2.5
"""A sample is an outlier whose logarithm of the distance is so many robust deviations above the median of all."""

MOST = 0.02
"""Of all samples, this fraction are outliers at most, those that are furthest away: somebody is to look at them."""

MOST_COMPARED = 10_000
"""Of more samples of a label, each is compared with so many, chosen by a seed: the time grows with the product."""

_FEWEST = 3 * NEIGHBOURS
"""Of fewer samples nothing is called an outlier."""

_NORMAL = 1.4826
"""A normal distribution's standard deviation in units of its median absolute deviation."""


def outliers_among(
    checked: Sequence[Checked], whole: Splits, run: Run, *, backbone: str | None = None, device: str = "auto"
) -> tuple[np.ndarray, list[str]]:
    """Return which of all checked samples are outliers, (n,) bool, and notes.

    Features are those of `run`, or of the published weights of `backbone` as they are on this machine. Nothing but
    images has outliers.
    """
    n = sum(len(one.indices) for one in checked)
    if whole.kind != "image":
        return np.zeros(n, bool), []
    try:
        if backbone is not None:
            predictor = _pretrained(backbone, device)
            parts: list[Any] = [_Prepared(one, predictor.transform) for one in checked]
        else:
            predictor = Predictor.from_run(run, weights=scored_at(run.summary()), device=device)
            parts = [_Prepared(one) for one in checked]
        features = np.concatenate([features_of(predictor, part).features for part in parts])
    except ModelError as error:
        return np.zeros(n, bool), [f"outliers are not looked for: {error}; --backbone names a model whose features are"]
    labels = np.concatenate([one.labels for one in checked])
    return outliers_of(features, labels if labels.ndim == 1 else np.zeros(len(labels), int)), []


def _pretrained(name: str, device: str) -> Predictor:
    """Return a model with its published weights, which are never fetched here. Raises DlwError where it has none."""
    if not models.is_published(name):
        raise ConfigError(f"--backbone: no weights are published of model {name!r}; name one of torchvision or timm")
    if find(published(name)) is None:
        known = f"; those of {at_hand()!r} are" if at_hand() else ""
        raise MissingDataError(
            f"--backbone: the weights of {name!r} are not on this machine{known}; `dlw train {name} --weights default` "
            "fetches them"
        )
    return Predictor.from_published(name, offline=True, device=device)


def outliers_of(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which of n samples with features (n, d) are unlike the others of their labels (n,) int, (n,) bool.

    Features are scaled to length 1 first, so that the distance is one of direction.
    """
    n = len(features)
    found = np.zeros(n, bool)
    if n < _FEWEST:
        return found
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.where(lengths > 0, lengths, 1)
    distances = np.zeros(n)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        distances[own] = _distances(directions[own])
    logarithms = np.log(np.maximum(distances, np.finfo(np.float32).tiny))
    middle = np.median(logarithms)
    spread = _NORMAL * np.median(np.abs(logarithms - middle))
    found[np.argsort(-distances, kind="stable")[: max(1, int(MOST * n))]] = True
    return found & (logarithms > middle + DEVIATIONS * spread)


def _distances(points: np.ndarray) -> np.ndarray:
    """Return the mean distance of each of n points to its nearest others; 0 of a single one."""
    from sklearn.neighbors import NearestNeighbors

    n = len(points)
    known = np.random.default_rng(0).permutation(n)[:MOST_COMPARED]
    k = min(NEIGHBOURS, len(known) - 1)
    if not k:
        return np.zeros(n)
    distances, nearest = NearestNeighbors(n_neighbors=k + 1).fit(points[known]).kneighbors(points)
    distances[known[nearest] == np.arange(n)[:, None]] = np.inf  # itself
    means: np.ndarray = np.sort(distances, axis=1)[:, :k].mean(axis=1)
    return means


class _Prepared(Dataset[Any]):
    """Checked samples as a model takes them: as the data has them, or their originals by another preprocessing."""

    def __init__(self, checked: Checked, transform: Any = None) -> None:
        self._checked, self._transform = checked, transform

    def __len__(self) -> int:
        return len(self._checked.indices)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        part, place = self._checked.dataset, int(self._checked.indices[index])
        if self._transform is None:
            return part[place][0], 0
        original = original_of(part, place)
        image = to_pil(original) if isinstance(original, torch.Tensor) else original
        resized = to_uint8(self._transform.resize(image.convert("RGB")))
        return self._transform.to_float(resized[None])[0], 0
