"""The results of a sweep: a row per combination, means and deviations over seeds. Reads run folders, without torch."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from typing import Any, Literal

from dlworkflow.files.notebook import Rows
from dlworkflow.runs import COLUMNS, VAL_COLUMNS
from dlworkflow.runs.comparison import compare_runs, sort_rows
from dlworkflow.training.sweep.folder import ENDED, FAILED, FINISHED, PRUNED, Plan, Point, Sweep

Row = dict[str, Any]


def sweep_rows(
    sweep: Sweep, plan: Plan, *, by: str | None = None, at: Literal["best", "last"] = "best"
) -> tuple[list[Row], str]:
    """Return a row per combination, ordered by their metric, and the metric.

    Keys: the settings of the grid, n (runs that finished), the metric and `<metric>_sd` (sample standard deviation,
    None for fewer than two), the accuracy or loss beside it likewise, seconds (mean), over_batches where a figure is of
    means over batches (see `compare_runs`), then status (finished, failed,
    pruned, interrupted or waiting: the worst of its runs), reason, and runs (their names). `by` is a metric of
    `compare_runs`, by default the validation loss, else the test loss; `at` says where in each run it is taken.
    """
    members: dict[str, list[Point]] = {}
    for point in plan.points:
        members.setdefault(json.dumps(point.values), []).append(point)
    finished = [point.run for point in plan.points if point.status == FINISHED and point.run]
    found = {row["run"]: row for row in compare_runs(map(sweep.run, finished), by=by, at=at)}
    whole = {name: row for name, row in found.items() if "chosen_on" in row}
    validated = any(row.get("val_loss") is not None for row in whole.values())
    metric = by or ("val_loss" if validated else "test_loss")
    shown = [metric, *_beside(metric, whole.values())]
    rows = [_row(points, whole, shown) for points in members.values()]
    return Rows(sort_rows(rows, metric), first=(*plan.keys, *shown)), metric


def first_run(sweep: Sweep, rows: Sequence[Row], metric: str, by: str | None) -> str | None:
    """Return the name of the first run of the first row by the metric, None without one."""
    if not rows or rows[0][metric] is None:
        return None
    runs = compare_runs(map(sweep.run, rows[0]["runs"]), by=by)
    return str(sort_rows([row for row in runs if metric in row], metric)[0]["run"])


def _beside(metric: str, rows: Any) -> list[str]:
    """Return the other measure of the same split, where there is one."""
    split, _, measure = metric.partition("_")
    other = f"{split}_{'acc' if measure == 'loss' else 'loss'}"
    known = other in (*COLUMNS, *VAL_COLUMNS)
    return [other] if known and any(row.get(other) is not None for row in rows) else []


def _row(points: Sequence[Point], found: dict[str, Row], shown: Sequence[str]) -> Row:
    runs = [found[point.run] for point in points if point.run in found]
    row: Row = {**points[0].values, "n": len(runs)}
    for key in shown:
        values = [run[key] for run in runs if run.get(key) is not None and math.isfinite(run[key])]
        row[key] = statistics.fmean(values) if values else None
        row[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else None
    row["seconds"] = statistics.fmean(run["seconds"] for run in runs) if runs else None
    if over_batches := [key for key in shown if any(key in run["over_batches"].split() for run in runs)]:
        row["over_batches"] = " ".join(over_batches)
    status = next((s for s in (FAILED, PRUNED) if any(point.status == s for point in points)), None)
    unended = [point.status for point in points if point.status not in ENDED]
    row["status"] = status or (unended[0] if unended else FINISHED)
    row["reason"] = _reason(points)
    row["runs"] = [run["run"] for run in runs]
    return row


def _reason(points: Sequence[Point]) -> str | None:
    """Return why runs of a combination have no result: the first reason, and how many runs have one."""
    reasons = [point.reason for point in points if point.reason]
    if not reasons:
        return None
    return f"{len(reasons)} of {len(points)}: {reasons[0]}" if len(points) > 1 else reasons[0]
