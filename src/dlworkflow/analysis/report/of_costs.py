"""What predictions of a run cost, where `dlw costs` measured it."""

from __future__ import annotations

from functools import partial

from dlworkflow.analysis.report.document import Section, Table, Text
from dlworkflow.files.numbers import file_size
from dlworkflow.runs import Run
from dlworkflow.runs.costs import Costs
from dlworkflow.runs.stored import unless_damaged


def costs_section(run: Run, faults: list[str]) -> Section | None:
    """Return size, time and memory of a run's predictions; None where they were not measured, or of other weights."""
    found = unless_damaged(partial(run.found, Costs), faults)
    if found is None or not found.is_of(run.summary()):
        return None
    rows = {
        "file of the weights": file_size(found.size_bytes),
        "parameters": f"{found.parameters:,}",
        "multiplications of one input": f"{found.mult_adds:,}",
        "time of one input": f"{found.milliseconds:.3g} ms",
        "time of each of 32 inputs together": f"{found.milliseconds_in_batch:.3g} ms",
    }
    if found.milliseconds_reading is not None:
        rows["time to read a JPEG of 512x512 pixels"] = f"{found.milliseconds_reading:.3g} ms"
    if found.memory_bytes is not None:
        rows["memory of the model and one prediction"] = file_size(found.memory_bytes)
    cells = [{"what": what, "value": value} for what, value in rows.items()]
    table = Table("What a prediction costs", {"what": "what", "value": "value"}, cells)
    return Section("Costs", [Text(f"Measured on {found.measured_on}; times are medians."), table])
