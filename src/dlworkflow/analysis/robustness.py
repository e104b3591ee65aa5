"""What a run scores on images that are corrupted as phones do it, against the same images as they are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dlworkflow.analysis.scored_data import load_part
from dlworkflow.data.images.corruptions import CORRUPTIONS
from dlworkflow.data.images.dataset import ImageData
from dlworkflow.data.images.decoding import load_image
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_bytes, to_pil
from dlworkflow.data.protocol import OnProgress
from dlworkflow.errors import DataError
from dlworkflow.inference.averaging import TTA
from dlworkflow.inference.parallel import chunks, on_all_cores
from dlworkflow.inference.predictor import Predictor
from dlworkflow.metrics.significance import bootstrap_difference, difference_interval, of_mean
from dlworkflow.runs import Run, RunLike, as_run
from dlworkflow.runs.robustness import CorruptionRow, RobustnessScores

LONGEST_SIDE = 1024
"""A larger image is shrunk first, as messengers do, and as twenty large copies of each would take long."""

VARIANTS = [(name, strength) for name, each in CORRUPTIONS.items() for strength in each.strengths]

_AT_ONCE = 16


def robustness_of_run(
    run: RunLike,
    split: str = "test",
    *,
    weights: str = "best",
    device: str = "auto",
    tta: TTA | None = None,
    on_progress: OnProgress | None = None,
    store: bool = True,
    **options: Any,
) -> RobustnessScores:
    """Score a run on corrupted images of a split, keep what is found in its folder (`store`), and return it.

    Each image is read once, corrupted at its own size (the longest side at most `LONGEST_SIDE`), and then takes the
    run's own way. `options` are those of `load_part`. Raises DataError where the run takes no images, and where they
    are in shards.
    """
    run = as_run(run)
    if run.summary().kind != "image":
        raise DataError(f"{run.name} takes numbers: what phones do to images cannot be done to them; see --slices")
    part = load_part(run, split, **options)
    dataset = part.dataset
    if not isinstance(dataset, ImageData):
        raise DataError(
            f"{run.name}: its {part.name} split is in shards or of your own code; name a folder or a CSV with --data"
        )
    if dataset.skips:
        dataset.remember()  # finds out which files cannot be read
    predictor = Predictor.from_run(run, weights=weights, device=device).with_tta(tta)
    answers = _answers(predictor, dataset, on_progress)
    truth = _truth(predictor, dataset)
    values = [_values(predictor, own, truth) for own in answers]
    rows = [
        _row(name, strength, values[0], own, _changed(predictor, answers[0], answers[place]))
        for place, ((name, strength), own) in enumerate(zip(VARIANTS, values[1:], strict=True), 1)
    ]
    found = RobustnessScores(
        run=run.name,
        weights=weights,
        epoch=run.summary().row(weights).get("epoch"),
        split=part.name,
        samples=len(truth),
        samples_fingerprint=dataset.fingerprint(),
        metric="accuracy" if values[0].dtype == bool else "mae",
        score=float(values[0].mean()),
        corruptions=rows,
        notes=part.remarks(run.name),
    )
    if store:
        write_robustness(run, found)
    return found


def write_robustness(run: Run, found: RobustnessScores) -> list[Path]:
    """Write what was found as robustness.json and robustness.csv into the run's folder."""
    return run.write_found(found, {"robustness": found.corruptions})


def _answers(predictor: Predictor, dataset: ImageData, on_progress: OnProgress | None) -> np.ndarray:
    """Return what is answered to every variant of every image: (1 + variants, n, classes or 1), the clean one first."""
    pipeline, n = dataset.pipeline.for_evaluation(), len(dataset)
    found: list[np.ndarray] = []
    read = partial(_variants, dataset, pipeline)
    for batch in chunks(on_all_cores(read, range(n)), _AT_ONCE):
        images = torch.from_numpy(np.stack(batch))
        values = predictor.answers(pipeline.to_float(images.flatten(0, 1))).values
        found.append(values.reshape(len(batch), 1 + len(VARIANTS), -1))
        if on_progress is not None:
            on_progress(sum(map(len, found)), n)
    return np.concatenate(found).swapaxes(0, 1)


def _variants(dataset: ImageData, pipeline: Pipeline, index: int) -> np.ndarray:
    """Return an image and all that is made of it, as the model takes them: uint8 (1 + variants, c, h, w)."""
    image = _image(dataset, index)
    made = [image, *(CORRUPTIONS[name](image, strength, name) for name, strength in VARIANTS)]
    return np.stack([to_bytes(pipeline.resize(each)) for each in made])


def _image(dataset: ImageData, index: int) -> Image.Image:
    if dataset.paths is None:
        return to_pil(dataset.original(index))
    longest = max(LONGEST_SIDE, 2 * max(dataset.pipeline.size))
    value_range = dataset.pipeline.value_range
    return load_image(dataset.paths[index], dataset.channels, longest=longest, value_range=value_range)


def _truth(predictor: Predictor, dataset: ImageData) -> np.ndarray:
    labels = dataset.labels.cpu()
    return (labels if predictor.target is None else predictor.target.undone(labels)).numpy()


def _values(predictor: Predictor, answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return whether each answer (n, classes) is right, or the error of each (n, 1)."""
    if not predictor.classes:
        return np.abs(answers.reshape(-1) - truth.reshape(-1))
    right = np.equal(_labels(predictor, answers), truth.astype(int))
    return np.asarray(right.reshape(len(right), -1).all(axis=1))


def _labels(predictor: Predictor, answers: np.ndarray) -> np.ndarray:
    if predictor.task.name == "multilabel":
        return (answers >= np.array(predictor.thresholds)).astype(int)
    found: np.ndarray = answers.argmax(axis=1)
    return found


def _changed(predictor: Predictor, clean: np.ndarray, answers: np.ndarray) -> int | None:
    if not predictor.classes:
        return None
    differ = _labels(predictor, clean) != _labels(predictor, answers)
    return int(differ.reshape(len(differ), -1).any(axis=1).sum())


def _row(name: str, strength: float, clean: np.ndarray, values: np.ndarray, changed: int | None) -> CorruptionRow:
    kind = CORRUPTIONS[name]
    of_rights = values.dtype == bool
    found = difference_interval(clean, values) if of_rights else bootstrap_difference(of_mean(clean), of_mean(values))
    return {
        "corruption": name,
        "strength": 1 + kind.strengths.index(strength),
        "setting": kind.shown(strength),
        "score": float(values.mean()),
        "difference": float(values.mean()) - float(clean.mean()),
        "low": found.low if found else None,
        "high": found.high if found else None,
        "changed": changed,
    }
