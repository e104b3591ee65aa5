"""Steps of torch's optimizers for the stacked weights of many models, each model with its learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dlworkflow.training.sweep.stacked import Weights


def _sgd(
    params: Weights,
    gradients: Weights,
    moments: dict[str, Weights],
    lr: Tensor,
    _: int,
    settings: Mapping[str, Any],
) -> tuple[Weights, dict[str, Weights]]:
    """Return weights and moments after a step of `torch.optim.SGD`, each model with its lr."""
    decay, momentum = settings["weight_decay"], settings["momentum"]
    kept: Weights = {}
    new = {}
    for name, weight in params.items():
        gradient = gradients[name].add(weight, alpha=decay) if decay else gradients[name]
        if momentum:
            before = moments.get("momentum_buffer", {}).get(name)
            kept[name] = gradient.clone() if before is None else before * momentum + gradient
            gradient = gradient.add(kept[name], alpha=momentum) if settings["nesterov"] else kept[name]
        new[name] = weight - _beside(lr, weight) * gradient
    return new, {"momentum_buffer": kept} if momentum else {}


def _adam(
    params: Weights,
    gradients: Weights,
    moments: dict[str, Weights],
    lr: Tensor,
    number: int,
    settings: Mapping[str, Any],
) -> tuple[Weights, dict[str, Weights]]:
    """Return weights and moments after step `number` (from 1) of `torch.optim.Adam`, each model with its lr."""
    beta1, beta2 = 0.9, 0.999
    new, first, second = {}, {}, {}
    for name, weight in params.items():
        decay = settings["weight_decay"]
        gradient = gradients[name].add(weight, alpha=decay) if decay else gradients[name]
        mean = moments["exp_avg"][name] if moments else torch.zeros_like(weight)
        square = moments["exp_avg_sq"][name] if moments else torch.zeros_like(weight)
        first[name] = mean.lerp(gradient, 1 - beta1)
        second[name] = (square * beta2).addcmul(gradient, gradient, value=1 - beta2)
        scale = (second[name].sqrt() / (1 - beta2**number) ** 0.5).add(settings["eps"])
        new[name] = weight - _beside(lr / (1 - beta1**number), weight) * (first[name] / scale)
    return new, {"exp_avg": first, "exp_avg_sq": second}


STEPS = {"sgd": _sgd, "adam": _adam}
"""By the optimizer's name; each takes weights, gradients, moments, lr (k,), the number of the step from 1, settings."""


def where(mask: Tensor, yes: Weights, no: Weights) -> Weights:
    """Return the weights of `yes` for the models where the mask (k,) is true, else those of `no`."""
    return {name: torch.where(_beside(mask, tensor), tensor, no[name]) for name, tensor in yes.items()}


def _beside(values: Tensor, weights: Tensor) -> Tensor:
    """Give values (k,) as many dimensions as weights (k, *shape)."""
    return values.reshape(-1, *[1] * (weights.dim() - 1))
