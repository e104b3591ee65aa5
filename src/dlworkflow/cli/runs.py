"""`dlw runs` and `dlw show`: what was trained, from JSON and CSV files alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.command import Commands
from dlworkflow.cli.options import RunArgument, RunsDirOption, say
from dlworkflow.cli.runs_keeping import note, rename, rm, tag
from dlworkflow.cli.tables import Format, FormatOption, print_table
from dlworkflow.errors import ConfigError, RunError, few, unknown
from dlworkflow.files.numbers import file_size, number, short
from dlworkflow.files.text import json_text
from dlworkflow.runs.cells import BY_BATCH, headings, pretty

if TYPE_CHECKING:
    from dlworkflow.runs import Notes, Run, Summary

MOST_NUMBERS = 50
"""Weights of a model up to which each is printed."""


app = Commands(invoke_without_command=True)
for _command in (rm, rename, tag, note):
    app.command()(_command)

_COLUMNS = ("run", "status", "model", "data", "epochs_done", "test_loss", "test_acc", "seconds", "size")
_FIRST = ("run", "test_loss", "test_acc", "status", "size", "tags")


@app.callback()
def runs(
    context: typer.Context,
    tags: Annotated[
        list[str] | None,
        typer.Option(
            "--tag",
            metavar="TAG",
            help="Only runs with this tag; may be repeated [default: all runs].",
            show_default=False,
        ),
    ] = None,
    runs_dir: RunsDirOption = None,
    output: FormatOption = Format.table,
) -> None:
    """List the runs, oldest first, and remove, rename, tag them or write a note."""
    if context.invoked_subcommand is not None:
        if tags or runs_dir is not None or output is not Format.table:
            raise ConfigError(f"options go after the command: dlw runs {context.invoked_subcommand} RUN --option")
        return
    from dlworkflow.runs import list_runs, runs_folder
    from dlworkflow.runs.comparison import read_runs, run_rows

    found = read_runs(list_runs(runs_dir))
    if not found:
        say(f"no runs in {str(runs_folder(runs_dir))!r} yet; make one with `dlw train MODEL`")
    listed = run_rows(found, where={"tag": ",".join(tags)} if tags else None)
    if tags and found and not listed:
        raise RunError(_no_such_runs(run_rows(found), tags))
    sizes = {str(run.path): run.size() for run in found}
    every = [row | {"size": sizes[row["path"]]} for row in listed]
    rows = [{key: row.get(key) for key in (*_COLUMNS, "tags", "note")} for row in every]
    cells = [pretty(row) | {"size": file_size(row["size"])} for row in every]
    keys = [*_COLUMNS, *(key for key in ("tags", "note") if any(row[key] for row in rows))]
    if output not in (Format.table, Format.md):
        keys = [*_COLUMNS, "tags", "note"]
    print_table(cells, headings(keys), output, rows, first=_FIRST)
    if output in (Format.table, Format.md):
        explain_marks({"over_batches": "*" if any("*" in c.get(k, "") for k in _COLUMNS[5:7]) else ""} for c in cells)


def _no_such_runs(rows: Sequence[dict[str, Any]], tags: Sequence[str]) -> str:
    """Return why no run has all of these tags."""
    from dlworkflow.runs.notes import SEPARATOR

    known = list(dict.fromkeys(tag for row in rows if "tags" in row for tag in row["tags"].split(SEPARATOR)))
    missing = [tag for tag in tags if tag not in known]
    return unknown("tag", missing[0], known) if missing else f"no run has all of the tags {few(tags)}"


def show(
    run: RunArgument = None,
    weights: Annotated[
        bool,
        typer.Option("--weights", help="Print what the model has learned instead, its best weights [default: off]."),
    ] = False,
    runs_dir: RunsDirOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Show one run: its settings and its epochs, or its weights.

    Weights are printed number by number for a model of up to 50 of them, else as a line for each tensor.
    """
    from dlworkflow.runs import OVER_SAMPLES, find_run, shows_batch_means, without_nan
    from dlworkflow.runs.notes import Notes
    from dlworkflow.runs.stored import unless_damaged

    found = find_run(run, runs_dir)
    if weights:
        _show_weights(found, output)
        return
    summary, history, faults = found.summary(), found.history(), list[str]()
    notes = unless_damaged(found.notes, faults) or Notes()
    for fault in faults:
        say(f"warning {fault}; it is left out")
    if output is Format.json:
        kept = {"tags": notes.tags, "note": notes.note, "size": found.size()}
        text = {"run": str(found.path), **kept, **summary.to_data(), "history": without_nan(history)}
        typer.echo(json_text(text, indent=1))
        return
    if output is Format.table:
        _show_summary(found, summary, notes)
    rows = history if output is not Format.table else _thinned(history)
    if not rows:
        say("no epoch has ended yet")
        return
    if output in (Format.table, Format.md):
        rows = [{key: value for key, value in row.items() if not key.endswith(OVER_SAMPLES)} for row in rows]
        if shows_batch_means(summary):
            say("losses and accuracies are means over batches (averaging: batch); `dlw compare` has those over samples")
    cells = [pretty(row | {"epoch": int(row["epoch"])}) for row in rows]
    best = summary.best["epoch"] if summary.best and len(rows) > 1 else None
    at = [index for index, row in enumerate(rows) if row["epoch"] == best]
    print_table(cells, headings(rows[0]), output, without_nan(rows), first=("test_loss", "test_acc"), best=at)


