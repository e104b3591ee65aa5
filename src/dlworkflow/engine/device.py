"""Where arithmetic happens: choose `cuda`, `mps` or `cpu` and a thread count, seed every generator, describe it."""

from __future__ import annotations

import math
import os
import platform
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from dlworkflow.errors import ConfigError

Device = str | torch.device


def available_devices() -> list[str]:
    """Return the devices of this machine, best first: every cuda device, mps, cpu."""
    found = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def choose_device(name: str = "auto", *, process: int | None = None) -> torch.device:
    """Return the device `name`: auto (the best there is), cuda, cuda:N, mps or cpu.

    Where several processes train on this machine, `process` is the number of this one: cuda is its own device, and
    auto is cuda or cpu. Raises ConfigError, naming those that are there, for one that is not.
    """
    there = available_devices()
    if process is not None:
        return _device_of_process(name, process, there)
    if name == "auto":
        return torch.device(there[0])
    if name == "cuda" and there[0].startswith("cuda"):
        return torch.device("cuda:0")
    if name not in there:
        raise ConfigError(f"--device: {name!r} is not on this machine; possible: auto, {', '.join(there)}")
    return torch.device(name)


def _device_of_process(name: str, process: int, there: Sequence[str]) -> torch.device:
    cuda = [device for device in there if device.startswith("cuda")]
    if name == "cpu" or (name == "auto" and not cuda):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise ConfigError(f"--device: {name!r} is one device and cannot be shared by processes; give auto, cuda or cpu")
    if process >= len(cuda):
        raise ConfigError(
            f"--processes: this machine has {len(cuda)} cuda devices; start as many on it, or give --device cpu"
        )
    return torch.device(cuda[process])


def describe_device(device: torch.device) -> str:
    """Return a device as people call it: `cuda:0 (NVIDIA H100)`, `cpu`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def choose_threads(threads: int | Literal["auto"], model: nn.Module, in_shape: Sequence[int]) -> int:
    """Return how many CPU threads a model trains with: as given, else one, or torch's own count where that pays.

    It pays for convolutions over pictures of 28x28 or more. Anything smaller gains nothing from a second thread and
    stalls when another process is busy.
    """
    if threads != "auto":
        return threads
    convolves = any(isinstance(module, nn.modules.conv._ConvNd) for module in model.modules())
    return torch.get_num_threads() if convolves and math.prod(in_shape[1:]) >= 28 * 28 else 1


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Let torch use `threads` CPU threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def describe_machine() -> dict[str, Any]:
    """Return what a run's result may depend on: system, processor, cores, devices."""
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "devices": [describe_device(torch.device(name)) for name in available_devices()],
    }
