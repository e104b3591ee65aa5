"""What a finished cross-validation predicts of samples that its models have not seen, beside their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from dlworkflow.analysis.cross_validation import CrossValidation, read_cross_validation
from dlworkflow.analysis.evaluation import evaluate_part
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.data.protocol import files_of, labels_of, without_augmentation
from dlworkflow.data.splits import Splits
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import RunError
from dlworkflow.files.text import LABEL_SEPARATOR, shell_command
from dlworkflow.runs import Run
from dlworkflow.runs.answers import read_answers
from dlworkflow.training.sweep.folder import Plan, Sweep
from dlworkflow.training.sweep.folds import scored_at


@dataclass(frozen=True)
class Checked:
    """Samples of one split whose labels are checked: n `indices` into `dataset`, which is not augmented.

    `labels` are (n,) int64, of a multilabel task (n, classes) bool; `probabilities` (n, classes) float64.
    """

    split: str
    dataset: Dataset[Any]
    indices: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def files(self) -> list[Path] | None:
        """The image files of the samples, in order, or None."""
        files = files_of(self.dataset)
        return None if files is None else [files[index] for index in self.indices]


def checked_samples(
    sweep: Sweep, plan: Plan, whole: Splits, *, all_splits: bool = False, device: str = "auto"
) -> list[Checked]:
    """Return the training samples with what was predicted out of fold, as stored or else predicted now.

    With `all_splits`, those of the other splits follow with the mean probabilities of all models. Raises RunError
    where a fold has not finished, and where the labels have changed since.
    """
    rows = _stored(sweep)
    if rows is None:
        result = read_cross_validation(sweep, plan, device=device)
        result.write()
        rows = _stored(sweep) or _predicted(result)  # as stored where it can be: the same digits whenever it is read
    found = [_of_training(*rows, whole, sweep.name)]
    if all_splits:
        found += _of_others(sweep, plan, whole, device)
    return found


def labels_in(y: Any, task: str) -> np.ndarray:
    """Return labels as class numbers (n,) int64 or, of a multilabel task, (n, classes) bool."""
    labels = np.asarray(y)
    return labels.astype(bool) if task == "multilabel" else labels.reshape(-1).astype(np.int64)


_Rows = tuple[list[int], list[str] | None, np.ndarray, np.ndarray]
"""Indices in the training data, files, labels and probabilities of predicted samples."""


def _stored(sweep: Sweep) -> _Rows | None:
    """Return the predictions in the folder, None where there are none, or not of all classes."""
    run = Run(sweep.path)
    if (evaluation := run.evaluation()) is None:
        return None
    again = shell_command(["dlw", "crossval", "--resume", str(sweep.path)])
    answers = read_answers(sweep.path / "predictions.csv", evaluation, again=again)
    if answers.probabilities is None or answers.index is None:
        return None
    return answers.index.tolist(), answers.files, answers.truth, answers.probabilities


def _predicted(result: CrossValidation) -> _Rows:
    rows, report = result.report.samples, result.report
    assert report.probabilities is not None
    places = {name: place for place, name in enumerate(report.classes)}
    named = [str(row["truth"]) for row in rows]
    if report.task == "multilabel":
        truth = np.array([[name in text.split(LABEL_SEPARATOR) for name in places] for text in named])
    else:
        truth = np.array([places[text] for text in named])
    files = [str(row["file"]) for row in rows] if rows and "file" in rows[0] else None
    return [int(row["index"]) for row in rows], files, truth, report.probabilities.double().numpy()


def _of_training(
    indices: list[int], files: list[str] | None, truth: np.ndarray, probabilities: np.ndarray, whole: Splits, name: str
) -> Checked:
    part = without_augmentation(whole.train)
    labels, known = labels_in(labels_of(part), whole.task), files_of(part)
    is_there = max(indices, default=0) < len(labels) and (files is None) == (known is None)
    if (
        not is_there
        or (truth != labels[indices]).any()
        or any(Path(file).name != known[index].name for file, index in zip(files or (), indices, strict=False) if known)
    ):
        raise RunError(f"{name}: the data has changed since; check it anew: `dlw data labels` with its name or path")
    chosen = np.unique(indices)
    places = np.searchsorted(chosen, indices)
    sums = np.zeros((len(chosen), probabilities.shape[1]))
    np.add.at(sums, places, probabilities)
    return Checked("train", part, chosen, labels[chosen], sums / np.bincount(places)[:, None])


def _of_others(sweep: Sweep, plan: Plan, whole: Splits, device: str) -> Iterator[Checked]:
    """Yield the other splits, which no model of a fold has seen."""
    runs = [sweep.run(str(point.run)) for point in plan.points]
    task = get_task(whole.task)
    for split in [name for name in whole.parts() if name != "train"]:
        every: Sequence[Any] = [load_part(run, split, without_folds=True) for run in runs]
        results = [
            evaluate_part(run, part, weights=scored_at(run.summary()), device=device)
            for run, part in zip(runs, every, strict=True)
        ]
        probabilities = np.mean([task.probabilities(result.logits).double().numpy() for result in results], axis=0)
        y = labels_in(results[0].y, whole.task)
        yield Checked(split, every[0].dataset, np.arange(len(y)), y, probabilities)
