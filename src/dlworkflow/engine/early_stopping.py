"""When to end training before its last epoch: once a loss has stopped falling. Knows no settings and no run."""

from __future__ import annotations

import math
from typing import Any


class EarlyStopping:
    """Counts the epochs since the loss last fell by more than `min_delta`; training ends after `patience` of them."""

    def __init__(self, *, patience: int, min_delta: float = 0.0) -> None:
        self._patience, self._min_delta = patience, min_delta
        self._best, self._waited = math.inf, 0

    def end_epoch(self, loss: float) -> None:
        """Record the monitored loss of an epoch."""
        if loss < self._best - self._min_delta:
            self._best, self._waited = loss, 0
        else:
            self._waited += 1

    def should_stop(self) -> bool:
        """Return whether training ends here."""
        return self._waited >= self._patience

    def restart(self) -> None:
        """Wait `patience` epochs again."""
        self._waited = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the lowest loss and the epochs since then."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._best, self._waited = state["best"], state["waited"]
