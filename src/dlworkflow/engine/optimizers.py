"""Optimizers by name: plain settings in, a torch optimizer out, which starts at once.

torch's own optimizers load its compiler when the first of them is built or stepped, which takes as long as `import
torch` itself and longer than many a training run. Those here are the same classes with the same states and results,
without the wrappers that do this; a model compiled with `torch.compile` does not need them either.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn, optim

from dlworkflow.errors import ConfigError, first_line, unknown


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


_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


def _biases_and_norms(model: nn.Module) -> Iterator[nn.Parameter]:
    for part in model.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if isinstance(part, _NORMS) or name == "bias" or name.endswith("_bias"):
                yield parameter


def _bare(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of torch's as it was before it was wrapped for the compiler and the profiler."""
    return inspect.unwrap(method)


def _bare_step(kind: type[optim.Optimizer]) -> Callable[..., Any]:
    """Return the step of an optimizer; marked as hooked, or torch would wrap it for the profiler again."""
    step: Any = torch.no_grad()(_bare(kind.step))
    step.hooked = True
    bare: Callable[..., Any] = step
    return bare


class _Light(optim.Optimizer):
    """What all optimizers here share: methods of torch's without their wrappers."""

    add_param_group = _bare(optim.Optimizer.add_param_group)
    state_dict = _bare(optim.Optimizer.state_dict)
    load_state_dict = _bare(optim.Optimizer.load_state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or set them to zero."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.zero_()


class SGD(_Light, optim.SGD):
    """torch's SGD; without momentum and weight decay it adds the gradients and does nothing else."""

    _torch_step = _bare_step(optim.SGD)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override] # nothing here has a closure
        """Improve the parameters that have a gradient."""
        if any(group["momentum"] or group["weight_decay"] for group in self.param_groups):
            self._torch_step()
            return
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            gradients = [parameter.grad for parameter in parameters]
            if parameters:
                torch._foreach_add_(parameters, gradients, alpha=-group["lr"])

    step.hooked = True  # type: ignore[attr-defined]


class Adam(_Light, optim.Adam):
    """torch's Adam."""

    step = _bare_step(optim.Adam)


class AdamW(_Light, optim.AdamW):
    """torch's AdamW."""

    step = _bare_step(optim.AdamW)


class RMSprop(_Light, optim.RMSprop):
    """torch's RMSprop."""

    step = _bare_step(optim.RMSprop)


_OPTIMIZERS: dict[str, type[optim.Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}
