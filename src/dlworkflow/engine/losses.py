"""Losses by name, one function each, and what is built of them: the loss that scores and the one that is minimised.

Knows tasks and plain settings. torch is imported when a loss is built. A new loss is a function (or a class) and its
line in the table here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from dlworkflow.errors import ConfigError
from dlworkflow.registry import BelowOne, NonNegative, Positive, Registry, factory_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dlworkflow.engine.tasks import Task

Loss = str | Mapping[str, Any] | None
"""A loss as it is set: a name, or `{name, ...settings}`; None is the usual one of the task."""

Function = TypeVar("Function", bound=Callable[..., Any])


def for_task(*names: str) -> Callable[[Function], Function]:
    """Mark a loss as one for some tasks; one without a mark is for all."""

    def mark(loss: Function) -> Function:
        loss.task = names  # type: ignore[attr-defined]
        return loss

    return mark


@for_task("regression")
def l1(*, reduction: str = "mean") -> nn.Module:
    """Absolute errors."""
    from torch import nn

    return nn.L1Loss(reduction=reduction)


@for_task("regression")
def mse(*, reduction: str = "mean") -> nn.Module:
    """Squared errors."""
    from torch import nn

    return nn.MSELoss(reduction=reduction)


@for_task("regression")
def huber(*, reduction: str = "mean", delta: Positive = 1.0) -> nn.Module:
    """Squared errors below `delta`, absolute ones above."""
    from torch import nn

    return nn.HuberLoss(reduction=reduction, delta=delta)


@for_task("regression")
def smooth_l1(*, reduction: str = "mean", beta: NonNegative = 1.0) -> nn.Module:
    """Huber's loss divided by `beta`, the error from which it is absolute."""
    from torch import nn

    return nn.SmoothL1Loss(reduction=reduction, beta=beta)


@for_task("binary", "multilabel")
def binary_cross_entropy(
    *,
    reduction: str = "mean",
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    label_smoothing: BelowOne = 0.0,
) -> nn.Module:
    """Cross entropy of two classes, or of each label by itself."""
    from torch import nn

    from dlworkflow.engine.loss_means import BinaryCrossEntropy

    if weight is None and not label_smoothing:
        return nn.BCEWithLogitsLoss(reduction=reduction, pos_weight=pos_weight)
    return BinaryCrossEntropy(weight, pos_weight=pos_weight, label_smoothing=label_smoothing)


@for_task("multiclass")
def cross_entropy(
    *, reduction: str = "mean", weight: Tensor | None = None, label_smoothing: BelowOne = 0.0
) -> nn.Module:
    """Cross entropy of several classes."""
    from torch import nn

    return nn.CrossEntropyLoss(weight, reduction=reduction, label_smoothing=label_smoothing)


@for_task("multiclass")
def multi_margin(
    *, reduction: str = "mean", weight: Tensor | None = None, p: Literal[1, 2] = 1, margin: Positive = 1.0
) -> nn.Module:
    """How far other classes come within `margin` of the right one, to the power `p`."""
    from torch import nn

    return nn.MultiMarginLoss(p=p, margin=margin, weight=weight, reduction=reduction)


def _adopted(thing: Any) -> Callable[..., nn.Module]:
    """Return a loss of a user's file: a class, a function that returns one, or a function of outputs and labels."""
    from torch import nn

    from dlworkflow.engine.loss_means import OfFunction

    made = factory_of(thing, 2)
    if made is thing or isinstance(thing, nn.Module):
        return made

    @wraps(made)
    def as_module(**settings: Any) -> nn.Module:
        return OfFunction(made(**settings))

    as_module.__signature__ = inspect.signature(made)  # type: ignore[attr-defined] # without outputs and labels
    return as_module


LOSSES: Registry[Callable[..., nn.Module]] = Registry(
    "loss",
    {
        "l1": l1,
        "mse": mse,
        "huber": huber,
        "smooth_l1": smooth_l1,
        "binary_cross_entropy": binary_cross_entropy,
        "cross_entropy": cross_entropy,
        "multi_margin": multi_margin,
    },
    group="losses",
    supplied=("reduction", "weight", "pos_weight"),
    adopt=_adopted,
    documented={
        "delta": "Error above which the loss is linear.",
        "beta": "Error above which the loss is linear.",
        "label_smoothing": "Label smoothing of this loss; the setting label_smoothing is the usual place.",
        "p": "Exponent of the margin: 1 or 2.",
        "margin": "Margin by which the right class must exceed the others.",
    },
)
"""A loss takes its settings by keyword, and those of these that it has a parameter for: `reduction` ("mean" or "none"),
`weight`, one number per class, (classes,), for a multilabel task `pos_weight` in its place: how much a label that
is there counts against one that is not; and `label_smoothing`.

It returns a module that takes raw scores and labels. One with an attribute `task`, a name or a tuple of names, is for
these tasks only.
"""


def names_for(task: str) -> list[str]:
    """Return the losses that fit a task, the usual one first."""
    return [name for name in LOSSES.names() if _is_for(LOSSES[name], task)]


def _is_for(loss: Callable[..., Any], task: str) -> bool:
    own = getattr(loss, "task", task)
    return task == own if isinstance(own, str) else task in own


def check_fits(name: str, task: str) -> None:
    """Raise ConfigError for a loss that does not fit a task."""
    if name not in (possible := names_for(task)):
        raise ConfigError(f"loss: {name!r} is not for {task}; possible: {', '.join(possible)}")


def build_loss(task: Task, loss: Loss = None, *, reduction: Literal["mean", "none"] = "mean") -> nn.Module:
    """Return the loss function that scores; with the reduction "none", it gives the loss of each sample.

    Raises ConfigError for a loss that does not fit the task.
    """
    name, settings = _named(task, loss)
    settings.pop("label_smoothing", None)  # of what is minimised
    built: nn.Module = LOSSES.build(name, settings, reduction=reduction)
    if reduction == "none" and "reduction" not in inspect.signature(LOSSES[name]).parameters:
        from dlworkflow.engine.loss_means import PerSample

        return PerSample(built)
    return built


def build_training_loss(
    task: Task, loss: Loss = None, *, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> nn.Module:
    """Return the loss function that training minimises; without further settings, that of `build_loss`.

    `weights` has one number per class, (classes,); a mean over a batch is then divided by the weights of its samples,
    as torch's own is. Of a multilabel task they are torch's `pos_weight`, and the mean stays one over labels. Raises
    ConfigError for a loss that takes neither.
    """
    name, settings = _named(task, loss)
    more: dict[str, Any] = {"label_smoothing": label_smoothing} if label_smoothing else {}
    more |= {"pos_weight" if task.name == "multilabel" else "weight": weights} if weights is not None else {}
    if unused := [key for key in more if key not in inspect.signature(LOSSES[name]).parameters]:
        setting = "loss_weights" if unused[0].endswith("weight") else unused[0]
        raise ConfigError(f"{setting}: the loss {name!r} has no use for it")
    built: nn.Module = LOSSES.build(name, settings, reduction="mean", **more)
    return built


def _named(task: Task, loss: Loss) -> tuple[str, dict[str, Any]]:
    """Return the name of a loss and its settings."""
    settings = {"name": loss} if isinstance(loss, str) or loss is None else dict(loss)
    name = settings.pop("name") or names_for(task.name)[0]
    check_fits(name, task.name)
    return name, settings
