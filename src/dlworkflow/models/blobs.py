"""A model that sorts clouds of points into classes."""

from __future__ import annotations

from torch import Tensor, nn

from dlworkflow.models.activations import Activation, activation_layer
from dlworkflow.registry import Count, Depth, Probability


class BlobModel(nn.Module):
    """Linear layers in `linear_layer_stack`, `hidden_layers` and one more; a ReLU after the hidden when `relu` is set.

    Takes x (n, input_features) float32, returns logits (n, output_features), one a class: raw scores, no softmax.
    The notes leave the ReLUs out, as straight lines separate blobs. `activation` names another function
    than the ReLU; `batch_norm` comes before it, `dropout` after it. Raises ValueError for both `relu` and
    `activation`.
    """

    def __init__(
        self,
        input_features: int,
        output_features: int,
        hidden_units: Count = 8,
        *,
        relu: bool = False,
        hidden_layers: Depth = 2,
        activation: Activation | None = None,
        batch_norm: bool = False,
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        if relu and activation:
            raise ValueError(f"relu and activation={activation} are two functions for one place; leave one out")
        bend = "relu" if relu else activation
        layers: list[nn.Module] = []
        for width in (input_features, *[hidden_units] * (hidden_layers - 1)):
            layers.append(nn.Linear(width, hidden_units))
            layers += [nn.BatchNorm1d(hidden_units)] if batch_norm else []
            layers += [activation_layer(bend)] if bend else []
            layers += [nn.Dropout(dropout)] if dropout else []
        self.linear_layer_stack = nn.Sequential(*layers, nn.Linear(hidden_units, output_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_layer_stack(x)
