"""The verdict of the first rule that holds for curves, with the evidence in sentences; knows no run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dlworkflow.analysis.diagnosis.curves import Curves, History, measure
from dlworkflow.analysis.diagnosis.rules import RULES
from dlworkflow.analysis.diagnosis.suggestions import Suggestion


@dataclass(frozen=True)
class Diagnosis:
    """What the curves mean: the verdict of a rule, the evidence in sentences with numbers, and what to try."""

    verdict: str
    evidence: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]


def diagnose(
    history: History,
    *,
    baseline_acc: float | None = None,
    baseline_loss: float | None = None,
    collapsed_to: str | None = None,
) -> Diagnosis:
    """Return what the curves of a run mean.

    `history` is `Run.history()` (a row per epoch) or what `train` returns (a list per column): train_loss, test_loss
    and, but for a regression, train_acc and test_acc in [0, 1]; val_* where there are any. The baselines are the score
    of one constant answer on held-out data; `collapsed_to` is the class that the model predicts for every sample, where
    that is known. Raises DlwError for an empty history or one that lacks a column.
    """
    curves = measure(history, baseline_acc=baseline_acc, baseline_loss=baseline_loss, collapsed_to=collapsed_to)
    added = [] if curves.flaw else [name for name in RULES.names() if name not in RULES.table]
    for asked in (RULES[name] for name in (*added, *RULES.table)):
        if reason := asked(curves):
            return Diagnosis(asked.verdict, (_sentence(reason), *_evidence(curves)), asked.suggestions)
    raise AssertionError("the last rule holds for all curves")


def _evidence(c: Curves) -> list[str]:
    """Return what was measured, as sentences; only the number of epochs of curves that hold no numbers."""
    if c.flaw:
        return [f"{c.epochs} epoch{'s' if c.epochs != 1 else ''} were recorded"]
    found = [_levels(c)]
    if not math.isnan(c.train_trend):
        found.append(_trends(c))
    if c.baseline is not None:
        found.append(_distance(c))
    if c.best_epoch < c.epochs and c.rise > 0.001:
        found.append(
            f"{c.split} loss was lowest in epoch {c.best_epoch} of {c.epochs}: {c.best_loss:.5f}; since then it rose "
            f"to {c.held_loss:.5f}"
        )
    return [_sentence(text) for text in found]


def _levels(c: Curves) -> str:
    where = f"mean of the last {c.window} epochs" if c.window > 1 else "last epoch"
    if not c.has_acc:
        return f"{where}: training loss {c.train_loss:.5f}, {c.split} loss {c.held_loss:.5f}{_times(c)}"
    gap = 100 * (c.train_acc - c.held_acc)
    return (
        f"{where}: training loss {c.train_loss:.5f} and accuracy {c.train_acc:.2%}, {c.split} loss {c.held_loss:.5f} "
        f"and accuracy {c.held_acc:.2%}; the gap is {gap:.1f} points"
    )


def _times(c: Curves) -> str:
    return f", {c.held_loss / c.train_loss:.2g} times as high" if c.train_loss > 0 else ""


def _trends(c: Curves) -> str:
    before = f"the {c.window} before" if c.window > 1 else "the epoch before"
    return f"against {before}: training loss {_change(c.train_trend)}, {c.split} loss {_change(c.held_trend)}"


def _change(share: float) -> str:
    return "unchanged" if abs(share) < 0.0005 else f"{share:+.1%}"


def _distance(c: Curves) -> str:
    assert c.baseline is not None
    if not c.has_acc:
        side = f"{abs(c.held_skill):.0%} {'below' if c.held_skill >= 0 else 'above'} that"
        return f"always answering the training mean has a {c.split} loss of {c.baseline:.5f}; the model is {side}"
    points = 100 * (c.held_acc - c.baseline)
    side = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if abs(points) >= 0.05 else "exactly"
    return f"always giving one answer scores {c.baseline:.2%}; the {c.split} accuracy is {side} that"


def _sentence(text: str) -> str:
    """Let a text begin as a sentence does."""
    return text[:1].upper() + text[1:]
