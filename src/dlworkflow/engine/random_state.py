"""Seeds and the states of the random generators: setting, saving and restoring them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


def set_seeds(seed: int = 42) -> None:
    """Seed the generators of torch (every device), numpy and Python."""
    import numpy as np

    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


class Generators:
    """The random generators that training draws from: those of torch, numpy and Python, and own ones by name.

    The state is read after each epoch and must not slow down short ones. The generators of numpy and Python take
    longer to read than an epoch of a small model, and nothing in this library draws from them in training. They are
    read after the first epochs, after every epoch once they have changed, and otherwise at most every 20 ms.
    """

    def __init__(self, own: Mapping[str, torch.Generator]) -> None:
        self.own, self._has_cuda = own, torch.cuda.is_available()
        self._others: dict[str, Any] = {}
        self._plain: dict[str, Any] = {}
        self._reads, self._read_at, self._change = 0, 0.0, False

    def state_dict(self) -> dict[str, Any]:
        """Return all states as tensors and plain numbers, which a file holds without code."""
        if self._change or self._reads < 3 or time.monotonic() - self._read_at >= 0.02:
            self._read_others()
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self._has_cuda else [],
            "more": {name: generator.get_state() for name, generator in self.own.items()},
            **self._plain,
        }

    def _read_others(self) -> None:
        import numpy as np

        numpy_state: Any = np.random.get_state()
        python_state = random.getstate()
        found = {"numpy": (numpy_state[1].tobytes(), *numpy_state[2:]), "python": python_state}
        self._change = self._change or bool(self._others and found != self._others)
        if found != self._others:
            self._others, self._plain = found, _as_tensors(numpy_state, python_state)
        self._reads, self._read_at = self._reads + 1, time.monotonic()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set every generator to its state in what `state_dict` returned."""
        import numpy as np

        torch.set_rng_state(state["torch"])
        if state["cuda"] and self._has_cuda:
            torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
        kind, keys, position, has_gauss, gauss = state["numpy"]
        if not 0 <= position <= len(keys):  # numpy would read beyond its memory
            raise ValueError(f"the position of numpy's generator is {position} of {len(keys)}")
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
        version, internal, python_gauss = state["python"]
        random.setstate((version, tuple(internal.tolist()), python_gauss))
        for name, generator in self.own.items():
            generator.set_state(state["more"][name])


@contextmanager
def kept_generators() -> Iterator[None]:
    """Leave the generators of torch, numpy and Python as they are, whatever draws from them within the block."""
    generators = Generators({})
    before = generators.state_dict()
    try:
        yield
    finally:
        generators.load_state_dict(before)


def _as_tensors(numpy_state: Any, python_state: Any) -> dict[str, Any]:
    import numpy as np

    kind, keys, position, has_gauss, gauss = numpy_state
    version, internal, python_gauss = python_state
    return {
        "numpy": [str(kind), torch.from_numpy(np.array(keys, dtype=np.int64)), position, has_gauss, gauss],
        "python": [version, torch.tensor(internal, dtype=torch.int64), python_gauss],
    }
