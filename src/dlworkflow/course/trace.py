"""Gradient descent, a forward pass and a convolution worked step by step, as plain data; knows no run and no terminal.

Descent is pure arithmetic, so that every number can be checked with a pencil; torch is imported where a model or a
convolution is traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlworkflow.errors import ConfigError, DlwError, ModelError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dlworkflow.engine.tasks import LossFn, Task

MOST_STEPS = 10_000
"""More steps than anyone reads; a slip of the finger should not fill the memory."""
MOST_NUMBERS = 10_000_000
"""The most numbers that a traced picture may have, before or after a layer."""


@dataclass(frozen=True)
class DescentStep:
    """One step of gradient descent on y = w * x + b, numbered from 1.

    `w` and `b` are those before the step; `errors` are prediction - y, `loss` their mean square; `grad_w` and `grad_b`
    its slopes; `new_w` and `new_b` what the step ends with.
    """

    step: int
    w: float
    b: float
    predictions: tuple[float, ...]
    errors: tuple[float, ...]
    loss: float
    grad_w: float
    grad_b: float
    new_w: float
    new_b: float


@dataclass(frozen=True)
class LossSurface:
    """The mean squared error of y = w * x + b over a grid: `loss[i][j]` belongs to `b[i]` and `w[j]`."""

    w: list[float]
    b: list[float]
    loss: list[list[float]]


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


@dataclass(frozen=True)
class ConvStep:
    """A picture on its way: `values` is a float32 tensor (channels, height, width)."""

    label: str
    values: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return tuple(self.values.shape)


@dataclass(frozen=True)
class ConvTrace:
    """A convolution and a pooling: the picture before and after each, and one number of each worked out.

    `weights` counts the convolution's weights and `biases` its biases; `pixel` is the output (0, 0, 0) as a sum, and
    `pooled` the numbers whose largest becomes the pooling's output (0, 0, 0).
    """

    steps: tuple[ConvStep, ...]
    weights: int
    biases: int
    pixel: WorkedSum
    pooled: tuple[float, ...]


def trace_descent(
    x: Sequence[float] = (1, 2, 3),
    y: Sequence[float] = (2, 4, 6),
    *,
    w: float = 1.5,
    b: float = -0.5,
    lr: float = 0.01,
    steps: int = 5,
) -> list[DescentStep]:
    """Fit y = w * x + b by gradient descent on the mean squared error and keep every number.

    Raises ConfigError for points that do not pair, no step, or a number that is not finite, and DlwError when the
    numbers outgrow a float.
    """
    _check_points(x, y)
    _check_finite(w=w, b=b, lr=lr)
    if lr <= 0:
        raise ConfigError(f"lr: must be more than 0, not {lr:g}")
    if not 1 <= steps <= MOST_STEPS:
        raise ConfigError(f"steps: must lie between 1 and {MOST_STEPS:,}, not {steps}")
    trace: list[DescentStep] = []
    for number in range(1, steps + 1):
        taken = _descend(number, x, y, w, b, lr)
        if not all(map(math.isfinite, (taken.loss, taken.new_w, taken.new_b))):
            raise DlwError(f"step {number} leaves no finite number at learning rate {lr:g}; try a lower lr")
        trace.append(taken)
        w, b = taken.new_w, taken.new_b
    return trace


def _descend(number: int, x: Sequence[float], y: Sequence[float], w: float, b: float, lr: float) -> DescentStep:
    n = len(x)
    predictions = tuple(w * xi + b for xi in x)
    errors = tuple(p - yi for p, yi in zip(predictions, y, strict=True))
    loss = sum(e * e for e in errors) / n
    grad_w = 2 / n * sum(e * xi for e, xi in zip(errors, x, strict=True))
    grad_b = 2 / n * sum(errors)
    return DescentStep(number, w, b, predictions, errors, loss, grad_w, grad_b, w - lr * grad_w, b - lr * grad_b)


def descent_path(trace: Sequence[DescentStep]) -> list[tuple[float, float]]:
    """Return the points (w, b) that a descent went through, the start and the end among them."""
    return [*((step.w, step.b) for step in trace), (trace[-1].new_w, trace[-1].new_b)]


def loss_surface(
    x: Sequence[float], y: Sequence[float], path: Sequence[tuple[float, float]], *, points: int = 61
) -> LossSurface:
    """Return the mean squared error around a path of (w, b): a grid of `points` a side.

    The grid holds the whole path and the lowest point, with a margin. Raises ConfigError as `trace_descent` does.
    """
    _check_points(x, y)
    if points < 2 or not path:
        raise ConfigError(f"a surface needs a path and 2 points a side or more, not {len(path)} and {points}")
    shown = [*path, *_lowest(x, y)]
    w = _grid([point[0] for point in shown], points)
    b = _grid([point[1] for point in shown], points)
    return LossSurface(w, b, [[_mse(x, y, wj, bi) for wj in w] for bi in b])


def _mse(x: Sequence[float], y: Sequence[float], w: float, b: float) -> float:
    errors = [w * xi + b - yi for xi, yi in zip(x, y, strict=True)]
    return sum(e * e for e in errors) / len(errors)


def _lowest(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """Return the least-squares (w, b) as a list of one; empty where all x are equal and a whole line of them is."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((xi - mean_x) * (xi - mean_x) for xi in x)
    if not spread:
        return []
    w = sum((xi - mean_x) * (yi - mean_y) for xi, yi in zip(x, y, strict=True)) / spread
    return [(w, mean_y - w * mean_x)]


def _grid(values: Sequence[float], points: int) -> list[float]:
    low, high = min(values), max(values)
    margin = 0.25 * (high - low) or 1.0
    low, high = low - margin, high + margin
    return [low + (high - low) * i / (points - 1) for i in range(points)]


