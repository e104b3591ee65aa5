"""The best and the worst predictions of a run: images with what was predicted, or rows of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlworkflow.analysis.figures import Material
from dlworkflow.analysis.report.document import Block, Gallery, Picture, Section, Table
from dlworkflow.analysis.report.of_scores import Scored, samples_of
from dlworkflow.analysis.report.pictures import of_image
from dlworkflow.files.numbers import number
from dlworkflow.metrics.multilabel import NO_LABELS
from dlworkflow.metrics.report import EvaluationReport, Row

SHOWN = 9
"""Predictions of each sort that are shown."""

MOST_INPUTS = 10
"""Inputs of a sample that a table shows."""


def samples_section(material: Material, scored: Scored) -> Section | None:
    """Return the samples that are predicted worst and best; None where the run was not scored."""
    report = scored.report
    if report is None or not report.samples:
        return None
    worst, best = report.errors(), _best(report)
    what = samples_of(material.run.summary())
    if report.classes:
        worst_title = _title(len(worst), "errors", "with the highest loss")
        best_title = "Right predictions with the lowest loss, of each class in turn"
    else:
        worst_title = _title(len(worst), what, "that are furthest from the truth")
        best_title = f"The {len(best)} {what} that are closest to the truth"
    show = _gallery if material.run.summary().kind == "image" else _table
    blocks = [show(material, title, rows[:SHOWN]) for title, rows in ((worst_title, worst), (best_title, best)) if rows]
    return Section("Worst and best predictions", blocks)


def _title(n: int, what: str, which: str) -> str:
    one = what.removesuffix("s")
    return f"The {SHOWN} of {n:,} {what} {which}" if n > SHOWN else f"All {n} {what}" if n > 1 else f"The only {one}"


def _best(report: EvaluationReport) -> list[Row]:
    """Return the right predictions with the lowest loss, of each class before a second of one; the closest numbers."""
    rows = sorted(report.samples, key=lambda row: row["loss"])
    if report.task == "regression":
        return rows[: min(SHOWN, len(rows) - SHOWN)] if len(rows) > SHOWN else []
    right = [row for row in rows if row["truth"] == row["prediction"]]
    seen: dict[str, int] = {}
    turns = []
    for row in right:
        seen[row["truth"]] = turn = seen.get(row["truth"], 0) + 1
        turns.append((turn, row))
    return [row for _, row in sorted(turns, key=lambda each: each[0])][:SHOWN]  # sorted keeps the order of losses


def _gallery(material: Material, title: str, rows: Sequence[Row]) -> Gallery:
    return Gallery(title, [_picture(material, row) for row in rows])


def _picture(material: Material, row: Row) -> Picture:
    from dlworkflow.data.protocol import original_of

    image = original_of(material.part.dataset, row["index"], longest=500)
    name = Path(row["file"]).name if "file" in row else f"sample {row['index']}"
    caption = f"{_verdict(row)}\n{name}"
    return of_image(image, f"sample-{row['index']}", f"{name}: {_verdict(row)}".replace("\n", ", "), caption)


def _verdict(row: Row) -> str:
    if "probability" not in row:
        return f"{row['prediction']:.5g}\ntrue: {row['truth']:.5g}"
    truth, prediction = (row[key] or NO_LABELS for key in ("truth", "prediction"))
    sign = "✓" if truth == prediction else "✗"
    first = f"{sign} {prediction}, {100 * row['probability']:.0f} %"
    return first if truth == prediction else f"{first}\ntrue: {truth}; loss {row['loss']:.2f}"


def _table(material: Material, title: str, rows: Sequence[Row]) -> Block:
    from dlworkflow.data.first_rows import sample_row

    of_answer = ["truth", "prediction", *(["probability"] if "probability" in rows[0] else []), "loss"]
    answers = [{key: row[key] if row[key] != "" else NO_LABELS for key in of_answer} for row in rows]
    given = [sample_row(material.splits, material.part.dataset, row["index"]) for row in rows]
    target = material.splits.columns.target if material.splits.columns is not None else "y"
    every = [key for key in given[0] if key not in ("label", "class", "labels", target)]
    keys = every[:MOST_INPUTS]
    title += f" (the first {len(keys)} of {len(every)} inputs)" if len(keys) < len(every) else ""
    columns = {"index": "sample", **{key: key for key in of_answer}, **{f"input {key}": key for key in keys}}
    shown = [
        {"index": number(row["index"])}
        | {key: cell(value) for key, value in answer.items()}
        | {f"input {key}": cell(inputs.get(key)) for key in keys}
        for row, inputs, answer in zip(rows, given, answers, strict=True)
    ]
    return Table(title, columns, shown)


def cell(value: Any) -> str:
    """Return an input or a label as a cell of a table."""
    return f"{value:.6g}" if isinstance(value, float) else number(value)
