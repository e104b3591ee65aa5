"""The figures of one run, a function each, and their table; imports neither torch nor matplotlib before one is drawn.

The names of its parameters say what a figure needs. Each is loaded once, when the first figure asks for it:

    run           the `Run`
    history       its epochs, a row each; RunError where there are none
    splits        the data that it was trained on, `Splits`
    predictor     its model with the chosen weights, `Predictor`
    part          the chosen split, `Part`
    evaluation    outputs and labels of that split, `Evaluation`
    report        their `EvaluationReport`
    n, seed       how many images are drawn, and the seed by which they are chosen
    palette       the colours of the classes, None for the usual ones
    method        how a map of samples is made, `pca` or `umap`
    thumbnails    whether it shows images in place of dots

A figure that does not suit every run is marked with `fits`, one that takes long with `by_name`. The drawing itself is
in `plotting`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlworkflow import plotting
from dlworkflow.analysis.figure_marks import Draw as Draw
from dlworkflow.analysis.figure_marks import NothingToDrawError as NothingToDrawError
from dlworkflow.analysis.figure_marks import by_name as by_name
from dlworkflow.analysis.figure_marks import fits as fits
from dlworkflow.analysis.parts_figures import draw_clusters, draw_robustness, draw_slices
from dlworkflow.registry import Registry
from dlworkflow.runs import OVER_SAMPLES, Run, Summary, shows_batch_means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlworkflow.analysis.scored_data import Part
    from dlworkflow.data.splits import Splits
    from dlworkflow.engine.loop import Evaluation
    from dlworkflow.inference.predictor import Predictor
    from dlworkflow.metrics.report import EvaluationReport
    from dlworkflow.plotting.points import Palette

GRID = 9
"""Images in a grid of predictions or errors, unless the user asks for another number: the notes' 3x3."""

History = Sequence[Mapping[str, Any]]


def draw_curves(run: Run, history: History) -> Figure:
    """Draw loss and accuracy by epoch."""
    summary = run.summary()
    best = summary.best
    return plotting.plot_loss_curves(
        [{key: value for key, value in row.items() if not key.endswith(OVER_SAMPLES)} for row in history],
        best_epoch=int(best["epoch"]) if best else None,
        loss_label=loss_label([run]),
        note="means over batches (averaging: batch)" if shows_batch_means(summary) else "",
    )


def draw_learning_rate(history: History) -> Figure:
    """Draw the learning rate by epoch."""
    return plotting.plot_learning_rate([row["lr"] for row in history])


@fits(lambda summary: summary.in_shape == [2] and bool(summary.classes) and _are_numbers(summary))
def draw_boundary(splits: Splits, predictor: Predictor, palette: Palette = None) -> Figure:
    """Draw the decision regions of a model of points in the plane, with the points of every split."""
    import torch

    from dlworkflow.analysis.data_figures import arrays_of, with_names

    columns = splits.columns

    def predict(points: Any) -> Any:
        if columns is not None:
            points = columns.inputs_of(dict(zip(columns.names, points.T, strict=True)), len(points))
        logits = predictor.logits(torch.as_tensor(points, dtype=torch.float32))
        return predictor.task.probabilities(logits).argmax(dim=1).numpy()

    figure = plotting.plot_decision_regions(arrays_of(splits), predict, splits.classes, palette=palette)
    return with_names(figure, splits)


@fits(lambda summary: summary.in_shape == [1] and not summary.classes)
def draw_fit(splits: Splits, predictor: Predictor) -> Figure:
    """Draw training, test and predicted values of a regression over its one input."""
    from dlworkflow.analysis.data_figures import arrays_of, with_names
    from dlworkflow.data.protocol import all_of

    arrays = arrays_of(splits)
    predicted = predictor.logits(all_of(splits.test)[0])
    values = predicted if splits.target is None else splits.target.undone(predicted)
    figure = plotting.plot_predictions(*arrays["train"], *arrays["test"], values.numpy())
    return with_names(figure, splits)


