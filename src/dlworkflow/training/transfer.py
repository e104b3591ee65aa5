"""The settings of transfer learning, checked and completed: pretrained weights, their preprocessing, freezing.

Knows settings and models; loads no data and builds no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlworkflow import data, models
from dlworkflow.config import Layer, TrainConfig, Tree
from dlworkflow.data.images.transforms import complete, parse
from dlworkflow.errors import ConfigError
from dlworkflow.files.paths import user_path
from dlworkflow.models import libraries
from dlworkflow.models.published import Published

BACKBONE_DEFAULTS: Tree = {
    name: TrainConfig.model_fields[name].default
    for name in ("weights", "freeze", "freeze_epochs", "backbone_lr_scale", "cache_features")
}
"""The settings that only a model with a backbone has, and their defaults."""

WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass
class _Settled:
    """The settings as they are completed, and the errors found so far by setting."""

    model: str
    values: Tree
    faults: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        return self.values.get(name, BACKBONE_DEFAULTS[name])


def settle(layer: Layer, model: str) -> tuple[Layer, dict[str, str]]:
    """Return the settings completed for the backbone of `model`, and their errors by setting.

    Weights get their full name. A data set of images gets the size, channels and transform that the weights were
    trained with, except what the user set. Settings of a backbone are errors for a model without one.
    """
    settled = _Settled(model, dict(layer.values))
    if models.has_backbone(model):
        _check_freezing(settled)
        try:
            published = _settle_weights(settled)
            if models.is_published(model) and isinstance(settled.values.get("data"), dict):
                settled.values["data"] = _settle_images(settled, published or libraries.published(model))
        except ConfigError as error:  # the library of the model is not installed
            _take_faults(settled, error)
    else:
        for name, usual in BACKBONE_DEFAULTS.items():
            if settled.get(name) != usual:
                settled.faults[name] = (
                    f"model {model!r} has no backbone; efficientnet_lite0 and the models of torchvision and timm do"
                    + (", and --init-from takes weights for any model" if name == "weights" else "")
                )
    return Layer(settled.values, layer.labels), settled.faults


def is_file(weights: str) -> bool:
    """Return whether `weights` is a file, not a name of published ones."""
    return weights.endswith(WEIGHTS_SUFFIXES) or Path(weights).name != weights or user_path(weights).is_file()


def _check_freezing(settled: _Settled) -> None:
    """Record contradictions in what is frozen, how long, and its learning rate."""
    frozen, until = settled.get("freeze") == "backbone", settled.get("freeze_epochs")
    epochs = settled.values.get("epochs", TrainConfig.model_fields["epochs"].default)
    if until is not None and not frozen:
        settled.faults["freeze_epochs"] = "only with --freeze backbone"
    elif isinstance(until, int) and isinstance(epochs, int) and until >= epochs > 0:
        settled.faults["freeze_epochs"] = (
            f"{until} of {epochs} epochs leave none to train the backbone in; give fewer, or leave it out to keep the "
            "backbone frozen"
        )
    if frozen and until is None and settled.get("backbone_lr_scale") != BACKBONE_DEFAULTS["backbone_lr_scale"]:
        settled.faults["backbone_lr_scale"] = "the backbone stays frozen; give --freeze-epochs to train it too"
    alone = settled.get("weights") is None and settled.values.get("init_from") is None
    if frozen and alone and models.is_published(settled.model):
        settled.faults["freeze"] = (
            "the backbone would keep its random initial weights; give --weights default, --weights FILE or "
            "--init-from RUN"
        )


def _settle_weights(settled: _Settled) -> Published | None:
    """Replace `default` by the full name of the published weights; return these, or None for a file or no weights."""
    given, model = settled.get("weights"), settled.model
    if not isinstance(given, str):
        return None
    if settled.values.get("init_from") is not None:
        settled.faults["weights"] = "cannot be combined with --init-from; leave one of the two out"
    if is_file(given):
        if not user_path(given).is_file():
            settled.faults["weights"] = f"no file {given!r}"
        return None
    published = libraries.published(model, given) if models.is_published(model) else None
    if published is None or not published.exists:
        settled.faults["weights"] = f"none are published for model {model!r}; give a file, not {given!r}"
        return None
    settled.values["weights"] = published.name
    return published


def _settle_images(settled: _Settled, usual: Published) -> Tree:
    """Return the data settings completed with what the weights were trained with, where the data has such settings."""
    given: Tree = dict(settled.values["data"])
    name = given.get("name")
    taken: Mapping[str, Any] = data.settings(name) if name in data.names() else {}
    channels = given.setdefault("channels", 3) if "channels" in taken else 3
    pretrained = settled.values.get("weights") is not None
    if channels != 3 and (pretrained or not libraries.takes_any_channels(settled.model)):
        who = "the weights take" if libraries.takes_any_channels(settled.model) else f"model {settled.model!r} takes"
        settled.faults["data.channels"] = f"{who} RGB images: 3, or leave it out"
    if not {"image_size", "transform"} <= taken.keys():
        return given
    size = given.get("image_size")
    try:
        sides = parse(None, image_size=size).size if size is not None else None
        steps = complete(given.get("transform"), usual.steps(sides, channels))
        pipeline = parse(steps, image_size=size, channels=channels)
    except ConfigError as error:
        _take_faults(settled, error)
        return given
    by_name = settled.get("weights") == usual.name
    if by_name and libraries.has_fixed_size(settled.model) and pipeline.size != usual.crop:
        wanted, found = ("x".join(map(str, size)) for size in (usual.crop, pipeline.size))
        settled.faults["data.image_size"] = (
            f"the weights {usual.name} of {settled.model!r} take images of {wanted}, not {found}"
        )
    return given | {"image_size": list(pipeline.size), "transform": pipeline.to_spec()}


def _take_faults(settled: _Settled, error: ConfigError) -> None:
    for fault in error.faults:
        key, _, sentence = fault.partition(": ")
        settled.faults[key] = sentence
