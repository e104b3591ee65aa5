"""The figures of several runs together: curves, bars of accuracies, or accuracy by time; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from dlworkflow import plotting
from dlworkflow.analysis.parts_figures import draw_robustness_of
from dlworkflow.analysis.run_figures import loss_label
from dlworkflow.errors import RunError, few
from dlworkflow.files.text import shell_command
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.runs import Run, epochs_over_samples, trained_epochs
from dlworkflow.runs.comparison import Row, compare_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_MARK = " (means over batches)"


def draw_runs(
    runs: Sequence[Run], *, kind: str = "curves", by: str | None = None, at: Literal["best", "last"] = "best"
) -> Figure:
    """Draw several runs together: `curves`, `bars` of accuracies, `tradeoff` (accuracy by time) or `robustness`.

    Raises RunError where no run has an epoch, an accuracy, or costs that were measured, and where one has no scores on
    corrupted images.
    """
    names = [run.name for run in runs]
    labels = {str(run.path): run.name if names.count(run.name) == 1 else str(run.path) for run in runs}
    if kind == "curves":
        return _draw_curves(runs, labels)
    if kind == "robustness":
        return draw_robustness_of(runs, labels)
    return (_draw_bars if kind == "bars" else _draw_tradeoff)(runs, labels, by=by, at=at)


def _draw_curves(runs: Sequence[Run], labels: Mapping[str, str]) -> Figure:
    histories = {}
    for run in runs:
        rows, by_batch = epochs_over_samples(run.summary(), run.history())
        if rows := trained_epochs(rows):
            histories[labels[str(run.path)] + (_MARK if by_batch else "")] = rows
    if not histories:
        raise RunError("none of these runs has finished an epoch yet")
    return plotting.plot_run_curves(histories, loss_label=loss_label(runs))


def _draw_bars(
    runs: Sequence[Run], labels: Mapping[str, str], *, by: str | None, at: Literal["best", "last"]
) -> Figure:
    rows = _with_accuracy(runs, by, at)
    names, accuracies, intervals = _accuracies(runs, rows, labels)
    baselines = {row["baseline"] for row in rows}
    known = {name: interval for name, interval in zip(names, intervals, strict=True) if interval is not None}
    baseline = baselines.pop() if len(baselines) == 1 else None
    return plotting.plot_accuracy_bars(dict(zip(names, accuracies, strict=True)), known, baseline)


def _draw_tradeoff(
    runs: Sequence[Run], labels: Mapping[str, str], *, by: str | None, at: Literal["best", "last"]
) -> Figure:
    rows = _with_accuracy(runs, by, at)
    measured = [row for row in rows if row.get("ms") is not None]
    left_out = [row["run"] for row in rows if row.get("ms") is None]
    if not measured:
        raise RunError(
            f"the costs of these runs are not measured; do it with: {shell_command(['dlw', 'costs', *left_out])}"
        )
    notes = [f"not measured: {few(left_out, quoted=False)}"] if left_out else []
    if len({row["measured_on"] for row in measured}) > 1:
        notes.append("times are of several machines, devices or numbers of threads: do not compare them")
    if len({row["data"] for row in measured}) > 1:
        notes.append("accuracies are of several data sets: do not compare them")
    names, accuracies, intervals = _accuracies(runs, measured, labels)
    times = [row["ms"] for row in measured]
    return plotting.plot_tradeoff(names, times, accuracies, intervals, note="; ".join(notes))


def _with_accuracy(runs: Sequence[Run], by: str | None, at: Literal["best", "last"]) -> list[Row]:
    rows = [row for row in compare_runs(runs, by=by, at=at) if row.get("test_acc") is not None]
    if not rows:
        raise RunError("none of these runs has an accuracy to draw")
    return rows


def _accuracies(
    runs: Sequence[Run], rows: Sequence[Row], labels: Mapping[str, str]
) -> tuple[list[str], list[float], list[tuple[float, float] | None]]:
    """Return the names of runs, their accuracies, and the intervals of those that are over samples."""
    models = [row["model"] for row in rows]
    sizes = {str(run.path): run.summary().samples["test"] for run in runs}
    names, accuracies, intervals = [], [], []
    for row in rows:
        n, by_batch = sizes[row["path"]], "test_acc" in row["over_batches"].split()
        name = row["model"] if len(set(models)) == len(models) else labels[row["path"]]
        names.append(name + (_MARK if by_batch else ""))
        accuracies.append(row["test_acc"])
        is_known = n and not by_batch  # the interval is one of an accuracy over samples
        intervals.append(wilson_interval(round(row["test_acc"] * n), n) if is_known else None)
    return names, accuracies, intervals
