"""Slices and corruptions of a run as people read them: cells of tables and sentences. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dlworkflow.files.numbers import number
from dlworkflow.metrics.significance import chance
from dlworkflow.runs.robustness import RobustnessScores
from dlworkflow.runs.slices import SliceRow, SliceScores

LEVEL = 0.05
"""A difference is called one where chance alone gives it more rarely, after the correction for all that was tested."""

SLICE_COLUMNS = {
    "property": "property",
    "slice": "slice",
    "n": "samples",
    "score": "",
    "interval": "95 % interval",
    "rest": "rest",
    "difference": "difference",
    "chance": "chance alone",
}
CORRUPTION_COLUMNS = {
    "corruption": "corruption",
    "setting": "strength",
    "score": "",
    "difference": "difference",
    "interval": "95 % interval",
    "changed": "answers changed",
}
_MOST_SENTENCES = 5


def slice_columns(metric: str) -> dict[str, str]:
    """Return the headings of `slice_rows`."""
    return _headings(SLICE_COLUMNS, metric)


def slice_rows(found: SliceScores) -> list[dict[str, str]]:
    """Return the cells of a table of slices; the chance is after the correction for all that were tested."""
    return [
        {
            "property": row["property"],
            "slice": row["slice"],
            "n": number(row["n"]),
            "score": score_text(row["score"], found.metric),
            "interval": _span(row["low"], row["high"], found.metric),
            "rest": score_text(row["rest"], found.metric),
            "difference": _signed(row["difference"], found.metric),
            "chance": "not tested" if row["p_holm"] is None else chance(row["p_holm"]),
        }
        for row in found.slices
    ]


def slice_sentences(found: SliceScores) -> list[str]:
    """Return what the slices show: those that are worse than the rest, and how many were looked at."""
    tested = sorted((row for row in found.slices if row["p_holm"] is not None), key=lambda row: row["p"] or 0.0)
    small = sum(row["p_holm"] is None for row in found.slices)
    worse = [row for row in tested if _is_worse(row, found.metric)]
    weak = [row for row in worse if (row["p_holm"] or 0.0) < LEVEL]
    lines = [_sentence(row, found) for row in weak[:_MOST_SENTENCES]]
    if len(weak) > _MOST_SENTENCES:
        lines.append(f"{len(weak) - _MOST_SENTENCES} more of the slices in the table are worse than the rest.")
    if worse and not weak:
        lines.append(f"No slice is worse than the rest by more than chance. {_sentence(worse[0], found)}")
    slices = "1 slice" if len(found.slices) == 1 else f"{len(found.slices)} slices"
    looked = f"Looked at {slices} of {found.samples:,} samples"
    if found.comparisons == 1:
        looked += ", 1 comparison with the rest"
    elif tested:
        looked += f", {found.comparisons} comparisons with the rest; each chance is corrected for all of them (Holm)"
    lines.append(f"{looked}.")
    if small:
        lines.append(
            f"{small} of them {'is' if small == 1 else 'are'} too small to be tested: the slice or the rest has fewer "
            "than 10 samples."
        )
    return lines


def _is_worse(row: SliceRow, metric: str) -> bool:
    difference = row["difference"] or 0.0
    return difference < 0 if metric == "accuracy" else difference > 0


def _sentence(row: SliceRow, found: SliceScores) -> str:
    where = f"With {row['property']} {row['slice']} ({row['n']:,} of {found.samples:,} samples)"
    own, rest, span = (
        score_text(row["score"], found.metric),
        score_text(row["rest"], found.metric),
        _span(row["low"], row["high"], found.metric),
    )
    how = f"it is right {own}" if found.metric == "accuracy" else f"its mean absolute error is {own}"
    luck = f"of {found.comparisons} comparisons, chance alone gives such a difference {chance(row['p_holm'] or 0.0)}"
    if found.comparisons == 1:
        luck = f"chance alone gives such a difference {chance(row['p_holm'] or 0.0)}"
    return f"{where} {how} (95 % interval {span}) against {rest} on the rest: {luck}."


def corruption_columns(metric: str) -> dict[str, str]:
    """Return the headings of `corruption_rows`."""
    return _headings(CORRUPTION_COLUMNS, metric)


def corruption_rows(found: RobustnessScores) -> list[dict[str, str]]:
    """Return the cells of a table of corruptions."""
    return [
        {
            "corruption": row["corruption"],
            "setting": row["setting"],
            "score": score_text(row["score"], found.metric),
            "difference": _signed(row["difference"], found.metric),
            "interval": _span(row["low"], row["high"], found.metric, sign=True),
            "changed": number(row["changed"]),
        }
        for row in found.corruptions
    ]


def robustness_sentences(found: RobustnessScores) -> Iterator[str]:
    """Yield what the corruptions show: the mean over all, and where most is lost."""
    scores = [row["score"] for row in found.corruptions if row["score"] is not None]
    if not scores or found.score is None:
        return
    worst = (min if found.metric == "accuracy" else max)(found.corruptions, key=lambda row: row["score"] or 0.0)
    what = _METRICS[found.metric]
    yield (
        f"{found.samples:,} images as they are: {what} {score_text(found.score, found.metric)}; over all corruptions: "
        f"{score_text(sum(scores) / len(scores), found.metric)} on average."
    )
    lost = found.score - (worst["score"] or 0.0)
    if (lost if found.metric == "accuracy" else -lost) <= 0:
        yield "No corruption scores worse than the images as they are."
        return
    unit = " points" if found.metric == "accuracy" else ""
    yield (
        f"Most is lost by {worst['corruption']} ({worst['setting']}): {score_text(worst['score'], found.metric)}, a "
        f"difference of {_signed(worst['difference'], found.metric)}{unit} "
        f"(95 % interval {_span(worst['low'], worst['high'], found.metric, sign=True)})."
    )
    if (n := len(found.corruptions)) > 1:
        yield (
            f"Each interval is of one corruption by itself, without a correction for all {n}: the worst of {n} looks a "
            "little worse than it is."
        )


def _headings(columns: Mapping[str, str], metric: str) -> dict[str, str]:
    unit = " (points)" if metric == "accuracy" else ""
    return {**columns, "score": _METRICS[metric], "difference": f"difference{unit}"}


_METRICS: Mapping[str, str] = {"accuracy": "accuracy", "mae": "mean abs. error"}


def score_text(value: float | None, metric: str) -> str:
    """Return an accuracy as 68.0 %, an error with four digits."""
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if metric == "accuracy" else f"{value:.4g}"


def _signed(value: Any, metric: str) -> str:
    if value is None:
        return ""
    return f"{100 * value:+.1f}" if metric == "accuracy" else f"{value:+.4g}"


def _span(low: float | None, high: float | None, metric: str, *, sign: bool = False) -> str:
    if low is None or high is None:
        return ""
    shown = _signed if sign else score_text
    return f"{shown(low, metric)} to {shown(high, metric)}"
