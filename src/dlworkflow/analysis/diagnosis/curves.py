"""The numbers in the curves of a run that a diagnosis looks at, and where each starts to mean something."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from dlworkflow.errors import DlwError

History = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]

FEWEST_EPOCHS = 3
"""With fewer there is no trend."""
FEW_EPOCHS = 10
"""With fewer, curves that still fall fast have not shown where they go."""
FALLING = 0.02
"""A loss that is lower by this share than it was a window ago still falls."""
FALLING_FAST = 0.1
EXPLODED = 2.0
"""A training loss that ends this many times above its start has diverged."""
ZIGZAG = 0.1
"""Ups and downs from epoch to epoch that are this large, as a share of the loss of knowing nothing, are unstable."""
GAP = 0.1
"""Training accuracy this far above that on unseen data is overfitting."""
LOSS_GAP = 0.15
"""So is a loss on unseen data this far above its best (or, for a regression, above training's), as a share likewise."""
LEARNT_ACC = 0.85
"""A model has learnt its training data when it gets right this share of what its baseline gets wrong."""
LEARNT_LOSS = 0.95
"""A regression has when it has taken away this share of its baseline's loss."""
NOISE = 0.02
"""Accuracies this near to the baseline, or as near as twice their own scatter (at most GAP), are no better than it."""


@dataclass(frozen=True)
class Curves:
    """The numbers that rules look at.

    `split` is what the model did not learn from, `val` where there is one, else `test`. `train_loss` and the like are
    means over the last `window` epochs, `*_trend` their change against the window before as a share of it. `*_skill`
    is the share of the baseline's errors (a regression's: its loss) that is gone: 0 is no better, 1 is perfect.
    `zigzag`, `rise` and `loss_gap` are shares of the loss of knowing nothing. `creeps` is a training loss that fell in
    every epoch of the later half, `learns_on` one that is lower now than in the best epoch.
    """

    epochs: int
    window: int
    split: str
    flaw: str
    has_acc: bool
    collapsed_to: str | None
    baseline: float | None
    first_loss: float = math.nan
    train_loss: float = math.nan
    held_loss: float = math.nan
    train_acc: float = math.nan
    held_acc: float = math.nan
    train_trend: float = math.nan
    held_trend: float = math.nan
    best_loss: float = math.nan
    best_epoch: int = 0
    train_skill: float = math.nan
    held_skill: float = math.nan
    scatter: float = math.nan
    zigzag: float = math.nan
    rise: float = math.nan
    loss_gap: float = math.nan
    at_baseline: bool = False
    creeps: bool = False
    learns_on: bool = False

    @property
    def learning(self) -> bool:
        """The training loss still falls."""
        return self.train_trend < -FALLING

    @property
    def falling(self) -> bool:
        """Both losses still fall."""
        return self.learning and self.held_trend < -FALLING

    @property
    def falling_fast(self) -> bool:
        """Both losses still fall fast."""
        return self.train_trend < -FALLING_FAST and self.held_trend < -FALLING_FAST

    @property
    def rose(self) -> bool:
        """The training loss is higher than after the first epoch."""
        return self.train_loss > 1.001 * self.first_loss

    @property
    def disaster(self) -> str:
        """Say how the training loss was lost, or nothing."""
        if self.flaw or not self.train_loss > EXPLODED * self.first_loss:
            return self.flaw
        return f"the training loss ended at {self.train_loss:.5g}, far above its start of {self.first_loss:.5g}"

    @property
    def one_answer(self) -> str:
        """Say that the model answers one class: it is known to, or scored exactly so epoch after epoch; or nothing."""
        if self.collapsed_to is not None:
            return f"the model answers {self.collapsed_to!r} for every {self.split} sample"
        if self.at_baseline:
            return f"the {self.split} accuracy is exactly that of one answer for everything, epoch after epoch"
        return ""

    @property
    def no_better(self) -> bool:
        """Neither on unseen data nor on its own is the model told from its baseline."""
        if self.baseline is None:
            return False
        if not self.has_acc:
            return self.held_loss >= 0.95 * self.baseline and self.train_loss >= 0.5 * self.baseline
        noise = min(max(NOISE, 2 * self.scatter), GAP)
        return self.held_acc <= self.baseline + noise and self.train_acc <= self.baseline + noise + GAP

    @property
    def overfits(self) -> bool:
        """Training goes on getting better where unseen data does not."""
        if self.has_acc and self.train_acc - self.held_acc >= GAP:
            return True
        if self.rise >= LOSS_GAP and self.learns_on:
            return True
        return not self.has_acc and self.loss_gap >= LOSS_GAP and not self.falling

    @property
    def learnt(self) -> bool:
        """The training data are learnt well enough."""
        return self.train_skill >= (LEARNT_ACC if self.has_acc else LEARNT_LOSS)


def measure(
    history: History,
    *,
    baseline_acc: float | None = None,
    baseline_loss: float | None = None,
    collapsed_to: str | None = None,
) -> Curves:
    """Return the numbers that the rules look at; arguments as in `diagnose`."""
    columns = _columns(history)
    split = "val" if "val_loss" in columns else "test"
    train, held = columns["train_loss"], columns[f"{split}_loss"]
    accs = [columns.get(f"{part}_acc", []) for part in ("train", split)]
    has_acc = any(math.isfinite(value) for acc in accs for value in acc)
    window = max(1, min(len(train) // 5, 50))
    baseline = _known(baseline_acc if has_acc else baseline_loss)
    told = {"train_loss": train, f"{split}_loss": held}
    told |= {"train_acc": accs[0], f"{split}_acc": accs[1]} if has_acc else {}
    flaw = _flaw(told)
    curves = Curves(len(train), window, split, flaw, has_acc, collapsed_to, baseline)
    if flaw:
        return curves
    return _measured(curves, train, held, *(accs if has_acc else ([], [])))


def _measured(
    c: Curves, train: list[float], held: list[float], train_acc: list[float], held_acc: list[float]
) -> Curves:
    """Fill in the numbers of finite curves."""
    window, half = c.window, len(train) // 2
    nothing = c.baseline if c.baseline and not c.has_acc else max(train[0], held[0])
    share = nothing or 1.0
    best = min(range(len(held)), key=held.__getitem__)
    train_loss, held_loss = _mean(train[-window:]), _mean(held[-window:])
    recent = held_acc[-max(window, FEWEST_EPOCHS) :]
    if c.has_acc:
        base = c.baseline or 0.0
        skills = [_skill(1 - _mean(acc[-window:]), 1 - base) for acc in (train_acc, held_acc)]
    else:
        skills = [_skill(loss, share) for loss in (train_loss, held_loss)]
    return replace(
        c,
        first_loss=train[0],
        train_loss=train_loss,
        held_loss=held_loss,
        train_acc=_mean(train_acc[-window:]),
        held_acc=_mean(held_acc[-window:]),
        train_trend=_trend(train, window),
        held_trend=_trend(held, window),
        best_loss=held[best],
        best_epoch=best + 1,
        train_skill=skills[0],
        held_skill=skills[1],
        scatter=_scatter(recent),
        zigzag=max(_zigzag(train[half:]), _zigzag(held[half:])) / share,
        rise=(held_loss - held[best]) / share,
        loss_gap=(held_loss - train_loss) / share,
        at_baseline=_stays_at(c.baseline, recent),
        creeps=all(after < before for before, after in pairwise(train[half:])),
        learns_on=train_loss < train[best],
    )


def _columns(history: History) -> dict[str, list[float]]:
    """Return the history as {column: a number an epoch}, whichever of its two forms it came in."""
    if isinstance(history, Mapping):
        columns = {str(name): list(values) for name, values in history.items()}
    else:
        names = dict.fromkeys(name for row in history for name in row)
        columns = {name: [row.get(name) for row in history] for name in names}
    if not any(columns.values()):
        raise DlwError("the history is empty: no epoch has ended, so there is nothing to diagnose")
    missing = [name for name in ("train_loss", "test_loss") if not columns.get(name)]
    if missing:
        raise DlwError(f"the history lacks {' and '.join(missing)}; it has {', '.join(columns)}")
    known = {name: values for name, values in columns.items() if re.fullmatch("(train|test|val)_(loss|acc)", name)}
    lengths = {name: len(values) for name, values in known.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DlwError(f"the history's columns are of unequal length: {listed}")
    return {name: [_number(name, value) for value in values] for name, values in known.items()}


def _number(name: str, value: Any) -> float:
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError):
        raise DlwError(f"the history's {name} holds {value!r}, which is no number") from None


def _known(baseline: float | None) -> float | None:
    return baseline if baseline is not None and math.isfinite(baseline) else None


def _flaw(columns: Mapping[str, Sequence[float]]) -> str:
    """Say where the first number stands that is none, or nothing."""
    found = [(i, name, v) for name, values in columns.items() for i, v in enumerate(values) if not math.isfinite(v)]
    if not found:
        return ""
    index, name, value = min(found, key=lambda each: each[0])
    return f"{name.replace('_', ' ')} became {value} in epoch {index + 1}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _trend(values: Sequence[float], window: int) -> float:
    """Return the change from the last window but one to the last, as a share of the former; nan without two."""
    before = values[-2 * window : -window]
    if not before:
        return math.nan
    level = _mean(before)
    return (_mean(values[-window:]) - level) / abs(level) if level else 0.0


def _zigzag(values: Sequence[float]) -> float:
    """Return how far a curve goes back on itself from epoch to epoch, on average; 0 for one that only falls or rises.

    A turn counts with the shorter of the two steps beside it, so that a single bend weighs nothing.
    """
    steps = [after - before for before, after in pairwise(values)]
    turns = [min(abs(a), abs(b)) if a * b < 0 else 0.0 for a, b in pairwise(steps)]
    return _mean(turns) if turns else 0.0


def _scatter(values: Sequence[float]) -> float:
    """Return the standard deviation."""
    middle = _mean(values)
    return math.sqrt(_mean([(value - middle) * (value - middle) for value in values])) if values else math.nan


def _skill(errors: float, nothing: float) -> float:
    """Return the share of the errors of knowing nothing that is gone; 1 where there were none to begin with."""
    return 1 - errors / nothing if nothing > 0 else 1.0


def _stays_at(baseline: float | None, recent: Sequence[float]) -> bool:
    if baseline is None or baseline >= 1 or len(recent) < FEWEST_EPOCHS:
        return False
    return all(math.isclose(value, baseline, abs_tol=1e-6) for value in recent)
