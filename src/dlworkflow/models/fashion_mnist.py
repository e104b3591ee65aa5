"""The notes' three models for FashionMNIST: linear, with ReLUs, and convolutional. Any image size works."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dlworkflow.models.tiny_vgg import conv_block, flat_width
from dlworkflow.signatures import Count


class FashionMNISTModelV0(nn.Module):
    """Every pixel to `hidden_units` sums, those to the classes: two linear layers in `layer_stack`.

    `input_shape` is the number of pixels an image has (784). Takes x (n, channels, height, width) float32,
    returns logits (n, output_shape).
    """

    def __init__(self, input_shape: int, hidden_units: Count = 10, output_shape: int = 10) -> None:
        super().__init__()
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(input_shape, hidden_units),
            nn.Linear(hidden_units, output_shape),
        )

    @staticmethod
    def from_shapes(in_shape: tuple[int, ...], n_outputs: int) -> dict[str, int]:
        """Say which arguments the data decides: here `input_shape` counts pixels, not channels."""
        return {"input_shape": math.prod(in_shape), "output_shape": n_outputs}

    def forward(self, x: Tensor) -> Tensor:
        return self.layer_stack(x)


class FashionMNISTModelV1(FashionMNISTModelV0):
    """V0 with a ReLU after each linear layer, the last one included, as in the notes (so no score is below 0).

    Takes x (n, channels, height, width) float32, returns logits (n, output_shape).
    """

    def __init__(self, input_shape: int, hidden_units: Count = 10, output_shape: int = 10) -> None:
        nn.Module.__init__(self)
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(input_shape, hidden_units),
            nn.ReLU(),
            nn.Linear(hidden_units, output_shape),
            nn.ReLU(),
        )


class FashionMNISTModelV2(nn.Module):
    """TinyVGG with the notes' names for 28x28 images: `block_1`, `block_2`, `classifier`.

    `input_shape` is the number of channels. Takes x (n, input_shape, *image_size) float32, returns logits
    (n, output_shape). Raises ValueError when the image is too small for two poolings.
    """

    def __init__(
        self,
        input_shape: int,
        hidden_units: Count = 10,
        output_shape: int = 10,
        *,
        image_size: tuple[int, int] = (28, 28),
    ) -> None:
        super().__init__()
        width = flat_width(image_size, channels=hidden_units, convolutions=2, padding=1)
        self.block_1 = conv_block(input_shape, hidden_units, padding=1)
        self.block_2 = conv_block(hidden_units, hidden_units, padding=1)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(width, output_shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.block_2(self.block_1(x)))
