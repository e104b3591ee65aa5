"""`dlw runs`, `show`, `compare`, `evaluate`: looking at what was trained. All but `evaluate` read JSON and CSV only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.options import RUN_HELP, DataDirOption, DeviceOption, RunArgument, RunsDirOption, complete_runs, say
from dlworkflow.cli.predict import Weights
from dlworkflow.cli.tables import Format, number, percent, render
from dlworkflow.errors import ConfigError, RunError, unknown

if TYPE_CHECKING:
    from dlworkflow.runs import Run

FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]


class Split(StrEnum):
    """Which part of a data set."""

    test = "test"
    train = "train"
    val = "val"


def runs(runs_dir: RunsDirOption = None, output: FormatOption = Format.table) -> None:
    """List the runs, oldest first."""
    from dlworkflow.runs import compare_runs, list_runs, runs_folder

    found = list_runs(runs_dir)
    if not found:
        say(f"no runs in {str(runs_folder(runs_dir))!r} yet; make one with `dlw train MODEL`")
    keys = ("run", "status", "model", "data", "epochs_done", "test_loss", "test_acc", "seconds")
    rows = [{key: row.get(key) for key in keys} for row in compare_runs(found)]
    typer.echo(render([_pretty(row) for row in rows], _headings(keys), output, rows))


def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help=f"{RUN_HELP} All runs when none is named.", autocompletion=complete_runs
        ),
    ] = None,
    sort: Annotated[str | None, typer.Option(metavar="COLUMN", help="Sort by this column, best first.")] = None,
    runs_dir: RunsDirOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Put runs side by side.

    Best epoch, losses and accuracies there, the majority baseline, parameters, seconds, the settings that differ.
    """
    from dlworkflow.runs import compare_runs, find_run, list_runs, runs_folder

    found = [find_run(name, runs_dir) for name in names] if names else list_runs(runs_dir)
    if not found:
        raise RunError(f"no runs in {str(runs_folder(runs_dir))!r} yet; make one with `dlw train MODEL`")
    rows = compare_runs(found)
    keys = list(dict.fromkeys(key for row in rows for key in row if key not in ("chosen_on", "epochs_done")))
    if all(row["status"] == "finished" for row in rows):
        keys.remove("status")
    if sort is not None:
        rows = _sorted(rows, sort, keys)
    columns = _headings(keys)
    typer.echo(render([_pretty(row) for row in rows], columns, output, [{k: row.get(k) for k in keys} for row in rows]))
    if any(row.get("chosen_on") == "test" for row in rows):
        say("best epoch: the lowest test loss, as there is no validation split; expect a little less on new data")


def show(run: RunArgument = None, runs_dir: RunsDirOption = None, output: FormatOption = Format.table) -> None:
    """Show one run: its settings and its epochs."""
    from dlworkflow.runs import find_run

    found = find_run(run, runs_dir)
    summary, history = found.summary(), found.history()
    if output is Format.json:
        import json

        typer.echo(
            json.dumps(
                {"run": str(found.path), **summary, "history": _without_nan(history)}, indent=1, ensure_ascii=False
            )
        )
        return
    if output is Format.table:
        _show_summary(found, summary)
    rows = history if output is not Format.table else _thinned(history)
    if not rows:
        say("no epoch has ended yet")
        return
    typer.echo(render([_pretty(_whole_epoch(row)) for row in rows], _headings(rows[0]), output, rows))