@fits(lambda summary: _has_one_class(summary))
def draw_confusion(report: EvaluationReport) -> Figure:
    """Draw the confusion matrix."""
    return plotting.plot_confusion_matrix(report.matrix, report.classes)


@fits(lambda summary: _has_one_class(summary))
def draw_calibration(run: Run, evaluation: Evaluation) -> Figure:
    """Draw accuracy by confidence (a reliability diagram); of a calibrated run also as it was before."""
    from dlworkflow.engine.tasks import get_task
    from dlworkflow.metrics.functions import calibration_bins, calibration_error

    y, task = evaluation.y.reshape(-1), get_task(run.summary().task)
    probabilities = task.probabilities(evaluation.logits)
    bins, error = calibration_bins(y, probabilities), calibration_error(y, probabilities)
    before: dict[str, Any] = {}
    if evaluation.temperature is not None:
        raw = task.probabilities(evaluation.logits * evaluation.temperature)
        old = calibration_bins(y, raw)
        before = {"before": (old["confidence"], old["accuracy"]), "ece_before": calibration_error(y, raw)}
    return plotting.plot_reliability(bins["confidence"], bins["accuracy"], bins["count"], ece=error, **before)


@fits(lambda summary: _has_one_class(summary))
def draw_coverage(run: Run, evaluation: Evaluation) -> Figure:
    """Draw the accuracy of the answers by how many of the samples are answered, the most certain first."""
    from dlworkflow.engine.tasks import get_task
    from dlworkflow.metrics.selective import certainty, coverage_curve

    probabilities = get_task(run.summary().task).probabilities(evaluation.logits).numpy()
    right = probabilities.argmax(axis=1) == evaluation.y.reshape(-1).numpy()
    curve = coverage_curve(certainty(probabilities, evaluation.temperature), right)
    return plotting.plot_coverage(*curve)


@fits(lambda summary: summary.task == "multilabel")
def draw_labels(evaluation: Evaluation, report: EvaluationReport) -> Figure:
    """Draw precision by recall of each class, with its threshold."""
    from dlworkflow.metrics.multilabel import precision_recall

    assert report.report is not None
    assert report.probabilities is not None
    scores = report.report.classes
    curves = precision_recall(evaluation.y, report.probabilities)
    return plotting.plot_precision_recall(
        {each.label: curve for each, curve in zip(scores, curves, strict=True) if each.support},
        {each.label: (each.recall, each.precision) for each in scores},
        {each.label: getattr(each, "average_precision", 0.0) for each in scores},
    )


@fits(lambda summary: not summary.classes)
def draw_scatter(report: EvaluationReport) -> Figure:
    """Draw predicted over true numbers."""
    truths, predictions = ([row[key] for row in report.samples] for key in ("truth", "prediction"))
    return plotting.plot_predicted_values(truths, predictions, mae=report.metrics["mae"], r2=report.metrics["r2"])


@fits(lambda summary: summary.kind == "image")
def draw_predictions(part: Part, report: EvaluationReport, n: int, seed: int) -> Figure:
    """Draw random images with what is predicted and what is true."""
    rows = random.Random(seed).sample(report.samples, min(n, len(report.samples)))
    if not report.classes:
        return _draw_numbers(part, rows)
    return plotting.plot_prediction_grid(*_columns(part, rows), names=_names(part, rows))


@fits(lambda summary: summary.kind == "image")
def draw_errors(run: Run, part: Part, report: EvaluationReport, n: int) -> Figure:
    """Draw the wrongly predicted images of highest loss, or the numbers furthest from the truth."""
    rows = report.errors()[:n]
    if rows and not report.classes:
        return _draw_numbers(part, rows)
    if not rows:
        raise NothingToDrawError(f"{run.name} makes no errors on its {part.name} split: there is nothing to draw")
    losses = [row["loss"] for row in rows]
    return plotting.plot_worst_errors(*_columns(part, rows), losses, names=_names(part, rows))


