"""The scores of an evaluation whose 95 % intervals are found by bootstrap; knows no run and no terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from dlworkflow.metrics.significance import Score

Metrics = Mapping[str, float | None]

MOST_SORTED = 3_000_000
"""Of more probabilities the area under the ROC curve has no interval: sorting them takes seconds."""
MOST_DRAWN, FEWEST_RESAMPLES, RESAMPLES = 20_000_000, 400, 2_000
"""Of many samples fewer resamples are drawn: about half a second of draws."""


def scores_of_classes(metrics: Metrics, y_true: Tensor, probabilities: Tensor, losses: Tensor) -> dict[str, Score]:
    """Return loss and metrics of a classification: labels (n,), probabilities (n, classes), losses (n,).

    Those of `metrics` that are not defined are left out, as is a loss that is not finite.
    """
    from dlworkflow.metrics.significance import of_f1_macro, of_mean, of_roc_auc

    truth, certain = y_true.long().reshape(-1).cpu(), probabilities.cpu().double()
    n_classes, has_area = certain.shape[1], metrics.get("roc_auc") is not None and certain.numel() <= MOST_SORTED
    found = {
        "f1_macro": of_f1_macro(truth.numpy(), certain.argmax(dim=1).numpy(), n_classes),
        "roc_auc": of_roc_auc(truth.numpy(), certain.numpy()) if has_area else None,
    }
    for k in (3, 5):
        is_among = (certain.topk(min(k, n_classes), dim=1).indices == truth[:, None]).any(dim=1)
        found[f"top_{k}_accuracy"] = of_mean(is_among.numpy())
    return _defined(found, metrics, losses)


def scores_of_labels(metrics: Metrics, label_sets: Tensor, answers: Tensor, losses: Tensor) -> dict[str, Score]:
    """Return the same where a sample has several labels: labels and answers (n, classes) of 0 and 1."""
    from dlworkflow.metrics.significance import of_f1_macro_labels, of_mean

    sets, answered = label_sets.cpu().long(), answers.cpu().long()
    found = {
        "f1_macro": of_f1_macro_labels(sets.numpy(), answered.numpy()),
        "hamming_loss": of_mean((sets != answered).double().mean(dim=1).numpy()),
    }
    return _defined(found, metrics, losses)


def scores_of_numbers(metrics: Metrics, targets: Tensor, values: Tensor, losses: Tensor) -> dict[str, Score]:
    """Return the same of a regression: labels and predicted values (n, ...), in their own unit."""
    from dlworkflow.metrics.significance import of_mean, of_r2, of_root_mean

    truth, answers = targets.cpu().double().reshape(-1), values.cpu().double().reshape(-1)
    errors = (truth - answers).numpy()
    found = {
        "mae": of_mean(abs(errors)),
        "mse": of_mean(errors * errors),
        "rmse": of_root_mean(errors * errors),
        "r2": of_r2(truth.numpy(), answers.numpy()) if metrics.get("r2") is not None else None,
    }
    return _defined(found, metrics, losses)


def of_different(scores: Callable[[], Mapping[str, Score]], sample: Sequence[int]) -> dict[str, Score]:
    """Return scores that are resampled by sample, where several rows are of one: `sample` (n,) says which."""
    import numpy as np
    from scipy.sparse import csr_array

    different, place = np.unique(np.asarray(sample), return_inverse=True)
    n, rows = len(different), len(sample)
    ones = np.append(np.ones(rows), [rows / n] * 2)  # the last two are the samples that nobody drew, see `Score`
    summed = csr_array((ones, (np.append(place.reshape(-1), [n, n + 1]), np.arange(rows + 2))))
    return {name: replace(score, rows=summed @ score.rows) for name, score in scores().items()}


def intervals_of(scores: Mapping[str, Score]) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each score, {name: (low, high)}; the same samples give the same intervals."""
    from dlworkflow.metrics.significance import bootstrap_intervals

    n = max((score.n for score in scores.values()), default=1)
    resamples = min(RESAMPLES, max(FEWEST_RESAMPLES, MOST_DRAWN // n))
    found = bootstrap_intervals(scores, resamples=resamples)
    return {name: (interval.low, interval.high) for name, interval in found.items()}


def _defined(found: Mapping[str, Score | None], metrics: Metrics, losses: Tensor) -> dict[str, Score]:
    from dlworkflow.metrics.significance import of_mean

    scores = {name: score for name, score in found.items() if score is not None and _is_number(metrics.get(name))}
    own = losses.cpu().double()
    return ({"loss": of_mean(own.numpy())} if own.isfinite().all() else {}) | scores


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