def evaluate(
    run: RunArgument = None,
    split: Annotated[Split, typer.Option(help="Which part of the run's data.")] = Split.test,
    weights: Annotated[Weights, typer.Option(help="Those of the best epoch or of the last.")] = Weights.best,
    device: DeviceOption = None,
    data_dir: DataDirOption = None,
    runs_dir: RunsDirOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Score a run on its data.

    Loss and accuracy are means over samples, whatever averaging the run was trained with.
    """
    from dlworkflow.runs import find_run

    found = find_run(run, runs_dir, fits=lambda summary: bool(summary.get("best")), what="trained run")

    from dlworkflow.workflow import evaluate_run

    say(f"run {found.path} ({weights.value} weights)")
    result = evaluate_run(found, split.value, weights=weights.value, device=device or "auto", data_dir=data_dir)
    baseline = found.summary()["baseline"] if split is Split.test else {}
    row: dict[str, Any] = {"run": found.name, "split": split.value, "samples": len(result.y), "loss": result.loss}
    if result.acc == result.acc:
        row["accuracy"] = result.acc
        row["baseline"] = baseline.get("score")
    pretty = {key: percent(value) if key in ("accuracy", "baseline") else number(value) for key, value in row.items()}
    typer.echo(render([pretty], {key: key for key in row}, output, [row]))


def _show_summary(run: Run, summary: dict[str, Any]) -> None:
    import json

    samples = ", ".join(f"{count:,} {split}" for split, count in summary["samples"].items())
    lines = {
        "run": run.path,
        "status": summary["status"],
        "started": summary["started"],
        "model": f"{summary['config']['model']['name']}, {summary['parameters']:,} parameters",
        "data": f"{summary['data']}: {samples}, {summary['source']}",
        "classes": ", ".join(summary["classes"]),
        "ran on": f"{summary['device']}, {summary['threads']} thread(s)",
    }
    for section, values in summary["config"].items():
        given = values if isinstance(values, dict) else {section: values}
        prefix = f"{section}." if isinstance(values, dict) else ""
        lines |= {f"{prefix}{key}": v if isinstance(v, str) else json.dumps(v) for key, v in given.items()}
    typer.echo(
        render(
            [{"key": key, "value": value} for key, value in lines.items() if value != ""], {"key": "", "value": ""}
        ).split("\n", 2)[2]
    )
    typer.echo("")


def _thinned(history: Sequence[dict[str, float]], most: int = 20) -> list[dict[str, float]]:
    """Return at most about `most` epochs, evenly apart, first and last among them."""
    step = max(1, -(-len(history) // most))
    return [row for index, row in enumerate(history) if index % step == 0 or index == len(history) - 1]


def _headings(keys: Iterable[str]) -> dict[str, str]:
    """Return {key: heading}; a setting keeps the name that `--set` takes."""
    return {key: key if "." in key else key.replace("_", " ") for key in keys}


def _whole_epoch(row: dict[str, float]) -> dict[str, Any]:
    return row | {"epoch": int(row["epoch"])}


def _pretty(row: dict[str, Any]) -> dict[str, Any]:
    """Turn a row's numbers into cells: accuracies in percent, losses with five decimals, seconds with one."""
    cells = {}
    for key, value in row.items():
        if (key.endswith("_acc") or key == "baseline") and isinstance(value, float):
            is_loss = key == "baseline" and row.get("test_acc") is None
            cells[key] = f"loss {value:.5f}" if is_loss else percent(value)
        elif key == "seconds" and value is not None:
            cells[key] = f"{value:.1f}" if value >= 1 else f"{value:.3f}"
        elif key == "lr" or "." in key:
            cells[key] = f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)
        else:
            cells[key] = number(value)
    return cells


_HIGH_IS_GOOD = ("_acc", "baseline")


def _sorted(rows: list[dict[str, Any]], column: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Sort by a column, the best first, rows without a value last."""
    column = column.replace(" ", "_")
    if column not in keys:
        raise ConfigError(f"--sort: {unknown('column', column, keys)}")
    have = [row for row in rows if row.get(column) is not None]
    kinds = {isinstance(row[column], (int, float)) for row in have}
    have.sort(
        key=lambda row: row[column] if kinds == {True} else str(row[column]), reverse=column.endswith(_HIGH_IS_GOOD)
    )
    return have + [row for row in rows if row.get(column) is None]


def _without_nan(rows: Sequence[dict[str, float]]) -> list[dict[str, float | None]]:
    return [{key: value if value == value else None for key, value in row.items()} for row in rows]
