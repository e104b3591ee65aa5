"""The figures that need no model: curves of a run's history, and of several runs together; imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from matplotlib.figure import Figure

from dlworkflow import plotting
from dlworkflow.analysis.figure_kinds import KINDS
from dlworkflow.errors import RunError
from dlworkflow.runs import Run, epochs_over_samples, shows_batch_means
from dlworkflow.runs.comparison import SCORES, compare_runs


def fitting_kinds(run: Run) -> list[str]:
    """Return the figures that make sense for a run: a boundary needs two numbers a sample, a grid needs pictures."""
    summary = run.summary()
    fits = {
        "curves": True,
        "lr": True,
        "boundary": summary["in_shape"] == [2] and bool(summary["classes"]),
        "fit": summary["in_shape"] == [1] and not summary["classes"],
        "confusion": bool(summary["classes"]),
        "calibration": bool(summary["classes"]),
        "predictions": summary["kind"] == "image",
        "errors": summary["kind"] == "image",
    }
    return [kind for kind in KINDS if fits[kind]]


def draw_runs(
    runs: Sequence[Run],
    *,
    kind: str = "curves",
    by: str | None = None,
    at: Literal["best", "last"] = "best",
) -> Figure:
    """Draw several runs together, their curves or bars of their accuracy."""
    names = [run.name for run in runs]
    label = {str(run.path): run.name if names.count(run.name) == 1 else str(run.path) for run in runs}
    if kind == "curves":
        compared = [(label[str(run.path)], *_compared(run)) for run in runs]
        histories = {f"{name}{mark}": results for name, results, mark in compared if results}
        if not histories:
            raise RunError("none of these runs has finished an epoch yet")
        return plotting.plot_run_curves(histories, loss_label=_loss_label(runs))
    from dlworkflow.metrics.functions import wilson_interval

    rows = [row for row in compare_runs(runs, by=by, at=at) if row.get("test_acc") is not None]
    if not rows:
        raise RunError("none of these runs has an accuracy to draw")
    models = [row["model"] for row in rows]
    labels = models if len(set(models)) == len(models) else [label[row["path"]] for row in rows]
    by_batch = ["test_acc" in row["over_batches"].split() for row in rows]  # an interval is one of samples
    labels = [f"{label}{_MARK}" if b else label for label, b in zip(labels, by_batch, strict=True)]
    sizes = {str(run.path): run.summary()["samples"]["test"] for run in runs}
    return plotting.plot_accuracy_bars(
        {label: row["test_acc"] for label, row in zip(labels, rows, strict=True)},
        {
            label: wilson_interval(round(row["test_acc"] * sizes[row["path"]]), sizes[row["path"]])
            for label, row, b in zip(labels, rows, by_batch, strict=True)
            if sizes[row["path"]] and not b
        },
        rows[0]["baseline"] if len({row["baseline"] for row in rows}) == 1 else None,
    )


def history_lists(run: Run) -> dict[str, list[float]]:
    """Return a run's history as `train` returns it, {"train_loss": [...], ...}; empty before the first epoch."""
    rows = run.history()
    return {key: [row[key] for row in rows] for key in SCORES if rows and key in rows[0]}


_MARK = " (means over batches)"


def _compared(run: Run) -> tuple[dict[str, list[float]], str]:
    """Return a run's history over samples, and a mark for its name where that is not known."""
    rows, by_batch = epochs_over_samples(run.summary(), run.history())
    lists = {key: [row[key] for row in rows] for key in SCORES if rows and key in rows[0]}
    return lists, _MARK if by_batch else ""


def draw_history(run: Run, kind: str = "curves") -> Figure:
    """Draw `curves` or `lr` of a run. Raises RunError when it has no epoch yet."""
    rows = run.history()
    if not rows:
        raise RunError(f"{run.name} has not finished an epoch yet: there is nothing to draw")
    if kind == "lr":
        return plotting.plot_learning_rate([row["lr"] for row in rows])
    summary = run.summary()
    best = summary.get("best")
    return plotting.plot_loss_curves(
        history_lists(run),
        best_epoch=int(best["epoch"]) if best else None,
        loss_label=_loss_label([run]),
        note="means over batches (averaging: batch)" if shows_batch_means(summary) else "",
    )


_LOSS_LABELS = {
    "l1": "mean absolute error",
    "mse": "mean squared error",
    "binary_cross_entropy": "binary cross entropy (nats)",
    "cross_entropy": "cross entropy (nats)",
}


def _loss_label(runs: Sequence[Run]) -> str:
    """Name the loss of all runs with its unit; just `loss` where they differ."""
    names = {run.summary()["config"].get("loss") for run in runs}
    return _LOSS_LABELS.get(names.pop(), "loss") if len(names) == 1 else "loss"
