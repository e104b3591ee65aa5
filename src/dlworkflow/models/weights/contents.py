"""What tensors hold, as plain data: all numbers where there are few, their range and spread where there are many."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

MOST_VALUES = 1000
"""Numbers of a tensor that are kept one by one."""


@dataclass(frozen=True)
class Contents:
    """A tensor in numbers: mean, standard deviation (of all values, not of a sample), least and greatest value.

    `values` are its numbers as nested lists of `shape`, or None for more than 1,000; whatever is not finite is None.
    """

    shape: tuple[int, ...]
    count: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    values: Any = None


def contents_of(tensor: Tensor) -> Contents:
    """Return what a tensor of any shape and type of real numbers holds."""
    numbers = tensor.detach().cpu().double()
    spread = (numbers.mean(), numbers.std(correction=0), *numbers.aminmax()) if numbers.numel() else [math.nan] * 4
    mean, std, least, greatest = (_finite(float(value)) for value in spread)
    values = _plain(tensor.tolist()) if tensor.numel() <= MOST_VALUES else None
    return Contents(tuple(tensor.shape), tensor.numel(), mean, std, least, greatest, values)


def contents_of_weights(weights: Mapping[str, Tensor]) -> dict[str, Contents]:
    """Return what each tensor of a state_dict holds, by its name."""
    return {name: contents_of(tensor) for name, tensor in weights.items()}


def _plain(values: Any) -> Any:
    return [_plain(value) for value in values] if isinstance(values, list) else _finite(values)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
