"""A convolution and a pooling, worked out in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlworkflow.course.trace import WorkedSum, worked_sum
from dlworkflow.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


MOST_NUMBERS = 10_000_000
"""The most numbers that a traced image may have, before or after a layer."""


@dataclass(frozen=True)
class ConvStep:
    """An image on its way: `values` is a float32 tensor (channels, height, width)."""

    label: str
    values: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return tuple(self.values.shape)


@dataclass(frozen=True)
class ConvTrace:
    """A convolution and a pooling: the image before and after each, and one number of each worked out.

    `weights` counts the convolution's weights and `biases` its biases; `pixel` is the output (0, 0, 0) as a sum, and
    `pooled` the numbers whose largest becomes the pooling's output (0, 0, 0).
    """

    steps: tuple[ConvStep, ...]
    weights: int
    biases: int
    pixel: WorkedSum
    pooled: tuple[float, ...]


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
    """Send an image through a convolution and a max pooling and work out one number of each.

    `in_shape` is (channels, height, width) of the image, `channels` how many the convolution gives; `pool` 1 leaves
    the size. The weights are drawn as torch does, from a generator of their own; so is the image unless `image`
    (float32 of `in_shape`) is given. Raises ConfigError with all errors.
    """
    import torch
    from torch.nn import functional as F

    shape = tuple(image.shape) if image is not None else tuple(in_shape)
    _check_conv(shape, channels, kernel, stride, padding, pool)
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator) if image is None else image.to(torch.float32)
    bound = 1 / math.sqrt(shape[0] * kernel * kernel)
    weight = (2 * torch.rand(channels, shape[0], kernel, kernel, generator=generator) - 1) * bound
    bias = (2 * torch.rand(channels, generator=generator) - 1) * bound
    with torch.inference_mode():
        convolved = F.conv2d(values[None], weight, bias, stride=stride, padding=padding)[0]
        pooled = F.max_pool2d(convolved[None], pool)[0]
        seen = F.pad(values, (padding,) * 4)[:, :kernel, :kernel]
    return ConvTrace(
        steps=(
            ConvStep("image", values),
            ConvStep(f"convolution {kernel}x{kernel}, stride {stride}, padding {padding}", convolved),
            ConvStep(f"max pooling {pool}x{pool}", pooled),
        ),
        weights=weight.numel(),
        biases=bias.numel(),
        pixel=worked_sum(weight[0], seen, bias[0]),
        pooled=tuple(convolved[0, :pool, :pool].reshape(-1).tolist()),
    )


def _check_conv(shape: Sequence[int], channels: int, kernel: int, stride: int, padding: int, pool: int) -> None:
    if len(shape) != 3 or min(shape) < 1:
        given = "x".join(map(str, shape)) or "nothing"
        raise ConfigError(f"in_shape: must be channels, height and width, each at least 1, not {given}")
    least = {"channels": (channels, 1), "kernel": (kernel, 1), "stride": (stride, 1), "pool": (pool, 1)}
    least["padding"] = (padding, 0)
    errors = [f"{name}: must be at least {low}, not {value}" for name, (value, low) in least.items() if value < low]
    if errors:
        raise ConfigError(*errors)
    _, height, width = shape
    if kernel > min(height, width) + 2 * padding:
        raise ConfigError(
            f"kernel: {kernel}x{kernel} is larger than the image of {height}x{width} with padding {padding}"
        )
    sides = [(side + 2 * padding - kernel) // stride + 1 for side in (height, width)]
    if pool > min(sides):
        raise ConfigError(f"pool: {pool}x{pool} is larger than the {sides[0]}x{sides[1]} that the convolution leaves")
    padded = (height + 2 * padding) * (width + 2 * padding)
    numbers = max(shape[0] * padded, channels * math.prod(sides), channels * shape[0] * kernel * kernel)
    if numbers > MOST_NUMBERS:
        raise ConfigError(f"in_shape: that makes {numbers:,} numbers; at most {MOST_NUMBERS:,} are traced")
