"""An average of a model's weights over its updates, which often predicts better than the weights themselves."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average: after update t, average = d * average + (1 - d) * weights, d = `decay_at(t)`.

    `averaged` is a model of its own with these weights, and with the buffers of `model` (the statistics of batch
    norms) as they are. It starts as the model does; early on the decay is lower, so that this start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self.averaged = copy.deepcopy(model).requires_grad_(False)
        self._averages: list[Tensor] = list(self.averaged.parameters())
        self._weights: list[Tensor] = list(model.parameters())
        self.updates = 0

    def decay_at(self, update: int) -> float:
        """Return the weight of the past at an update, counted from 1: `decay`, or (1 + t) / (10 + t) while lower."""
        return min(self._decay, (1 + update) / (10 + update))

    @torch.no_grad()
    def after_update(self) -> None:
        """Take in the weights after an update."""
        self.updates += 1
        torch._foreach_lerp_(self._averages, self._weights, 1 - self.decay_at(self.updates))
        for mine, buffer in zip(self.averaged.buffers(), self._model.buffers(), strict=True):
            mine.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates and the weights that are being trained; the average is the run's own weights."""
        return {"updates": self.updates, "weights": self._model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.updates = state["updates"]
        self._model.load_state_dict(state["weights"])
