"""The figures of several runs together: their curves, or bars of their accuracies; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from dlworkflow import plotting
from dlworkflow.analysis.run_figures import history_lists, loss_label
from dlworkflow.errors import RunError
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.runs import Run, epochs_over_samples, trained_epochs
from dlworkflow.runs.comparison import compare_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_MARK = " (means over batches)"


def draw_runs(
    runs: Sequence[Run], *, kind: str = "curves", by: str | None = None, at: Literal["best", "last"] = "best"
) -> Figure:
    """Draw several runs together, their `curves` or `bars` of their accuracies.

    Raises RunError where no run has an epoch, or an accuracy.
    """
    names = [run.name for run in runs]
    labels = {str(run.path): run.name if names.count(run.name) == 1 else str(run.path) for run in runs}
    return _draw_curves(runs, labels) if kind == "curves" else _draw_bars(runs, labels, by=by, at=at)


def _draw_curves(runs: Sequence[Run], labels: Mapping[str, str]) -> Figure:
    histories = {}
    for run in runs:
        rows, by_batch = epochs_over_samples(run.summary(), run.history())
        if rows := trained_epochs(rows):
            histories[labels[str(run.path)] + (_MARK if by_batch else "")] = history_lists(rows)
    if not histories:
        raise RunError("none of these runs has finished an epoch yet")
    return plotting.plot_run_curves(histories, loss_label=loss_label(runs))


def _draw_bars(
    runs: Sequence[Run], labels: Mapping[str, str], *, by: str | None, at: Literal["best", "last"]
) -> Figure:
    rows = [row for row in compare_runs(runs, by=by, at=at) if row.get("test_acc") is not None]
    if not rows:
        raise RunError("none of these runs has an accuracy to draw")
    models = [row["model"] for row in rows]
    sizes = {str(run.path): run.summary().samples["test"] for run in runs}
    accuracies, intervals = {}, {}
    for row in rows:
        n, by_batch = sizes[row["path"]], "test_acc" in row["over_batches"].split()
        name = row["model"] if len(set(models)) == len(models) else labels[row["path"]]
        name += _MARK if by_batch else ""
        accuracies[name] = row["test_acc"]
        if n and not by_batch:  # the interval is one of an accuracy over samples
            intervals[name] = wilson_interval(round(row["test_acc"] * n), n)
    baselines = {row["baseline"] for row in rows}
    return plotting.plot_accuracy_bars(accuracies, intervals, baselines.pop() if len(baselines) == 1 else None)
