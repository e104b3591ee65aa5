"""Every architecture by the name a user types; knows shapes and settings, no data set, no run and no terminal.

The table is text, so that listing models does not import torch: a new model is its file and its line here. Add your
own with `register`, or from another package through the entry-point group `dlworkflow.models` (name -> class). Any
other name is looked up among the classification models of torchvision, `timm/NAME` among those of timm.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlworkflow.errors import ConfigError, ModelError, first_line, unknown
from dlworkflow.models import libraries
from dlworkflow.models.recipes import NOTES, NOTES_LEARN, RECIPES
from dlworkflow.registry import Others, Registry, callable_as_it_is
from dlworkflow.registry.user_files import where

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class ModelEntry:
    """What can be said of a model without building it.

    `data` is what it trains on by default; `parameters` counts its trainable numbers with the notes' input
    `in_shape` and `n_outputs` (empty and 0 for a registered model, which is not built to be listed).
    """

    target: str
    task: str = "any"
    data: str = ""
    in_shape: tuple[int, ...] = ()
    n_outputs: int = 0
    parameters: int = 0


_MODELS: dict[str, ModelEntry] = {
    "line": ModelEntry("linear:LinearRegressionModel", "regression", "line", (1,), 1, 2),
    "line_v2": ModelEntry("linear:LinearRegressionModelV2", "regression", "line", (1,), 1, 2),
    "line_deep": ModelEntry("linear:LineModel", "regression", "line", (1,), 1, 141),
    "circles_v0": ModelEntry("circles:CircleModelV0", "binary", "circles", (2,), 1, 21),
    "circles_v1": ModelEntry("circles:CircleModelV1", "binary", "circles", (2,), 1, 151),
    "circles_v2": ModelEntry("circles:CircleModelV2", "binary", "circles", (2,), 1, 151),
    "blobs": ModelEntry("blobs:BlobModel", "multiclass", "blobs", (2,), 4, 132),
    "mlp": ModelEntry("mlp:MLP", "any", "", (8,), 1, 4_801),
    "fashion_mnist_v0": ModelEntry(
        "fashion_mnist:FashionMNISTModelV0", "multiclass", "fashion_mnist", (1, 28, 28), 10, 7_960
    ),
    "fashion_mnist_v1": ModelEntry(
        "fashion_mnist:FashionMNISTModelV1", "multiclass", "fashion_mnist", (1, 28, 28), 10, 7_960
    ),
    "fashion_mnist_v2": ModelEntry(
        "fashion_mnist:FashionMNISTModelV2", "multiclass", "fashion_mnist", (1, 28, 28), 10, 7_740
    ),
    "tinyvgg": ModelEntry("tiny_vgg:TinyVGG", "multiclass", "digits", (3, 64, 64), 3, 10_693),
    "improved_tinyvgg": ModelEntry("tiny_vgg:ImprovedTinyVGG", "multiclass", "digits", (3, 64, 64), 3, 1_313_847),
    "efficientnet_lite0": ModelEntry(
        "timm_models:efficientnet_lite0", "multiclass", "pizza_steak_sushi", (3, 224, 224), 3, 3_374_851
    ),
}

# Parameters of a constructor that the data decides, and what it decides them to be.
_FROM_DATA: dict[str, Callable[[tuple[int, ...], int], object]] = {
    "in_shape": lambda in_shape, _: in_shape,
    "input_shape": lambda in_shape, _: in_shape[0],
    "in_channels": lambda in_shape, _: in_shape[0],
    "image_size": lambda in_shape, _: in_shape[1:],
    "input_features": lambda in_shape, _: math.prod(in_shape),
    "in_features": lambda in_shape, _: math.prod(in_shape),
    "output_shape": lambda _, n_outputs: n_outputs,
    "output_features": lambda _, n_outputs: n_outputs,
    "out_features": lambda _, n_outputs: n_outputs,
    "n_outputs": lambda _, n_outputs: n_outputs,
    "num_classes": lambda _, n_outputs: n_outputs,
}


def _adopted(thing: Any) -> Callable[..., nn.Module]:
    """Return a class or function of a user's file. Raises ConfigError for what makes no model."""
    from torch import nn

    if isinstance(thing, nn.Module):
        raise ConfigError("is a model that is built already; name its class, or a function that returns it")
    if isinstance(thing, type) and not issubclass(thing, nn.Module):
        raise ConfigError("is a class, but no torch.nn.Module")
    return callable_as_it_is(thing)


