"""When to end training before its last epoch: a loss is watched that has stopped falling."""

from __future__ import annotations

import math
from typing import Any


class EarlyStopping:
    """Counts the epochs since the loss last fell by more than `min_delta`; enough after `patience` of them."""

    def __init__(self, *, patience: int, min_delta: float = 0.0) -> None:
        self._patience, self._min_delta = patience, min_delta
        self._best, self.waited = math.inf, 0

    def end_epoch(self, loss: float) -> None:
        """Take note of an epoch's loss, that by which the best epoch is chosen."""
        if loss < self._best - self._min_delta:
            self._best, self.waited = loss, 0
        else:
            self.waited += 1

    def enough(self) -> bool:
        """Tell whether training should end here."""
        return self.waited >= self._patience

    def state_dict(self) -> dict[str, Any]:
        """Return what it has seen."""
        return {"best": self._best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._best, self.waited = state["best"], state["waited"]
