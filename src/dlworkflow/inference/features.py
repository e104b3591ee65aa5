"""What a model has made of each sample when it comes to its last layer: features, and the scores given from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from dlworkflow.data.loaders import make_loader
from dlworkflow.data.protocol import Samples, drop_left_out
from dlworkflow.engine.device import choose_threads, thread_count
from dlworkflow.engine.gathered import Gathered
from dlworkflow.inference.predictor import Predictor

_NUMBERS_AT_ONCE = 2**22


class Features(NamedTuple):
    """Features (n, d) and raw scores (n, n_outputs) float32 of n samples, and their labels (n, ...)."""

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray


def features_of(predictor: Predictor, dataset: Dataset[Any]) -> Features:
    """Compute the features, scores and labels of every sample, in the order of the data set.

    The features are the input of the layer that gives the scores (`Predictor.logits_and_features`). Files
    that cannot be read and are skipped are removed from `dataset`, so that its files are those of the features. Raises
    ModelError for an ensemble, for test-time augmentation, and for a model without such a layer.
    """
    batches = make_loader(dataset, _batch_size(predictor.in_shape), generator=torch.Generator())
    with thread_count(choose_threads("auto", predictor.model, predictor.in_shape)):
        found = _of_batches(predictor, batches)
    drop_left_out(dataset)
    return found


def _of_batches(predictor: Predictor, batches: Iterable[Samples]) -> Features:
    kept = Gathered()
    for X, y in batches:
        if len(y):
            logits, features = predictor.logits_and_features(X)
            kept.add(features, logits, y.cpu())
    if not (found := kept.joined()):
        return Features(*(np.empty(shape, np.float32) for shape in ((0, 0), (0, 0), (0,))))
    return Features(*(each.numpy() for each in found))


def _batch_size(in_shape: tuple[int, ...]) -> int:
    """Return how many samples go through the model at once: small ones many, of 224x224 pixels 32."""
    return min(1024, max(32, _NUMBERS_AT_ONCE // math.prod(in_shape)))
