"""The curves of a run as numbers for the rules of a diagnosis; knows no run and no rule."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from dlworkflow.engine.history import History, by_column
from dlworkflow.errors import DlwError, few
from dlworkflow.metrics.significance import two_groups

FEWEST_EPOCHS = 3
"""With fewer there is no trend."""


@dataclass(frozen=True)
class Curves:
    """The numbers that rules look at; nan where the curves are too short for one or hold nan.

    `columns` are the whole curves: {"train_loss": one number per epoch, ...}, those of accuracy only where there is
    one. `baseline` is the score of one constant answer on held-out data: an accuracy, or a loss for a regression;
    `collapsed_to` the class that the model predicts for every sample, where that is known.

    `split` is the held-out split, `val` where there is one, else `test`. `train_loss`, `held_loss` and the accuracies
    are means over the last `window` epochs; `*_trend` is the change of a loss against the window before, as a fraction
    of it. `scale` is the loss of a model that knows nothing: a regression's baseline, else the loss of the first epoch.
    `*_skill` is the fraction of the baseline's errors (a regression's: its loss) that is gone: 0 is no better, 1 is
    perfect. `best_loss` is the lowest held-out loss, that of `best_epoch`. `samples` are the sizes of the splits, where
    they are known.
    """

    columns: Mapping[str, list[float]]
    has_acc: bool
    baseline: float | None = None
    collapsed_to: str | None = None
    samples: Mapping[str, int] = field(default_factory=dict)

    @property
    def split(self) -> str:
        return "val" if "val_loss" in self.columns else "test"

    @property
    def train(self) -> list[float]:
        """The training loss of each epoch."""
        return self.columns["train_loss"]

    @property
    def held(self) -> list[float]:
        """The held-out loss of each epoch."""
        return self.columns[f"{self.split}_loss"]

    @property
    def epochs(self) -> int:
        return len(self.train)

    @property
    def window(self) -> int:
        return max(1, min(self.epochs // 5, 50))

    @cached_property
    def train_loss(self) -> float:
        return self.level("train_loss")

    @cached_property
    def held_loss(self) -> float:
        return self.level(f"{self.split}_loss")

    @cached_property
    def train_acc(self) -> float:
        return self.level("train_acc")

    @cached_property
    def held_acc(self) -> float:
        return self.level(f"{self.split}_acc")

    def level(self, column: str) -> float:
        """Return the mean of a column over the last window; nan for a column that is not there."""
        return _mean(self.columns.get(column, [])[-self.window :])

    @property
    def train_trend(self) -> float:
        return _trend(self.train, self.window)

    @property
    def held_trend(self) -> float:
        return _trend(self.held, self.window)

    @property
    def best_loss(self) -> float:
        return min(self.held)

    @property
    def best_epoch(self) -> int:
        return self.held.index(self.best_loss) + 1

    @property
    def scale(self) -> float:
        nothing = self.baseline if self.baseline and not self.has_acc else max(self.train[0], self.held[0])
        return nothing or 1.0

    @property
    def train_skill(self) -> float:
        return self._skill(self.train_acc, self.train_loss)

    @property
    def held_skill(self) -> float:
        return self._skill(self.held_acc, self.held_loss)

    def _skill(self, acc: float, loss: float) -> float:
        errors, nothing = (1 - acc, 1 - (self.baseline or 0.0)) if self.has_acc else (loss, self.scale)
        return 1 - errors / nothing if nothing > 0 else 1.0

    @property
    def recent_accs(self) -> list[float]:
        """The last held-out accuracies, at least three where there are as many epochs."""
        return self.columns.get(f"{self.split}_acc", [])[-max(self.window, FEWEST_EPOCHS) :]

    @property
    def scatter(self) -> float:
        """The standard deviation of the last held-out accuracies."""
        middle = _mean(self.recent_accs)
        return math.sqrt(_mean([(value - middle) * (value - middle) for value in self.recent_accs]))

    @cached_property
    def zigzag(self) -> float:
        """The mean size of the losses' ups and downs in the later half, as a fraction of `scale`."""
        half = self.epochs // 2
        return max(_zigzag(self.train[half:]), _zigzag(self.held[half:])) / self.scale

    @property
    def rise(self) -> float:
        """How far the held-out loss is above its lowest, as a fraction of `scale`."""
        return (self.held_loss - self.best_loss) / self.scale

    @property
    def loss_gap(self) -> float:
        """How far the held-out loss is above the training loss, as a fraction of `scale`."""
        return (self.held_loss - self.train_loss) / self.scale

    @cached_property
    def gap_by_chance(self) -> float | None:
        """How often chance alone makes a gap as wide as that of the accuracies; None where the sizes are not known.

        It is the p value of Fisher's exact test, whose groups are the training and the held-out samples.
        """
        n_train, n_held = self.samples.get("train"), self.samples.get(self.split)
        if not (self.has_acc and n_train and n_held) or math.isnan(self.train_acc) or math.isnan(self.held_acc):
            return None
        return two_groups(round(self.train_acc * n_train), n_train, round(self.held_acc * n_held), n_held).p

    @cached_property
    def flaw(self) -> str:
        """Where the first number is nan or infinite, as a sentence; empty where all are finite."""
        looked_at = [f"{part}_{score}" for score in ("loss", "acc") for part in ("train", self.split)]
        known = [(name, self.columns[name]) for name in looked_at if name in self.columns]
        found = [(i, name, v) for name, values in known for i, v in enumerate(values) if not math.isfinite(v)]
        if not found:
            return ""
        index, name, value = min(found, key=lambda each: each[0])
        return f"{name.replace('_', ' ')} became {value} in epoch {index + 1}"


