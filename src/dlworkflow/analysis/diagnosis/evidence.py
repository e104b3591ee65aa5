"""The numbers of a diagnosis as sentences."""

from __future__ import annotations

import math

from dlworkflow.analysis.diagnosis.curves import Curves


def evidence_of(c: Curves) -> list[str]:
    """Return what was measured, as sentences; of curves that hold no numbers only how long they are."""
    if c.flaw:
        return [f"{c.epochs} epoch{'s' if c.epochs != 1 else ''} were recorded"]
    told = [_levels(c)]
    if not math.isnan(c.train_trend):
        told.append(_trends(c))
    if c.baseline is not None:
        told.append(_distance(c))
    if c.best_epoch < c.epochs and c.rise > 0.001:
        told.append(
            f"{c.split} loss was lowest in epoch {c.best_epoch} of {c.epochs}: {c.best_loss:.5f}; since then it rose "
            f"to {c.held_loss:.5f}"
        )
    return [sentence(text) for text in told]


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


def sentence(text: str) -> str:
    """Let a text begin as a sentence does."""
    return text[:1].upper() + text[1:]
