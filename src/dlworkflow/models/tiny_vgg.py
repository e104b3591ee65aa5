"""TinyVGG, small enough to be read in one look (the CNN Explainer's network), and the notes' wider one with dropout."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlworkflow.models.activations import Activation, activation_layer
from dlworkflow.registry import Count, Depth, Probability


class TinyVGG(nn.Module):
    """Two blocks of convolution, ReLU, convolution, ReLU, pooling, and one linear layer on what is left.

    There may be more or fewer `blocks`, each `growth` times as wide as the one before, another `activation`, a
    `batch_norm` before each, and `dropout` before the linear layer.

    `input_shape` is the number of channels, `padding` 1 keeps a convolution's size, 0 loses two pixels at each; the
    classifier's width follows from `image_size` (height, width). Takes x (n, input_shape, *image_size) float32,
    returns logits (n, output_shape). Raises ValueError when the image is too small for its blocks.
    """

    def __init__(
        self,
        input_shape: int,
        hidden_units: Count = 10,
        output_shape: int = 3,
        *,
        padding: Literal[0, 1] = 1,
        image_size: tuple[int, int] = (64, 64),
        blocks: Depth = 2,
        growth: Count = 1,
        activation: Activation = "relu",
        batch_norm: bool = False,
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        widths = [input_shape, *(hidden_units * growth**number for number in range(blocks))]
        width = flat_width(image_size, channels=widths[-1], convolutions=2, padding=padding, blocks=blocks)
        self._blocks = add_blocks(self, "conv_block", widths, padding, activation, batch_norm=batch_norm)
        self.classifier = linear_classifier(width, output_shape, dropout)

    def forward(self, x: Tensor) -> Tensor:
        for name in self._blocks:
            x = getattr(self, name)(x)
        return self.classifier(x)


class ImprovedTinyVGG(nn.Module):
    """The notes' wider network: two convolutions, the second twice as wide, a hidden layer of 256 and dropout.

    Layers are `conv1`, `conv2`, `fc1`, `fc2`; the width of `fc1` follows from `image_size` (the notes' 8x8 is that of
    32x32 images). Takes x (n, input_shape, *image_size) float32, returns logits (n, output_shape).
    """

    def __init__(
        self,
        input_shape: int,
        hidden_units: Count = 10,
        output_shape: int = 3,
        *,
        dropout: Probability = 0.5,
        image_size: tuple[int, int] = (64, 64),
    ) -> None:
        super().__init__()
        width = flat_width(image_size, channels=hidden_units * 2, convolutions=1, padding=1)
        self.conv1 = nn.Conv2d(input_shape, hidden_units, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(hidden_units, hidden_units * 2, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(width, 256)
        self.fc2 = nn.Linear(256, output_shape)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = self.dropout(F.relu(self.fc1(torch.flatten(x, 1))))
        return self.fc2(x)


def add_blocks(
    model: nn.Module, stem: str, widths: Sequence[int], padding: int, activation: str, *, batch_norm: bool
) -> list[str]:
    """Give a model a block from each width to the next, `<stem>_1`, `<stem>_2`, ...; return their names."""
    names = [f"{stem}_{number}" for number in range(1, len(widths))]
    for name, (channels, hidden_units) in zip(names, pairwise(widths), strict=True):
        setattr(model, name, conv_block(channels, hidden_units, padding, activation, batch_norm=batch_norm))
    return names


def conv_block(
    channels: int, hidden_units: int, padding: int, activation: str = "relu", *, batch_norm: bool = False
) -> nn.Sequential:
    """Return convolution, ReLU, convolution, ReLU and a 2x2 pooling: (n, channels, h, w) to (n, hidden_units, ...)."""
    layers: list[nn.Module] = []
    for width in (channels, hidden_units):
        layers.append(nn.Conv2d(width, hidden_units, kernel_size=3, padding=padding))
        layers += [nn.BatchNorm2d(hidden_units)] if batch_norm else []
        layers.append(activation_layer(activation))
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def linear_classifier(width: int, n_outputs: int, dropout: float) -> nn.Sequential:
    """Return one linear layer on flattened features: (n, ...) of `width` numbers to (n, n_outputs)."""
    return nn.Sequential(nn.Flatten(), *([nn.Dropout(dropout)] if dropout else []), nn.Linear(width, n_outputs))


def flat_width(image_size: tuple[int, int], *, channels: int, convolutions: int, padding: int, blocks: int = 2) -> int:
    """Return how many numbers are left of an image after `blocks` of 3x3 convolutions and a 2x2 pooling each.

    Raises ValueError naming the smallest image that leaves any.
    """
    loss, least = convolutions * 2 * (1 - padding), 1
    height, width = image_size
    for _ in range(blocks):
        height, width, least = (height - loss) // 2, (width - loss) // 2, least * 2 + loss
    if height < 1 or width < 1:
        raise ValueError(
            f"images of {image_size[0]}x{image_size[1]} are too small for {_counted(blocks)} with padding {padding}; "
            f"give at least {least}x{least} (data.image_size)"
        )
    return channels * height * width


def _counted(blocks: int) -> str:
    return {1: "one block", 2: "two blocks"}.get(blocks, f"{blocks} blocks")
