"""Which settings of a model fit weights that came without any: read off their names and shapes, never their values.

Shapes are compared on torch's `meta` device, where a width that a file claims takes no memory.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from dlworkflow import models
from dlworkflow.errors import ConfigError, DlwError, ModelError
from dlworkflow.models.weights.checkpoint import apply_weights, list_faults, load_weights, weight_faults
from dlworkflow.models.weights.names import as_named

Shape = tuple[int, ...]

_SIDES = (64, 28, 32, 224, 8, 16, 48, 96, 128, 256)
"""Image sides that weights may have been trained on, for a hint."""


@dataclass(frozen=True)
class Fit:
    """What to build for some weights: settings, input shape, number of outputs; and what then still does not fit."""

    settings: dict[str, Any]
    in_shape: Shape
    n_outputs: int
    faults: tuple[str, ...] = ()


def load_model(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Read weights that `save_model` (or `torch.save(model.state_dict(), path)`) wrote into `model`; return it.

    Raises ModelError that lists what does not fit, and with which settings the model would take them.
    """
    weights = load_weights(path)
    try:
        apply_weights(model, weights, source=f"weights {str(path)!r}")
    except ModelError as error:
        raise ModelError(f"{error}{_would_fit(model, weights)}") from None
    _files[model] = Path(path).absolute()
    return model


_files: WeakKeyDictionary[nn.Module, Path] = WeakKeyDictionary()


def weights_file(model: nn.Module) -> Path | None:
    """Return the file from which `load_model` last read a model's weights, None where it read none."""
    return _files.get(model)


