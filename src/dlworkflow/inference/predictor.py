"""Predictions for files, folders, images, tensors and numbers, from run folders alone or from weights without a run.

A run's own preprocessing is used, never today's defaults, so a prediction cannot scale or crop another way than
training did. Weights without a run get what the notes' scripts do: resized, [0, 1].
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict, Unpack, overload

import torch
from PIL import Image
from torch import Tensor, nn

from dlworkflow.data.columns import Columns
from dlworkflow.data.folders.class_names import nfc
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.transforms import Spec
from dlworkflow.engine.batch_check import explained_errors
from dlworkflow.engine.device import Device, choose_device
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.engine.tasks import Task, get_task
from dlworkflow.errors import DataError, few
from dlworkflow.inference.arrays import Layout
from dlworkflow.inference.averaging import TTA, Ensemble, InUnits, disagreement, mean_scores, with_tta
from dlworkflow.inference.inputs import Inputs
from dlworkflow.inference.parallel import chunks, on_all_cores
from dlworkflow.inference.prediction import Prediction as Prediction
from dlworkflow.inference.prediction import predictions_of
from dlworkflow.inference.rebuild import (
    check_alike,
    load_run_model,
    placed,
    stored_columns,
    stored_target,
    stored_thresholds,
    stored_transform,
)
from dlworkflow.inference.records import records_of, source_of
from dlworkflow.inference.rows import rows_of
from dlworkflow.inference.samples import ImageReader, Sample
from dlworkflow.inference.weights import parts_of_file, parts_of_published
from dlworkflow.runs import Run, find_run

_FILES_A_CORE = 16
"""Image files that a core reads and predicts as one batch."""


class _Options(TypedDict, total=False):
    layout: Layout | None
    tta: TTA | None
    top_k: int
    batch_size: int


@dataclass(frozen=True)
class Predictor:
    """A trained model with its class names, input shape and preprocessing.

    `target` is the scale of a regression's values; `thresholds` are the probabilities from which the labels of a
    multilabel task are predicted, one for each class.
    """

    model: nn.Module
    task: Task
    classes: tuple[str, ...]
    in_shape: tuple[int, ...]
    transform: Pipeline | None
    device: torch.device
    run: Run | None = field(default=None, compare=False)
    model_name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    target: TargetScale | None = None
    thresholds: tuple[float, ...] = ()
    columns: Columns | None = None

    def __repr__(self) -> str:
        classes = f", classes {few(self.classes)}" if self.classes else ""
        of = f" of {self.run.name}" if self.run is not None else ""
        return f"Predictor({type(self.model).__name__}{of}: inputs {self.in_shape}{classes}, on {self.device})"

    @classmethod
    def from_run(
        cls,
        run: Run | str | os.PathLike[str],
        *,
        weights: str = "best",
        device: Device = "auto",
        model: nn.Module | None = None,
    ) -> Predictor:
        """Rebuild the model of a run, a `Run` or what `find_run` takes (a path, a name), with its best or last weights.

        `model` is that of the run as an object, into which the weights are put, where it cannot be rebuilt from its
        name. Raises RunError when the run or its weights are missing, and CodeError for code that was not named.
        """
        run = run if isinstance(run, Run) else find_run(os.fspath(run))
        summary = run.summary()
        model = load_run_model(run, weights, model)
        chosen = choose_device(str(device))
        return cls(
            model=placed(model, chosen),
            task=get_task(summary.task),
            classes=tuple(map(nfc, summary.classes)),
            in_shape=tuple(summary.in_shape),
            transform=stored_transform(summary),
            device=chosen,
            run=run,
            target=stored_target(summary),
            thresholds=stored_thresholds(summary),
            columns=stored_columns(summary),
        )

    @classmethod
    def from_runs(cls, runs: Iterable[Run | str | os.PathLike[str]], **options: Any) -> Predictor:
        """Average the models of several runs; `options` are those of `from_run`.

        Predicts the mean of their probabilities, or of the values of a regression, with their `disagreement`. Raises
        RunError for none, and for runs whose classes, inputs or preprocessing differ.
        """
        found = [run if isinstance(run, Run) else find_run(os.fspath(run)) for run in runs]
        if len(found) == 1:
            return cls.from_run(found[0], **options)
        check_alike(found)
        members = [cls.from_run(run, **options) for run in found]
        own = [InUnits(each.model, each.target) if each.target else each.model for each in members]
        thresholds = tuple(map(fmean, zip(*(each.thresholds for each in members), strict=True)))
        model = Ensemble(own, members[0].task).eval()
        return replace(members[0], model=model, run=None, target=None, thresholds=thresholds)

    @classmethod
    def from_weights(
        cls,
        model_name: str,
        path: str | os.PathLike[str],
        *,
        classes: Sequence[str] = (),
        in_shape: tuple[int, ...] | None = None,
        image_size: int | tuple[int, int] | None = None,
        settings: Mapping[str, Any] | None = None,
        transform: Spec = None,
        device: Device = "auto",
    ) -> Predictor:
        """Put a state_dict that any script saved into model `model_name`.

        `classes` are the names of the labels in their order (none for a regression). What is not given is inferred
        from the shapes of the weights (`models.weights.from_weights.find_fit`). Images are resized to `image_size`
        (height, width; the model's usual one) or to `in_shape`, scaled to [0, 1], and then processed by `transform`;
        for a model of torchvision or timm, what `transform` leaves open is done as for its published weights. Raises
        ModelError for a file without weights, or without those of this model, and ConfigError for the rest.
        """
        given: dict[str, Any] = {"in_shape": in_shape, "image_size": image_size, "settings": settings}
        parts = parts_of_file(model_name, path, classes=classes, transform=transform, device=device, **given)
        return cls(**parts)

    @classmethod
    def from_published(
        cls, model_name: str, weights: str = "default", *, offline: bool = False, device: Device = "auto"
    ) -> Predictor:
        """Take a model of torchvision or timm with its published weights: it predicts ImageNet's 1,000 classes.

        Weights that are not on this machine are downloaded, unless `offline`; what and from where is logged first.
        Raises ConfigError for a model or weights that are not published, MissingDataError for those that cannot be
        had, and ModelError for weights of other classes.
        """
        return cls(**parts_of_published(model_name, weights, offline=offline, device=device))

    @property
    def name(self) -> str:
        """What to call it in a message: `run 'x'`, the model, or the ensemble."""
        if isinstance(self.model, Ensemble):
            return f"the ensemble of {len(self.model.members)} runs"
        return (
            f"run {self.run.name!r}" if self.run else f"model {self.model_name!r}" if self.model_name else "the model"
        )

    @property
    def kind(self) -> str:
        """`image` or `tabular`: what can be predicted."""
        return "image" if self.transform is not None else "tabular"

    def with_tta(self, tta: TTA | None) -> Predictor:
        """Return the same with test-time augmentation: `flip` predicts the mean of an image and its mirror image.

        Raises ConfigError for an unknown one, and where the model takes numbers.
        """
        return replace(self, model=with_tta(self.model, tta, self.task, kind=self.kind, owner=self.name))

    def logits(self, inputs: Tensor) -> Tensor:
        """Return raw scores (n, n_outputs) on the CPU for preprocessed inputs (n, *in_shape) float32.

        Raises BatchError for inputs that the model cannot take.
        """
        return self._scores(self.model, inputs)

    def _scores(self, call: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        with torch.inference_mode(), explained_errors(self.model) as keep:
            X, _ = keep(inputs.to(self.device))
            return call(X).cpu()

    @overload
    def predict(self, x: Iterator[Any], **options: Unpack[_Options]) -> Iterator[Prediction]: ...
    @overload
    def predict(self, x: bytes | Image.Image | float, **options: Unpack[_Options]) -> Prediction: ...
    @overload
    def predict(self, x: Any, **options: Unpack[_Options]) -> Prediction | Any: ...  # Any spares callers a check
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
            rows, is_many = self._rows(x)
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
        self, paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], **options: Unpack[_Options]
    ) -> Iterator[Prediction]:
        """Predict image files, one `Prediction` per file in the given order; a single path is one file.

        As `predict` of an iterator: a file that cannot be read is a prediction with `error` set.
        """
        paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
        return self.predict(iter(map(Path, paths)), **options)

    def predict_rows(
        self, rows: Iterable[Sequence[float]], *, batch_size: int = 1024, top_k: int = 1
    ) -> Iterator[Prediction]:
        """Predict rows of numbers, of a table in its units. Raises DataError for a row of another length."""
        return self.predict(iter(rows), batch_size=batch_size, top_k=top_k)

    def _of_images(
        self, samples: Iterable[Sample], reader: ImageReader, *, top_k: int, batch_size: int
    ) -> Iterator[Prediction]:
        size = min(batch_size, _FILES_A_CORE) if self.device.type == "cpu" else batch_size
        work = partial(self._predict_samples, reader=reader, top_k=top_k)
        for predictions in on_all_cores(work, chunks(samples, size)):
            yield from predictions

    def _predict_samples(self, samples: Sequence[Sample], *, reader: ImageReader, top_k: int) -> list[Prediction]:
        """Read and predict some images as one batch."""
        found = [reader.read(sample) for sample in samples]
        images = {index: pixels for index, pixels in enumerate(found) if isinstance(pixels, Tensor)}
        predicted: dict[int, Prediction] = {}
        if images:
            inputs = reader.transform.to_float(torch.stack(list(images.values())))
            sources = [samples[index].source for index in images]
            predicted = dict(zip(images, self._predictions(sources, inputs, top_k), strict=True))
        return [
            predicted.get(index) or Prediction(sample.source, error=str(found[index]))
            for index, sample in enumerate(samples)
        ]

    def _rows(self, given: Any) -> tuple[Iterable[list[float]], bool]:
        """Return the rows of numbers in what was given, files of them included, and whether that is several."""
        width, names = self.in_shape[0], [given] if isinstance(given, str | os.PathLike) else given
        if isinstance(names, list | tuple) and names and all(isinstance(each, str | os.PathLike) for each in names):
            return Inputs(tuple(map(os.fspath, names))).rows(width, owner=self.name), True
        return rows_of(given, width, owner=self.name)

    def _of_rows(self, rows: Iterable[Sequence[float]], *, top_k: int, batch_size: int) -> Iterator[Prediction]:
        for chunk in chunks(rows, batch_size):
            sources = [" ".join(f"{number:g}" for number in row) for row in chunk]
            yield from self._predictions(sources, torch.tensor(chunk, dtype=torch.float32), top_k)

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
            inputs, wrong = self.columns.encode(chunk)
            own = [next(names) if names is not None else source_of(row, self.columns) for row in chunk]
            predicted = self._predictions(own, torch.from_numpy(inputs), top_k)
            for index, prediction in enumerate(predicted):
                yield Prediction(own[index], error=wrong[index]) if index in wrong else prediction

    def _predictions(self, sources: Sequence[str], inputs: Tensor, top_k: int) -> list[Prediction]:
        apart = None
        if isinstance(self.model, Ensemble):
            scores = self._scores(self.model.scores, inputs)
            logits, apart = mean_scores(scores, self.task), disagreement(scores, self.task, self.thresholds)
        else:
            logits = self.logits(inputs)
        logits = logits.reshape(len(sources), -1)
        options: dict[str, Any] = {"target": self.target, "thresholds": self.thresholds, "disagreement": apart}
        return predictions_of(sources, logits, self.task, self.classes, top_k=top_k, **options)


def predict_images(
    run: Run | str | os.PathLike[str],
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    **options: Any,
) -> list[Prediction]:
    """Predict image files with a run's best weights; `options` as for `Predictor.predict_images`."""
    return list(Predictor.from_run(run).predict_images(paths, **options))
