"""Numbers to predict, brought to mean 0 and standard deviation 1 for training, and back to their unit afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TargetScale:
    """Mean and standard deviation of the training targets, in their unit; `std` is above 0."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: Tensor) -> TargetScale:
        """Return those of targets (n, ...); where all are equal, the deviation is 1."""
        values = values.double()
        return cls(float(values.mean()), float(values.std(correction=0)) or 1.0)

    def scaled(self, values: Tensor) -> Tensor:
        """Return targets as the model is trained on them, float32."""
        return ((values.double() - self.mean) / self.std).float()

    def undone(self, values: Tensor) -> Tensor:
        """Return scaled targets, or what a model predicts, in the unit of the targets."""
        return values * self.std + self.mean
