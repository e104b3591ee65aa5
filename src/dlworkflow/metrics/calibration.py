"""Whether probabilities are true, and the temperature that makes them so; plain arrays, knows no run and no torch.

Raw scores are divided by a temperature before the softmax, one number for all classes: the label stays, its
probability changes (Guo et al. 2017, arXiv:1706.04599).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0
"""The temperatures between which one is looked for."""
_Z = 1.959964  # of a 95 % interval
_BINS = 15


class Temperature(NamedTuple):
    """A temperature with its 95 % interval; at `LOWEST` or `HIGHEST`, the loss falls still beyond it."""

    value: float
    low: float
    high: float


class Calibration(NamedTuple):
    """What says how true probabilities are: each value with its 95 % interval (bootstrap over samples).

    `nll` is the negative log likelihood in nats, `brier` the squared distance of the probabilities from the truth,
    summed over the classes, `error` the calibration error (ECE, 15 bins of equal width). `error_by_chance` is the
    calibration error under which 95 % of such samples are where all these probabilities are true. Chance adds to an
    error and takes nothing from it, in a resample too: the interval of `error` begins that much below it.
    """

    nll: tuple[float, float, float]
    brier: tuple[float, float, float]
    error: tuple[float, float, float]
    error_by_chance: float


def class_scores(logits: np.ndarray) -> np.ndarray:
    """Return raw scores (n, classes) float64 of a model's (n, classes), or of one for two classes, (n, 1) or (n,)."""
    scores = np.asarray(logits, dtype=np.float64)
    scores = scores.reshape(len(scores), -1)
    return np.hstack([np.zeros_like(scores), scores]) if scores.shape[1] == 1 else scores


def probabilities_at(scores: np.ndarray, temperature: float | np.ndarray = 1.0) -> np.ndarray:
    """Return the probabilities (n, classes) of raw scores at a temperature, one for all or (n,)."""
    scaled = scores / np.reshape(temperature, (-1, 1))
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


def fit_temperature(scores: np.ndarray, y: np.ndarray) -> Temperature:
    """Return the temperature of lowest negative log likelihood of labels y (n,) under raw scores (n, classes).

    The loss is convex in its inverse, whose interval follows from the spread of the gradient over samples.
    """
    from scipy.optimize import brentq

    truth = np.take_along_axis(scores, y[:, None].astype(int), axis=1)[:, 0]

    def gradients(inverse: float) -> np.ndarray:
        """Of each sample's loss by the inverse temperature."""
        found: np.ndarray = (probabilities_at(scores, 1 / inverse) * scores).sum(axis=1) - truth
        return found

    if gradients(1 / LOWEST).mean() <= 0:
        return Temperature(LOWEST, LOWEST, LOWEST)
    if gradients(1 / HIGHEST).mean() >= 0:
        return Temperature(HIGHEST, HIGHEST, HIGHEST)
    inverse = float(brentq(lambda given: gradients(given).mean(), 1 / HIGHEST, 1 / LOWEST))
    p = probabilities_at(scores, 1 / inverse)
    mean = (p * scores).sum(axis=1, keepdims=True)
    curvature = (p * (scores - mean) ** 2).sum(axis=1).mean()
    error = gradients(inverse).std() / (curvature * np.sqrt(len(y)))  # of the inverse; of its logarithm below
    factor = float(np.exp(min(_Z * error / inverse, 700.0)))
    return Temperature(1 / inverse, max(1 / inverse / factor, LOWEST), min(factor / inverse, HIGHEST))


def held_out_temperatures(scores: np.ndarray, y: np.ndarray, *, folds: int = 5, seed: int = 0) -> np.ndarray:
    """Return for each sample (n,) the temperature that the samples of the other folds have.

    What is measured with these is not measured on the samples that the temperature is fitted to.
    """
    fold = np.random.default_rng(seed).permutation(len(y)) % folds
    found = np.ones(len(y))
    for held_out in np.unique(fold):
        of_others = fold != held_out
        if of_others.any():
            found[~of_others] = fit_temperature(scores[of_others], y[of_others]).value
    return found


def measure(p: np.ndarray, y: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> Calibration:
    """Measure the calibration of probabilities (n, classes) of labels y (n,)."""
    random, n = np.random.default_rng(seed), len(y)
    true = np.arange(p.shape[1]) == y[:, None]
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    inside = _bins(confidence)
    of_samples = np.column_stack(
        [-np.log(np.maximum(p[true], 1e-300)), ((p - true) ** 2).sum(axis=1), inside * (right - confidence)[:, None]]
    )
    drawn, by_chance = [], []
    for _ in range(resamples):
        times = np.bincount(random.integers(n, size=n), minlength=n).astype(float)
        drawn.append(_scores(times @ of_samples / n))
        luck = (random.random(n) < confidence) - confidence
        by_chance.append(np.abs(luck @ inside).sum() / n)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    nll, brier, error = zip(_scores(of_samples.mean(axis=0)), low.tolist(), high.tolist(), strict=True)
    chance = float(np.quantile(by_chance, 0.95))
    return Calibration(nll, brier, (error[0], max(0.0, error[0] - chance), error[2]), chance)


def _bins(confidence: np.ndarray) -> np.ndarray:
    """Return in which bin of confidence each sample is, (n, bins) of 0 and 1."""
    found = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    return np.eye(_BINS)[found]


def _scores(means: np.ndarray) -> tuple[float, float, float]:
    """Return negative log likelihood, Brier score and calibration error of means over samples, the gaps last."""
    return float(means[0]), float(means[1]), float(np.abs(means[2:]).sum())
