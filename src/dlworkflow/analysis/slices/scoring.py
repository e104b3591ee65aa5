"""Slices of samples with their scores, each against the rest, corrected for how many were looked at. Knows no run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dlworkflow.analysis.slices.cutting import LEAST, Slice
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.metrics.significance import bootstrap_interval, holm, of_mean, two_groups, welch
from dlworkflow.runs.slices import SliceRow


def score_slices(slices: Sequence[Slice], values: np.ndarray) -> tuple[list[SliceRow], int]:
    """Return a row for each slice and how many comparisons were made, by the value of each sample.

    `values` (n,) are bool, whether a sample is right, or float, its absolute error. A slice is compared with all other
    samples: by Fisher's exact test of rights, or Welch's test of errors. Chances are corrected by Holm's method over
    all comparisons; two slices that are each other's rest are one.
    """
    rows = [_row(each, values) for each in slices]
    keys = [min(each.mask.tobytes(), (~each.mask).tobytes()) for each in slices]
    tested = {key: row["p"] for key, row in zip(keys, rows, strict=True) if row["p"] is not None}
    corrected = dict(zip(tested, holm([*tested.values()]), strict=True)) if tested else {}
    for key, row in zip(keys, rows, strict=True):
        row["p_holm"] = float(corrected[key]) if row["p"] is not None else None
    return rows, len(tested)


def _row(own: Slice, values: np.ndarray) -> SliceRow:
    inside, outside = values[own.mask], values[~own.mask]
    n, score = len(inside), float(inside.mean())
    low, high = _interval(inside)
    row: SliceRow = {
        "property": own.property,
        "slice": own.name,
        "n": n,
        "score": score,
        "low": low,
        "high": high,
        "rest": float(outside.mean()),
        "difference": score - float(outside.mean()),
        "difference_low": None,
        "difference_high": None,
        "p": None,
        "p_holm": None,
        "examples": list(own.examples),
    }
    if min(n, len(outside)) < LEAST:
        return row
    if values.dtype == bool:
        found = two_groups(int(outside.sum()), len(outside), int(inside.sum()), n)
        row |= {"difference_low": found.low, "difference_high": found.high, "p": found.p}
    elif (compared := welch(outside, inside)) is not None:
        row |= {"difference_low": compared.low, "difference_high": compared.high, "p": compared.p}
    return row


def _interval(values: np.ndarray) -> tuple[float | None, float | None]:
    if values.dtype == bool:
        return wilson_interval(int(values.sum()), len(values))
    if len(values) < LEAST:
        return None, None
    found = bootstrap_interval(of_mean(values))
    return (found.low, found.high) if found is not None else (None, None)
