"""The report of several runs: side by side first, then each."""

from __future__ import annotations

from collections.abc import Sequence

from dlworkflow._version import __version__
from dlworkflow.analysis.comparison_figures import draw_runs
from dlworkflow.analysis.report.document import Block, Document, Section, Table, Text
from dlworkflow.analysis.report.of_run import lead_and_sections
from dlworkflow.analysis.report.pictures import of_figure
from dlworkflow.errors import DlwError, RunError, few
from dlworkflow.files.numbers import percent
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.runs import Run, now
from dlworkflow.runs.cells import BY_BATCH, headings, pretty, pretty_seeds, shown_columns
from dlworkflow.runs.comparison import compare_runs, compare_seeds, sort_rows

MOST_RUNS = 10
"""Of more runs, only the best have sections of their own."""


def document_of(runs: Sequence[Run], *, data_dir: str | None = None) -> Document:
    """Return the report of one run, or of several with their comparison first.

    Raises RunError for a single run that is damaged, and CodeError as `lead_and_sections` does.
    """
    made = f"Made on {now()[:10]} with dlworkflow {__version__}"
    if len(runs) == 1:
        [run] = runs
        summary = run.summary()
        lead, sections = lead_and_sections(run, data_dir=data_dir)
        started = f"Run {run.name}, started {summary.started[:10]}. {made}."
        return Document(f"{summary.model} on {summary.data}", lead, sections, started)
    chosen = _best(runs)
    sections = [_comparison(runs), *(_run_section(run, data_dir) for run in chosen)]
    left = len(runs) - len(chosen)
    note = (
        [f"The {len(chosen)} best have sections of their own; `dlw report RUN` makes that of another."] if left else []
    )
    title = f"{len(runs)} runs: {few(dict.fromkeys(_title(run) for run in runs), 3, quoted=False)}"
    return Document(title, note, sections, f"{made}.")


def _title(run: Run) -> str:
    try:
        summary = run.summary()
    except RunError:
        return run.name
    return f"{summary.model} on {summary.data}"


def _best(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that have sections: all of a few in their order, of many those with the lowest loss."""
    if len(runs) <= MOST_RUNS:
        return list(runs)
    rows = compare_runs(runs)
    column = "val_loss" if all(row.get("val_loss") is not None for row in rows) else "test_loss"
    by_path = {str(run.path): run for run in runs}
    return [by_path[row["path"]] for row in sort_rows(rows, column)[:MOST_RUNS]]


def _run_section(run: Run, data_dir: str | None) -> Section:
    try:
        lead, sections = lead_and_sections(run, data_dir=data_dir)
    except RunError as error:
        return Section(f"Run {run.name}", [Text(f"It is left out: {error}.")])
    return Section(f"Run {run.name}", [*map(Text, lead), *sections])


def _comparison(runs: Sequence[Run]) -> Section:
    rows = compare_runs(runs)
    keys, by_path = shown_columns(rows), {str(run.path): run for run in runs}
    place = keys.index("test_acc") + 1 if any(row.get("test_acc") is not None for row in rows) else len(keys)
    intervals = {row["path"]: _interval(by_path[row["path"]], row) for row in rows}
    columns = headings(keys)
    if any(intervals.values()):
        columns = headings(keys[:place]) | {"interval": "95 % interval"} | headings(keys[place:])
    shown = [pretty(row) | {"interval": intervals[row["path"]]} for row in rows]
    blocks: list[Block] = [Table("The best epoch of each run", columns, shown)]
    if any(row.get("over_batches") for row in rows):
        blocks.append(Text(BY_BATCH))
    if on_test := [row["run"] for row in rows if row.get("chosen_on") == "test"]:
        which = "" if len(on_test) == len(rows) else f" of {few(on_test, quoted=False)}"
        blocks.append(
            Text(
                f"The best epoch{which} is that of the lowest test loss, as there is no validation split: expect a "
                "little less on new data."
            )
        )
    if several := [row for row in compare_seeds(runs) if row["seeds"] > 1]:
        headed = headings(shown_columns(several))
        blocks.append(Table("Over seeds: mean and standard deviation", headed, [pretty_seeds(row) for row in several]))
    for kind, about in (("curves", "Loss and accuracy of each run by epoch"), ("bars", "Accuracy of each run")):
        try:
            blocks.append(of_figure(draw_runs(runs, kind=kind), f"runs-{kind}", about, about))
        except DlwError:  # no epoch, or no accuracy
            continue
    return Section("Comparison", blocks)


def _interval(run: Run, row: dict[str, object]) -> str:
    """Return the 95 % confidence interval of a run's test accuracy; "" where it is none, or a mean over batches."""
    accuracy = row.get("test_acc")
    if not isinstance(accuracy, float) or "test_acc" in str(row["over_batches"]).split():
        return ""
    n = run.summary().samples["test"]
    return " to ".join(map(percent, wilson_interval(round(accuracy * n), n)))
