"""Learning rates over time: plain functions of the update or the epoch, and what sets them in an optimizer.

The curves are those of torch's schedulers. These load torch's compiler, which takes longer than many a training run;
functions do not, and a rate is then the same whether training was stopped on the way or not.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer

Curve = Callable[[float, float], float]
"""(rate of the optimizer's settings, updates or epochs done) -> rate."""


def constant() -> Curve:
    """Return the rate itself, always."""
    return lambda base, _: base


def step(*, step_size: int, gamma: float) -> Curve:
    """Return torch's StepLR."""
    return lambda base, done: base * gamma ** (done // step_size)


def multi_step(*, milestones: Sequence[int], gamma: float) -> Curve:
    """Return torch's MultiStepLR."""
    ordered = sorted(milestones)
    return lambda base, done: base * gamma ** bisect_right(ordered, done)


def exponential(*, gamma: float) -> Curve:
    """Return torch's ExponentialLR."""
    return lambda base, done: base * gamma**done


def cosine(*, total: float, min_lr: float = 0.0) -> Curve:
    """Return torch's CosineAnnealingLR over `total`; after it, the lowest rate."""
    return lambda base, done: min_lr + (base - min_lr) * _half_cosine(_part(done, 0, total))


def one_cycle(*, total: int, pct_start: float, div_factor: float, final_div_factor: float) -> Curve:
    """Return torch's OneCycleLR over `total` updates, with the optimizer's rate as its highest."""
    peak, last = pct_start * total - 1, total - 1

    def rate(base: float, done: float) -> float:
        first = base / div_factor
        if done <= peak:
            return base + (first - base) * _half_cosine(_part(done, 0, peak))
        floor = first / final_div_factor
        return floor + (base - floor) * _half_cosine(_part(done, peak, last))

    return rate


def _part(done: float, start: float, end: float) -> float:
    """Return which part of a phase is over; one without length is."""
    return (done - start) / (end - start) if end > start else 1.0


def _half_cosine(part: float) -> float:
    """Return 1 at 0, 0 at 1 and after, and half a cosine between."""
    return (1 + math.cos(math.pi * min(part, 1.0))) / 2


class Schedule:
    """Sets the rate of every group of an optimizer, each from the rate that the group had at first.

    `curve` is asked for the epochs done; with `by_update`, for the updates done since the warm-up. During the first
    `warmup` updates the rate rises in a straight line: the n-th has n / warmup of it.
    """

    def __init__(self, optimizer: Optimizer, curve: Curve, *, warmup: int = 0, by_update: bool = False) -> None:
        self._optimizer, self._curve, self._warmup, self._by_update = optimizer, curve, warmup, by_update
        self._bases = [group["lr"] for group in optimizer.param_groups]
        self.updates = self.epochs = 0
        self._set()

    @property
    def counts_updates(self) -> bool:
        """Whether the rate changes within an epoch, so that `after_update` must be called."""
        return self._by_update or self._warmup > 0

    def after_update(self) -> None:
        """Set the rate of the next update."""
        self.updates += 1
        if self._by_update or self.updates <= self._warmup:
            self._set()

    def end_epoch(self, loss: float) -> None:  # noqa: ARG002 - for those that look at it
        """Set the rate of the next epoch; `loss` is that by which the best epoch is chosen."""
        self.epochs += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Return how far it is."""
        return {"updates": self.updates, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.updates, self.epochs = state["updates"], state["epochs"]
        self._set()

    def _set(self) -> None:
        warm = min(1.0, (self.updates + 1) / self._warmup) if self._warmup else 1.0
        for group, base in zip(self._optimizer.param_groups, self._bases, strict=True):
            group["lr"] = warm * self._rate(base)

    def _rate(self, base: float) -> float:
        return self._curve(base, max(0, self.updates - self._warmup) if self._by_update else self.epochs)


class Plateau(Schedule):
    """torch's ReduceLROnPlateau: the rate times `factor` each time that `patience` epochs brought nothing.

    A loss counts as better when it is lower than the best by the part `threshold` of it.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        factor: float,
        patience: int,
        threshold: float = 1e-4,
        min_lr: float = 0.0,
        warmup: int = 0,
    ) -> None:
        self._factor, self._patience, self._threshold, self._min_lr = factor, patience, threshold, min_lr
        self._best, self._waited, self._cuts = math.inf, 0, 0
        super().__init__(optimizer, constant(), warmup=warmup)

    def end_epoch(self, loss: float) -> None:
        if loss < self._best - abs(self._best) * self._threshold or self._best == math.inf:
            self._best, self._waited = loss, 0
        else:
            self._waited += 1
        if self._waited > self._patience:
            self._cuts, self._waited = self._cuts + 1, 0
        super().end_epoch(loss)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"best": self._best, "waited": self._waited, "cuts": self._cuts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best, self._waited, self._cuts = state["best"], state["waited"], state["cuts"]
        super().load_state_dict(state)

    def _rate(self, base: float) -> float:
        return max(base * self._factor**self._cuts, min(base, self._min_lr))
