"""Optimizers by name: plain settings in, a torch optimizer out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn, optim

from dlworkflow.errors import ConfigError, first_line, unknown

_OPTIMIZERS: dict[str, type[optim.Optimizer]] = {
    "sgd": optim.SGD,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
}


def build_optimizer(
    name: str, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], *, lr: float, **settings: Any
) -> optim.Optimizer:
    """Return the optimizer `name` (sgd, adam, adamw, rmsprop) over `parameters`, or over groups of them.

    Raises ConfigError for an unknown name or a setting that it does not take.
    """
    if name not in _OPTIMIZERS:
        raise ConfigError(f"optimizer.name: {unknown('optimizer', name, _OPTIMIZERS)}")
    try:
        return _OPTIMIZERS[name](parameters, lr=lr, **settings)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer {name!r}: {first_line(error)}") from None
