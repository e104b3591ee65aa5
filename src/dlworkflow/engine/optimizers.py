"""Optimizers by name: plain settings in, a torch optimizer out.

torch is imported when one is built, or when a name is none of the table's: then any optimizer of `torch.optim` may be
meant. A new optimizer is a function (or a class) and its line in the table here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from dlworkflow.errors import ConfigError, first_line
from dlworkflow.registry import BelowOne, Fraction, NonNegative, Others, Positive, Registry

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]


def sgd(
    params: Parameters,
    *,
    lr: Positive = 0.01,
    momentum: BelowOne = 0.0,
    nesterov: bool = False,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """Stochastic gradient descent, with momentum where it is set."""
    if nesterov and not momentum:
        raise ConfigError("optimizer.nesterov: needs momentum; set optimizer.momentum, for example to 0.9")
    return _bare("SGD")(params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def adam(
    params: Parameters, *, lr: Positive = 1e-3, eps: Positive = 1e-8, weight_decay: NonNegative = 0.0
) -> Optimizer:
    """Adam, with weight decay added to the gradient."""
    return _bare("Adam")(params, lr=lr, eps=eps, weight_decay=weight_decay)


def adamw(
    params: Parameters, *, lr: Positive = 1e-3, eps: Positive = 1e-8, weight_decay: NonNegative = 0.01
) -> Optimizer:
    """Adam, with weight decay apart from the gradient."""
    return _bare("AdamW")(params, lr=lr, eps=eps, weight_decay=weight_decay)


def rmsprop(
    params: Parameters,
    *,
    lr: Positive = 0.01,
    alpha: Fraction = 0.99,
    momentum: BelowOne = 0.0,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """Gradients divided by a moving average of their size (RMSprop)."""
    return _bare("RMSprop")(params, lr=lr, alpha=alpha, momentum=momentum, weight_decay=weight_decay)


def _bare(name: str) -> Callable[..., Optimizer]:
    from dlworkflow.engine.bare_optimizers import optimizer_class

    return optimizer_class(name)


def _names_of_torch() -> list[str]:
    """Return the names of torch's other optimizers in lower case, without those that cannot train here."""
    return [name for name in _classes_of_torch() if name not in OPTIMIZERS.table and name not in _UNFIT]


@cache
def _classes_of_torch() -> Mapping[str, type[Optimizer]]:
    from torch import optim

    found = {name.lower(): kind for name, kind in sorted(vars(optim).items()) if isinstance(kind, type)}
    return {name: kind for name, kind in found.items() if issubclass(kind, optim.Optimizer) and name != "optimizer"}


@cache
def _of_torch(name: str) -> Callable[..., Optimizer]:
    """Return a function that builds an optimizer of torch, with the settings of its constructor as its own."""
    kind: Any = _classes_of_torch()[name]

    def build(params: Parameters, **settings: Any) -> Optimizer:
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        built: Optimizer = kind(params, **given)
        return built

    parameters = inspect.signature(kind).parameters.values()
    build.__doc__ = f"torch.optim.{kind.__name__}."
    build.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            part.replace(annotation=_BOUNDS.get(part.name, part.annotation))
            for part in parameters
            if part.name not in _HOW
        ]
    )
    return build


_BOUNDS = {"lr": Positive, "weight_decay": NonNegative}
_HOW = ("foreach", "maximize", "capturable", "differentiable", "fused")
"""Parameters that say how a step is computed, or what no loss is minimised with."""
_UNFIT = {
    "lbfgs": "evaluates the loss several times per step, which the training loop does not",
    "sparseadam": "is for sparse gradients, which no layer here has",
}

OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry(
    "optimizer",
    {"sgd": sgd, "adam": adam, "adamw": adamw, "rmsprop": rmsprop},
    group="optimizers",
    supplied=("params",),
    others=Others(lambda _: _names_of_torch(), _of_torch, "any of torch.optim"),
    documented={
        "lr": "Learning rate.",
        "momentum": "Momentum of the gradients; 0 is none.",
        "nesterov": "Nesterov momentum: true or false.",
        "weight_decay": "Weight decay, an L2 penalty; decoupled from the gradient in adamw.",
        "eps": "Term added to the denominator for numerical stability.",
        "alpha": "Smoothing constant of the squared gradients.",
    },
)
"""An optimizer takes the parameters first, or groups of them, and its settings by keyword; one of them is `lr`."""


def known_name(name: str) -> str:
    """Return the name of the table for one that may be written as torch's class (`Adadelta`).

    Raises ConfigError for one that cannot train here.
    """
    if name in OPTIMIZERS.names():
        return name
    if name.lower() in _UNFIT:
        raise ConfigError(f"optimizer.name: {name} {_UNFIT[name.lower()]}; choose another optimizer")
    return name.lower() if name.lower() in OPTIMIZERS else name


def check_optimizer(name: str, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for settings that the optimizer itself refuses, each of them right alone."""
    import torch

    build_optimizer(name, [torch.nn.Parameter(torch.zeros(1, 1))], **settings)


def build_optimizer(name: str, parameters: Parameters, **settings: Any) -> Optimizer:
    """Return the optimizer `name` over `parameters`, or over groups of them.

    Raises ConfigError for an unknown name or a setting that it does not take.
    """
    build = OPTIMIZERS[known_name(name)]
    try:
        return build(parameters, **settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer.name: {name!r} cannot be used: {first_line(error)}") from None


def spare_bias_and_norm(model: nn.Module, groups: Iterable[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Return the model's weights as an optimizer's groups in which biases and norms' parameters have no weight decay.

    `groups` are those that there are already, each cut in two; None is all weights alike.
    """
    spared = {id(parameter) for parameter in _biases_and_norms(model)}
    found = []
    for group in groups or [{"params": list(model.parameters())}]:
        for settings, of in (({}, False), ({"weight_decay": 0.0}, True)):
            if part := [parameter for parameter in group["params"] if (id(parameter) in spared) is of]:
                found.append({**group, "params": part, **settings})
    return found


def _biases_and_norms(model: nn.Module) -> Iterator[nn.Parameter]:
    from torch import nn

    norms = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    for part in model.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if isinstance(part, norms) or name == "bias" or name.endswith("_bias"):
                yield parameter
