"""Predictions for files, folders, images, tensors and numbers, from run folders alone or from weights without a run.

A run's own preprocessing is used, never today's defaults, so a prediction cannot scale or crop another way than
training did. Weights without a run get what the notes' scripts do: resized, [0, 1].
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlworkflow.data.columns import Columns
from dlworkflow.data.folders.class_names import nfc
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.transforms import Spec
from dlworkflow.engine.batch_check import explained_errors
from dlworkflow.engine.device import Device, choose_device
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.engine.tasks import Task, get_task
from dlworkflow.errors import ModelError, few
from dlworkflow.inference.averaging import Ensemble, Flipped, InUnits, disagreement, mean_scores, tempered, with_tta
from dlworkflow.inference.base import TTA, Answers, BasePredictor
from dlworkflow.inference.caution import Caution
from dlworkflow.inference.known_samples import KnownSamples
from dlworkflow.inference.parallel import on_all_cores
from dlworkflow.inference.prediction import Prediction as Prediction
from dlworkflow.inference.rebuild import check_alike, load_run_model, placed
from dlworkflow.inference.stored import (
    stored_columns,
    stored_target,
    stored_temperature,
    stored_thresholds,
    stored_transform,
)
from dlworkflow.inference.weights import parts_of_file, parts_of_published
from dlworkflow.models.backbone import logits_and_last_features
from dlworkflow.runs import Run, RunLike, as_run


@dataclass(frozen=True)
class Predictor(BasePredictor):
    """A trained model with its class names, input shape and preprocessing.

    `target` is the scale of a regression's values; `thresholds` are the probabilities from which the labels of a
    multilabel task are predicted, one for each class. `model` and `logits` know nothing of the `temperature`.
    """

    backend = "torch"
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
    weights: str = "best"
    temperature: float | None = None
    tta: TTA | None = None
    caution: Caution | None = field(default=None, compare=False)
    known: KnownSamples | None = field(default=None, compare=False)
    neighbours: int = 0

    def __repr__(self) -> str:
        classes = f", classes {few(self.classes)}" if self.classes else ""
        of = f" of {self.run.name}" if self.run is not None else ""
        return f"Predictor({type(self.model).__name__}{of}: inputs {self.in_shape}{classes}, on {self.device})"

    @classmethod
    def from_run(
        cls,
        run: RunLike,
        *,
        weights: str = "best",
        device: Device = "auto",
        model: nn.Module | None = None,
        calibrated: bool = True,
    ) -> Predictor:
        """Rebuild the model of a run, a `Run` or what `find_run` takes (a path, a name), with its best or last weights.

        Its probabilities are calibrated where `dlw calibrate` found the temperature of these weights, unless that is
        not wanted.
        `model` is that of the run as an object, into which the weights are put, where it cannot be rebuilt from its
        name. Raises RunError when the run or its weights are missing, and CodeError for code that was not named.
        """
        run = as_run(run)
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
            weights=weights,
            temperature=stored_temperature(run, weights) if calibrated else None,
        )

    @classmethod
    def from_runs(cls, runs: Iterable[RunLike], **options: Any) -> Predictor:
        """Average the models of several runs; `options` are those of `from_run`.

        Predicts the mean of their probabilities, or of the values of a regression, with their `disagreement`. Raises
        RunError for none, and for runs whose classes, inputs or preprocessing differ.
        """
        found = list(map(as_run, runs))
        if len(found) == 1:
            return cls.from_run(found[0], **options)
        check_alike(found)
        members = [cls.from_run(run, **options) for run in found]
        own = [
            InUnits(each.model, each.target) if each.target else tempered(each.model, each.temperature)
            for each in members
        ]
        thresholds = tuple(map(fmean, zip(*(each.thresholds for each in members), strict=True)))
        model = Ensemble(own, members[0].task).eval()
        return replace(members[0], model=model, run=None, target=None, thresholds=thresholds, temperature=None)

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

    def _mirrored(self, tta: TTA) -> Predictor:
        own = tempered(self.model, self.temperature)  # the mean is that of calibrated probabilities
        model = with_tta(own, tta, self.task, kind=self.kind, owner=self.name)
        return replace(self, model=model, temperature=None, tta=tta)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return raw scores (n, n_outputs) on the CPU for preprocessed inputs (n, *in_shape) float32.

        Raises BatchError for inputs that the model cannot take.
        """
        return self._scores(self.model, inputs)

    def logits_and_features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw scores (n, n_outputs) as `logits` does, and features (n, d): the input of the layer of the scores.

        Raises ModelError for an ensemble, for test-time augmentation, and for a model without such a layer, and
        BatchError for inputs that the model cannot take.
        """
        if isinstance(self.model, Ensemble | Flipped):
            what = self.name if isinstance(self.model, Ensemble) else f"{self.name} with --tta"
            raise ModelError(
                f"{what} has no features of its own: they are those of one model; name one run, without --tta"
            )
        with torch.inference_mode(), explained_errors(self.model) as keep:
            X, _ = keep(inputs.to(self.device))
            logits, features = logits_and_last_features(self.model, X)
        return logits.float().cpu(), features.float().cpu()

    def _scores(self, call: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        with torch.inference_mode(), explained_errors(self.model) as keep:
            X, _ = keep(inputs.to(self.device))
            return call(X).detach().cpu()  # a model may return a parameter of its own, which has a gradient

    def _on_cores(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Give each core one thread of torch: a second would wait for the cores that the others decode on."""
        before = torch.get_num_threads()  # what a thread sets is the default of those to come
        try:
            yield from on_all_cores(work, items, partial(torch.set_num_threads, 1))
        finally:
            torch.set_num_threads(before)

    def _images_at_once(self, batch_size: int) -> int:
        return super()._images_at_once(batch_size) if self.device.type == "cpu" else batch_size

    def _of_pixels(self, images: np.ndarray) -> Answers:
        assert self.transform is not None
        return self.answers(self.transform.to_float(torch.from_numpy(images)))

    def _of_numbers(self, rows: np.ndarray) -> Answers:
        return self.answers(torch.from_numpy(rows))

    def _of_cells(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Answers, Mapping[int, str]]:
        assert self.columns is not None
        inputs, wrong = self.columns.encode(rows)
        return self._of_numbers(inputs), wrong

    def answers(self, inputs: Tensor) -> Answers:
        """Return probabilities or values of preprocessed inputs (n, *in_shape) float32; nan for a score not finite."""
        apart, features = None, None
        if isinstance(self.model, Ensemble):
            scores = self._scores(self.model.scores, inputs)
            logits = mean_scores(scores, self.task)
            apart = disagreement(scores, self.task, self.thresholds).tolist()
        elif self.known is not None or (self.caution is not None and self.caution.distances is not None):
            logits, of_inputs = self.logits_and_features(inputs)
            features = of_inputs.numpy()
        else:
            logits = self.logits(inputs)
        logits = logits.reshape(len(inputs), -1)
        logits = logits if self.temperature is None else logits / self.temperature
        broken = ~logits.isfinite().all(dim=1, keepdim=True)  # a sigmoid would make a probability of infinity
        values = self.task.probabilities(logits) if self.classes else self._in_units(logits)
        return Answers(values.masked_fill(broken, torch.nan).numpy(), apart, features)

    def _in_units(self, values: Tensor) -> Tensor:
        return self.target.undone(values) if self.target else values


def predict_images(
    run: RunLike,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    **options: Any,
) -> list[Prediction]:
    """Predict image files with a run's best weights; `options` as for `Predictor.predict_images`."""
    return list(Predictor.from_run(run).predict_images(paths, **options))
