"""Gradient descent, a forward pass and a convolution worked step by step, as plain data; knows no run and no terminal.

Descent is pure arithmetic, so that every number can be checked with a pencil; torch is imported where a model or a
convolution is traced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlworkflow.errors import ConfigError, DlwError, ModelError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dlworkflow.engine.tasks import LossFn, Task
    from dlworkflow.models.weights.contents import Contents


@dataclass(frozen=True)
class WorkedSum:
    """One number of a layer's output from first to last: the sum of weight * input over `terms`, plus `bias`."""

    terms: tuple[tuple[float, float], ...]
    bias: float
    total: float


@dataclass(frozen=True)
class LayerStep:
    """What one layer made of all samples: `shape` is that of its output, the samples first, `outputs` one a sample.

    `worked` is the first number of the first sample, for a linear layer.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    outputs: tuple[Contents, ...]
    worked: WorkedSum | None = None


@dataclass(frozen=True)
class SampleLoss:
    """From the model's output to the loss of one sample: `truth` and `answer` are labels, `probabilities` one a class.

    A regression has no probabilities, and its answer is the output.
    """

    inputs: Contents
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]
    answer: float
    truth: float
    loss: float


@dataclass(frozen=True)
class ParameterStep:
    """A parameter before and after one step of SGD: `new` = `old` - learning rate * `gradient`."""

    name: str
    old: Contents
    gradient: Contents
    new: Contents


@dataclass(frozen=True)
class ModelTrace:
    """A forward pass and a step of training.

    The layers are in the order in which they ran; then come each sample's way to its loss, the mean of these losses,
    and the step of SGD at learning rate `lr` with the loss of the same samples after it.
    """

    layers: tuple[LayerStep, ...]
    samples: tuple[SampleLoss, ...]
    loss: float
    lr: float
    parameters: tuple[ParameterStep, ...]
    loss_after: float


def trace_activations(x: Sequence[float]) -> dict[str, list[float]]:
    """Return what the usual activation functions make of the numbers `x`: {name: one value a number}."""
    import torch
    from torch.nn import functional as F

    inputs = torch.tensor(x, dtype=torch.float64)
    functions = {name: getattr(F, name) for name in ("relu", "sigmoid", "tanh", "leaky_relu", "gelu")}
    return {"identity": inputs.tolist()} | {name: function(inputs).tolist() for name, function in functions.items()}


def trace_model(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    task: Task | str,
    *,
    loss_fn: LossFn | None = None,
    lr: float = 0.1,
) -> ModelTrace:
    """Send samples through a model, keep what every layer made of them, and work out one step of SGD.

    `inputs` is (n, *in_shape) float32, `labels` (n,) as in training ((n, 1) for a regression); `loss_fn` is the
    task's usual one. The model runs as in evaluation, without dropout, and is left as it was. Raises ConfigError for no
    sample, labels that do not pair and a learning rate that is not above 0, ModelError when the samples do not fit the
    model or their loss is not finite, and DlwError when it is not after the step.
    """
    import torch

    from dlworkflow.engine.losses import build_loss
    from dlworkflow.engine.tasks import get_task
    from dlworkflow.models.layers import watched_layers
    from dlworkflow.models.weights.contents import contents_of

    task = get_task(task)
    if len(inputs) == 0 or len(inputs) != len(labels):
        raise ConfigError(f"{len(inputs)} inputs for {len(labels)} labels; give at least one, and as many of each")
    if task.name == "multilabel":
        raise ConfigError("a trace follows one label per sample, and these samples have several")
    if not 0 < lr < math.inf:
        raise ConfigError(f"lr: must be a finite number above 0, not {lr:g}")
    layers: list[LayerStep] = []

    def keep(name: str, layer: nn.Module, given: Tensor, output: Tensor) -> None:
        each = tuple(map(contents_of, output)) if output.shape[:1] == inputs.shape[:1] else ()
        layers.append(LayerStep(name, type(layer).__name__, tuple(output.shape), each, _worked_linear(layer, given)))

    score = loss_fn or build_loss(task)

    def losses_of(logits: Tensor) -> Tensor:
        return torch.stack([score(logits[i : i + 1], labels[i : i + 1]) for i in range(len(labels))])

    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    try:
        with watched_layers(model, keep):
            logits = task.align(model(inputs), labels)
        losses = losses_of(logits)
        gradients = _gradients(losses.mean(), trained)
        new = {name: trained[name].detach() - lr * gradient for name, gradient in gradients.items()}
        with watched_layers(model, lambda *_: None), torch.no_grad():
            after = task.align(torch.func.functional_call(model, new, (inputs,)), labels)
            loss_after = losses_of(after).mean().item()
    except (RuntimeError, ValueError, IndexError) as error:
        raise ModelError(f"the model does not fit these samples: {first_line(error)}") from error
    if not math.isfinite(losses.mean().item()):
        raise ModelError("the loss of these samples is not a finite number: there is no gradient to work out")
    if not math.isfinite(loss_after):
        raise DlwError(f"the step leaves no finite loss at learning rate {lr:g}; try a lower lr")
    parameters = [
        ParameterStep(name, *map(contents_of, (trained[name], gradient, new[name])))
        for name, gradient in gradients.items()
    ]
    samples = _samples(inputs, labels, logits.detach(), losses.tolist(), task)
    return ModelTrace(tuple(layers), samples, losses.mean().item(), lr, tuple(parameters), loss_after)


def _gradients(loss: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradient of a loss for each parameter that it depends on; the parameters' own `.grad` stays."""
    import torch

    if not parameters:
        return {}
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}


def _samples(
    inputs: Tensor, labels: Tensor, logits: Tensor, losses: Sequence[float], task: Task
) -> tuple[SampleLoss, ...]:
    from dlworkflow.models.weights.contents import contents_of

    answers = task.labels(logits)
    probabilities = task.probabilities(logits).tolist() if task.has_accuracy else [()] * len(losses)
    return tuple(
        SampleLoss(
            inputs=contents_of(inputs[i]),
            logits=tuple(logits[i].reshape(-1).tolist()),
            probabilities=tuple(probabilities[i]),
            answer=answers[i].item(),
            truth=labels[i].item(),
            loss=loss,
        )
        for i, loss in enumerate(losses)
    )


def _worked_linear(module: nn.Module, inputs: Tensor) -> WorkedSum | None:
    from torch import nn

    if not isinstance(module, nn.Linear):
        return None
    row = inputs.reshape(-1, module.in_features)[0]
    return worked_sum(module.weight[0], row, None if module.bias is None else module.bias[0])


def worked_sum(weights: Tensor, values: Tensor, bias: Tensor | None) -> WorkedSum:
    """Return a weighted sum in its terms: weights and values of one shape, bias one number."""
    terms = tuple(zip(weights.reshape(-1).tolist(), values.reshape(-1).tolist(), strict=True))
    offset = 0.0 if bias is None else bias.item()
    return WorkedSum(terms, offset, math.fsum(weight * value for weight, value in terms) + offset)
