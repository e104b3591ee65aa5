"""One call of a model, watched layer by layer, that leaves the model unchanged. Knows no loss and no labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dlworkflow.errors import BatchError


class Call(NamedTuple):
    """A layer that was called: its name in the model (`classifier.1`) and what came in, without its values."""

    name: str
    layer: nn.Module
    input: Tensor

    @property
    def path(self) -> str:
        """How Python code reaches the layer: `model.classifier[1]`."""
        return "model" + re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", f".{self.name}") if self.name else "model"


@dataclass
class Trial:
    """The result of one call of a model: its innermost layers in the order of their calls, the output or the error."""

    calls: list[Call] = field(default_factory=list)
    refused: Call | None = None
    output: Any = None
    error: Exception | None = None

    @property
    def first(self) -> Call | None:
        """The first layer that has a shape to keep to."""
        return next((call for call in self.calls if isinstance(call.layer, (nn.Linear, _ConvNd))), None)

    def with_outputs(self, n: int) -> str:
        """Return the code that gives the model n outputs."""
        for call in reversed(self.calls):
            if isinstance(call.layer, nn.Linear):
                return f"{call.path} = nn.Linear({call.layer.in_features}, {n})"
        return f"build the model with {n} output(s)"


def call_watched(model: nn.Module, X: Tensor) -> Trial:
    """Call the model on X, watching its innermost layers, and leave it as it was."""
    trial = Trial()
    handles = []
    for name, module in model.named_modules():
        if not list(module.children()):

            def enter(layer: nn.Module, inputs: tuple[Any, ...], name: str = name) -> None:
                if inputs and isinstance(inputs[0], Tensor):
                    trial.refused = Call(name, layer, inputs[0].to("meta"))
                    trial.calls.append(trial.refused)

            def leave(*_: object) -> None:
                trial.refused = None

            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with evaluating(model):
            trial.output = model(X)
    except Exception as error:  # noqa: BLE001 - it is what was asked for
        trial.error = error
    finally:
        for handle in handles:
            handle.remove()
    return trial


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block the model is in evaluation mode and builds no graph; each part is then as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def place(device: torch.device) -> str:
    """Name a device as `.to()` takes it: `cuda` for the first one."""
    return str(device) if device.index else device.type


def short(dtype: object) -> str:
    """Name a dtype without `torch.`."""
    return str(dtype).removeprefix("torch.")


def not_finite(name: str, values: Tensor) -> BatchError | None:
    """Return the error of a tensor with nan or infinite numbers: how many, and where the first is."""
    if not values.is_floating_point() or values.device.type == "meta":
        return None
    wrong = ~values.isfinite()
    if not (n := int(wrong.sum())):
        return None
    first = tuple(wrong.nonzero()[0].tolist())
    index = f"[{', '.join(map(str, first))}]" if first else ""
    finite = f"{name}.isfinite()" if values.ndim <= 2 else f"{name}.flatten(1).isfinite()"
    rows = finite if values.ndim <= 1 else f"{finite}.all(dim=1)"
    return BatchError(
        "wrong values",
        f"finite numbers in {name}",
        f"{n} nan or infinite of {values.numel()}, the first in {name}{index}, {float(values[first])}",
        f"rows = {rows}, then X[rows] and y[rows]",
    )


def wrong_shape(expected: str, X: Tensor, fix: str) -> BatchError:
    """Say which shape a tensor has to have."""
    return BatchError("wrong shape", expected, str(tuple(X.shape)), fix)
