"""`dlw evaluate --each`: each of several runs on its own, here or on a cluster, and a row a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlworkflow.cli.evaluate_run import Asked, evaluate_one
from dlworkflow.cli.options import say
from dlworkflow.cli.predict_model import finished_runs
from dlworkflow.cli.tables import Format, print_table
from dlworkflow.errors import DlwError, RunError
from dlworkflow.files.numbers import number, percent

if TYPE_CHECKING:
    from dlworkflow.runs import EvaluationSummary, Run
    from dlworkflow.training.sweep.cluster import Cluster

_COLUMNS = {
    "run": "run",
    "split": "split",
    "samples": "samples",
    "loss": "loss",
    "accuracy": "accuracy",
    "interval": "95 % interval",
    "reason": "reason",
}


def runs_of_each(names: Sequence[str], runs_dir: str | None) -> list[Run]:
    """Return the runs of these names, those of a sweep in its place, each once."""
    found = [run for name in names for run in finished_runs(name, runs_dir)]
    return list({run.path.resolve(): run for run in found}.values())


def evaluate_each(
    runs: Sequence[Run], asked: Asked, output: Format, cluster: Cluster | None, words: Sequence[str]
) -> None:
    """Evaluate each run and print a row of each; a cluster gets the `words` of the command's options.

    Raises RunError at the end if one failed.
    """
    rows = _here(runs, asked) if cluster is None else _there(runs, asked, cluster, words)
    failed = [row for row in rows if row["reason"]]
    columns = {key: name for key, name in _COLUMNS.items() if any(row.get(key) is not None for row in rows)}
    raw = [{key: value for key, value in row.items() if key != "interval"} for row in rows]
    is_text = output in (Format.table, Format.md)
    columns = columns if is_text else {key: key for key in raw[0]}
    print_table([_cells(row) for row in rows], columns, output, raw, first=("loss", "accuracy", "reason"))
    if failed:
        reason = f"the first: {failed[0]['run']}: {failed[0]['reason']}"
        raise RunError(f"{len(failed)} of {len(rows)} evaluations failed; {reason}")


def _here(runs: Sequence[Run], asked: Asked) -> list[dict[str, Any]]:
    rows = []
    for run in runs:
        try:
            rows.append(_row(run, evaluate_one(run, asked, None)))
        except DlwError as error:
            rows.append(_row(run, None, str(error)))
    return rows


def _there(runs: Sequence[Run], asked: Asked, cluster: Cluster, words: Sequence[str]) -> list[dict[str, Any]]:
    from dlworkflow.training.sweep.cluster_evaluations import EvaluationTask, EvaluationTasks

    at_once = cluster.connect()
    say(f"cluster {cluster.address}: {len(runs)} runs to evaluate, {min(at_once, len(runs))} at once")
    rows: dict[str, dict[str, Any]] = {}

    def on_end(task: EvaluationTask) -> None:
        found = task.found() if not task.reason else None
        reason = task.reason or ("" if found else "its worker stopped it; evaluate it again")
        rows[str(task.run.path)] = _row(task.run, found, reason)
        say(f"{len(rows)}/{len(runs)} {task.run.name}{': ' * bool(reason)}{reason}")
        if found is not None and found.data_changed:
            say(f"note: the {found.split} split is no longer what {task.run.name} was trained with")
        for warning in found.warnings if found is not None else ():
            say(f"warning: {task.run.name}: {warning}")

    tasks = [EvaluationTask(run, words, asked.weights, cluster.cores or 1) for run in runs]
    cluster.run(EvaluationTasks(tasks, on_end))
    return [rows[str(run.path)] for run in runs]


def _row(run: Run, found: EvaluationSummary | None, reason: str = "") -> dict[str, Any]:
    low, high = (found and found.accuracy_interval_95) or (None, None)
    return {
        "run": run.name,
        "split": found and found.split,
        "samples": found and found.samples,
        "loss": found and found.loss,
        "accuracy": found and found.metrics.get("accuracy"),
        "accuracy_low": low,
        "accuracy_high": high,
        "interval": low is not None or None,
        "reason": reason or None,
    }


def _cells(row: dict[str, Any]) -> dict[str, str]:
    cells = {key: number(value) for key, value in row.items()}
    cells |= {key: row[key] or "" for key in ("run", "split", "reason")}
    if row["interval"]:
        cells |= {"accuracy": percent(row["accuracy"])}
        cells["interval"] = f"{percent(row['accuracy_low'])} to {percent(row['accuracy_high'])}"
    return cells
