"""Predictions for files, folders, tensors and numbers, from a run folder alone or from a file of weights.

A run's own preprocessing is used, never today's defaults, so a prediction cannot scale or crop another way than
training did. Weights without a run get what the notes' scripts do: resized, [0, 1].
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from dlworkflow.engine.tasks import Task, get_task
from dlworkflow.errors import ConfigError, DataError, RunError
from dlworkflow.models import torchvision_models
from dlworkflow.models.weights.checkpoint import apply_weights, load_weights
from dlworkflow.models.weights.from_weights import find_fit
from dlworkflow.runs import Run, Summary, find_run

_FILES_A_CORE = 16
"""Picture files that a core reads and predicts as one batch."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of one input, or in `error` why it says nothing.

    `source` is the file, or the numbers as given; `label` the class of the highest `probability`; `top` the likeliest
    (label, probability) pairs, best first; `value` the number that a regression predicts.
    """

    source: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    value: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Predictor:
    """A trained model with all that belongs to it: class names, input shape, preprocessing."""

    model: nn.Module
    task: Task
    classes: tuple[str, ...]
    in_shape: tuple[int, ...]
    transform: Pipeline | None
    device: torch.device
    run: Run | None = field(default=None, compare=False)
    model_name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_run(
        cls, run: Run | str | os.PathLike[str], *, weights: str = "best", device: Device = "auto"
    ) -> Predictor:
        """Rebuild the model of a run, a `Run` or what `find_run` takes (a path, a name), with its best or last weights.

        Raises RunError when the run or its weights are not there.
        """
        run = run if isinstance(run, Run) else find_run(os.fspath(run))
        summary = run.summary()
        model = load_run_model(run, weights)
        chosen = choose_device(str(device))
        return cls(
            model=_placed(model, chosen),
            task=get_task(summary.task),
            classes=tuple(map(nfc, summary.classes)),
            in_shape=tuple(summary.in_shape),
            transform=_transform(summary),
            device=chosen,
            run=run,
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

        `classes` are the names of the labels in their order (none for a regression). What is not given is read off the
        weights' shapes (`fitting.find_fit`); pictures are resized to `image_size` (height, width; the model's usual
        one) or as `in_shape` says, and scaled to [0, 1], further only by `transform`; for a model of torchvision, what
        `transform` leaves open is done as for its published weights. Raises ModelError for a file that holds no
        weights, or none of this model, and ConfigError for the rest.
        """
        classes = tuple(map(nfc, classes))
        task_name = models.entry(model_name).task
        n_outputs = _possible_outputs(model_name, task_name, classes)
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
            raise ConfigError(f"data.transform: model {model_name!r} takes numbers, not pictures")
        chosen = choose_device(str(device))
        model = models.build(model_name, fit.in_shape, fit.n_outputs, **fit.settings)
        apply_weights(model, weights, source=source)
        task = "regression" if not classes else "binary" if fit.n_outputs == 1 else "multiclass"
        return cls(
            model=_placed(model.eval(), chosen),
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

        A file that cannot be read is a prediction with `error` set. Raises DataError when the run takes no pictures.
        """
        if self.transform is None:
            raise DataError(f"{self.name} takes numbers, not pictures; give {self.in_shape[0]} numbers")
        paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
        size = min(batch_size, _FILES_A_CORE) if self.device.type == "cpu" else batch_size
        work = partial(self._predict_files, top_k=top_k)
        for predictions in _on_all_cores(work, _chunks(map(Path, paths), size)):
            yield from predictions

    def _predict_files(self, paths: Sequence[Path], *, top_k: int) -> list[Prediction]:
        """Read and predict some picture files as one batch."""
        assert self.transform is not None
        found = [self._pixels(path) for path in paths]
        pictures = {index: pixels for index, pixels in enumerate(found) if isinstance(pixels, Tensor)}
        told: dict[int, Prediction] = {}
        if pictures:
            inputs = self.transform.to_float(torch.stack(list(pictures.values())))
            sources = [str(paths[index]) for index in pictures]
            told = dict(zip(pictures, self._predictions(sources, inputs, top_k), strict=True))
        return [told.get(index) or Prediction(str(path), error=str(found[index])) for index, path in enumerate(paths)]

    def _pixels(self, path: Path) -> Tensor | str:
        """Return a picture as it goes into the batch, or the reason why it cannot be read."""
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
            raise DataError(f"{self.name} takes pictures, not numbers; give picture files")
        for chunk in _chunks(rows, batch_size):
            for row in chunk:
                if len(row) != self.in_shape[0]:
                    raise DataError(f"{self.name} takes {self.in_shape[0]} number(s) a row, not {len(row)}")
            sources = [" ".join(f"{number:g}" for number in row) for row in chunk]
            yield from self._predictions(sources, torch.tensor(chunk, dtype=torch.float32), top_k)

    def _predictions(self, sources: Sequence[str], inputs: Tensor, top_k: int) -> list[Prediction]:
        logits = self.logits(inputs)
        broken = "the model gives no finite number for it"
        finite = logits.reshape(len(logits), -1).isfinite().all(dim=1).tolist()
        if not all(finite):
            good = [index for index, fine in enumerate(finite) if fine]
            told = (
                dict(zip(good, self._predictions([sources[i] for i in good], inputs[good], top_k), strict=True))
                if good
                else {}
            )
            return [told.get(index) or Prediction(source, error=broken) for index, source in enumerate(sources)]
        if not self.task.has_accuracy:
            return [
                Prediction(source, value=float(value.reshape(-1)[0]))
                for source, value in zip(sources, logits, strict=True)
            ]
        likeliest = self.task.probabilities(logits).topk(min(top_k, len(self.classes)), dim=1)
        found = []
        for source, values, labels in zip(sources, likeliest.values.tolist(), likeliest.indices.tolist(), strict=True):
            top = tuple((self.classes[label], value) for label, value in zip(labels, values, strict=True))
            found.append(Prediction(source, label=top[0][0], probability=top[0][1], top=top))
        return found


def _transform(summary: Summary) -> Pipeline | None:
    """Return a run's preprocessing of pictures, None for numbers; where none was stored, resizing alone."""
    if summary.kind != "image":
        return None
    channels, *size = summary.in_shape
    return parse(summary.transform, image_size=size, channels=channels)


def _possible_outputs(model_name: str, task: str, classes: tuple[str, ...]) -> list[int]:
    """Return how many raw scores a sample the model may give for these classes. Raises ConfigError for wrong names."""
    if task == "regression" and classes:
        raise ConfigError(f"--classes: model {model_name!r} predicts a number, not a class")
    if not classes:
        if task not in ("regression", "any"):
            raise ConfigError(f"--classes: model {model_name!r} needs the names of its classes, in their order")
        return [1]
    if len(classes) == 1 or len(set(classes)) < len(classes) or not all(classes):
        raise ConfigError(f"--classes: must be two or more different names, not {','.join(classes)!r}")
    return [1, 2] if len(classes) == 2 and task == "binary" else [2, 1] if len(classes) == 2 else [len(classes)]


def load_run_model(run: Run, weights: str = "best") -> nn.Module:
    """Rebuild a run's model with its weights, on the CPU, in evaluation mode. Raises RunError when it has none."""
    summary = run.summary()
    settings = dict(summary.config["model"])
    path = run.weights_path(weights)
    if not path.is_file():
        raise RunError(f"{run.name} has no weights {path.name!r} (status: {summary.status})")
    with torch.random.fork_rng(devices=[]):  # its initial weights are drawn for nothing
        model = models.build(settings.pop("name"), tuple(summary.in_shape), summary.n_outputs, **settings)
    apply_weights(model, load_weights(path), source=repr(str(path)))
    return model.eval()


def predict_images(
    run: Run | str | os.PathLike[str],
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    **options: Any,
) -> list[Prediction]:
    """Predict picture files with a run's best weights; `options` as for `Predictor.predict_images`."""
    return list(Predictor.from_run(run).predict_images(paths, **options))


def _placed(model: nn.Module, device: torch.device) -> nn.Module:
    """Put a model on its device; channels-last weights let a CPU convolve in half the time, with the same labels."""
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub forgets this


def _on_all_cores(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Give what `work` makes of each item, in order; a core works on each, with one thread of torch's, a little ahead.

    A second torch thread would wait for the cores that the others decode on.
    """
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > cores + 1:
                    yield waiting.popleft().result()
            for future in waiting:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            torch.set_num_threads(torch.get_num_threads())  # what a thread sets is the default of those to come


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
