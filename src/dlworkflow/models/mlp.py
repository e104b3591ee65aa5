"""A network of fully connected layers for rows of numbers, as tables have them."""

from __future__ import annotations

from torch import Tensor, nn

from dlworkflow.models.activations import Activation, activation_layer
from dlworkflow.registry import Count, Depth, Probability


class MLP(nn.Module):
    """Fully connected layers with an activation after each hidden one (multilayer perceptron).

    Takes x (n, ...) float32, flattened to (n, in_features), returns raw scores (n, out_features).
    """

    classifier_layer = "output"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_units: Count = 64,
        hidden_layers: Depth = 2,
        activation: Activation = "relu",
        batch_norm: bool = False,
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for width in [in_features, *[hidden_units] * (hidden_layers - 1)]:
            layers.append(nn.Linear(width, hidden_units))
            layers += [nn.BatchNorm1d(hidden_units)] if batch_norm else []
            layers += [activation_layer(activation), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(hidden_units, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.hidden(x))
