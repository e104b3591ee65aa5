"""A convolution and poolings, worked out in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from dlworkflow.course.trace import WorkedSum, worked_sum
from dlworkflow.errors import ConfigError, unknown

if TYPE_CHECKING:
    from torch import Tensor


Pooling = Literal["max", "average"]

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
    `pooled` the numbers whose largest or whose mean, by `pooling`, becomes the pooling's output (0, 0, 0).
    """

    steps: tuple[ConvStep, ...]
    weights: int
    biases: int
    pixel: WorkedSum
    pooled: tuple[float, ...]
    pooling: Pooling = "max"


@dataclass(frozen=True)
class Window:
    """Numbers that a pooling sees at once, the first of them at `row` and `column`; their largest, and their mean."""

    row: int
    column: int
    numbers: tuple[float, ...]
    max: float
    average: float


@dataclass(frozen=True)
class PoolTrace:
    """A pooling of one image (height, width): its windows row by row, and what they make with max and with average."""

    image: list[list[float]]
    size: int
    stride: int
    windows: tuple[Window, ...]
    max: list[list[float]]
    average: list[list[float]]


def trace_pool(
    image: Sequence[Sequence[float]] | None = None, *, size: int = 2, stride: int | None = None, seed: int = 42
) -> PoolTrace:
    """Pool an image of one channel with windows of `size` by `size`, by their largest number and by their mean.

    `image` is (height, width); without one it is 2x2 numbers drawn from N(0, 1) with the seed, as in the notes.
    `stride` is the step from window to window, by default their size; what is left at the edges has no part in it.
    Raises ConfigError for an image that is no rectangle or too small, and for a number that is not finite.
    """
    if image is None:
        import torch

        image = torch.randn(2, 2, generator=torch.Generator().manual_seed(seed)).tolist()
    step = size if stride is None else stride
    rows = [list(map(float, row)) for row in image]
    height, width = len(rows), len(rows[0]) if rows else 0
    if not width or {*map(len, rows)} != {width}:
        lengths = ", ".join(str(len(row)) for row in rows) or "no"
        raise ConfigError(f"image: must be rows of equal length, at least one number each, not rows of {lengths}")
    if not all(math.isfinite(value) for row in rows for value in row):
        raise ConfigError("image: must be finite numbers")
    least = {"size": size, "stride": step}
    if wrong := [f"{name}: must be at least 1, not {value}" for name, value in least.items() if value < 1]:
        raise ConfigError(*wrong)
    if size > min(height, width):
        raise ConfigError(f"size: {size}x{size} is larger than the image of {height}x{width}")
    windows = [
        [_window(rows, top, left, size) for left in range(0, width - size + 1, step)]
        for top in range(0, height - size + 1, step)
    ]
    return PoolTrace(
        image=rows,
        size=size,
        stride=step,
        windows=tuple(window for line in windows for window in line),
        max=[[window.max for window in line] for line in windows],
        average=[[window.average for window in line] for line in windows],
    )


def _window(rows: Sequence[Sequence[float]], top: int, left: int, size: int) -> Window:
    numbers = tuple(value for row in rows[top : top + size] for value in row[left : left + size])
    return Window(top, left, numbers, max(numbers), math.fsum(numbers) / len(numbers))


def trace_conv(
    in_shape: Sequence[int] = (3, 64, 64),
    channels: int = 10,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 0,
    pool: int = 2,
    *,
    pooling: Pooling = "max",
    image: Tensor | None = None,
    seed: int = 42,
) -> ConvTrace:
    """Send an image through a convolution and a max or average pooling and work out one number of each.

    `in_shape` is (channels, height, width) of the image, `channels` how many the convolution gives; `pool` 1 leaves
    the size. The weights are drawn as torch does, from a generator of their own; so is the image unless `image`
    (float32 of `in_shape`) is given. Raises ConfigError with all errors.
    """
    import torch
    from torch.nn import functional as F

    shape = tuple(image.shape) if image is not None else tuple(in_shape)
    _check_conv(shape, channels, kernel, stride, padding, pool)
    if pooling not in get_args(Pooling):
        raise ConfigError(f"pooling: {unknown('pooling', pooling, get_args(Pooling))}")
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator) if image is None else image.to(torch.float32)
    bound = 1 / math.sqrt(shape[0] * kernel * kernel)
    weight = (2 * torch.rand(channels, shape[0], kernel, kernel, generator=generator) - 1) * bound
    bias = (2 * torch.rand(channels, generator=generator) - 1) * bound
    with torch.inference_mode():
        convolved = F.conv2d(values[None], weight, bias, stride=stride, padding=padding)[0]
        pooled = (F.max_pool2d if pooling == "max" else F.avg_pool2d)(convolved[None], pool)[0]
        seen = F.pad(values, (padding,) * 4)[:, :kernel, :kernel]
    return ConvTrace(
        steps=(
            ConvStep("image", values),
            ConvStep(f"convolution {kernel}x{kernel}, stride {stride}, padding {padding}", convolved),
            ConvStep(f"{pooling} pooling {pool}x{pool}", pooled),
        ),
        weights=weight.numel(),
        biases=bias.numel(),
        pixel=worked_sum(weight[0], seen, bias[0]),
        pooled=tuple(convolved[0, :pool, :pool].reshape(-1).tolist()),
        pooling=pooling,
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
