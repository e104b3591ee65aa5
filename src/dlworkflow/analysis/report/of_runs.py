"""The report of several runs: side by side first, then each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dlworkflow._version import __version__
from dlworkflow.analysis.comparison_figures import draw_runs
from dlworkflow.analysis.difference_text import sentences
from dlworkflow.analysis.differences import Differences, compare_answers
from dlworkflow.analysis.report.document import Block, Document, Section, Table, Text
from dlworkflow.analysis.report.of_folds import folds_lead, folds_section, stored_folds
from dlworkflow.analysis.report.of_labels import labels_of_runs
from dlworkflow.analysis.report.of_run import lead_and_sections
from dlworkflow.analysis.report.of_scores import warnings_section
from dlworkflow.analysis.report.pictures import of_figure
from dlworkflow.errors import DlwError, RunError, few
from dlworkflow.files.numbers import number, percent
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.runs import Run, now
from dlworkflow.runs.cells import BY_BATCH, headings, pretty, pretty_seeds, shown_columns
from dlworkflow.runs.comparison import Row, are_alike, compare_runs, compare_seeds, read_runs, sort_rows

MOST_RUNS = 10
"""Of more runs, only those of the lowest losses have sections of their own."""


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
    runs, faults = read_runs(runs), list[str]()
    rows = compare_runs(runs)
    by_path = {str(run.path): run for run in runs}
    tested = _tests(rows, by_path)
    folds = stored_folds(runs, faults)
    chosen, lead = list(runs), folds_lead(folds) if folds is not None else _lead(rows, by_path, tested)
    if len(runs) > MOST_RUNS:
        split, ranked = _lowest_first(rows)
        chosen = [by_path[row["path"]] for row in ranked[:MOST_RUNS]]
        lead.append(
            f"The {len(chosen)} of the lowest {split} loss have sections of their own; `dlw report RUN` makes that of "
            "another."
        )
    title = f"{len(runs)} runs: {few(dict.fromkeys(_title(run) for run in runs), 3, quoted=False)}"
    labels = labels_of_runs(runs, faults, data_dir=data_dir)
    together = folds_section(folds) if folds is not None else None
    whole = filter(None, [warnings_section(faults), together, _comparison(runs, rows, tested), labels])
    sections = [*whole, *(_run_section(run, data_dir) for run in chosen)]
    return Document(title, lead, sections, f"{made}.")


def _title(run: Run) -> str:
    try:
        summary = run.summary()
    except RunError:
        return run.name
    return f"{summary.model} on {summary.data}"


def _lowest_first(rows: Sequence[Row]) -> tuple[str, list[Row]]:
    """Return the loss by which runs are ranked and their rows, the lowest first.

    It is that of validation where all have one, else that of the test split.
    """
    split = "val" if all(row.get("val_loss") is not None for row in rows) else "test"
    return split, sort_rows(rows, f"{split}_loss")


def _tests(rows: Sequence[Row], by_path: Mapping[str, Run]) -> Differences:
    """Return which runs differ by more than chance, by the answers that `dlw evaluate` stored."""
    scored = [row for row in rows if row.get("test_loss") is not None]
    if len(scored) < 2 or not are_alike(scored):
        return Differences("accuracy")
    return compare_answers([by_path[row["path"]] for row in scored])


def _lead(rows: Sequence[Row], by_path: Mapping[str, Run], tested: Differences) -> list[str]:
    """Return which run has the lowest loss, and whether that is more than chance.

    Of several losses only the latter; nothing for several data sets or folds.
    """
    split, ranked = _lowest_first([row for row in rows if row.get("test_loss") is not None])
    kinds = {(row["data"], row.get("data.fold"), str(by_path[row["path"]].summary().config["loss"])) for row in ranked}
    if len({fold for _, fold, _ in kinds} - {None}) > 1:
        return ["Each fold is scored on samples of its own: their mean, which `dlw crossval` prints, is what counts."]
    lines = [_sentence(line, tested.names) for line in sentences(tested)]
    if len(ranked) < 2 or len(kinds) > 1:
        return lines
    best = ranked[0]
    accuracy, interval = percent(best.get("test_acc")), _interval(by_path[best["path"]], best)
    scored = f" and a test accuracy of {accuracy}" if accuracy else ""
    scored += f" (95 % confidence interval {interval})" if interval else ""
    lowest = f"{best['run']} has the lowest {split} loss, {number(best[f'{split}_loss'])}{scored}."
    if not tested.pairs and tested.left_out:
        lines = [f"Whether that is more than chance is not tested: {tested.left_out[0]}."]
    return [lowest, *lines]


def _sentence(line: str, names: tuple[str, ...]) -> str:
    """Return a line as a sentence: with a capital, but for the name of a run, and a full stop."""
    return f"{line if line.startswith(names) else line[:1].upper() + line[1:]}."


def _run_section(run: Run, data_dir: str | None) -> Section:
    try:
        lead, sections = lead_and_sections(run, data_dir=data_dir)
    except RunError as error:
        return Section(f"Run {run.name}", [Text(f"It is left out: {error}.")])
    return Section(f"Run {run.name}", [*map(Text, lead), *sections])


def _comparison(runs: Sequence[Run], rows: Sequence[Row], tested: Differences) -> Section:
    keys, by_path = shown_columns(rows), {str(run.path): run for run in runs}
    place = keys.index("test_acc") + 1 if any(row.get("test_acc") is not None for row in rows) else len(keys)
    intervals = {row["path"]: _interval(by_path[row["path"]], row) for row in rows}
    columns = headings(keys)
    if any(intervals.values()):
        columns = headings(keys[:place]) | {"interval": "95 % interval"} | headings(keys[place:])
    letters = {row["path"]: tested.letters.get(row["run"], tested.letters.get(row["path"], "")) for row in rows}
    shown = [pretty(row) | {"interval": intervals[row["path"]], "letters": letters[row["path"]]} for row in rows]
    if len(tested.names) > 2:
        columns["letters"] = "letters"
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


def _interval(run: Run, row: Row) -> str:
    """Return the 95 % confidence interval of a run's test accuracy; "" where it is none, or a mean over batches."""
    accuracy = row.get("test_acc")
    if not isinstance(accuracy, float) or "test_acc" in str(row["over_batches"]).split():
        return ""
    n = run.summary().samples["test"]
    return " to ".join(map(percent, wilson_interval(round(accuracy * n), n)))
