"""What a caller gives the training loop, checked before the first batch: loaders, a device, an optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset, IterableDataset

from dlworkflow.engine.device import Device, as_device
from dlworkflow.errors import ConfigError, DataError, ModelError


def one_loader(dataloader: Iterable[Any] | None, data_loader: Iterable[Any] | None) -> Iterable[Any]:
    """Return the one of the two that was given. Raises TypeError for both or neither, DataError for no batches."""
    if (dataloader is None) == (data_loader is None):
        raise TypeError("pass the batches as dataloader or as data_loader: one of the two")
    return (
        checked_loader("data_loader", data_loader) if dataloader is None else checked_loader("dataloader", dataloader)
    )


def checked_loader(name: str, batches: Iterable[Any] | None, epochs: int = 1) -> Iterable[Any]:
    """Return the batches of parameter `name`.

    Raises DataError for tensors, arrays and bare data sets, and for a generator that several epochs need.
    """
    if isinstance(batches, Iterator) and epochs > 1:
        raise DataError(
            f"{name}: a {type(batches).__name__} gives its batches once, not in each of {epochs} epochs; "
            "pass list(batches)"
        )
    if (kind := _without_batches(batches)) is None:
        assert batches is not None
        return batches
    dataset = "dataset" if isinstance(batches, Dataset) else "TensorData(X, y)"
    shuffle = ", shuffle=True" if name.startswith("train") else ""
    raise DataError(
        f"{name}: must give batches of (inputs, labels), not {kind}; "
        f"pass make_loader({dataset}, batch_size=32{shuffle})"
    )


def _without_batches(given: Any) -> str | None:
    """Return what an argument is that gives no batches, None for one that may."""
    if isinstance(given, Dataset) and not isinstance(given, IterableDataset):
        return f"a data set ({type(given).__name__})"
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        return f"{'a tensor' if isinstance(given, Tensor) else 'an array'} of shape {tuple(given.shape)}"
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(part, Tensor) for part in given):
        return "one pair of tensors"
    return None if hasattr(given, "__iter__") or hasattr(given, "__getitem__") else type(given).__name__


def check_epochs(epochs: int) -> None:
    """Raise ConfigError for a number of epochs that is negative or not whole."""
    if not hasattr(epochs, "__index__") or epochs < 0:
        raise ConfigError(f"epochs: must be a whole number of at least 0, not {epochs!r}")


def place(model: nn.Module, device: Device | None) -> torch.device:
    """Move the model to `device`; None is where its first parameter is.

    Raises ModelError for a class, and ConfigError for a device that this machine lacks.
    """
    if isinstance(model, type):
        raise ModelError(f"model: {model.__name__} is a class; pass a model made of it, {model.__name__}(...)")
    if device is not None:
        there = as_device(device)
        model.to(there)
        return there
    first = next(model.parameters(), None)
    return first.device if first is not None else torch.device("cpu")


def check_holds_parameters(optimizer: Optimizer, model: nn.Module) -> None:
    """Raise ModelError for an optimizer with none of the model's parameters, whose steps would change nothing.

    Some of them are enough: others may be frozen. A class of optimizers is an error, too.
    """
    if isinstance(optimizer, type):
        name = optimizer.__name__
        raise ModelError(f"optimizer: {name} is a class; pass one made of it, {name}(model.parameters(), lr=0.1)")
    own = {id(parameter) for parameter in model.parameters()}
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if own and not own & held:
        kind = type(optimizer).__name__
        raise ModelError(
            f"optimizer: {kind} holds no parameter of this {type(model).__name__}, so no step would change it; it was "
            f"made for another model: make it anew, torch.optim.{kind}(model.parameters(), "
            f"lr={optimizer.param_groups[0]['lr']:g})"
        )
