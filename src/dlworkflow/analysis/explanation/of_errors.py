"""The worst errors of an evaluation in one figure: what spoke for the predicted class, and what for the true one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dlworkflow.analysis.explanation.images import sample_maps
from dlworkflow.analysis.scored_data import Part
from dlworkflow.data.folders.class_names import nfc
from dlworkflow.data.protocol import original_of
from dlworkflow.inference.predictor import Predictor
from dlworkflow.plotting import plot_heat_maps
from dlworkflow.plotting.grid import LONGEST_SIDE


def draw_explained_errors(predictor: Predictor, part: Part, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw wrongly predicted images, rows of an `EvaluationReport`, each with its two maps."""
    images, maps, titles = [], [], []
    for row in rows:
        labels = [row["prediction"], row["truth"]]
        image = original_of(part.dataset, row["index"], longest=LONGEST_SIDE)
        images.append(image)
        targets = [predictor.classes.index(nfc(label)) for label in labels]
        maps.append(sample_maps(predictor, part.dataset[row["index"]][0], image, targets))
        name = Path(row["file"]).name if part.files else f"sample {row['index']}"
        titles.append([name, f"✗ Pred: {labels[0]} | {row['probability']:.3f}", f"Truth: {labels[1]}"])
    return plot_heat_maps(images, maps, titles, across=2)
