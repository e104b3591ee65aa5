"""The figures of a run, of several runs and of a data set: which data each needs, read where it lies, and drawn.

The drawing itself is `plotting`'s; this room knows runs and data and hands it plain rows and arrays.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from dlworkflow import plotting
from dlworkflow.analysis.evaluation import Part, evaluate_part, load_part, load_splits, report_part
from dlworkflow.analysis.figure_kinds import KINDS, OF_A_SPLIT, OF_THE_HISTORY
from dlworkflow.analysis.history_figures import draw_history, fitting_kinds
from dlworkflow.data.images.dataset import ImageData, load_image
from dlworkflow.data.shards.reading import ShardData
from dlworkflow.data.splits import Splits, all_of, class_counts
from dlworkflow.engine.loop import Evaluation
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import ConfigError, DataError, unknown
from dlworkflow.inference.predictor import Predictor
from dlworkflow.metrics.functions import calibration_bins
from dlworkflow.metrics.report import EvaluationReport
from dlworkflow.plotting.grid import LONGEST_SIDE
from dlworkflow.plotting.style import settle
from dlworkflow.runs import Run

GRID = 9
"""Pictures in a grid of predictions or errors: the notes' 3x3."""

HELD = 100
"""So many samples of shards are read to draw some of them."""


def draw(run: Run, kind: str, *, split: str = "test", data_dir: str | None = None, weights: str = "best") -> Figure:
    """Draw one figure of a run, with its `best` or `last` weights where it needs any; it says of which epoch they are.

    Raises ConfigError for an unknown kind and DataError for one that does not fit the run.
    """
    if kind not in KINDS:
        raise ConfigError(unknown("figure", kind, KINDS))
    if kind not in (fitting := fitting_kinds(run)):
        shape = "x".join(map(str, run.summary()["in_shape"]))
        raise DataError(
            f"a figure {kind!r} does not fit {run.name}, whose samples are {shape}; possible: {', '.join(fitting)}"
        )
    if kind in OF_THE_HISTORY:
        return draw_history(run, kind)
    if kind in ("boundary", "fit"):
        draw_points = {"boundary": _draw_boundary, "fit": _draw_fit}[kind]
        splits = load_splits(run, data_dir=data_dir, offline=True)
        return _of_epoch(draw_points(run, splits, weights), run, weights)
    return _draw_evaluated(kind, run, *_scored(run, split, data_dir, weights), weights)


def draw_all(
    run: Run,
    kinds: Sequence[str] | None = None,
    *,
    split: str = "test",
    data_dir: str | None = None,
    weights: str = "best",
) -> Iterator[tuple[str, Figure]]:
    """Draw several figures of a run, all that fit when none is named, as (kind, figure); score the run once for all.

    A grid of errors that nobody asked for by name is left out where there are none. Raises as `draw` does.
    """
    scored: tuple[Part, Evaluation, EvaluationReport] | None = None
    for kind in kinds or fitting_kinds(run):
        if kind not in OF_A_SPLIT or kind not in fitting_kinds(run):
            yield kind, draw(run, kind, split=split, data_dir=data_dir, weights=weights)
            continue
        if scored is None:
            scored = _scored(run, split, data_dir, weights)
        if kinds or kind != "errors" or scored[2].errors():
            yield kind, _draw_evaluated(kind, run, *scored, weights)


def _scored(run: Run, split: str, data_dir: str | None, weights: str) -> tuple[Part, Evaluation, EvaluationReport]:
    part = load_part(run, split, data_dir=data_dir, offline=True)
    result = evaluate_part(run, part, weights=weights)
    return part, result, report_part(run, part, result)


def _of_epoch(figure: Figure, run: Run, weights: str) -> Figure:
    """Say on a figure of which epoch's weights it is."""
    row = run.summary().get(weights) or {}
    figure.suptitle(f"{weights} epoch: {int(row['epoch'])}" if row else f"{weights} weights", fontsize=9)
    return settle(figure)


def draw_evaluation(
    run: Run, part: Part, result: Evaluation, report: EvaluationReport, *, weights: str = "best"
) -> list[Path]:
    """Draw the figures of an evaluation that is there already into the run's folder; return their paths."""
    tail = "" if part.name == "test" else f"-{part.name}"
    kinds = [kind for kind in fitting_kinds(run) if kind in OF_A_SPLIT]
    paths = []
    for kind in kinds:
        if kind == "errors" and not report.errors():
            continue
        figure = _draw_evaluated(kind, run, part, result, report, weights)
        paths.append(plotting.save_figure(figure, run.plot_path(f"{kind}{tail}")))
    return paths