REGISTRY: Registry[Callable[..., nn.Module]] = Registry(
    "model",
    _MODELS,
    group="models",
    package="dlworkflow.models",
    hint="`dlw models` lists them all",
    supplied=tuple(_FROM_DATA),
    others=Others(libraries.names, libraries.constructor, "any of torchvision's, timm/NAME"),
    adopt=_adopted,
    documented={
        "hidden_units": "Width: units of each hidden layer, or channels of each convolution.",
        "hidden_layers": "Number of hidden layers.",
        "activation": "Activation after each hidden layer or convolution.",
        "batch_norm": "Batch normalization after each hidden layer or convolution: true or false.",
        "dropout": "Dropout probability before the classifier, in multilayer models after each hidden layer.",
        "relu": "ReLU after each hidden layer; the course's model has none: true or false.",
        "blocks": "Number of blocks of convolutions.",
        "growth": "Factor of the width from block to block.",
        "padding": "Pixels of zeros around the input of each convolution: 0 or 1.",
    },
)
names = REGISTRY.names
check_name = REGISTRY.check_name
settings = REGISTRY.settings
choices = REGISTRY.choices
model_class = REGISTRY.__getitem__


def register(name: str, cls: Callable[..., nn.Module]) -> None:
    """Make `dlw train NAME` and `build(NAME, ...)` know a model of your own.

    `cls` is called with its settings, and with those of these parameters that it has, filled from the data:
    `in_shape`, `image_size`, `input_shape`/`in_channels` (channels), `input_features` (numbers in a row),
    `in_features` (all numbers of a sample), `output_shape`/`output_features`/`out_features`/`n_outputs`/
    `num_classes`. A class may compute others in a static method `from_shapes(in_shape, n_outputs) -> dict`. A class
    with an attribute `classifier_layer`, the name of its last part ("fc"), has a backbone that can be frozen: all the
    rest. Raises ConfigError for a name that the library has.
    """
    REGISTRY.register(name, cls)


def library_names() -> list[str]:
    """Return the names of the library's own models."""
    return list(_MODELS)


def entries() -> dict[str, ModelEntry]:
    """Return {name: entry} of all models but those of other libraries; does not import torch."""
    return {name: _MODELS.get(name) or ModelEntry(REGISTRY.origin(name)) for name in names()}


def entry(name: str) -> ModelEntry:
    """Return what is known of one model. Raises ConfigError for an unknown name."""
    check_name(name)
    name = REGISTRY.resolved(name)
    if REGISTRY.is_other(name):
        return ModelEntry(name, "multiclass", "", (3, *libraries.usual_size(name)), 1000)
    return entries()[name]


def recipe(name: str, which: str = NOTES, looks: str = "") -> dict[str, Any]:
    """Return the settings of a model's recipe for data that `looks` so: {} for a model that the notes have not.

    A recipe of another kind of data is returned where there is none for this one. Raises ConfigError for a recipe that
    the model does not have.
    """
    if which not in (known := recipe_names(name)):
        sentence = f"model {name!r} has no recipe {which!r}; possible: {', '.join(known)}"
        raise ConfigError(f"recipe: {sentence if which in RECIPES else unknown('recipe', which, known)}")
    by_looks = RECIPES[which].get(name, {})
    return by_looks.get(looks) or next(iter(by_looks.values()), {})


def recipe_names(name: str) -> list[str]:
    """Return the recipes of a model; `notes` is that of every model."""
    return [which for which, settings in RECIPES.items() if which == NOTES or name in settings]


def recipe_looks(name: str, which: str) -> list[str]:
    """Return what the data looks like for which a model has this recipe; "" is any data, none is no such recipe."""
    return list(RECIPES[which].get(name, {}))


def usual_recipe(name: str, looks: str = "", dataset: str = "") -> str:
    """Return the name of the recipe that is known to work for a model on data that `looks` so, "" for not known.

    `dataset` is the data's name: on those of the notes their own recipe works for most of their models.
    """
    kinds = recipe_looks(name, "best")
    fits = looks in kinds if looks else bool(kinds)
    return "best" if fits and (name, dataset) not in NOTES_LEARN else NOTES


def is_published(name: str) -> bool:
    """Return whether a model is one of another library, which publishes weights and preprocessing for it."""
    return libraries.is_timms(name) or REGISTRY.is_other(name)


def has_backbone(name: str) -> bool:
    """Return whether a model names which part of it is the classifier, so that the rest can be frozen."""
    return is_published(name) or hasattr(model_class(name), "classifier_layer")


