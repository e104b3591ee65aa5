"""What `dlw calibrate` found, as rows of a table and as sentences. Knows no terminal."""

from __future__ import annotations

from collections.abc import Sequence

from dlworkflow.files.numbers import short
from dlworkflow.runs.calibration import CalibrationSummary, Measured

COLUMNS = {
    "measure": "measure",
    "before": "before",
    "before_95": "95 % interval",
    "after": "after",
    "after_95": "95 % interval",
}
_MEASURES = {"nll": "negative log likelihood", "brier": "Brier score", "error": "calibration error"}
_FEW = 100
"""Samples below which a temperature is a guess."""


def rows(found: CalibrationSummary) -> list[dict[str, str]]:
    """Return the measures of calibration before and after, a row each."""
    return [
        {"measure": name, **_cells("before", found.before, key), **_cells("after", found.after, key)}
        for key, name in _MEASURES.items()
    ]


def sentences(found: CalibrationSummary) -> list[str]:
    """Return what the measures mean, and how far they are to be trusted."""
    if found.temperature is None:
        lines = [
            f"all {found.source} are answered rightly: nothing shows how sure the model may be, and its probabilities "
            "stay as they are"
        ]
    else:
        lines = [*_of_temperature(found.temperature, found.interval or ())]
        lines.append("after: measured with temperatures that were found on other samples (5 folds)")
    for name, measured in (("before", found.before), ("after", found.after)):
        gap, chance = 100 * measured["error"][0], 100 * measured["error_by_chance"]
        lines.append(
            f"{name}, confidence and accuracy are {gap:.1f} points apart; where probabilities are true, chance alone "
            f"makes that up to {chance:.1f} on {found.source}"
        )
    if found.after["nll"][0] > found.before["nll"][0]:
        lines.append(
            "on samples that it was not found on, the temperature makes probabilities no better: leave it out with "
            "--uncalibrated"
        )
    if found.reach is not None:
        lines.append(
            f"`dlw predict --reject-unknown` takes an input for unknown that is farther than {short(found.reach)} from "
            "every training sample, by its features; so are 5 % of these samples"
        )
    if found.samples < _FEW:
        lines.append(f"{found.source} are few: more of them would say more ({_FEW} or so)")
    return lines


def _of_temperature(temperature: float, interval: Sequence[float]) -> list[str]:
    spread = f" (95 % interval {short(interval[0])} to {short(interval[1])})" if len(set(interval)) > 1 else ""
    change = "less sure" if temperature > 1 else "surer"
    found = [f"temperature {short(temperature)}{spread}: predictions are {change} than before, with the same labels"]
    if not spread:
        why = (
            "say nothing about the classes"
            if temperature > 1
            else "are small for how often it is right: train it longer"
        )
        found.append(f"no temperature between the limits is better than this one; the model's scores {why}")
    elif interval[0] <= 1 <= interval[1]:
        found.append("1, which changes nothing, is within the interval: nothing says that the model was miscalibrated")
    return found


def _cells(key: str, measured: Measured, name: str) -> dict[str, str]:
    value, low, high = measured[name]  # type: ignore[literal-required] # one of the three measures
    return {key: short(value), f"{key}_95": f"{short(low)} to {short(high)}"}
