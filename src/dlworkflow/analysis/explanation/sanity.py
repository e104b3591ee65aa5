"""Whether a map depends on what a network has learned: compared with maps of copies that have learned nothing.

The test of Adebayo et al. 2018: a map that an untrained network gives as well shows edges, and no reasons.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

COPIES = 3
"""Untrained copies, the mean of whose correlations is taken: one may correlate by chance."""


def untrained(model: nn.Module, x: Tensor, seed: int) -> nn.Module:
    """Return a copy with weights as before training, in evaluation mode; batch norms are set by images like x (1, ...).

    Weights for which no layer has a rule are drawn with the deviation of the trained ones.
    """
    new = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        drawn = set()
        for layer in new.modules():
            if callable(reset := getattr(layer, "reset_parameters", None)):
                reset()
                drawn |= set(map(id, layer.parameters()))
        for weight in new.parameters():
            if id(weight) not in drawn:
                weight.normal_(std=float(weight.std(correction=0)))
        _settle_norms(new, x)
    return new.eval()


def _settle_norms(model: nn.Module, x: Tensor) -> None:
    """Let batch norms take their mean and variance from mirrored images: without, signals die out in a deep network."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not norms or x.dim() != 4:
        return
    for norm in norms:
        norm.momentum = None  # the mean of all batches, of which there is one
    model.train()(torch.cat([x, x.flip(2), x.flip(3), x.flip(2, 3)]))


def correlation_with_untrained(
    model: nn.Module, x: Tensor, grid: np.ndarray, map_of: Callable[[nn.Module], np.ndarray], *, seed: int = 0
) -> float | None:
    """Return the mean rank correlation of a map (h, w) with those of untrained copies of its model, in [-1, 1].

    `map_of` gives the map of a model. None where the map, or that of every copy, is the same everywhere.
    """
    found = [rank_correlation(grid, map_of(untrained(model, x, seed + number))) for number in range(COPIES)]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return Spearman's correlation of two arrays of one shape, None where one of them is constant."""
    ranks = np.stack([_ranks(a.ravel()), _ranks(b.ravel())])
    if (ranks.std(axis=1) == 0).any():
        return None
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place.ravel()]
