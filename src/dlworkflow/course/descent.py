"""Gradient descent on a straight line, step by step in numbers; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlworkflow.errors import ConfigError, DlwError

MOST_STEPS = 10_000
"""More steps than anyone reads; a slip of the finger should not fill the memory."""


@dataclass(frozen=True)
class DescentStep:
    """One step of gradient descent on y = w * x + b, numbered from 1.

    `w` and `b` are those before the step; `errors` are prediction - y, `loss` their mean square; `grad_w` and `grad_b`
    its slopes; `new_w` and `new_b` what the step ends with.
    """

    step: int
    w: float
    b: float
    predictions: tuple[float, ...]
    errors: tuple[float, ...]
    loss: float
    grad_w: float
    grad_b: float
    new_w: float
    new_b: float


@dataclass(frozen=True)
class LossSurface:
    """The mean squared error of y = w * x + b over a grid: `loss[i][j]` belongs to `b[i]` and `w[j]`.

    `lowest` is the (w, b) of least loss, by least squares; None where all x are equal and a whole line of them is.
    """

    w: list[float]
    b: list[float]
    loss: list[list[float]]
    lowest: tuple[float, float] | None = None


def trace_descent(
    x: Sequence[float] = (1, 2, 3),
    y: Sequence[float] = (2, 4, 6),
    *,
    w: float = 1.5,
    b: float = -0.5,
    lr: float = 0.01,
    steps: int = 5,
) -> list[DescentStep]:
    """Fit y = w * x + b by gradient descent on the mean squared error and keep every number.

    Raises ConfigError for points that do not pair, no step, or a number that is not finite, and DlwError when the
    numbers outgrow a float.
    """
    _check_points(x, y)
    _check_finite(w=w, b=b, lr=lr)
    if lr <= 0:
        raise ConfigError(f"lr: must be more than 0, not {lr:g}")
    if not 1 <= steps <= MOST_STEPS:
        raise ConfigError(f"steps: must be between 1 and {MOST_STEPS:,}, not {steps}")
    trace: list[DescentStep] = []
    for number in range(1, steps + 1):
        taken = _descend(number, x, y, w, b, lr)
        if not all(map(math.isfinite, (taken.loss, taken.new_w, taken.new_b))):
            raise DlwError(f"step {number} leaves no finite number at learning rate {lr:g}; try a lower lr")
        trace.append(taken)
        w, b = taken.new_w, taken.new_b
    return trace


def _descend(number: int, x: Sequence[float], y: Sequence[float], w: float, b: float, lr: float) -> DescentStep:
    n = len(x)
    predictions = tuple(w * xi + b for xi in x)
    errors = tuple(p - yi for p, yi in zip(predictions, y, strict=True))
    loss = sum(e * e for e in errors) / n
    grad_w = 2 / n * sum(e * xi for e, xi in zip(errors, x, strict=True))
    grad_b = 2 / n * sum(errors)
    return DescentStep(number, w, b, predictions, errors, loss, grad_w, grad_b, w - lr * grad_w, b - lr * grad_b)


def descent_path(trace: Sequence[DescentStep]) -> list[tuple[float, float]]:
    """Return the points (w, b) that a descent went through, the start and the end among them."""
    return [*((step.w, step.b) for step in trace), (trace[-1].new_w, trace[-1].new_b)]


def loss_surface(
    x: Sequence[float], y: Sequence[float], path: Sequence[tuple[float, float]], *, points: int = 61
) -> LossSurface:
    """Return the mean squared error around a path of (w, b): a grid of `points` a side.

    The grid holds the whole path and the lowest point, with a margin. Raises ConfigError as `trace_descent` does.
    """
    _check_points(x, y)
    if points < 2 or not path:
        raise ConfigError(f"a surface needs a path and 2 points a side or more, not {len(path)} and {points}")
    lowest = _lowest(x, y)
    shown = [*path, lowest] if lowest else path
    w = _grid([point[0] for point in shown], points)
    b = _grid([point[1] for point in shown], points)
    return LossSurface(w, b, [[_mse(x, y, wj, bi) for wj in w] for bi in b], lowest)


def _mse(x: Sequence[float], y: Sequence[float], w: float, b: float) -> float:
    errors = [w * xi + b - yi for xi, yi in zip(x, y, strict=True)]
    return sum(e * e for e in errors) / len(errors)


def _lowest(x: Sequence[float], y: Sequence[float]) -> tuple[float, float] | None:
    """Return the least-squares (w, b)."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((xi - mean_x) * (xi - mean_x) for xi in x)
    if not spread:
        return None
    w = sum((xi - mean_x) * (yi - mean_y) for xi, yi in zip(x, y, strict=True)) / spread
    return w, mean_y - w * mean_x


def _grid(values: Sequence[float], points: int) -> list[float]:
    low, high = min(values), max(values)
    margin = 0.25 * (high - low) or 1.0
    low, high = low - margin, high + margin
    return [low + (high - low) * i / (points - 1) for i in range(points)]


def _check_points(x: Sequence[float], y: Sequence[float]) -> None:
    if len(x) != len(y) or not len(x):
        raise ConfigError(f"x and y: {len(x)} and {len(y)} numbers; give at least one, and as many of each")
    _check_finite(**{f"x[{i}]": value for i, value in enumerate(x)}, **{f"y[{i}]": value for i, value in enumerate(y)})


def _check_finite(**numbers: float) -> None:
    errors = [f"{name}: must be a finite number, not {value}" for name, value in numbers.items() if not _finite(value)]
    if errors:
        raise ConfigError(*errors)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False