def faults(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the settings `given` for a model: {setting: sentence}."""
    found = REGISTRY.faults(name, given)
    if hasattr(REGISTRY[name], "from_shapes"):  # it may compute what it needs
        return {key: sentence for key, sentence in found.items() if key in given}
    return found


def build(name: str, in_shape: tuple[int, ...], n_outputs: int, **given: Any) -> nn.Module:
    """Build a model for inputs of `in_shape` (without the batch dimension) and `n_outputs` raw scores a sample.

    Raises ConfigError for an unknown name or setting, and ModelError when the model does not fit the shapes.
    Draws from torch's global generator for the initial weights and for nothing else.
    """
    wrong = faults(name, given)
    if wrong:
        raise ConfigError(*(f"model.{setting}: {sentence}" for setting, sentence in wrong.items()))
    cls = model_class(name)
    try:
        from_shapes = getattr(cls, "from_shapes", None)
        supplied = from_shapes(in_shape, n_outputs) if from_shapes else _fill(cls, in_shape, n_outputs)
        _check_memory(name, cls, supplied | given)
        model = cls(**supplied, **given)
    except _errors_of(name) as error:
        raise _no_fit(name, in_shape, error) from error
    _check_shapes(name, model, in_shape, n_outputs)
    return model


def _errors_of(name: str) -> tuple[type[Exception], ...]:
    """Return the errors by which a model shows that it does not fit; one of a user's own may fail in any way."""
    known = (ValueError, TypeError, IndexError, ArithmeticError, MemoryError, RuntimeError, AssertionError)
    return (Exception,) if REGISTRY.is_own(name) else known


def _no_fit(name: str, in_shape: tuple[int, ...], error: Exception) -> ModelError:
    if isinstance(error, ModelError):
        return error
    if REGISTRY.is_own(name):
        return ModelError(f"model {name!r} fails for inputs of shape {_times(in_shape)}: {where(error)}")
    return ModelError(f"model {name!r} does not fit inputs of shape {_times(in_shape)}: {first_line(error)}")


_WIDE = 2_000  # a setting below has never made a model too large for a machine


def _check_memory(name: str, cls: Callable[..., nn.Module], settings: Mapping[str, Any]) -> None:
    """Raise ModelError for a model of the library whose weights and gradients take more memory than the machine has.

    They are counted where they take none: a system may promise memory, and end the process when it is used.
    """
    wide = any(isinstance(value, int) and value > _WIDE for value in settings.values())
    if name not in _MODELS or not wide or not hasattr(os, "sysconf"):
        return
    import torch

    if torch.empty(0).is_meta:  # it is built to compare shapes, and takes no memory
        return
    with torch.device("meta"):
        weights = cls(**settings).state_dict().values()
    needed = 2 * sum(weight.numel() * weight.element_size() for weight in weights)
    if needed > (there := os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")):
        raise ModelError(
            f"model {name!r} as set needs {needed / 1e9:,.1f} GB for weights and gradients, this machine has "
            f"{there / 1e9:,.1f} GB; make it narrower"
        )


def _fill(cls: Callable[..., nn.Module], in_shape: tuple[int, ...], n_outputs: int) -> dict[str, Any]:
    supplied = [name for name in inspect.signature(cls).parameters if name in _FROM_DATA]
    if "image_size" in supplied and len(in_shape) != 3:
        raise ValueError(
            f"it takes images (channels, height, width), the data gives {_times(in_shape)} numbers a sample"
        )
    if "input_features" in supplied and len(in_shape) != 1:
        raise ValueError("it takes rows of numbers, the data gives images")
    return {name: _FROM_DATA[name](in_shape, n_outputs) for name in supplied}


def _check_shapes(name: str, model: nn.Module, in_shape: tuple[int, ...], n_outputs: int) -> None:
    """Send one blank sample through the model: a width that does not fit shows now, not in the first epoch."""
    import torch

    if not isinstance(model, torch.nn.Module):
        raise ModelError(f"model {name!r} returns {type(model).__name__}, not a torch.nn.Module")
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():  # a lazy layer made in inference mode could never be trained
            out: torch.Tensor = model(torch.zeros(1, *in_shape))
    except _errors_of(name) as error:  # torchvision asserts image sizes
        raise _no_fit(name, in_shape, error) from error
    finally:
        model.train(was_training)
    if not isinstance(out, torch.Tensor):
        raise ModelError(f"model {name!r} gives {type(out).__name__}, not a tensor of raw scores")
    if tuple(out.shape) != (1, n_outputs):
        raise ModelError(
            f"model {name!r} gives {_times(tuple(out.shape[1:]))} outputs a sample where the data needs {n_outputs}"
        )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "no"