def trace_activations(x: Sequence[float]) -> dict[str, list[float]]:
    """Return what the usual activation functions make of the numbers `x`: {name: one value a number}."""
    import torch
    from torch.nn import functional as F

    inputs = torch.tensor(x, dtype=torch.float64)
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "relu": F.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "leaky_relu": F.leaky_relu,
        "gelu": F.gelu,
    }
    return {name: function(inputs).tolist() for name, function in functions.items()}


def trace_classifier(
    model: nn.Module, inputs: Tensor, labels: Tensor, task: Task | str, *, loss_fn: LossFn | None = None
) -> ClassifierTrace:
    """Send samples through a classifier and keep what every layer made of them.

    `inputs` is (n, *in_shape) float32, `labels` (n,) as in training. The model is used as in evaluation and left as
    it was. Raises ConfigError for no sample or labels that do not pair, and ModelError for a regression or when the
    samples do not fit the model.
    """
    import torch

    from dlworkflow.engine.tasks import build_loss, get_task

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
            losses = [_one_loss(loss_fn or build_loss(task), logits, labels, i) for i in range(len(labels))]
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


def _one_loss(loss_fn: LossFn, logits: Tensor, labels: Tensor, i: int) -> float:
    return float(loss_fn(logits[i : i + 1], labels[i : i + 1]))


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
    return _worked(module.weight[0], row, None if module.bias is None else module.bias[0])


def _worked(weights: Tensor, values: Tensor, bias: Tensor | None) -> WorkedSum:
    terms = tuple(zip(weights.reshape(-1).tolist(), values.reshape(-1).tolist(), strict=True))
    offset = 0.0 if bias is None else float(bias)
    return WorkedSum(terms, offset, math.fsum(weight * value for weight, value in terms) + offset)


def trace_conv(
    in_shape: Sequence[int] = (3, 64, 64),
    channels: int = 10,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 0,
    pool: int = 2,
    *,
    image: Tensor | None = None,
    seed: int = 42,
) -> ConvTrace:
    """Send a picture through a convolution and a max pooling and work out one number of each.

    `in_shape` is (channels, height, width) of the picture, `channels` how many the convolution gives; `pool` 1 leaves
    the size. The weights are drawn as torch does, from a generator of their own; so is the picture unless `image`
    (float32 of `in_shape`) is given. Raises ConfigError with all faults.
    """
    import torch
    from torch.nn import functional as F

    shape = tuple(image.shape) if image is not None else tuple(in_shape)
    _check_conv(shape, channels, kernel, stride, padding, pool)
    generator = torch.Generator().manual_seed(seed)
    picture = torch.rand(shape, generator=generator) if image is None else image.to(torch.float32)
    bound = 1 / math.sqrt(shape[0] * kernel * kernel)
    weight = (2 * torch.rand(channels, shape[0], kernel, kernel, generator=generator) - 1) * bound
    bias = (2 * torch.rand(channels, generator=generator) - 1) * bound
    with torch.inference_mode():
        convolved = F.conv2d(picture[None], weight, bias, stride=stride, padding=padding)[0]
        pooled = F.max_pool2d(convolved[None], pool)[0]
        seen = F.pad(picture, (padding,) * 4)[:, :kernel, :kernel]
    return ConvTrace(
        steps=(
            ConvStep("picture", picture),
            ConvStep(f"convolution {kernel}x{kernel}, stride {stride}, padding {padding}", convolved),
            ConvStep(f"max pooling {pool}x{pool}", pooled),
        ),
        weights=weight.numel(),
        biases=bias.numel(),
        pixel=_worked(weight[0], seen, bias[0]),
        pooled=tuple(convolved[0, :pool, :pool].reshape(-1).tolist()),
    )


def _check_conv(shape: Sequence[int], channels: int, kernel: int, stride: int, padding: int, pool: int) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise ConfigError(f"in_shape: must be channels, height and width, each at least 1, not {_times(shape)}")
    least = {"channels": (channels, 1), "kernel": (kernel, 1), "stride": (stride, 1), "pool": (pool, 1)}
    least["padding"] = (padding, 0)
    faults = [f"{name}: must be at least {low}, not {value}" for name, (value, low) in least.items() if value < low]
    if faults:
        raise ConfigError(*faults)
    _, height, width = shape
    if kernel > min(height, width) + 2 * padding:
        raise ConfigError(
            f"kernel: {kernel}x{kernel} is larger than the picture of {height}x{width} with padding {padding}"
        )
    sides = [(side + 2 * padding - kernel) // stride + 1 for side in (height, width)]
    if pool > min(sides):
        raise ConfigError(f"pool: {pool}x{pool} is larger than the {sides[0]}x{sides[1]} that the convolution leaves")
    padded = (height + 2 * padding) * (width + 2 * padding)
    numbers = max(shape[0] * padded, channels * math.prod(sides), channels * shape[0] * kernel * kernel)
    if numbers > MOST_NUMBERS:
        raise ConfigError(f"in_shape: that makes {numbers:,} numbers; at most {MOST_NUMBERS:,} are traced")


def _check_points(x: Sequence[float], y: Sequence[float]) -> None:
    if len(x) != len(y) or not len(x):
        raise ConfigError(f"x and y: {len(x)} and {len(y)} numbers; give at least one, and as many of each")
    _check_finite(**{f"x[{i}]": value for i, value in enumerate(x)}, **{f"y[{i}]": value for i, value in enumerate(y)})


def _check_finite(**numbers: float) -> None:
    faults = [f"{name}: must be a finite number, not {value}" for name, value in numbers.items() if not _finite(value)]
    if faults:
        raise ConfigError(*faults)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "nothing"
