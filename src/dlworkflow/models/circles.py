"""Models that tell two rings of points apart, or fail to in an instructive way."""

from __future__ import annotations

from torch import Tensor, nn

from dlworkflow.signatures import Count


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


class CircleModelV2(CircleModelV1):
    """V1 with a ReLU after each hidden layer: bends where V1 can only cut straight.

    Takes x (n, input_features) float32, returns logits (n, output_features): raw scores, no sigmoid.
    """

    def __init__(self, input_features: int = 2, output_features: int = 1, hidden_units: Count = 10) -> None:
        super().__init__(input_features, output_features, hidden_units)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer_3(self.relu(self.layer_2(self.relu(self.layer_1(x)))))
