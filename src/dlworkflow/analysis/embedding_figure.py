"""The map of a run's samples, as `dlw plot RUN map` draws it: features placed in the plane, with the answers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from dlworkflow.errors import DataError
from dlworkflow.metrics.multilabel import NO_LABELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlworkflow.analysis.scored_data import Part
    from dlworkflow.inference.predictor import Predictor
    from dlworkflow.metrics.report import EvaluationReport
    from dlworkflow.plotting.points import Palette

_THUMBNAIL = 96  # pixels of a side


def draw_embedding(
    predictor: Predictor,
    part: Part,
    *,
    method: str = "pca",
    thumbnails: bool = False,
    seed: int = 42,
    palette: Palette = None,
) -> Figure:
    """Draw the samples of a part near each other where the last layer of a model finds them alike.

    The model is that of a run; features and answers are of one pass. Raises ModelError for a model without features,
    ConfigError and DataError as `embed` does, and DataError for thumbnails of what are no images.
    """
    import torch

    from dlworkflow.analysis.embedding import embed
    from dlworkflow.analysis.evaluation import evaluation_of, report_result
    from dlworkflow.inference.features import features_of
    from dlworkflow.plotting.embedding import plot_embedding, plot_thumbnails, thumbnail_places

    if thumbnails and predictor.kind != "image":
        raise DataError(f"--thumbnails: {predictor.name} takes numbers, of which there are no images")
    run = predictor.run
    assert run is not None
    found = features_of(predictor, part.dataset)
    points, shares = embed(found.features, method, seed=seed)
    logits, y = torch.from_numpy(found.logits), torch.from_numpy(found.labels)
    report = report_result(run, evaluation_of(run, logits, y))
    labels, classes = _labels(report)
    wrong = np.array([row["truth"] != row["prediction"] for row in report.samples]) if classes else None
    look: dict[str, Any] = {"wrong": wrong, "palette": palette, **_words(shares)}
    about = f"{len(points):,} samples of {part.name}" + (f", {int(wrong.sum()):,} wrong" if wrong is not None else "")
    if not thumbnails:
        return plot_embedding(points, labels, classes, title=about, **look)
    from dlworkflow.data.protocol import original_of

    places = thumbnail_places(points)
    images = [original_of(part.dataset, place.sample, longest=_THUMBNAIL) for place in places]
    if len(places) < len(points):
        about += f"; {len(places):,} shown, of those close together one"
    return plot_thumbnails(points, places, images, labels, classes, title=about, **look)


def _labels(report: EvaluationReport) -> tuple[np.ndarray, list[str]]:
    """Return the class number of each sample and the names; of several labels each set is a class, of numbers none."""
    truths = [row["truth"] for row in report.samples]
    if not report.classes:
        return np.array(truths, float), []
    if report.task == "multilabel":
        truths = [truth or NO_LABELS for truth in truths]
        classes = [name for name, _ in Counter(truths).most_common()]
    else:
        classes = list(report.classes)
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[truth] for truth in truths]), classes


def _words(shares: tuple[float, float] | None) -> dict[str, Any]:
    """Return the names of the axes, and what nearness means."""
    if shares is None:
        note = "near each other: alike for the model; sizes and distances of groups mean nothing"
        return {"axis_names": ("UMAP 1", "UMAP 2"), "note": note}
    names = tuple(f"component {i} ({100 * share:.0f} % of the variance)" for i, share in enumerate(shares, start=1))
    rest = max(0.0, 1 - sum(shares))
    return {
        "axis_names": names,
        "note": f"far apart: unlike for the model; {100 * rest:.0f} % of the variance is not shown",
    }
