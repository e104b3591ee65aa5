"""How much better the best of several runs looks on the samples that chose it than it is on others.

Both functions simulate runs whose true scores are spread as those that were seen are, less what chance adds to the
spread: where chance alone would spread them as far, all are taken as equally good. Source of the effect: G. C. Cawley,
N. L. C. Talbot, Journal of Machine Learning Research 11 (2010).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from dlworkflow.metrics.significance.bootstrap import drawn_weights


def optimism_of_best(values: ArrayLike, *, lowest: bool = False, resamples: int = 2_000, seed: int = 0) -> float:
    """Return by how much the best mean of `values` (runs, n) exceeds that run's true one, on average over test sets.

    `values` are those of the same n samples: whether each was right, or its loss with `lowest=True` for the lowest
    mean. Samples are drawn again, so that runs which fail on the same samples stay alike. It assumes samples that are
    drawn independently of each other, and runs that were not trained on them. 0 for a single run.
    """
    scores = np.asarray(values, np.float64)
    if lowest:
        scores = -scores
    n_runs, n = scores.shape
    if n_runs < 2 or not n:
        return 0.0
    means = scores.mean(axis=1)
    columns = scores.T.astype(np.float32)
    drawn = []
    for weights in drawn_weights(n, resamples, seed):
        some = weights[weights.any(axis=1)]  # of few samples none may be drawn
        drawn.append(some @ columns / some.sum(axis=1)[:, None])
    errors = np.concatenate(drawn).astype(np.float64) - means
    noise = float(errors.var(axis=1, ddof=1).mean())
    return _of_the_highest(_true_scores(means, noise), errors)


def optimism_of_draws(accuracies: ArrayLike, n: int, *, resamples: int = 20_000, seed: int = 0) -> float:
    """Return the same for `accuracies` (runs,) on n samples without knowing which were right: an upper figure.

    Draws each run's right answers independently of the others'. Runs that fail on the same samples differ less by
    chance, and so choosing among them promises less too much.
    """
    known = np.asarray(accuracies, np.float64)
    if len(known) < 2:
        return 0.0
    noise = float((known * (1 - known)).mean() / n)
    true = np.clip(_true_scores(known, noise), 0, 1)
    drawn = np.random.default_rng(seed).binomial(n, true, size=(resamples, len(true))) / n
    return _of_the_highest(true, drawn - true)


def _true_scores(seen: np.ndarray, noise: float) -> np.ndarray:
    """Return the scores drawn together until their variance is what chance, of variance `noise`, has not added."""
    spread = seen.var(ddof=1)
    return seen.mean() + (seen - seen.mean()) * math.sqrt(max(0.0, 1 - noise / spread) if spread else 0.0)


def _of_the_highest(true: np.ndarray, errors: np.ndarray) -> float:
    """Return the mean error of the run that looks highest in each draw; the mean error of each run is 0."""
    centred = errors - errors.mean(axis=0)
    highest = (true + centred).argmax(axis=1)
    return max(0.0, float(np.take_along_axis(centred, highest[:, None], axis=1).mean()))
