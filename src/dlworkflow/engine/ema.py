"""The exponential moving average (EMA) of a model's weights. Knows no optimizer and no data."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average after update t is d * average + (1 - d) * weights, with d = `decay_at(t)`.

    `averaged` is a copy of `model` with these weights, and with the buffers of `model` (such as the statistics of
    batch norms) unaveraged. It starts from the initial weights; the first decays are lower, so that these fade soon.
    torch's AveragedModel copies the weights at the first update instead, which gives other numbers.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self.averaged = copy.deepcopy(model).requires_grad_(False)
        self._averages: list[Tensor] = list(self.averaged.parameters())
        self._weights: list[Tensor] = list(model.parameters())
        self.updates = 0

    def decay_at(self, update: int) -> float:
        """Return the decay at an update, counted from 1: (1 + t) / (10 + t), at most `decay`."""
        return min(self._decay, (1 + update) / (10 + update))

    @torch.no_grad()
    def after_update(self) -> None:
        """Average in the weights after an update."""
        self.updates += 1
        torch._foreach_lerp_(self._averages, self._weights, 1 - self.decay_at(self.updates))
        for mine, buffer in zip(self.averaged.buffers(), self._model.buffers(), strict=True):
            mine.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates and the weights of `model`; those of `averaged` are the run's `last`."""
        return {"updates": self.updates, "weights": self._model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.updates = state["updates"]
        self._model.load_state_dict(state["weights"])
