"""Answering only where a model is certain: how many errors are left, and a threshold that keeps them below a limit.

Plain arrays; knows no run and no torch. A threshold is tested on samples that the model was not trained on: at ten
shares of them, fixed in advance, each by an exact binomial test at a tenth of the level (Bonferroni). So the error of
the answers is at most the limit for at least 95 % of all such draws of samples, whatever the model and the data. The
question is that of Geifman & El-Yaniv 2017 (arXiv:1705.08500), the way that of Angelopoulos et al. 2021
(arXiv:2110.01052).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlworkflow.metrics.functions import wilson_interval

LEVEL = 0.95
"""How often a limit holds, over draws of the samples that choose the threshold."""
SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""The shares of samples, the most certain ones, at which a threshold is tested."""

SURE = 1000.0
"""The largest certainty: log odds beyond any number that a probability in double precision has."""


class Step(NamedTuple):
    """Of the samples whose certainty is above `threshold`: how many are `answered`, and how many of these are wrong."""

    threshold: float
    answered: int
    wrong: int


class Curve(NamedTuple):
    """The accuracy of the most certain samples by how many are answered, with 95 % intervals (Wilson), each (n,)."""

    coverage: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def certainty(probabilities: np.ndarray, temperature: float | None = None) -> np.ndarray:
    """Return how certain answers are (n,): the log odds of the likeliest of the classes (n, classes).

    It is that before calibration, by whose `temperature` the probabilities were changed: its order owes nothing to the
    samples that this is fitted to. It is between -`SURE` and `SURE`, that of a probability of 1; where probabilities
    are not finite, it is -`SURE`.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    top = p.argmax(axis=1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = (p / np.take_along_axis(p, top, axis=1)) ** (temperature or 1.0)
        np.put_along_axis(odds, top, 0.0, axis=1)
        found: np.ndarray = -np.log(odds.sum(axis=1))
    return np.clip(np.where(np.isnan(found), -SURE, found), -SURE, SURE)


def steps(certain: np.ndarray, right: np.ndarray) -> list[Step]:
    """Return what is left of the samples, (n,) each, above the threshold of each of the `SHARES`.

    A threshold is the certainty of the first sample that is left out, so that those above it are a random draw of all
    that are above it; -`SURE` where none is left out.
    """
    falling = np.append(-np.sort(-certain), -SURE)
    found = []
    for share in SHARES:
        threshold = float(falling[math.ceil(share * len(certain))])
        above = certain > threshold
        found.append(Step(threshold, int(above.sum()), int((above & ~right).sum())))
    return found


def chosen_step(found: Sequence[Step], max_error: float) -> Step | None:
    """Return the step that answers most with an error of at most `max_error`, at the level; None where none does."""
    from scipy.special import bdtr

    level = (1 - LEVEL) / len(found)
    kept = [step for step in found if step.answered and bdtr(step.wrong, step.answered, max_error) <= level]
    return max(kept, key=lambda step: step.answered, default=None)


def least_samples(max_error: float) -> int:
    """Return how many samples it takes at least to promise an error of at most `max_error`: that many without one."""
    return math.ceil(math.log((1 - LEVEL) / len(SHARES)) / math.log(1 - max_error))


def coverage_curve(certain: np.ndarray, right: np.ndarray) -> Curve:
    """Return the accuracy over the most certain samples by the share of samples that is answered, (n,) each."""
    order = np.argsort(-certain, kind="stable")
    n, n_right = np.arange(1, len(certain) + 1), np.cumsum(right[order])
    low, high = np.array([*map(wilson_interval, n_right.tolist(), n.tolist())]).T
    return Curve(n / len(certain), n_right / n, low, high)
