"""Mixed precision and `torch.compile`: the forward pass in half precision, and whether a device supports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlworkflow.engine.device import convolves_images
from dlworkflow.errors import ConfigError, first_line

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Autocast(nn.Module):
    """A model whose forward pass in training is in half precision; it has the same float32 weights.

    Takes the inputs of `model`, returns its logits in float32. In evaluation mode it calls `model` in float32.
    """

    def __init__(self, model: nn.Module, precision: Precision, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self._dtype, self._device = _DTYPES[precision], device.type

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            exact: Tensor = self.model(x)
            return exact
        with torch.autocast(self._device, self._dtype):
            logits: Tensor = self.model(x)
        return logits.float()


def choose_precision(
    given: Precision | Literal["auto"], model: nn.Module, in_shape: Sequence[int], device: torch.device
) -> Precision:
    """Return the precision in which a model trains: as given, for `auto` bf16 where that is faster, else fp32.

    It is faster for convolutions over images on a CPU that has instructions for it (AVX-512 BF16 or AMX).
    """
    if given != "auto":
        return given
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if device.type == "cpu" and has_bf16 and convolves_images(model, in_shape) else "fp32"


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise ConfigError unless linear and convolutional layers run on `device` in this precision, with gradients."""
    if _can(precision, device):
        return
    possible = [name for name in ("fp32", "bf16", "fp16") if _can(name, device)]
    raise ConfigError(f"precision: {device} cannot train in {precision!r}; possible: {', '.join(possible)}")


def _can(precision: str, device: torch.device) -> bool:
    if precision not in _DTYPES:
        return True
    if device.type == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return False
    x = torch.ones(1, 1, 3, 3, device=device, requires_grad=True)
    try:
        with torch.autocast(device.type, _DTYPES[precision]):
            y = F.linear(F.conv2d(x, torch.ones(1, 1, 3, 3, device=device)), torch.ones(1, 1, device=device))
        y.float().sum().backward()
    except RuntimeError:
        return False
    return y.dtype == _DTYPES[precision]


def check_compiler(device: torch.device) -> None:
    """Raise ConfigError unless `torch.compile` works on `device`."""
    try:
        torch.compile(nn.ReLU())(torch.ones(2, device=device))  # torch 2.6 does not compile its own functions
    except (RuntimeError, OSError, ImportError) as error:
        raise ConfigError(
            f"compile: torch.compile does not work here on {device}: {first_line(error)}; on a CPU it needs a C++ "
            "compiler (g++), on CUDA Triton; leave it out"
        ) from None
