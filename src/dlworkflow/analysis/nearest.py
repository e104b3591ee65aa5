"""The nearest training samples of an input: features of a run's training data, computed once and kept with the run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlworkflow.analysis.scored_data import load_part
from dlworkflow.data.protocol import original_of
from dlworkflow.errors import ConfigError, DataError, RunError
from dlworkflow.inference.features import features_of
from dlworkflow.inference.known_samples import KnownSamples
from dlworkflow.inference.prediction import Neighbour, Prediction
from dlworkflow.inference.predictor import Predictor
from dlworkflow.metrics.multilabel import NO_LABELS, set_names
from dlworkflow.runs import Run, RunLike

MOST_STORED = 2**28  # bytes of features that are kept in a run
_log = logging.getLogger(__name__)


def neighbours(run: RunLike, x: Any, k: int = 5) -> tuple[Neighbour, ...] | list[Any]:
    """Return the `k` training samples of a run that its model finds nearest to an input, the nearest first.

    `x` is what `Predictor.predict` takes; for several inputs they are a list. Raises as `with_neighbours` does.
    """
    found = with_neighbours(Predictor.from_run(run), k).predict(x)
    if isinstance(found, Prediction):
        return found.neighbours or ()
    return [each.neighbours for each in found]


def with_neighbours(predictor: Predictor, k: int = 5, *, data_dir: str | None = None) -> Predictor:
    """Return a predictor whose predictions have the `k` nearest training samples of its run.

    Raises as `known_samples` does, and ConfigError for a model without a run of its own and for a `k` that is no number
    of its samples.
    """
    if predictor.run is None:
        raise ConfigError(f"--neighbours: {predictor.name} has no training data of its own; name one run with --run")
    known = known_samples(predictor, data_dir=data_dir)
    if not 1 <= k <= len(known.features):
        raise ConfigError(
            f"--neighbours: must be 1 to {len(known.features):,}, the number of training samples, not {k}"
        )
    return replace(predictor, known=known, neighbours=k)


def images_of(run: Run, found: Sequence[Neighbour]) -> list[Any]:
    """Return the images of training samples as people look at them, from the run's own data.

    Raises DataError where a file is no longer among the training data.
    """
    part = load_part(run, "train", offline=True)
    places = {str(file): place for place, file in enumerate(part.files or ())}
    return [original_of(part.dataset, _place(each, part.files, places), longest=1000) for each in found]


def _place(each: Neighbour, files: Sequence[Path] | None, places: Mapping[str, int]) -> int:
    """Return the number of a sample in the data of now: files may have come or gone, or all of them have moved."""
    if each.file is None or files is None:
        return each.sample
    if each.file in places:
        return places[each.file]
    if each.sample < len(files) and files[each.sample].name == Path(each.file).name:
        return each.sample
    raise DataError(f"--plot: {each.file!r} is no longer in the training data; leave out --plot")


def known_samples(predictor: Predictor, *, data_dir: str | None = None) -> KnownSamples:
    """Return the training samples of a predictor's run: read from it, or computed, and kept there.

    They are not kept where the data is no longer what the run was trained on. Raises DataError where it is gone, and
    ModelError for a model without features.
    """
    run, weights = predictor.run, predictor.weights
    assert run is not None
    if (kept := KnownSamples.of_run(run, weights)) is not None:
        return kept
    part = load_part(run, "train", data_dir=data_dir, offline=True)
    found = features_of(predictor, part.dataset)
    files = [str(file) for file in part.files] if part.files is not None else None
    known = KnownSamples(found.features, _truths(predictor, found.labels), files)
    if part.changed:
        _log.info(
            "note    the training data is no longer what %s was trained on: features are of it as it is, and not kept",
            run.name,
        )
    elif found.features.nbytes <= MOST_STORED:
        try:
            known.keep(run, weights)
        except RunError as error:
            _log.info("note    %s: the features are computed anew the next time", error)
    return known


def _truths(predictor: Predictor, labels: np.ndarray) -> list[str] | list[float]:
    """Return what is true of each sample: its class, its labels, or its number in its own unit."""
    y = torch.from_numpy(labels)
    if not predictor.classes:
        values = predictor.target.undone(y) if predictor.target is not None else y
        return [float(value) for value in values.reshape(len(y), -1)[:, 0]]
    if predictor.task.name == "multilabel":
        return [names or NO_LABELS for names in set_names(y, predictor.classes)]
    return [predictor.classes[int(label)] for label in y.reshape(-1)]
