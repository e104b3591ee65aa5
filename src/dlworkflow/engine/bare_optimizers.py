"""torch's optimizers without what delays their start; knows torch only.

torch's own load its compiler when the first of them is built or stepped, which takes as long as `import torch` itself
and longer than many a training run. Those here are the same classes with the same states and results, without the
wrappers that do this; a model compiled with `torch.compile` does not need them either. Where a version of torch wraps
differently, they are torch's own, wrappers and all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import optim


def optimizer_class(name: str) -> type[optim.Optimizer]:
    """Return a class of this module; torch's own of that name where this torch lacks what it is made from."""
    found: type[optim.Optimizer] = globals()[name] if _can_unwrap(getattr(optim, name)) else getattr(optim, name)
    return found


def _can_unwrap(kind: type[optim.Optimizer]) -> bool:
    """Return whether torch wraps its optimizers' methods in the way that is undone here, by its private names."""
    wrapped = [kind.step, *(getattr(optim.Optimizer, name, None) for name in _WRAPPED)]
    hooks = hasattr(optim.Optimizer, "_patch_step_function") and hasattr(optim.Optimizer, "profile_hook_step")
    return hooks and hasattr(torch, "_foreach_add_") and all(hasattr(method, "__wrapped__") for method in wrapped)


_WRAPPED = ("add_param_group", "state_dict", "load_state_dict")


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
