"""A model that sorts clouds of points into classes."""

from __future__ import annotations

from torch import Tensor, nn

from dlworkflow.signatures import Count


class BlobModel(nn.Module):
    """Three linear layers in `linear_layer_stack`, with a ReLU after the first two when `relu` is set.

    Takes x (n, input_features) float32, returns logits (n, output_features), one a class: raw scores, no softmax.
    The notes leave the ReLUs out, as blobs can be told apart by straight lines.
    """

    def __init__(
        self, input_features: int, output_features: int, hidden_units: Count = 8, *, relu: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Linear(input_features, hidden_units),
            nn.Linear(hidden_units, hidden_units),
            nn.Linear(hidden_units, output_features),
        ]
        if relu:
            layers[1:1] = [nn.ReLU()]
            layers[3:3] = [nn.ReLU()]
        self.linear_layer_stack = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_layer_stack(x)
