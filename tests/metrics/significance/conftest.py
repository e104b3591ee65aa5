"""How often p values of data without a difference may be below a level: at most as often as it says."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

LEVELS = np.linspace(0.005, 1, 200)


@pytest.fixture
def most_above() -> Callable[..., float]:
    """By how much the share of p values at or below a level exceeds it at most, less the Monte Carlo error.

    That error is exceeded one time in a thousand (Dvoretzky, Kiefer and Wolfowitz).
    """

    def measure(p_values: np.ndarray, levels: np.ndarray = LEVELS) -> float:
        share = np.searchsorted(np.sort(p_values), levels + 1e-12, side="right") / len(p_values)
        return float((share - levels).max()) - math.sqrt(math.log(2 / 0.001) / (2 * len(p_values)))

    return measure


@pytest.fixture
def furthest_off() -> Callable[..., float]:
    """How far the share of p values at or below a level is from it at most, for the levels that are in use."""

    def measure(p_values: np.ndarray) -> float:
        usual = LEVELS[LEVELS <= 0.1]
        return float(np.abs(np.searchsorted(np.sort(p_values), usual, side="right") / len(p_values) - usual).max())

    return measure