@by_name
def draw_map(predictor: Predictor, part: Part, seed: int, palette: Palette, method: str, thumbnails: bool) -> Figure:
    """Draw samples near each other where the last layer of the model finds them alike."""
    from dlworkflow.analysis.embedding_figure import draw_embedding

    return draw_embedding(predictor, part, method=method, seed=seed, thumbnails=thumbnails, palette=palette)


@by_name
@fits(lambda summary: summary.kind == "image" and _has_one_class(summary))
def draw_why(run: Run, part: Part, predictor: Predictor, report: EvaluationReport, n: int) -> Figure:
    """Draw the worst errors with what speaks for the predicted class and for the true one (`dlw explain`)."""
    from dlworkflow.analysis.explanation.of_errors import draw_explained_errors

    if not (rows := report.errors()[:n]):
        raise NothingToDrawError(f"{run.name} makes no errors on its {part.name} split: there is nothing to explain")
    return draw_explained_errors(predictor, part, rows)


FIGURES: Registry[Draw] = Registry(
    "figure",
    {
        "curves": draw_curves,
        "lr": draw_learning_rate,
        "boundary": draw_boundary,
        "fit": draw_fit,
        "confusion": draw_confusion,
        "calibration": draw_calibration,
        "coverage": draw_coverage,
        "labels": draw_labels,
        "scatter": draw_scatter,
        "predictions": draw_predictions,
        "errors": draw_errors,
        "why": draw_why,
        "map": draw_map,
        "slices": draw_slices,
        "clusters": draw_clusters,
        "robustness": draw_robustness,
    },
    "figures",
    section="",
    supplied=(
        *("run", "history", "splits", "predictor", "part", "evaluation", "report", "n", "seed", "palette"),
        *("method", "thumbnails"),
    ),
)
"""The figures of a run, in the order in which one looks at them. `FIGURES.register(name, function)` adds yours, as
does the entry-point group `dlworkflow.figures` of another package.
"""


def _are_numbers(summary: Summary) -> bool:
    """Return whether no column of a table is a category."""
    return not any("categories" in column for column in (summary.columns or {"inputs": []})["inputs"])


_LOSS_LABELS = {
    "l1": "mean absolute error",
    "mse": "mean squared error",
    "binary_cross_entropy": "binary cross entropy (nats)",
    "cross_entropy": "cross entropy (nats)",
}


def loss_label(runs: Sequence[Run]) -> str:
    """Name the loss of all runs with its unit; just `loss` where they differ."""
    names = {run.summary().config["loss"] for run in runs}
    return _LOSS_LABELS.get(names.pop(), "loss") if len(names) == 1 else "loss"


def _columns(part: Part, rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Return the images, true classes, predicted classes and probabilities of some samples of a report."""
    from dlworkflow.metrics.multilabel import NO_LABELS

    answers = ([row[key] or NO_LABELS for row in rows] for key in ("truth", "prediction"))
    return [_images(part, rows), *answers, [row["probability"] for row in rows]]


def _images(part: Part, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    from dlworkflow.data.protocol import original_of
    from dlworkflow.plotting.grid import LONGEST_SIDE

    return [original_of(part.dataset, row["index"], longest=LONGEST_SIDE) for row in rows]


def _draw_numbers(part: Part, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw images with the predicted and the true number."""
    titles = [
        f"Pred: {row['prediction']:.5g} | Truth: {row['truth']:.5g}\nError: {row['prediction'] - row['truth']:+.3g}"
        for row in rows
    ]
    return plotting.plot_predicted_images(_images(part, rows), titles, names=_names(part, rows))


def _has_one_class(summary: Summary) -> bool:
    """Return whether each sample has one class of several."""
    return bool(summary.classes) and summary.task != "multilabel"


def _names(part: Part, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [Path(row["file"]).name for row in rows] if part.files else []
