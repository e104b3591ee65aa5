"""Predictions for files, folders, tensors and numbers, from a run folder alone or from a file of weights.

A run's own preprocessing is used, never today's defaults, so a prediction cannot scale or crop another way than
training did. Weights without a run get what the notes' scripts do: resized, [0, 1].
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlworkflow import models
from dlworkflow.data.folders.class_names import nfc
from dlworkflow.data.images.decoding import ImageError
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_uint8
from dlworkflow.data.images.transforms import Spec, complete, parse
from dlworkflow.engine.batch_check import explained_errors
from dlworkflow.engine.device import Device, choose_device
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.engine.tasks import Task, get_task
from dlworkflow.errors import ConfigError, DataError, few
from dlworkflow.inference.parallel import chunks, on_all_cores
from dlworkflow.inference.rebuild import (
    load_run_model,
    placed,
    possible_outputs,
    stored_target,
    stored_thresholds,
    stored_transform,
)
from dlworkflow.models import torchvision_models
from dlworkflow.models.weights.checkpoint import apply_weights, load_weights
from dlworkflow.models.weights.from_weights import find_fit
from dlworkflow.runs import Run, find_run

_FILES_A_CORE = 16
"""Image files that a core reads and predicts as one batch."""


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one input, or in `error` why it predicts nothing.

    `source` is the file, or the numbers as given; `label` the class of the highest `probability`; `top` the likeliest
    (label, probability) pairs, best first; `value` the number that a regression predicts. Where an input may have
    several labels, `labels` are the (label, probability) pairs from their thresholds on, best first; None elsewhere.
    """

    source: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    value: float | None = None
    error: str | None = None
    labels: tuple[tuple[str, float], ...] | None = None


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

    def __repr__(self) -> str:
        classes = f", classes {few(self.classes)}" if self.classes else ""
        of = f" of {self.run.name}" if self.run is not None else ""
        return f"Predictor({type(self.model).__name__}{of}: inputs {self.in_shape}{classes}, on {self.device})"

    @classmethod
    def from_run(
        cls, run: Run | str | os.PathLike[str], *, weights: str = "best", device: Device = "auto"
    ) -> Predictor:
        """Rebuild the model of a run, a `Run` or what `find_run` takes (a path, a name), with its best or last weights.

        Raises RunError when the run or its weights are missing.
        """
        run = run if isinstance(run, Run) else find_run(os.fspath(run))
        summary = run.summary()
        model = load_run_model(run, weights)
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
        )

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
        for a model of torchvision, what `transform` leaves open is done as for its published weights. Raises ModelError
        for a file without weights, or without those of this model, and ConfigError for the rest.
        """
        classes = tuple(map(nfc, classes))
        task_name = models.entry(model_name).task
        n_outputs = possible_outputs(model_name, task_name, classes)
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        weights, source = load_weights(path), f"weights {str(path)!r}"
        shapes: dict[str, Any] = {"n_outputs": n_outputs, "in_shape": in_shape, "image_size": size}
        fit = find_fit(model_name, weights, **shapes, settings=settings, source=source)
        pipeline = None
        if len(fit.in_shape) == 3:
            height, width = fit.in_shape[1:]
            if models.is_torchvisions(model_name):
                transform = complete(transform, torchvision_models.published(model_name).steps((height, width)))
            pipeline = parse(transform, image_size=fit.in_shape[1:], channels=fit.in_shape[0]).for_evaluation()
        elif transform is not None:
            raise ConfigError(f"data.transform: model {model_name!r} takes numbers, not images")
        chosen = choose_device(str(device))
        model = models.build(model_name, fit.in_shape, fit.n_outputs, **fit.settings)
        apply_weights(model, weights, source=source)
        task = "regression" if not classes else "binary" if fit.n_outputs == 1 else "multiclass"
        return cls(
            model=placed(model.eval(), chosen),
            task=get_task(task),
            classes=classes,
            in_shape=fit.in_shape,
            transform=pipeline,
            device=chosen,
            model_name=model_name,
            settings=fit.settings,
        )

    @property
    def name(self) -> str:
        """What to call it in a message: `run 'x'`, or the model."""
        return (
            f"run {self.run.name!r}" if self.run else f"model {self.model_name!r}" if self.model_name else "the model"
        )

    @property
    def kind(self) -> str:
        """`image` or `tabular`: what can be predicted."""
        return "image" if self.transform is not None else "tabular"

    def logits(self, inputs: Tensor) -> Tensor:
        """Return raw scores (n, n_outputs) on the CPU for preprocessed inputs (n, *in_shape) float32.

        Raises BatchError for inputs that the model cannot take.
        """
        with torch.inference_mode(), explained_errors(self.model) as keep:
            X, _ = keep(inputs.to(self.device))
            scores: Tensor = self.model(X).cpu()
        return scores

    def predict_images(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        batch_size: int = 32,
        top_k: int = 1,
    ) -> Iterator[Prediction]:
        """Predict image files in batches, one `Prediction` a file in the given order; a single path is one file.

        A file that cannot be read is a prediction with `error` set. Raises DataError when the model takes no images.
        """
        if self.transform is None:
            raise DataError(f"{self.name} takes numbers, not images; give {self.in_shape[0]} numbers")
        paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
        size = min(batch_size, _FILES_A_CORE) if self.device.type == "cpu" else batch_size
        work = partial(self._predict_files, top_k=top_k)
        for predictions in on_all_cores(work, chunks(map(Path, paths), size)):
            yield from predictions

    def _predict_files(self, paths: Sequence[Path], *, top_k: int) -> list[Prediction]:
        """Read and predict some image files as one batch."""
        assert self.transform is not None
        found = [self._pixels(path) for path in paths]
        images = {index: pixels for index, pixels in enumerate(found) if isinstance(pixels, Tensor)}
        predicted: dict[int, Prediction] = {}
        if images:
            inputs = self.transform.to_float(torch.stack(list(images.values())))
            sources = [str(paths[index]) for index in images]
            predicted = dict(zip(images, self._predictions(sources, inputs, top_k), strict=True))
        return [
            predicted.get(index) or Prediction(str(path), error=str(found[index])) for index, path in enumerate(paths)
        ]

    def _pixels(self, path: Path) -> Tensor | str:
        """Return an image as it goes into the batch, or the reason why it cannot be read."""
        assert self.transform is not None
        try:
            return to_uint8(self.transform.read(path, self.in_shape[0]))
        except ImageError as error:
            return error.reason

    def predict_rows(
        self, rows: Iterable[Sequence[float]], *, batch_size: int = 1024, top_k: int = 1
    ) -> Iterator[Prediction]:
        """Predict rows of numbers. Raises DataError for a row of another length than the model takes."""
        if self.kind != "tabular":
            raise DataError(f"{self.name} takes images, not numbers; give image files")
        for chunk in chunks(rows, batch_size):
            for row in chunk:
                if len(row) != self.in_shape[0]:
                    raise DataError(f"{self.name} takes {self.in_shape[0]} number(s) a row, not {len(row)}")
            sources = [" ".join(f"{number:g}" for number in row) for row in chunk]
            yield from self._predictions(sources, torch.tensor(chunk, dtype=torch.float32), top_k)

    def _predictions(self, sources: Sequence[str], inputs: Tensor, top_k: int) -> list[Prediction]:
        logits = self.logits(inputs).reshape(len(sources), -1)
        finite = logits.isfinite().all(dim=1).tolist()
        answers = (
            self._classes_of(logits, top_k)
            if self.task.has_accuracy
            else ({"value": value} for value in self._in_units(logits)[:, 0].tolist())
        )
        broken = "the model returns no finite number for it"
        return [
            Prediction(source, **answer) if fine else Prediction(source, error=broken)
            for source, answer, fine in zip(sources, answers, finite, strict=True)
        ]

    def _classes_of(self, logits: Tensor, top_k: int) -> Iterator[dict[str, Any]]:
        probabilities = self.task.probabilities(logits)
        ranked = probabilities.topk(len(self.classes) if self.thresholds else min(top_k, len(self.classes)), dim=1)
        for values, labels in zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True):
            every = [(self.classes[label], value) for label, value in zip(labels, values, strict=True)]
            found: dict[str, Any] = {"label": every[0][0], "probability": every[0][1], "top": tuple(every[:top_k])}
            if self.thresholds:
                above = zip(labels, every, strict=True)
                found["labels"] = tuple(pair for label, pair in above if pair[1] >= self.thresholds[label])
            yield found

    def _in_units(self, values: Tensor) -> Tensor:
        return values if self.target is None else self.target.undone(values)


def predict_images(
    run: Run | str | os.PathLike[str],
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    **options: Any,
) -> list[Prediction]:
    """Predict image files with a run's best weights; `options` as for `Predictor.predict_images`."""
    return list(Predictor.from_run(run).predict_images(paths, **options))
