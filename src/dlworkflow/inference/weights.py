"""The parts of a predictor where there is no run: a model with weights of a file or of a library, and preprocessing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dlworkflow import models
from dlworkflow.data.folders.class_names import nfc
from dlworkflow.data.images.transforms import Spec, complete, parse
from dlworkflow.engine.device import Device, choose_device
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import ConfigError
from dlworkflow.inference.rebuild import placed, possible_outputs
from dlworkflow.models import libraries
from dlworkflow.models.torchvision_models import imagenet_classes
from dlworkflow.models.weights.checkpoint import apply_weights, load_weights
from dlworkflow.models.weights.from_weights import find_fit
from dlworkflow.models.weights.pretrained import find_or_fetch, take_published


def parts_of_file(
    model_name: str,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    in_shape: tuple[int, ...] | None,
    image_size: int | tuple[int, int] | None,
    settings: Mapping[str, Any] | None,
    transform: Spec,
    device: Device,
) -> dict[str, Any]:
    """Return the fields of a `Predictor` for a file of weights, see `Predictor.from_weights`."""
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
        if models.is_published(model_name):
            usual = libraries.published(model_name).steps((height, width), fit.in_shape[0])
            transform = complete(transform, usual)
        pipeline = parse(transform, image_size=fit.in_shape[1:], channels=fit.in_shape[0]).for_evaluation()
    elif transform is not None:
        raise ConfigError(f"data.transform: model {model_name!r} takes numbers, not images")
    chosen = choose_device(str(device))
    model = models.build(model_name, fit.in_shape, fit.n_outputs, **fit.settings)
    apply_weights(model, weights, source=source)
    task = "regression" if not classes else "binary" if fit.n_outputs == 1 else "multiclass"
    return {
        "model": placed(model.eval(), chosen),
        "task": get_task(task),
        "classes": classes,
        "in_shape": fit.in_shape,
        "transform": pipeline,
        "device": chosen,
        "model_name": model_name,
        "settings": fit.settings,
    }


def parts_of_published(model_name: str, weights: str, *, offline: bool, device: Device) -> dict[str, Any]:
    """Return the fields of a `Predictor` for the weights that a library publishes, see `Predictor.from_published`."""
    models.check_name(model_name)
    published = libraries.published(model_name, weights) if models.is_published(model_name) else None
    if published is None or not published.exists:
        raise ConfigError(f"--weights: none are published for model {model_name!r}; give a file, not {weights!r}")
    classes, in_shape = imagenet_classes(), (3, *published.crop)
    path, chosen = find_or_fetch(published, offline=offline), choose_device(str(device))
    model = models.build(model_name, in_shape, len(classes))
    take_published(model, load_weights(path), source=f"weights {published.name!r} of {model_name}")
    return {
        "model": placed(model.eval(), chosen),
        "task": get_task("multiclass"),
        "classes": classes,
        "in_shape": in_shape,
        "transform": parse(published.steps(), image_size=published.crop, channels=3).for_evaluation(),
        "device": chosen,
        "model_name": model_name,
    }
