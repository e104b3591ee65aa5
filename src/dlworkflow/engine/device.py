"""Devices, cores and threads: which there are, and which a run uses. Knows no settings."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
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


def available_cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(name: str = "auto", *, process: int | None = None) -> torch.device:
    """Return the device `name`: auto (the best available one), cuda, cuda:N, mps or cpu.

    Where several processes of this machine train together, `process` is the number of this one: it has a cuda device
    of its own, and auto is cuda or cpu. Raises ConfigError, which lists the available devices, for any other.
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


def as_device(device: Device | int) -> torch.device:
    """Return `device` as torch has it, "auto" as `choose_device` does.

    Raises ConfigError, which lists the available devices, for one of cuda or mps that is not there, or for no device.
    """
    try:
        found = torch.device(device)
    except RuntimeError:
        return choose_device(str(device))
    if found.type not in ("cuda", "mps"):
        return found
    return choose_device(str(found) if found.type == "cuda" else "mps")


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
    """Return a device with its product name: `cuda:0 (NVIDIA H100)`, `cpu`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def choose_threads(threads: int | Literal["auto"], model: nn.Module, in_shape: Sequence[int]) -> int:
    """Return how many CPU threads a model trains with: as given, else one, or torch's own count where that is faster.

    It is faster for convolutions over images of 28x28 pixels or more. Smaller models gain nothing from a second thread
    and stall when another process is busy.
    """
    if threads != "auto":
        return threads
    return torch.get_num_threads() if convolves_images(model, in_shape) else 1


def choose_channels_last(
    given: bool | Literal["auto"], model: nn.Module, in_shape: Sequence[int], device: torch.device
) -> bool:
    """Return whether a model trains in the memory format channels last: as given, else where that is faster.

    It is faster on a CPU for convolutions over colour images of 28x28 pixels or more.
    """
    if given != "auto":
        return given
    return device.type == "cpu" and len(in_shape) == 3 and in_shape[0] == 3 and convolves_images(model, in_shape)


def convolves_images(model: nn.Module, in_shape: Sequence[int]) -> bool:
    """Return whether a model has convolutions, and its images 28x28 pixels or more."""
    has_any = any(isinstance(module, nn.modules.conv._ConvNd) for module in model.modules())
    return has_any and math.prod(in_shape[1:]) >= 28 * 28


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Limit torch to `threads` CPU threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def repeatable_convolutions() -> Iterator[None]:
    """Let cuDNN choose only among algorithms that return the same bits each time, within the block.

    Its faster ones add gradients in an order that differs from call to call. Other devices are not affected.
    """
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def processor_name() -> str:
    """Return the product name of the processor where the system has it, else its kind."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe_machine() -> dict[str, Any]:
    """Return what the results of a run may depend on: system, processor, cores, devices."""
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "devices": [describe_device(torch.device(name)) for name in available_devices()],
    }