def _would_fit(model: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Say how to build a model of the library so that the weights fit, or nothing."""
    name = next((name for name in models.library_names() if models.model_class(name) is type(model)), None)
    given = as_named(weights, own := model.state_dict())[0]
    if name is None or given.keys() != own.keys():
        return ""
    n_outputs = [int(weight.shape[0]) for weight in given.values() if weight.ndim][-1:]
    for size in (None, *((side, side) for side in _SIDES)):
        try:
            fit = find_fit(name, given, n_outputs=n_outputs, image_size=size)
        except DlwError:  # of another size, or of other settings than those that are tried
            continue
        break
    else:
        return ""
    usual = models.settings(name)
    changed = [f"{key}={value!r}" for key, value in fit.settings.items() if value != usual[key]]
    built = f"{type(model).__name__}({', '.join(['...', *changed])})"
    return f"; they fit {built} for inputs of {'x'.join(map(str, fit.in_shape))} and {fit.n_outputs} output(s)"


def find_fit(
    name: str,
    weights: Mapping[str, Tensor],
    *,
    n_outputs: Sequence[int],
    in_shape: Shape | None = None,
    image_size: tuple[int, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    source: str = "the weights",
) -> Fit:
    """Return how to build model `name` so that the weights fit, trying each of `n_outputs`.

    Channels or features and `hidden_units` are read off the first weight; settings of few values (`padding`, `relu`)
    are tried, the default first; given `settings` are kept. The image size is the model's usual one unless given.
    Raises ConfigError for settings that the model does not take, and ModelError that lists what does not fit and says
    what would.
    """
    weights = _in_order(name, weights)
    shape = in_shape or input_shape(name, weights, image_size)
    given = dict(settings or {})
    fits = list(_fits(name, weights, shape, n_outputs, given))
    best = next((fit for fit in fits if not fit.faults), None) or min(fits, key=lambda fit: len(fit.faults))
    if best.faults:
        hint = _hint(name, weights, best, given, n_outputs)
        raise ModelError(f"{source} do not fit model {name!r}: {list_faults(best.faults)}{hint}")
    return best


def input_shape(name: str, weights: Mapping[str, Tensor], image_size: tuple[int, int] | None = None) -> Shape:
    """Return the shape of one sample: (channels, height, width), or (features,) for a model of numbers.

    Raises ConfigError for an image size that a model of numbers has no use for, or that is needed and not known.
    """
    usual = models.entry(name).in_shape
    first = _first(weights)
    if len(usual) == 1 or (not usual and image_size is None and (first is None or first.ndim < 4)):
        if image_size is not None:
            raise ConfigError(f"--image-size: model {name!r} takes numbers, not images")
        return (int(first.shape[1]),) if first is not None and first.ndim == 2 else usual or (1,)
    height, width = image_size or usual[1:] or (0, 0)
    if not height:
        raise ConfigError(f"--image-size: model {name!r} has no usual one; give that of its training")
    channels = usual[0] if usual else 3
    if first is not None and first.ndim == 4:
        channels = int(first.shape[1])
    elif first is not None and (per_pixel := first.shape[1] / (height * width)) in (1, 3):
        channels = int(per_pixel)
    return channels, height, width


def _in_order(name: str, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights in the order of the model's layers, which a safetensors file does not keep."""
    entry = models.entry(name)
    if not entry.in_shape:
        return weights
    with torch.device(_device(name)):
        own = models.build(name, entry.in_shape, entry.n_outputs).state_dict()
    return {key: weights[key] for key in own if key in weights} | dict(weights)


def _first(weights: Mapping[str, Tensor]) -> Tensor | None:
    """Return the first weight that has inputs and outputs: (out, in) or (out, in, height, width)."""
    return next((weight for weight in weights.values() if weight.ndim in (2, 4)), None)


def _fits(
    name: str, weights: Mapping[str, Tensor], in_shape: Shape, n_outputs: Sequence[int], given: Mapping[str, Any]
) -> Iterator[Fit]:
    """Build every variant and compare shapes. Raises what building the plainest raises when none can be built."""
    settings = dict(given)
    first = _first(weights)
    if "hidden_units" in models.settings(name) and first is not None:
        settings.setdefault("hidden_units", int(first.shape[0]))
    choices = {key: values for key, values in models.choices(name).items() if key not in given}
    refused: ModelError | None = None
    built = False
    for outputs, values in itertools.product(n_outputs, itertools.product(*choices.values())):
        variant = settings | dict(zip(choices, values, strict=True))
        try:
            with torch.device(_device(name)):
                model = models.build(name, in_shape, outputs, **variant)
        except ModelError as error:
            refused = refused or error
            continue
        built = True
        own = model.state_dict()
        yield Fit(variant, in_shape, outputs, tuple(weight_faults(own, as_named(weights, own)[0])))
    if not built and refused is not None:
        raise refused


def _device(name: str) -> str:
    """Return where shapes are compared: a model of yours, and torchvision's RegNet, may need real numbers."""
    return "meta" if models.entry(name).in_shape and not models.is_published(name) else "cpu"


def _hint(
    name: str, weights: Mapping[str, Tensor], best: Fit, given: Mapping[str, Any], n_outputs: Sequence[int]
) -> str:
    """Say what would make the weights fit: other settings, other outputs, another image size; or nothing."""
    if any(fault.startswith(("missing", "unexpected")) for fault in best.faults):
        return ""  # another model's names: no setting helps
    widths = {int(weight.shape[0]) for weight in list(weights.values())[-1:] if weight.ndim} - set(n_outputs)
    outputs = [*n_outputs, *(widths if models.entry(name).task != "regression" else ())]
    sides = _SIDES if len(best.in_shape) == 3 else ()
    for shapes in ([best.in_shape], [(best.in_shape[0], side, side) for side in sides]):
        found: dict[tuple[Any, ...], str] = {}  # one for each value of the settings that shapes alone do not decide
        for shape, n, kept in itertools.product(shapes, outputs, (given, {}) if given else ({},)):
            for fit in _faultless(name, weights, shape, n, kept):
                key = tuple(fit.settings[choice] for choice in models.choices(name))
                found.setdefault(key, _difference(name, best, fit, given, n_outputs))
        if found:
            return f"; they would fit with {' or '.join(found.values())}"
    return ""


def _faultless(
    name: str, weights: Mapping[str, Tensor], shape: Shape, n_outputs: int, given: Mapping[str, Any]
) -> Iterator[Fit]:
    try:
        yield from (fit for fit in _fits(name, weights, shape, [n_outputs], given) if not fit.faults)
    except ModelError:  # too small for this model
        return


def _difference(name: str, best: Fit, fit: Fit, given: Mapping[str, Any], n_outputs: Sequence[int]) -> str:
    changes = [] if fit.n_outputs in n_outputs else [f"{max(fit.n_outputs, 2)} names in --classes"]
    settings = {key for key in given if fit.settings.get(key) != given[key]}
    if fit.in_shape != best.in_shape:
        changes.append(f"--image-size {fit.in_shape[1]}")
        off = {key for key in models.choices(name) if fit.settings[key] is False}  # as they are when nothing is said
        settings |= set(models.choices(name)) - set(given) - off
    return " ".join([*changes, *(f"--set model.{key}={fit.settings[key]}" for key in sorted(settings))])
