"""The non-linear functions that models bend their sums with, by name."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from dlworkflow.registry import OneOf

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

Activation = Annotated[str, OneOf(*_ACTIVATIONS)]
"""The name of one of them, as a setting."""


def activation_layer(name: str) -> nn.Module:
    """Return the function `name` as a layer. Raises ValueError for an unknown name."""
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation is one of {', '.join(_ACTIVATIONS)}, not {name!r}")
    return _ACTIVATIONS[name]()
