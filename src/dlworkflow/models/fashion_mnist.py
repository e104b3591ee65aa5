"""The notes' three models for FashionMNIST: linear, with ReLUs, and convolutional. Any image size works."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dlworkflow.models.activations import Activation
from dlworkflow.models.tiny_vgg import add_blocks, flat_width, linear_classifier
from dlworkflow.registry import Count, Depth, Probability


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
    """TinyVGG with the notes' names for 28x28 images: `block_1`, `block_2`, `classifier`; and with its settings.

    `input_shape` is the number of channels. Takes x (n, input_shape, *image_size) float32, returns logits
    (n, output_shape). Raises ValueError when the image is too small for its poolings.
    """

    def __init__(
        self,
        input_shape: int,
        hidden_units: Count = 10,
        output_shape: int = 10,
        *,
        image_size: tuple[int, int] = (28, 28),
        blocks: Depth = 2,
        growth: Count = 1,
        activation: Activation = "relu",
        batch_norm: bool = False,
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        widths = [input_shape, *(hidden_units * growth**number for number in range(blocks))]
        width = flat_width(image_size, channels=widths[-1], convolutions=2, padding=1, blocks=blocks)
        self._blocks = add_blocks(self, "block", widths, 1, activation, batch_norm=batch_norm)
        self.classifier = linear_classifier(width, output_shape, dropout)

    def forward(self, x: Tensor) -> Tensor:
        for name in self._blocks:
            x = getattr(self, name)(x)
        return self.classifier(x)
