"""Weights on disk: plain state_dicts, written whole or not at all, read without running what is in the file."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlworkflow.errors import ModelError, first_line
from dlworkflow.writing import write_whole

StateDict = Mapping[str, Tensor]


def save_weights(weights: StateDict, path: str | os.PathLike[str]) -> Path:
    """Write a state_dict to `path` through a temporary file beside it; return the path.

    `torch.load(path, weights_only=True)` reads it without this library. Raises RunError naming the file that cannot
    be written; the one that was there before is then still whole.
    """
    plain = {name: tensor.detach().cpu() for name, tensor in weights.items()}
    return _save(plain, Path(path))


def save_state(state: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the state of a training run (tensors, numbers, texts, and lists and dictionaries of these) as whole."""
    return _save(dict(state), Path(path))


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a state_dict. Raises ModelError for a file that is none, is cut short, or holds anything but tensors."""
    weights = _load(Path(path), "weights")
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ModelError(f"{str(path)!r} holds no state_dict (names and tensors)")
    if hollow := [name for name, tensor in weights.items() if not _is_whole(tensor)]:
        raise ModelError(f"{str(path)!r} holds no plain numbers for {hollow[0]}")
    return weights


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_state` wrote. Raises ModelError as `load_weights` does."""
    state = _load(Path(path), "training state")
    if not isinstance(state, dict) or "epochs_done" not in state:
        raise ModelError(f"{str(path)!r} holds no training state")
    return state


def _save(content: dict[str, Any], path: Path) -> Path:
    buffer = io.BytesIO()  # torch's own writer says nothing of a full disk, a plain write does
    torch.save(content, buffer)
    return write_whole(path, lambda stream: stream.write(buffer.getbuffer()))


def _load(path: Path, what: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of files that are no checkpoints before it refuses them
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"no {what} {str(path)!r}") from None
    except pickle.UnpicklingError:
        raise ModelError(f"{str(path)!r} holds something else than tensors and is not loaded") from None
    except (RuntimeError, OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{str(path)!r} is no whole file of {what}: {first_line(error).split('. ')[0]}") from None
    except (EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise ModelError(f"{str(path)!r} is no whole file of {what}: PyTorch cannot make sense of it") from None


def _is_whole(tensor: Tensor) -> bool:
    """Say whether a file holds every number of a tensor: a small one can claim a shape that fills any memory."""
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    return plain and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def apply_weights(model: nn.Module, weights: StateDict, *, source: str = "the weights") -> None:
    """Copy weights into a model of the same architecture.

    Raises ModelError that lists missing, unexpected and misshapen names; the model is then as it was.
    """
    faults = weight_faults(model.state_dict(), weights)
    if faults:
        raise ModelError(f"{source} are not of this {type(model).__name__}: {list_faults(faults)}")
    model.load_state_dict(_versioned(model, weights))


def _versioned(model: nn.Module, weights: StateDict) -> dict[str, Tensor]:
    """Return weights as `load_state_dict` takes them, of the version that the model's own are.

    A plain dictionary has none, and torchvision's MNASNet refuses it.
    """
    plain = OrderedDict(weights)
    plain._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    return plain


def weight_faults(own: StateDict, weights: StateDict) -> list[str]:
    """Return what keeps weights out of a model whose own are `own`: missing, unexpected and misshapen names."""
    faults = [f"missing {name}" for name in own if name not in weights]
    faults += [f"unexpected {name}" for name in weights if name not in own]
    return faults + [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]


def list_faults(faults: Sequence[str], most: int = 6) -> str:
    """Return faults in one line, the first of them and how many more there are."""
    return ", ".join(faults[:most]) + (f" and {len(faults) - most} more" if len(faults) > most else "")


def save_model(model: nn.Module, target_dir: str | os.PathLike[str], model_name: str) -> Path:
    """Write a model's weights to `target_dir/model_name` and return that path; the folder is made where missing.

    Raises ValueError unless `model_name` ends in .pth or .pt.
    """
    if not model_name.endswith((".pth", ".pt")):
        raise ValueError(f"model_name ends in .pth or .pt, not {model_name!r}")
    folder = Path(target_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return save_weights(model.state_dict(), folder / model_name)


def load_model(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Read weights that `save_model` (or `torch.save(model.state_dict(), path)`) wrote into `model`; return it."""
    apply_weights(model, load_weights(path), source=f"weights {str(path)!r}")
    return model


def count_parameters(model: nn.Module) -> int:
    """Return how many trainable numbers a model has."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def load_matching(model: nn.Module, weights: StateDict) -> tuple[list[str], list[str]]:
    """Copy the weights whose name and shape a model shares, and leave its others; return (matched, not matched).

    Raises ModelError when nothing matches.
    """
    own = model.state_dict()
    matched = [name for name in own if name in weights and weights[name].shape == own[name].shape]
    others = [f"{name} (not in the file)" for name in own if name not in weights]
    others += [
        f"{name} ({tuple(weights[name].shape)} in the file, {tuple(own[name].shape)} here)"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    others += [f"{name} (not in the model)" for name in weights if name not in own]
    if not matched:
        raise ModelError(f"no weight matches this {type(model).__name__}: {', '.join(others[:6])}")
    model.load_state_dict(_versioned(model, own | {name: weights[name] for name in matched}))
    return matched, others