def measure(
    history: History,
    *,
    baseline_acc: float | None = None,
    baseline_loss: float | None = None,
    collapsed_to: str | None = None,
    samples: Mapping[str, int] | None = None,
) -> Curves:
    """Return the numbers that the rules look at; arguments as in `diagnose`."""
    columns = _columns(history)
    split = "val" if "val_loss" in columns else "test"
    has_acc = any(math.isfinite(value) for part in ("train", split) for value in columns.get(f"{part}_acc", ()))
    if not has_acc:
        columns = {name: values for name, values in columns.items() if not name.endswith("_acc")}
    baseline = baseline_acc if has_acc else baseline_loss
    known = baseline if baseline is not None and math.isfinite(baseline) else None
    return Curves(columns, has_acc, known, collapsed_to, samples or {})


def _columns(history: History) -> dict[str, list[float]]:
    """Return the history as {column: one number per epoch}, from rows or columns."""
    columns = by_column(history)
    if not any(columns.values()):
        raise DlwError("the history is empty: no epoch has ended, so there is nothing to diagnose")
    if missing := [name for name in ("train_loss", "test_loss") if not columns.get(name)]:
        raise DlwError(f"the history lacks {' and '.join(missing)}, one number per epoch; it has {few(columns)}")
    known = {name: values for name, values in columns.items() if re.fullmatch("(train|test|val)_(loss|acc)", name)}
    lengths = {name: len(values) for name, values in known.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DlwError(f"the history's columns are of unequal length: {listed}")
    numbers = {name: [_number(name, value) for value in values] for name, values in known.items()}
    percent = any(value > 1 for name, values in numbers.items() if name.endswith("_acc") for value in values)
    if not percent:
        return numbers
    return {
        name: [value / 100 for value in values] if name.endswith("_acc") else values for name, values in numbers.items()
    }


def _number(name: str, value: Any) -> float:
    try:
        return math.nan if value is None else float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError):
        raise DlwError(f"the history's {name} holds {value!r}, which is no number") from None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _trend(values: Sequence[float], window: int) -> float:
    """Return the change from the last window but one to the last, as a fraction of the former; nan without two."""
    before = values[-2 * window : -window]
    if not before:
        return math.nan
    level = _mean(before)
    return (_mean(values[-window:]) - level) / abs(level) if level else 0.0


def _zigzag(values: Sequence[float]) -> float:
    """Return the mean size of the turns of a curve from epoch to epoch; 0 for one that only falls or rises.

    A turn counts with the shorter of the two steps beside it, so that a single bend weighs nothing.
    """
    steps = [after - before for before, after in pairwise(values)]
    turns = [min(abs(a), abs(b)) if a * b < 0 else 0.0 for a, b in pairwise(steps)]
    return _mean(turns) if turns else 0.0
