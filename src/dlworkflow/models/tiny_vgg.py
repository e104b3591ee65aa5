"""TinyVGG, small enough to be read in one look (the CNN Explainer's network), and the notes' wider one with dropout."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlworkflow.signatures import Count, Probability


class TinyVGG(nn.Module):
    """Two blocks of convolution, ReLU, convolution, ReLU, pooling, and one linear layer on what is left.

    `input_shape` is the number of channels, `padding` 1 keeps a convolution's size, 0 loses two pixels at each; the
    classifier's width follows from `image_size` (height, width). Takes x (n, input_shape, *image_size) float32,
    returns logits (n, output_shape). Raises ValueError when the image is too small for two blocks.
    """

    def __init__(
        self,
        input_shape: int,
        hidden_units: Count = 10,
        output_shape: int = 3,
        *,
        padding: Literal[0, 1] = 1,
        image_size: tuple[int, int] = (64, 64),
    ) -> None:
        super().__init__()
        width = flat_width(image_size, channels=hidden_units, convolutions=2, padding=padding)
        self.conv_block_1 = conv_block(input_shape, hidden_units, padding)
        self.conv_block_2 = conv_block(hidden_units, hidden_units, padding)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(width, output_shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.conv_block_2(self.conv_block_1(x)))


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


def conv_block(channels: int, hidden_units: int, padding: int) -> nn.Sequential:
    """Return convolution, ReLU, convolution, ReLU and a 2x2 pooling: (n, channels, h, w) to (n, hidden_units, ...)."""
    return nn.Sequential(
        nn.Conv2d(channels, hidden_units, kernel_size=3, padding=padding),
        nn.ReLU(),
        nn.Conv2d(hidden_units, hidden_units, kernel_size=3, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def flat_width(image_size: tuple[int, int], *, channels: int, convolutions: int, padding: int) -> int:
    """Return how many numbers are left of an image after two blocks of 3x3 convolutions and a 2x2 pooling each.

    Raises ValueError naming the smallest image that leaves any.
    """
    loss = convolutions * 2 * (1 - padding)
    height, width = (((side - loss) // 2 - loss) // 2 for side in image_size)
    if height < 1 or width < 1:
        least = ((1 * 2 + loss) * 2) + loss
        raise ValueError(
            f"images of {image_size[0]}x{image_size[1]} are too small for two blocks with padding {padding}; "
            f"give at least {least}x{least} (data.image_size)"
        )
    return channels * height * width
