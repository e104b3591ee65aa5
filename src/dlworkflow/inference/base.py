"""What every predictor does: take what a user has, in batches and on all cores, and answer with predictions.

How a batch is answered is left to it: `predictor` asks a model of torch, `onnx_predictor` an exported file. Imports no
torch.
"""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypedDict, Unpack, get_args, overload

import numpy as np
from PIL import Image

from dlworkflow.data.columns import Columns
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.engine.tasks import Task
from dlworkflow.errors import ConfigError, DataError, unknown
from dlworkflow.inference.arrays import Layout
from dlworkflow.inference.caution import Caution, caution
from dlworkflow.inference.inputs import Inputs
from dlworkflow.inference.known_samples import KnownSamples
from dlworkflow.inference.parallel import chunks, on_all_cores
from dlworkflow.inference.prediction import Prediction, predictions_of
from dlworkflow.inference.records import records_of, source_of
from dlworkflow.inference.rows import rows_of
from dlworkflow.inference.samples import ImageReader, Sample
from dlworkflow.runs import Run

TTA = Literal["flip"]
"""Test-time augmentation: `flip` is the mean of an image and its mirror image."""

_MEASURED_WITHOUT = "--tta: not with --max-error or --reject-unknown, whose limits were measured without it"
_FILES_A_CORE = 16
"""Image files that a core reads and predicts as one batch."""


class Options(TypedDict, total=False):
    """The options of `predict`."""

    layout: Layout | None
    tta: TTA | None
    top_k: int
    batch_size: int


class Answers(NamedTuple):
    """What a model gives for n inputs: probabilities (n, classes) or values (n, 1), and their disagreement (n,).

    `features` (n, d) are the input of the last layer; None where they are not asked for.
    """

    values: np.ndarray
    disagreement: Sequence[float] | None = None
    features: np.ndarray | None = None


