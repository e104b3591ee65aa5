"""Confident learning (Northcutt, Jiang and Chuang 2021) by cleanlab: labels and predictions in, suspects out.

Knows arrays alone, no run and no data set.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from dlworkflow.errors import DataError


class Ranking(NamedTuple):
    """What confident learning finds about n labels.

    `flagged` (n,) bool are those that are probably wrong. `scores` (n,) in [0, 1] are their quality: the predicted
    probability of the label, the lowest first to be looked at; of several labels, cleanlab's mean over the classes.
    `estimated` is how many are wrong by the estimate of the joint distribution of given and true labels, which need not
    be the number of those flagged.
    """

    flagged: np.ndarray
    scores: np.ndarray
    estimated: int


def rank_labels(labels: np.ndarray, probabilities: np.ndarray) -> Ranking:
    """Rank labels (n,) int by out-of-sample probabilities (n, classes); several a sample are (n, classes) bool.

    A label is flagged where another class is predicted with the highest margin, as many as the confident joint counts
    for each pair of classes (`prune_by_noise_rate`). Raises DataError for probabilities that are not finite, and for
    labels that are all of one class.
    """
    if not np.isfinite(probabilities).all():
        bad = int((~np.isfinite(probabilities).all(axis=1)).sum())
        raise DataError(f"{bad:,} predictions are not finite: a model of the cross-validation has diverged; lower --lr")
    if labels.ndim == 1 and len(np.unique(labels)) < 2:
        raise DataError("all labels are of one class: there is nothing to compare them with")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="May not flag all label issues")  # of classes with one sample
        return (_several if labels.ndim == 2 else _one)(labels, probabilities)


def _one(labels: np.ndarray, probabilities: np.ndarray) -> Ranking:
    from cleanlab.count import num_label_issues
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    flagged = find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    scores = get_label_quality_scores(labels, probabilities, method="self_confidence")
    return Ranking(flagged, scores, int(num_label_issues(labels, probabilities)))


def _several(labels: np.ndarray, probabilities: np.ndarray) -> Ranking:
    from cleanlab.multilabel_classification import get_label_quality_scores
    from cleanlab.multilabel_classification.filter import find_label_issues

    named = [np.flatnonzero(row).tolist() for row in labels]
    flagged = np.asarray(find_label_issues(named, probabilities, n_jobs=1))
    return Ranking(flagged, get_label_quality_scores(named, probabilities), int(flagged.sum()))
