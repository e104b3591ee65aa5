"""Seeds and the states of the random generators: setting, watching, saving and restoring them."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

import torch


def set_seeds(seed: int = 42) -> None:
    """Seed the generators of torch (every device), numpy and Python."""
    import numpy as np

    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


class GeneratorWatch:
    """Takes the states of all generators at the end of epoch after epoch, without slowing down short ones.

    numpy's and Python's take longer to read than a small model's epoch, and nothing in this library draws from them
    while it trains. They are read at the first epochs, at every one once they have been seen to move, and else at most
    every 20 ms.
    """

    def __init__(self, more: Mapping[str, torch.Generator] | None = None) -> None:
        self._more, self._has_cuda = more or {}, torch.cuda.is_available()
        self._others: dict[str, Any] = {}
        self._reads, self._read_at, self._move = 0, 0.0, False

    def states(self) -> dict[str, Any]:
        """Return every state as its generator gives it; `plain_states` makes tensors and plain numbers of them."""
        if self._move or self._reads < 3 or time.monotonic() - self._read_at >= 0.02:
            self._read_others()
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self._has_cuda else [],
            "more": {name: generator.get_state() for name, generator in self._more.items()},
            **self._others,
        }

    def _read_others(self) -> None:
        import numpy as np

        found: dict[str, Any] = {"numpy": np.random.get_state(), "python": random.getstate()}
        before, self._others = self._others, found
        if before:
            still = found["numpy"][2:] == before["numpy"][2:] and np.array_equal(found["numpy"][1], before["numpy"][1])
            self._move = self._move or not still or found["python"] != before["python"]
        self._reads, self._read_at = self._reads + 1, time.monotonic()


def plain_states(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `GeneratorWatch.states` gave as tensors and plain numbers, for a file that runs no code."""
    import numpy as np

    kind, keys, position, has_gauss, gauss = states["numpy"]
    version, internal, python_gauss = states["python"]
    return {
        **states,
        "numpy": [str(kind), torch.from_numpy(np.array(keys, dtype=np.int64)), position, has_gauss, gauss],
        "python": [version, torch.tensor(internal, dtype=torch.int64), python_gauss],
    }


def restore_generators(states: Mapping[str, Any], more: Mapping[str, torch.Generator] | None = None) -> None:
    """Put every generator back to what `plain_states` made of its state."""
    import numpy as np

    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"][: torch.cuda.device_count()])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    if not 0 <= position <= len(keys):  # numpy would read beyond its memory
        raise ValueError(f"numpy's generator stands at {position} of {len(keys)}")
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, python_gauss = states["python"]
    random.setstate((version, tuple(internal.tolist()), python_gauss))
    for name, generator in (more or {}).items():
        generator.set_state(states["more"][name])