class BasePredictor(ABC):
    """A trained model with its class names, input shape and preprocessing.

    `transform` is None for a model of numbers; `thresholds` are the probabilities from which the labels of a multilabel
    task are predicted, one for each class; `columns` are those of a table. Raw scores are divided by `temperature`
    before they become probabilities, where it is not None. `caution` says which answers are unsure; None: none. With
    `known` samples, predictions have the nearest `neighbours` of them.
    """

    backend: ClassVar[str]
    """What computes: `torch` or `onnx`."""
    task: Task
    classes: tuple[str, ...]
    in_shape: tuple[int, ...]
    transform: Pipeline | None
    thresholds: tuple[float, ...]
    columns: Columns | None
    run: Run | None = None
    weights: str = "best"
    temperature: float | None = None
    tta: TTA | None = None
    caution: Caution | None = None
    known: KnownSamples | None = None
    neighbours: int = 0

    @property
    @abstractmethod
    def name(self) -> str:
        """What to call it in a message: `run 'x'`, the model, or the ensemble."""

    @property
    def kind(self) -> str:
        """`image` or `tabular`: what can be predicted."""
        return "image" if self.transform is not None else "tabular"

    def with_tta(self, tta: TTA | None) -> Self:
        """Return the same with test-time augmentation: `flip` predicts the mean of an image and its mirror image.

        Raises ConfigError for an unknown one, where the model takes numbers, and where it is cautious in a way that was
        measured without.
        """
        if tta is None:
            return self
        check_tta(tta, kind=self.kind, owner=self.name)
        if self.caution is not None and self.caution.is_measured:
            raise ConfigError(_MEASURED_WITHOUT)
        return self._mirrored(tta)

    def cautious(
        self, *, min_confidence: float | None = None, max_error: float | None = None, reject_unknown: bool = False
    ) -> Self:
        """Return the same with some answers `unsure`: where their probability is below `min_confidence`.

        `max_error` finds the certainty from which on at most this share of the answers is wrong, by the validation
        split: see `metrics.selective`. With `reject_unknown`, answers to inputs that are farther from the training data
        than 95 % of the validation split, in features, are unsure; it takes torch. Raises ConfigError for shares that
        are none and for what such a model cannot have, and RunError where the run was not calibrated.
        """
        if min_confidence is None and max_error is None and not reject_unknown:
            return self
        if self.tta is not None and (max_error is not None or reject_unknown):
            raise ConfigError(_MEASURED_WITHOUT)
        asked: Any = {"min_confidence": min_confidence, "max_error": max_error, "reject_unknown": reject_unknown}
        return self._with_caution(caution(self.task, self.name, run=self.run, weights=self.weights, **asked))

    @abstractmethod
    def _mirrored(self, tta: TTA) -> Self:
        """Return the same with a test-time augmentation that it can have."""

    def _with_caution(self, caution: Caution) -> Self:
        """Return the same with this caution. Raises ConfigError where it cannot tell what is needed for it."""
        found = copy.copy(self)
        object.__setattr__(found, "caution", caution)  # a predictor may be a frozen dataclass
        return found

    @abstractmethod
    def _of_pixels(self, images: np.ndarray) -> Answers:
        """Answer for images uint8 (n, c, h, w) at the size of the model."""

    @abstractmethod
    def _of_numbers(self, rows: np.ndarray) -> Answers:
        """Answer for rows float32 (n, width)."""

    @abstractmethod
    def _of_cells(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Answers, Mapping[int, str]]:
        """Answer for rows of a table, {column: value}, and return {index: what is wrong} of invalid rows."""

    @overload
    def predict(self, x: Iterator[Any], **options: Unpack[Options]) -> Iterator[Prediction]: ...
    @overload
    def predict(self, x: bytes | Image.Image | float, **options: Unpack[Options]) -> Prediction: ...
    @overload
    def predict(self, x: Any, **options: Unpack[Options]) -> Prediction | Any: ...  # Any spares callers a check
    def predict(
        self, x: Any, *, layout: Layout | None = None, tta: TTA | None = None, top_k: int = 1, batch_size: int = 32
    ) -> Prediction | list[Prediction] | Iterator[Prediction]:
        """Predict what is given: one prediction for one input, a list for several, an iterator for an iterator.

        An image is a path, bytes (of a JPEG, say), a PIL image, an array or a tensor; it goes through the preprocessing
        of the run. Arrays and tensors hold uint8 or floats in [0, 1], one image or a batch; their dimensions follow
        from the shape, or are `layout`. A row of numbers is a sequence, an array or a tensor; of a table, also a
        mapping {column: value}, several a data frame or a mapping of lists. Several are a folder, a pattern, a CSV
        file, a batch, or an iterable; a generator of frames is read in batches of `batch_size`, a few of them ahead.
        `tta` is as for `with_tta`; `top_k` is the number of likeliest classes in `top`.

        One input that cannot be read raises DataError; among several it is a prediction with `error` set. What is
        no input of the model raises DataError.
        """
        options: dict[str, Any] = {"top_k": top_k, "batch_size": batch_size}
        model = self.with_tta(tta)
        if self.transform is not None:
            reader = ImageReader(self.transform, self.in_shape[0], self.name, layout)
            samples, is_many = reader.samples(x)
            found = model._of_images(samples, reader, **options)
        elif self.columns is not None:
            records, sources, is_many = records_of(x, self.columns, owner=self.name)
            found = model.predict_records(records, sources=sources, **options)
        else:
            rows, is_many = self.rows(x)
            found = model._of_rows(rows, **options)
        if isinstance(x, Iterator):
            return found
        predictions = list(found)
        if is_many:
            return predictions
        [prediction] = predictions
        if prediction.error is not None:
            raise DataError(f"{prediction.source!r}: {prediction.error}")
        return prediction

    def predict_images(
        self, paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], **options: Unpack[Options]
    ) -> Iterator[Prediction]:
        """Predict image files, one `Prediction` per file in the given order; a single path is one file.

        As `predict` of an iterator: a file that cannot be read is a prediction with `error` set.
        """
        paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
        return self.predict(iter(map(Path, paths)), **options)

    def predict_pixels(self, images: np.ndarray, *, sources: Sequence[str], top_k: int = 1) -> list[Prediction]:
        """Predict images that are resized already, uint8 (n, *in_shape), as one batch; `sources` name them."""
        return self._predictions(sources, self._of_pixels(images), top_k)

    def predict_rows(
        self, rows: Iterable[Sequence[float]], *, batch_size: int = 1024, top_k: int = 1
    ) -> Iterator[Prediction]:
        """Predict rows of numbers, of a table in its units. Raises DataError for a row of another length."""
        return self.predict(iter(rows), batch_size=batch_size, top_k=top_k)

    def predict_records(
        self,
        records: Iterable[Mapping[str, Any]],
        *,
        sources: Iterable[str] | None = None,
        batch_size: int = 1024,
        top_k: int = 1,
    ) -> Iterator[Prediction]:
        """Predict rows of a table, {column: value}, in its units; columns that the model does not take are ignored.

        A row without a value, with an unknown category or with text for a number is a prediction with `error` set.
        `sources` name the rows; by default their values do. Raises DataError when the model takes no columns.
        """
        if self.columns is None:
            raise DataError(f"{self.name} was not trained on a table: it takes no columns by name")
        names = iter(sources) if sources is not None else None
        for chunk in chunks(records, batch_size):
            answers, wrong = self._of_cells(chunk)
            own = [next(names) if names is not None else source_of(row, self.columns) for row in chunk]
            for index, prediction in enumerate(self._predictions(own, answers, top_k)):
                yield Prediction(own[index], error=wrong[index]) if index in wrong else prediction

    def _of_images(
        self, samples: Iterable[Sample], reader: ImageReader, *, top_k: int, batch_size: int
    ) -> Iterator[Prediction]:
        work = partial(self._predict_samples, reader=reader, top_k=top_k)
        for predictions in self._on_cores(work, chunks(samples, self._images_at_once(batch_size))):
            yield from predictions

    def _on_cores(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return on_all_cores(work, items)

    def _images_at_once(self, batch_size: int) -> int:
        return min(batch_size, _FILES_A_CORE)

    def _predict_samples(self, samples: Sequence[Sample], *, reader: ImageReader, top_k: int) -> list[Prediction]:
        """Read and predict some images as one batch."""
        found = [reader.read(sample) for sample in samples]
        images = {index: pixels for index, pixels in enumerate(found) if isinstance(pixels, np.ndarray)}
        predicted: dict[int, Prediction] = {}
        if images:
            sources = [samples[index].source for index in images]
            batch = self.predict_pixels(np.stack(list(images.values())), sources=sources, top_k=top_k)
            predicted = dict(zip(images, batch, strict=True))
        return [
            predicted.get(index) or Prediction(sample.source, error=str(found[index]))
            for index, sample in enumerate(samples)
        ]

    def rows(self, given: Any) -> tuple[Iterable[list[float]], bool]:
        """Return the rows of numbers in what was given, files of them included, and whether that is several."""
        width, names = self.in_shape[0], [given] if isinstance(given, str | os.PathLike) else given
        if isinstance(names, list | tuple) and names and all(isinstance(each, str | os.PathLike) for each in names):
            return Inputs(tuple(map(os.fspath, names))).rows(width, owner=self.name), True
        return rows_of(given, width, owner=self.name)

    def _of_rows(self, rows: Iterable[Sequence[float]], *, top_k: int, batch_size: int) -> Iterator[Prediction]:
        for chunk in chunks(rows, batch_size):
            sources = [" ".join(f"{number:g}" for number in row) for row in chunk]
            with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and so the answer is an error
                numbers = np.array(chunk, dtype=np.float32)
            yield from self._predictions(sources, self._of_numbers(numbers), top_k)

    def _predictions(self, sources: Sequence[str], answers: Answers, top_k: int) -> list[Prediction]:
        options: dict[str, Any] = {"thresholds": self.thresholds, "disagreement": answers.disagreement}
        found = predictions_of(sources, answers.values, self.classes, top_k=top_k, **options)
        if self.known is not None and answers.features is not None:
            near = self.known.nearest(answers.features, self.neighbours)
            found = [
                each if each.error is not None else replace(each, neighbours=own)
                for each, own in zip(found, near, strict=True)
            ]
        if self.caution is None:
            return found
        return self.caution.applied(found, answers.values, self.temperature, answers.features)


def check_tta(tta: str, *, kind: str, owner: str) -> None:
    """Raise ConfigError for an unknown test-time augmentation, and where the inputs of a model are no images.

    `owner` is how to call the model.
    """
    if tta not in get_args(TTA):
        raise ConfigError(f"--tta: {unknown('test-time augmentation', tta, get_args(TTA))}")
    if kind != "image":
        raise ConfigError(f"--tta: {tta} mirrors images, and {owner} takes numbers")