def _show_summary(run: Run, summary: Summary, notes: Notes) -> None:
    import json

    from dlworkflow.runs import leakage_warnings
    from dlworkflow.runs.notes import SEPARATOR

    samples = ", ".join(f"{count:,} {split}" for split, count in summary.samples.items())
    lines = {
        "run": run.path,
        "status": summary.status,
        "started": summary.started,
        "model": f"{summary.model}, {summary.parameters:,} parameters",
        "data": f"{summary.data}: {samples}, {summary.source}",
        "failed": summary.reason or "",
        "classes": ", ".join(summary.classes),
        "warning": "; ".join(leakage_warnings(summary)),
        "ran on": f"{summary.device}, {summary.threads} thread(s)",
        "tags": SEPARATOR.join(notes.tags),
        "note": notes.note,
        "size": file_size(run.size()),
    }
    for section, values in summary.config.items():
        given = values if isinstance(values, dict) else {section: values}
        prefix = f"{section}." if isinstance(values, dict) else ""
        lines |= {f"{prefix}{key}": v if isinstance(v, str) else json.dumps(v) for key, v in given.items()}
    rows = [{"key": key, "value": value} for key, value in lines.items() if value != ""]
    print_table(rows, {"key": "", "value": ""}, headed=False)
    typer.echo()


def _show_weights(run: Run, output: Format) -> None:
    """Print the best weights; JSON has the numbers of each tensor of up to 1,000."""
    from dataclasses import asdict

    from dlworkflow.inference.stored import stored_weights
    from dlworkflow.models.weights.checkpoint import load_weights
    from dlworkflow.models.weights.contents import contents_of_weights

    contents = contents_of_weights(load_weights(stored_weights(run)))
    say(f"run {run.path} (best weights)")
    tensors = [{"tensor": name, **asdict(each)} for name, each in contents.items()]
    if output is Format.json:
        typer.echo(json_text(tensors, indent=1))
        return
    if sum(each.count for each in contents.values()) <= MOST_NUMBERS:
        rows = [
            {"tensor": name if each.count == 1 else f"{name}{list(place)}", "value": value}
            for name, each in contents.items()
            for place, value in _places(each.values)
        ]
        rows = _with_truth(rows, run.summary())
    else:
        rows = [{**row, "shape": "x".join(map(str, row["shape"]))} for row in tensors]
        for row in rows:
            del row["values"]
    cells = [
        {key: short(value) if isinstance(value, float) else number(value) for key, value in row.items()} for row in rows
    ]
    print_table(cells, headings(rows[0]), output, rows)


def _places(values: Any, at: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], float | None]]:
    """Yield each number of nested lists with its indices."""
    if isinstance(values, list):
        for i, value in enumerate(values):
            yield from _places(value, (*at, i))
    else:
        yield at, values


def _with_truth(rows: list[dict[str, Any]], summary: Summary) -> list[dict[str, Any]]:
    """Add the slope and intercept that the data of a line were made with, where a model has just these two numbers."""
    from dlworkflow.runs.stored import is_number

    made_with = [summary.config["data"].get(key) for key in ("slope", "intercept")]
    if summary.data != "line" or len(rows) != len(made_with) or not all(map(is_number, made_with)):
        return rows
    return [{**row, "made_with": float(value)} for row, value in zip(rows, made_with, strict=True)]


def _thinned(history: Sequence[dict[str, float]], most: int = 20) -> list[dict[str, float]]:
    """Return at most about `most` epochs, evenly apart, first and last among them."""
    step = max(1, -(-len(history) // most))
    return [row for index, row in enumerate(history) if index % step == 0 or index == len(history) - 1]


def explain_marks(rows: Iterable[dict[str, Any]]) -> None:
    """Print what the mark of a table's cells means, where there is one."""
    if any(row.get("over_batches") for row in rows):
        typer.echo(BY_BATCH)
