"""The section on how true a run's probabilities are, where `dlw calibrate` found it; nothing is computed."""

from __future__ import annotations

from functools import partial

from dlworkflow.analysis.report.document import Points, Section, Table
from dlworkflow.inference.stored import stored_calibration
from dlworkflow.runs import Run
from dlworkflow.runs.calibration_text import COLUMNS, rows, sentences
from dlworkflow.runs.stored import unless_damaged


def calibration_section(run: Run, faults: list[str]) -> Section | None:
    """Return the measures before and after calibration of a run's best weights; None where they are not calibrated."""
    found = unless_damaged(partial(stored_calibration, run), faults)
    if found is None:
        return None
    title = f"How true the probabilities are, on {found.source}"
    return Section("Calibration", [Table(title, COLUMNS, rows(found)), Points(sentences(found))])
