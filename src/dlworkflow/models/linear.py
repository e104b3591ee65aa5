"""Models for a straight line: one number in, one number out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlworkflow.registry import Count


class LinearRegressionModel(nn.Module):
    """A line with its two numbers as bare parameters, `weights` (slope) and `bias` (intercept), drawn from N(0, 1).

    Takes x of any shape float32, returns weights * x + bias of the same shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(1, dtype=torch.float32))
        self.bias = nn.Parameter(torch.randn(1, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return self.weights * x + self.bias


class LinearRegressionModelV2(nn.Module):
    """The same line as an `nn.Linear`, which brings its own initial values.

    Takes x (n, input_features) float32, returns (n, output_features).
    """

    def __init__(self, input_features: int = 1, output_features: int = 1) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(input_features, output_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_layer(x)


class LineModel(nn.Sequential):
    """Three linear layers without anything between them: 1-10-10-1 can still only draw a straight line.

    The notes use it to see whether the circles' model can learn at all. A sequence, so its parameters are `0.weight`,
    `1.weight`, `2.weight` and so on. Takes x (n, input_features) float32, returns (n, output_features).
    """

    def __init__(self, input_features: int = 1, output_features: int = 1, hidden_units: Count = 10) -> None:
        super().__init__(
            nn.Linear(input_features, hidden_units),
            nn.Linear(hidden_units, hidden_units),
            nn.Linear(hidden_units, output_features),
        )
