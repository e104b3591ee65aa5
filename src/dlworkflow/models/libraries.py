"""The models of other libraries: by its name, each is one of timm's or one of torchvision's.

Either library is imported when one of its names is looked up. Both modules have the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from dlworkflow.models import timm_models, torchvision_models
from dlworkflow.models.published import Published
from dlworkflow.models.timm_models import is_timms

if TYPE_CHECKING:
    from torch import nn


def names(asked: str) -> tuple[str, ...]:
    """Return the names of all models in the library that the name asked for would be of."""
    is_timms_own = asked.startswith(timm_models.PREFIX)
    return timm_models.names() if is_timms_own else (*timm_models.LITE, *torchvision_models.names())


def constructor(name: str) -> Callable[..., nn.Module]:
    """Return the function that builds a model of another library from `in_shape` and `n_outputs`."""
    found: Callable[..., nn.Module] = _library(name).constructor(name)
    return found


def published(name: str, weights: str = "default") -> Published:
    """Return the published weights of a model, by their name or `default`, and their preprocessing.

    Raises ConfigError, with the nearest, for a name that the library does not publish.
    """
    found: Published = _library(name).published(name, weights)
    return found


def has_fixed_size(name: str) -> bool:
    """Return whether a model's layers are made for one image size."""
    return bool(_library(name).has_fixed_size(name))


def takes_any_channels(name: str) -> bool:
    """Return whether a model can be built for grey images too; the others take RGB alone."""
    return is_timms(name)


def usual_size(name: str) -> tuple[int, int]:
    """Return the height and width of the images that a model's default weights take."""
    height, width = _library(name).usual_size(name)
    return height, width


def _library(name: str) -> ModuleType:
    return timm_models if is_timms(name) else torchvision_models
