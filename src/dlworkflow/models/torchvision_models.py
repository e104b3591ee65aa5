"""The classification models of torchvision by their names there, and the weights that it publishes for each.

torchvision is imported when a name is looked up, never to list the library's own models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from dlworkflow.errors import ConfigError, unknown
from dlworkflow.models.published import Published

if TYPE_CHECKING:
    from torch import nn

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Where the second classifiers of googlenet and inception_v3 live in published weights; they are left out here."""

_SIZED = {"vit": "image_size", "maxvit": "input_size"}  # families whose layers are made for one image size
_WITH_AUXILIARY = {"aux_logits": False, "init_weights": True, "transform_input": True}
_MORE: dict[str, Mapping[str, Any]] = {"googlenet": _WITH_AUXILIARY, "inception_v3": _WITH_AUXILIARY}


@cache
def names() -> tuple[str, ...]:
    """Return the names of all classification models of the torchvision that is installed."""
    from torchvision import models

    return tuple(models.list_models(module=models))


def weights() -> dict[str, list[str]]:
    """Return {name: names of its published weights} of all models."""
    from torchvision import models

    return {name: [each.name for each in models.get_model_weights(name)] for name in names()}


@cache
def constructor(name: str) -> Callable[..., nn.Module]:
    """Return the function that builds a model of torchvision for some data.

    Its layer for the classes is as wide as the data has classes; all is drawn anew. `classifier_layer` names the part
    that a frozen backbone leaves to be trained. The auxiliary classifiers of googlenet and inception_v3 are left out.
    """

    def build(*, in_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from torchvision import models

        if len(in_shape) != 3 or in_shape[0] != 3:
            raise ValueError("it takes RGB images (3 channels)")
        more = dict(_MORE.get(name, {}))
        if keyword := _SIZED.get(name.partition("_")[0]):
            if in_shape[1] != in_shape[2]:
                raise ValueError("it takes square images (data.image_size)")
            more[keyword] = in_shape[1] if keyword == "image_size" else in_shape[1:]
        model: nn.Module = models.get_model(name, weights=None, num_classes=n_outputs, **more)
        model.classifier_layer = list(dict(model.named_children()))[-1]  # type: ignore[assignment]
        return model

    build.__qualname__, build.__doc__ = name, f"torchvision.models.{name}."
    return build


def has_fixed_size(name: str) -> bool:
    """Return whether a model's weights are of one image size, as those of the vision transformers are."""
    return name.partition("_")[0] in _SIZED


def published(name: str, weights: str = "default") -> Published:
    """Return the weights of a model by their name (`IMAGENET1K_V1`) or `default`, torchvision's best.

    Raises ConfigError, with the nearest, for a name that it does not publish.
    """
    from torchvision import models

    known = models.get_model_weights(name)
    if weights.casefold() == "default":
        found = known.DEFAULT
    elif weights.upper() in known.__members__:
        found = known[weights.upper()]
    else:
        sentence = unknown(f"weights of {name!r}:", weights, ["default", *known.__members__])
        raise ConfigError(f"weights: {sentence}")
    way = found.transforms()
    return Published(
        model=name,
        name=found.name,
        crop=(way.crop_size[0], way.crop_size[0]),
        resize=way.resize_size[0],
        interpolation=way.interpolation.value,
        mean=tuple(way.mean),
        std=tuple(way.std),
        file=found.url.rpartition("/")[2],
        url=found.url,
        size=found.meta["_file_size"],
    )


def usual_size(name: str) -> tuple[int, int]:
    """Return the height and width of the images that a model's default weights take."""
    return published(name).crop


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes in the order of their labels."""
    from torchvision import models

    return tuple(models.ResNet18_Weights.DEFAULT.meta["categories"])
