"""Models that separate two rings of points, or fail to in an instructive way."""

from __future__ import annotations

from torch import Tensor, nn

from dlworkflow.models.activations import Activation, activation_layer
from dlworkflow.registry import Count, Depth, Probability


class CircleModelV0(nn.Module):
    """One hidden layer and nothing non-linear: a straight cut through the plane.

    Takes x (n, input_features) float32, returns logits (n, output_features): raw scores, no sigmoid.
    """

    def __init__(self, input_features: int = 2, output_features: int = 1, hidden_units: Count = 5) -> None:
        super().__init__()
        self.layer_1 = nn.Linear(input_features, hidden_units)
        self.layer_2 = nn.Linear(hidden_units, output_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer_2(self.layer_1(x))


class CircleModelV1(nn.Module):
    """Two hidden layers, twice as wide, still linear: more of the same does not bend.

    Takes x (n, input_features) float32, returns logits (n, output_features): raw scores, no sigmoid.
    """

    def __init__(self, input_features: int = 2, output_features: int = 1, hidden_units: Count = 10) -> None:
        super().__init__()
        self.layer_1 = nn.Linear(input_features, hidden_units)
        self.layer_2 = nn.Linear(hidden_units, hidden_units)
        self.layer_3 = nn.Linear(hidden_units, output_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer_3(self.layer_2(self.layer_1(x)))


class CircleModelV2(nn.Module):
    """V1 with a ReLU after each hidden layer: bends where V1 can only cut straight.

    `hidden_layers` of them, `layer_1` and so on, each followed, where they are set, by `batch_norm` before the
    activation and `dropout` after it. Takes x (n, input_features) float32, returns logits (n, output_features): raw
    scores, no sigmoid.
    """

    def __init__(
        self,
        input_features: int = 2,
        output_features: int = 1,
        hidden_units: Count = 10,
        *,
        hidden_layers: Depth = 2,
        activation: Activation = "relu",
        batch_norm: bool = False,
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        self._order: list[str] = []
        widths = [input_features, *[hidden_units] * hidden_layers, output_features]
        for number in range(1, len(widths)):
            self._append(f"layer_{number}", nn.Linear(widths[number - 1], widths[number]))
            if number > hidden_layers:
                break
            if batch_norm:
                self._append(f"norm_{number}", nn.BatchNorm1d(hidden_units))
            self._order.append("relu")
            if dropout:
                self._append(f"dropout_{number}", nn.Dropout(dropout))
        self.relu = activation_layer(activation)

    def _append(self, name: str, layer: nn.Module) -> None:
        setattr(self, name, layer)
        self._order.append(name)

    def forward(self, x: Tensor) -> Tensor:
        for name in self._order:
            x = getattr(self, name)(x)
        return x
