"""The verdict of the first rule that holds for curves, with the evidence in sentences; knows no run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dlworkflow.analysis.diagnosis.curves import Curves, History, measure
from dlworkflow.analysis.diagnosis.rules import RULES
from dlworkflow.analysis.diagnosis.suggestions import Suggestion, of_curves_alone
from dlworkflow.files.notebook import Shown, html_table
from dlworkflow.files.numbers import percent
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.metrics.significance import chance


@dataclass(frozen=True)
class Diagnosis(Shown):
    """What the curves mean: the verdict of a rule, the evidence in sentences with numbers, and what to try.

    Its `repr` is the report that people read.
    """

    verdict: str
    evidence: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]

    def __repr__(self) -> str:
        return "\n".join(self.lines([suggestion.why for suggestion in self.suggestions]))

    def lines(self, to_try: Sequence[str] = ()) -> list[str]:
        """Return the verdict with its reason, the evidence, and what to try, a line each."""
        reason, *evidence = self.evidence
        lines = [f"{self.verdict.replace('_', ' ')}: {reason[:1].lower()}{reason[1:]}"]
        lines += [f"  - {sentence}" for sentence in evidence]
        if to_try:
            lines += ["", "to try, one at a time, most promising first:"]
        return lines + [f"  {line}" for line in to_try]

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return what a notebook shows: what to try."""
        return [{"to try, one at a time": suggestion.why} for suggestion in self.suggestions]

    def _repr_html_(self) -> str:
        return html_table(self.shown_rows(), caption="\n".join(self.lines()))


def diagnose(
    history: History,
    *,
    baseline_acc: float | None = None,
    baseline_loss: float | None = None,
    collapsed_to: str | None = None,
    samples: Mapping[str, int] | None = None,
) -> Diagnosis:
    """Return what the curves of a run mean.

    `history` is `Run.history()` (a row per epoch) or what `train` returns (a list per column): train_loss, test_loss
    and, but for a regression, train_acc and test_acc in [0, 1]; val_* where there are any. The baselines are the score
    of one constant answer on held-out data; `collapsed_to` is the class that the model predicts for every sample, where
    that is known. `samples` are the sizes of the splits, {"train": 225, "test": 75}: with them the evidence has how
    often chance alone makes such differences. Accuracies above 1 are read as percent. Suggestions are those that hold
    for any model and data; `diagnose_run` has more. Raises DlwError for an empty history or one that lacks a column.
    """
    known: dict[str, Any] = {"baseline_acc": baseline_acc, "baseline_loss": baseline_loss}
    curves = measure(history, **known, collapsed_to=collapsed_to, samples=samples)
    found = judge(curves)
    return replace(found, suggestions=of_curves_alone(found.suggestions))


def judge(curves: Curves) -> Diagnosis:
    """Return the diagnosis of the first rule that holds, with all its suggestions."""
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
        f"{where}: training loss {c.train_loss:.5f} and accuracy {percent(c.train_acc)}, "
        f"{c.split} loss {c.held_loss:.5f} and accuracy {percent(c.held_acc)}; "
        f"the gap is {gap:.1f} points{_by_chance(c)}"
    )


def _by_chance(c: Curves) -> str:
    """Return how often chance alone makes such a gap; nothing for one that is rounded to none."""
    if c.gap_by_chance is None or abs(c.train_acc - c.held_acc) < 0.0005:
        return ""
    return f" (by chance alone: {chance(c.gap_by_chance)})"


def _times(c: Curves) -> str:
    return f", {c.held_loss / c.train_loss:.2g} times as high" if c.train_loss > 0 else ""


def _trends(c: Curves) -> str:
    before = f"the {c.window} before" if c.window > 1 else "the epoch before"
    return f"against {before}: training loss {_change(c.train_trend)}, {c.split} loss {_change(c.held_trend)}"


def _change(share: float) -> str:
    return "unchanged" if abs(share) < 0.0005 else f"{100 * share:+.1f} %"


def _distance(c: Curves) -> str:
    assert c.baseline is not None
    if not c.has_acc:
        side = f"{100 * abs(c.held_skill):.0f} % {'below' if c.held_skill >= 0 else 'above'} that"
        return f"always answering the training mean has a {c.split} loss of {c.baseline:.5f}; the model is {side}"
    points = 100 * (c.held_acc - c.baseline)
    side = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if abs(points) >= 0.05 else "exactly"
    return f"always giving one answer scores {percent(c.baseline)}; the {c.split} accuracy is {side} that{_unsure(c)}"


def _unsure(c: Curves) -> str:
    """Return that an accuracy above the baseline may still be chance; nothing where it is more, or no higher."""
    n = c.samples.get(c.split)
    if not n or c.baseline is None or not c.held_acc > c.baseline:
        return ""
    low, high = wilson_interval(round(c.held_acc * n), n)
    if low > c.baseline:
        return ""
    return f", which {n:,} samples cannot tell from chance: they leave {percent(low)} to {percent(high)} possible"


def _sentence(text: str) -> str:
    """Let a text begin as a sentence does."""
    return text[:1].upper() + text[1:]
