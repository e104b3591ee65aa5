"""How far an exported model's predictions are from its run's; compares numbers, knows no format and no file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from dlworkflow.errors import ModelError
from dlworkflow.inference.export.description import Parity
from dlworkflow.inference.export.samples import Samples
from dlworkflow.inference.predictor import Predictor

TOLERANCE = 1e-4
"""The largest difference with which a file is written: of a probability, or of a value relative to the largest one."""
_BATCH = 32


def answers_of_run(predictor: Predictor, samples: Samples) -> np.ndarray:
    """Return what a run predicts for samples, (n, classes) probabilities or (n, 1) values in their unit."""
    return np.concatenate([predictor.answers(samples.inputs[part]).values for part in _batches(len(samples))])


def answers_of_file(answers: Callable[[Mapping[str, np.ndarray]], np.ndarray], samples: Samples) -> np.ndarray:
    """Return what an exported model predicts for samples, in batches of several sizes."""
    parts = ({name: values[part] for name, values in samples.raw.items()} for part in _batches(len(samples)))
    return np.concatenate([answers(part) for part in parts])


def check_finite(answers: np.ndarray, name: str) -> np.ndarray:
    """Return predictions of run `name` as they are. Raises ModelError where some are no finite numbers."""
    if n := int((~np.isfinite(answers)).any(axis=1).sum()):
        raise ModelError(f"{name} returns no finite numbers for {n:,} of {len(answers):,} samples; is it trained?")
    return answers


def compare(run: np.ndarray, file: np.ndarray, predictor: Predictor, samples: Samples) -> Parity:
    """Return how far the predictions (n, ...) of a file are from those of its run, which are finite.

    Raises ModelError where they have another shape.
    """
    if run.shape != file.shape:
        raise ModelError(f"the exported model returns {file.shape[1:]} a sample where the run returns {run.shape[1:]}")
    apart = np.abs(file.astype(np.float64) - run)
    largest = float(np.abs(run).max(initial=0))
    scale = 1.0 if predictor.task.has_accuracy or not largest else largest
    changed = (labels_of(run, predictor) != labels_of(file, predictor)).any(axis=1)
    return Parity(len(run), samples.source, float(apart.max(initial=0)) / scale, int(changed.sum()))


def labels_of(answers: np.ndarray, predictor: Predictor) -> np.ndarray:
    """Return the labels that probabilities (n, classes) stand for, (n, 1) or of several labels (n, classes)."""
    if not predictor.task.has_accuracy:
        return np.zeros((len(answers), 1))
    if predictor.thresholds:
        return answers >= np.asarray(predictor.thresholds)
    return answers.argmax(axis=1, keepdims=True)


def _batches(n: int) -> Iterator[slice]:
    """Yield the first sample alone, then the others in batches: a file must take any number."""
    yield slice(0, min(1, n))
    for start in range(1, n, _BATCH):
        yield slice(start, min(start + _BATCH, n))