def draw_data(splits: Splits, *, what: str = "samples", seed: int = 42) -> Figure:
    """Draw a data set: `samples` (points, a line, or random pictures), `balance` (classes a split) or `transforms`
    (pictures before and after the training transform).

    Raises DataError for what the data has not.
    """
    if what == "balance":
        return plotting.plot_class_balance(_class_counts(splits))
    if what == "transforms":
        return _draw_transforms(splits, seed)
    if splits.kind == "image":
        train = _held(splits.train)
        plain = train.without_augmentation() if isinstance(train, ImageData) else train
        pictures: Any = _Unnormalised(plain) if isinstance(plain, ImageData) else plain
        return plotting.display_random_images(pictures, classes=splits.classes, seed=seed)
    parts = {name: _arrays(part) for name, part in splits.parts().items()}
    if splits.in_shape == (2,) and splits.classes:
        return plotting.plot_points(parts, splits.classes)
    if splits.in_shape == (1,) and not splits.classes:
        return plotting.plot_predictions(*parts["train"], *parts["test"])
    raise DataError(f"data {splits.name!r} has {splits.in_shape[0]} numbers a sample: a figure needs one or two")


def _draw_boundary(run: Run, splits: Splits, weights: str) -> Figure:
    predictor = Predictor.from_run(run, weights=weights)

    def predict(points: Any) -> Any:
        logits = predictor.logits(torch.as_tensor(points, dtype=torch.float32))
        return predictor.task.probabilities(logits).argmax(dim=1).numpy()

    return plotting.plot_decision_regions(
        {name: _arrays(part) for name, part in splits.parts().items()}, predict, splits.classes
    )


def _draw_fit(run: Run, splits: Splits, weights: str) -> Figure:
    predictor = Predictor.from_run(run, weights=weights)
    train, test = _arrays(splits.train), _arrays(splits.test)
    return plotting.plot_predictions(*train, *test, predictor.logits(torch.as_tensor(test[0])).numpy())


def _draw_evaluated(
    kind: str, run: Run, part: Part, result: Evaluation, report: EvaluationReport, weights: str
) -> Figure:
    return _of_epoch(_evaluated(kind, run, part, result, report), run, weights)


def _evaluated(kind: str, run: Run, part: Part, result: Evaluation, report: EvaluationReport) -> Figure:
    if kind == "confusion":
        return plotting.plot_confusion_matrix(report.matrix, report.classes)
    if kind == "calibration":
        probabilities = get_task(run.summary()["task"]).probabilities(result.logits)
        bins = calibration_bins(result.y.reshape(-1), probabilities)
        error = report.metrics["calibration_error"]
        assert error is not None
        return plotting.plot_reliability(bins["confidence"], bins["accuracy"], bins["count"], ece=error)
    if kind == "errors":
        rows = report.errors()[:GRID]
        if not rows:
            raise DataError(f"{run.name} makes no errors on its {part.name} split: there is nothing to draw")
        function: Callable[..., Figure] = plotting.plot_worst_errors
        more: dict[str, Any] = {"losses": [row["loss"] for row in rows]}
    else:
        rows = random.Random(42).sample(report.samples, min(GRID, len(report.samples)))
        function, more = plotting.plot_prediction_grid, {}
    return function(
        [picture_of(part.dataset, row["index"], longest=LONGEST_SIDE) for row in rows],
        *([row[key] for row in rows] for key in ("truth", "prediction", "probability")),
        **more,
        names=[Path(row["file"]).name for row in rows] if part.files else (),
    )


def picture_of(dataset: Any, index: int, *, longest: int | None = None) -> Any:
    """Return a sample as a person sees it: its file, or its pixels as a tensor (c, h, w) before any normalisation.

    A file of more pixels is shrunk to `longest` on its longer side.
    """
    if isinstance(dataset, ShardData):
        return dataset.at([index]).images[torch.tensor([0])][0]
    if not isinstance(dataset, ImageData):
        return dataset[index][0]
    if dataset.paths is not None:
        value_range = dataset.pipeline.value_range
        return load_image(dataset.paths[index], dataset.channels, longest=longest, value_range=value_range)
    return dataset.images[torch.tensor([index])][0]


def _held(part: Any) -> Any:
    """Return a split of which some samples can be looked at: of shards, which mix the classes, the first."""
    return part.at(range(min(HELD, len(part)))) if isinstance(part, ShardData) else part


class _Unnormalised:
    """Pictures as (uint8 (c, h, w), label), resized, before the normalisation that a model wants."""

    def __init__(self, dataset: ImageData) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._dataset.images[torch.tensor([index])][0], int(self._dataset.labels[index])


def _draw_transforms(splits: Splits, seed: int, n: int = 3) -> Figure:
    part = _held(splits.train)
    if not isinstance(part, ImageData):
        raise DataError(f"data {splits.name!r} has no pictures to transform")
    chosen = random.Random(seed).sample(range(len(part)), min(n, len(part)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformed = [part.augmented(index) for index in chosen]
    originals = [picture_of(part, index) for index in chosen]
    titles = [splits.classes[int(part.labels[index])] for index in chosen]
    return plotting.plot_image_pairs(originals, transformed, titles)


def _class_counts(splits: Splits) -> Mapping[str, Mapping[str, int]]:
    if not splits.classes:
        raise DataError(f"data {splits.name!r} has no classes to count")
    return {name: dict(zip(splits.classes, counts, strict=True)) for name, counts in class_counts(splits).items()}


def _arrays(part: Any) -> tuple[Any, Any]:
    X, y = all_of(part)
    return X.numpy(), y.numpy()
