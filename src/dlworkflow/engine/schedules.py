"""Schedules by name, one function each, and what sets their learning rates in an optimizer.

The curves are those of torch's schedulers. These load torch's compiler, which takes longer than many a training run;
functions do not, and the learning rate is the same whether training was interrupted or not. Knows neither settings nor
data; imports no torch. A new schedule is a function and its line in the table here.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from dlworkflow.errors import ConfigError
from dlworkflow.registry import BelowOne, Count, Fraction, NonNegative, Positive, Range, Registry, Size

if TYPE_CHECKING:
    from torch.optim import Optimizer

Rates = Callable[[float, float], float]
"""(learning rate of the optimizer's settings, epochs done) -> learning rate."""


@dataclass(frozen=True)
class Curve:
    """Learning rates over epochs, or `by_update`: then over the updates since the warm-up.

    `changes_after` is the epoch after which the learning rate first changes, `because_of` the setting that decides it.
    """

    rates: Rates
    by_update: bool = False
    changes_after: int = 1
    because_of: str = "name"

    def __call__(self, base: float, done: float) -> float:
        return self.rates(base, done)


AboveOne = Annotated[Positive, Range(1, open=True)]
AtLeastOne = Annotated[Positive, Range(1)]


def constant() -> None:
    """Keep the learning rate of the optimizer."""


def step(*, step_size: Count = 10, gamma: Fraction = 0.1) -> Curve:
    """Multiply the learning rate by `gamma` every `step_size` epochs (StepLR)."""
    return Curve(
        lambda base, done: base * gamma ** (done // step_size), changes_after=step_size, because_of="step_size"
    )


def multi_step(*, milestones: list[Count], gamma: Fraction = 0.1) -> Curve:
    """Multiply the learning rate by `gamma` after each of the epochs `milestones` (MultiStepLR)."""
    if not milestones:
        raise ConfigError("schedule.milestones: must be a list of at least one, not []")
    ordered = sorted(milestones)
    return Curve(
        lambda base, done: base * gamma ** bisect_right(ordered, done),
        changes_after=ordered[-1],  # the last of them is to be reached
        because_of="milestones",
    )


def exponential(*, gamma: Fraction = 0.95) -> Curve:
    """Multiply the learning rate by `gamma` every epoch (ExponentialLR)."""
    return Curve(lambda base, done: base * gamma**done)


def cosine(*, min_lr: NonNegative = 0.0, lr: float, epochs: int, updates: int, warmup: int) -> Curve:
    """Lower it along half a cosine to `min_lr` (CosineAnnealingLR): every epoch, or every update after a warm-up."""
    _check_lowest(min_lr, lr)
    total = updates - warmup if warmup else epochs
    return Curve(
        lambda base, done: min_lr + (base - min_lr) * _half_cosine(_part(done, 0, total)), by_update=warmup > 0
    )


def one_cycle(
    *,
    pct_start: Fraction = 0.3,
    div_factor: AboveOne = 25.0,
    final_div_factor: AtLeastOne = 1e4,
    lr: float,
    updates: int,
    warmup: int,
) -> Curve:
    """Raise it from a `div_factor`-th in the first `pct_start` of all updates, then lower it to almost 0."""
    if warmup:
        raise ConfigError("schedule.warmup_epochs: one_cycle has its own warm-up, schedule.pct_start; leave it out")
    peak, last = pct_start * updates - 1, updates - 1

    def rate(base: float, done: float) -> float:
        first = base / div_factor
        if done <= peak:
            return base + (first - base) * _half_cosine(_part(done, 0, peak))
        floor = first / final_div_factor
        return floor + (base - floor) * _half_cosine(_part(done, peak, last))

    top = int(pct_start * updates)
    highest = max(rate(lr, done) for done in range(max(0, top - 2), min(updates, top + 2)))
    if highest < lr / 2:
        raise ConfigError(
            f"schedule.name: one_cycle over {updates} update{'s' if updates != 1 else ''} never comes near the "
            f"learning rate of {lr:g}, its highest is {highest:.2g}; give more epochs, smaller batches or another "
            "schedule"
        )
    return Curve(rate, by_update=True)


def plateau(
    *,
    factor: Fraction = 0.1,
    patience: Size = 10,
    threshold: BelowOne = 1e-4,
    min_lr: NonNegative = 0.0,
    lr: float,
) -> Rates:
    """Multiply it by `factor` when the loss has not fallen for `patience` epochs (ReduceLROnPlateau)."""
    _check_lowest(min_lr, lr)
    return Plateau(factor, patience, threshold, min_lr)


SCHEDULES: Registry[Callable[..., Rates | None]] = Registry(
    "schedule",
    {
        "constant": constant,
        "step": step,
        "multi_step": multi_step,
        "exponential": exponential,
        "cosine": cosine,
        "one_cycle": one_cycle,
        "plateau": plateau,
    },
    group="schedules",
    supplied=("lr", "epochs", "updates", "warmup"),
    documented={
        "step_size": "Epochs from one decay of the learning rate to the next.",
        "gamma": "Factor of the learning rate at each decay.",
        "milestones": "Epochs after which the learning rate decays, as [10, 20].",
        "min_lr": "Lower bound of the learning rate.",
        "pct_start": "Fraction of all updates in which the learning rate rises.",
        "div_factor": "The first learning rate is optimizer.lr divided by this.",
        "final_div_factor": "The last learning rate is the first divided by this.",
        "factor": "Factor of the learning rate when the loss stops falling.",
        "patience": "Epochs without a lower loss before the learning rate falls.",
        "threshold": "Relative decrease of the loss that counts as lower.",
    },
)
"""A schedule takes its settings by keyword, and those of these that it has a parameter for: `lr` of the optimizer,
`epochs` and `updates` (optimizer steps) of all training, and `warmup` in updates.

It returns learning rates by epoch, as a function or a `Curve`, or None where they stay. What it returns may have the
methods `end_epoch(loss)`, `state_dict` and `load_state_dict`. Settings that contradict each other raise ConfigError.
"""


_MANY = 1_000


def build_curve(
    name: str,
    settings: Mapping[str, Any],
    *,
    lr: float,
    epochs: int,
    warmup_epochs: float = 0.0,
    updates_per_epoch: int = _MANY,
) -> Rates | None:
    """Return the curve of a schedule; before the data is known, an epoch counts as having many updates.

    Raises ConfigError for an unknown name, and for settings that make no sense for such a training.
    """
    updates, warmup = epochs * updates_per_epoch, round(warmup_epochs * updates_per_epoch)
    return SCHEDULES.build(name, settings, lr=lr, epochs=epochs, updates=updates, warmup=warmup)


def check_first_change(name: str, curve: Rates | None, epochs: int) -> None:
    """Raise ConfigError where a curve over epochs would first change the learning rate after the last of them."""
    if curve is None or getattr(curve, "by_update", False):
        return
    first, setting = getattr(curve, "changes_after", 1), getattr(curve, "because_of", "name")
    if epochs == 1:
        raise ConfigError(
            f"schedule.name: {name!r} has no second epoch to change the learning rate in; give more --epochs"
        )
    if first >= epochs:
        raise ConfigError(
            f"schedule.{setting}: the learning rate would first change after epoch {first} of {epochs}; give fewer, or "
            "more --epochs"
        )


def depends_on_length(name: str) -> bool:
    """Return whether a schedule gives other learning rates when training has more epochs."""
    return name in SCHEDULES and bool({"epochs", "updates"} & SCHEDULES.needs(name))


def _check_lowest(min_lr: float, lr: float) -> None:
    if min_lr >= lr:
        raise ConfigError(f"schedule.min_lr: must be less than the learning rate, which is {lr:g}, not {min_lr:g}")


def _part(done: float, start: float, end: float) -> float:
    """Return which part of a phase is over; one without length is."""
    return (done - start) / (end - start) if end > start else 1.0


def _half_cosine(part: float) -> float:
    """Return 1 at 0, 0 at 1 and after, and half a cosine between."""
    return (1 + math.cos(math.pi * min(part, 1.0))) / 2


class Plateau:
    """The curve of `plateau`, which depends on the losses so far.

    A loss is better when it is lower than the best by the fraction `threshold` of it.
    """

    def __init__(self, factor: float, patience: int, threshold: float, min_lr: float) -> None:
        self._factor, self._patience, self._threshold, self._min_lr = factor, patience, threshold, min_lr
        self._best, self._waited, self._cuts = math.inf, 0, 0
        self.changes_after, self.because_of = patience + 1, "patience"

    def __call__(self, base: float, _: float) -> float:
        return max(base * self._factor**self._cuts, min(base, self._min_lr))

    def end_epoch(self, loss: float) -> None:
        """Count an epoch whose loss is no better, and a cut when there were too many."""
        if loss < self._best - abs(self._best) * self._threshold or self._best == math.inf:
            self._best, self._waited = loss, 0
        else:
            self._waited += 1
        if self._waited > self._patience:
            self._cuts, self._waited = self._cuts + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the best loss, the epochs since, and the cuts so far."""
        return {"best": self._best, "waited": self._waited, "cuts": self._cuts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._best, self._waited, self._cuts = state["best"], state["waited"], state["cuts"]


class Schedule:
    """Sets the learning rate of every group of an optimizer, each from the one that the group had at first.

    `curve` is asked for the epochs or updates done; None leaves the learning rate. During the first `warmup` updates
    the learning rate rises in a straight line: in the n-th it is n / warmup of the curve's.
    """

    def __init__(self, optimizer: Optimizer, curve: Rates | None, *, warmup: int = 0) -> None:
        self._optimizer, self._warmup = optimizer, warmup
        self._curve: Any = curve
        self._by_update = getattr(curve, "by_update", False)
        self._bases = [group["lr"] for group in optimizer.param_groups]
        self.updates = self.epochs = 0
        self._set()

    @property
    def counts_updates(self) -> bool:
        """Whether the learning rate changes within an epoch, so that `after_update` must be called."""
        return self._by_update or self._warmup > 0

    def after_update(self) -> None:
        """Set the learning rate of the next update."""
        self.updates += 1
        if self._by_update or self.updates <= self._warmup:
            self._set()

    def end_epoch(self, loss: float) -> None:
        """Set the learning rate of the next epoch; `loss` is the one that the best epoch is chosen by."""
        if hasattr(self._curve, "end_epoch"):
            self._curve.end_epoch(loss)
        self.epochs += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Return the updates and epochs so far, and the state of the curve where it has one."""
        own: dict[str, Any] = {"updates": self.updates, "epochs": self.epochs}
        return own | (self._curve.state_dict() if hasattr(self._curve, "state_dict") else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        if hasattr(self._curve, "load_state_dict"):
            self._curve.load_state_dict(state)
        self.updates, self.epochs = state["updates"], state["epochs"]
        self._set()

    def _set(self) -> None:
        warm = min(1.0, (self.updates + 1) / self._warmup) if self._warmup else 1.0
        for group, base in zip(self._optimizer.param_groups, self._bases, strict=True):
            group["lr"] = warm * self._rate(base)

    def _rate(self, base: float) -> float:
        if self._curve is None:
            return base
        return self._curve(base, max(0, self.updates - self._warmup) if self._by_update else self.epochs)
