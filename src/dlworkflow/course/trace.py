"""Gradient descent, a forward pass and a convolution worked step by step, as plain data; knows no run and no terminal.

Descent is pure arithmetic, so that every number can be checked with a pencil; torch is imported where a model or a
convolution is traced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlworkflow.errors import ConfigError, ModelError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dlworkflow.engine.tasks import LossFn, Task


@dataclass(frozen=True)
class WorkedSum:
    """One number of a layer's output from first to last: the sum of weight * input over `terms`, plus `bias`."""

    terms: tuple[tuple[float, float], ...]
    bias: float
    total: float


@dataclass(frozen=True)
class LayerStep:
    """What one layer made of all samples: `outputs` are nested lists of `shape`, the samples first.

    `worked` is the first number of the first sample, for a linear layer.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    outputs: list[Any]
    worked: WorkedSum | None = None


@dataclass(frozen=True)
class SampleLoss:
    """From raw scores to the loss of one sample: `truth` and `answer` are labels, `probabilities` one a class."""

    inputs: list[Any]
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]
    answer: float
    truth: float
    loss: float


@dataclass(frozen=True)
class ClassifierTrace:
    """A forward pass: the layers in the order in which they ran, then each sample's way to its loss, and their mean."""

    layers: tuple[LayerStep, ...]
    samples: tuple[SampleLoss, ...]
    loss: float


def trace_activations(x: Sequence[float]) -> dict[str, list[float]]:
    """Return what the usual activation functions make of the numbers `x`: {name: one value a number}."""
    import torch
    from torch.nn import functional as F

    inputs = torch.tensor(x, dtype=torch.float64)
    return {name: getattr(F, name)(inputs).tolist() for name in ("relu", "sigmoid", "tanh", "leaky_relu", "gelu")}


def trace_classifier(
    model: nn.Module, inputs: Tensor, labels: Tensor, task: Task | str, *, loss_fn: LossFn | None = None
) -> ClassifierTrace:
    """Send samples through a classifier and keep what every layer made of them.

    `inputs` is (n, *in_shape) float32, `labels` (n,) as in training. The model is used as in evaluation and left as
    it was. Raises ConfigError for no sample or labels that do not pair, and ModelError for a regression or when the
    samples do not fit the model.
    """
    import torch

    from dlworkflow.engine.losses import build_loss
    from dlworkflow.engine.tasks import get_task

    task = get_task(task)
    if not task.has_accuracy:
        raise ModelError(f"a {task.name} has no probabilities to trace; `trace_descent` works one out")
    if len(inputs) == 0 or len(inputs) != len(labels):
        raise ConfigError(f"{len(inputs)} inputs for {len(labels)} labels; give at least one, and as many of each")
    layers: list[LayerStep] = []
    hooks = [
        module.register_forward_hook(_recorder(name or "model", layers))
        for name, module in model.named_modules()
        if not list(module.children())
    ]
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            logits = task.align(model(inputs), labels)
            score = loss_fn or build_loss(task)
            losses = [float(score(logits[i : i + 1], labels[i : i + 1])) for i in range(len(labels))]
    except (RuntimeError, ValueError, IndexError) as error:
        raise ModelError(f"the model does not fit these samples: {first_line(error)}") from error
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    probabilities, answers = task.probabilities(logits), task.labels(logits)
    samples = tuple(
        SampleLoss(
            inputs=inputs[i].tolist(),
            logits=tuple(logits[i].reshape(-1).tolist()),
            probabilities=tuple(probabilities[i].tolist()),
            answer=answers[i].item(),
            truth=labels[i].item(),
            loss=loss,
        )
        for i, loss in enumerate(losses)
    )
    return ClassifierTrace(tuple(layers), samples, sum(losses) / len(losses))


def _recorder(name: str, layers: list[LayerStep]) -> Any:
    """Return a hook that writes down a layer's output each time it runs."""

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        worked = _worked_linear(module, inputs[0])
        layers.append(LayerStep(name, type(module).__name__, tuple(output.shape), output.tolist(), worked))

    return record


def _worked_linear(module: nn.Module, inputs: Tensor) -> WorkedSum | None:
    from torch import nn

    if not isinstance(module, nn.Linear):
        return None
    row = inputs.reshape(-1, module.in_features)[0]
    return worked_sum(module.weight[0], row, None if module.bias is None else module.bias[0])


def worked_sum(weights: Tensor, values: Tensor, bias: Tensor | None) -> WorkedSum:
    """Return a weighted sum in its terms: weights and values of one shape, bias one number."""
    terms = tuple(zip(weights.reshape(-1).tolist(), values.reshape(-1).tolist(), strict=True))
    offset = 0.0 if bias is None else float(bias)
    return WorkedSum(terms, offset, math.fsum(weight * value for weight, value in terms) + offset)
