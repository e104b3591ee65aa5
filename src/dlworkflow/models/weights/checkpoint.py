"""Weights on disk: plain state_dicts, written whole or not at all, read without running what is in the file."""

from __future__ import annotations

import io
import logging
import math
import os
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from dlworkflow.errors import DlwError, ModelError, RunError, few, first_line, not_installed, short, system_reason
from dlworkflow.files.paths import open_regular, user_path
from dlworkflow.files.writing import write_whole
from dlworkflow.models.weights.names import StateDict, as_named, log_notes

_log = logging.getLogger(__name__)

_ZIP = b"PK\x03\x04"
SAFETENSORS = ".safetensors"


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
    """Read a state_dict, or the one within a training checkpoint (`{"model_state_dict": ..., "epoch": 3}`).

    Raises ModelError for a file that holds none, is cut short, or holds anything but tensors.
    """
    found = _load(Path(path), "weights")
    entry, weights = _state_dict_of(found)
    if weights is None:
        kind = "nothing" if found is None else type(found).__name__
        holds = f"but {few(found)}" if isinstance(found, dict) else f"but {kind}"
        raise ModelError(f"{str(path)!r} holds no state_dict (names and tensors), {holds}")
    if hollow := [name for name, tensor in weights.items() if not _is_whole(tensor)]:
        raise ModelError(f"{str(path)!r} holds no plain numbers for {hollow[0]}")
    if entry:
        _log.warning("weights %r: read from its entry %s", str(path), entry)
    return weights


_ENTRIES = ("model_state_dict", "state_dict", "model", "net", "network", "weights", "model_state")
"""What training scripts call the weights within a checkpoint."""


def _state_dict_of(found: Any) -> tuple[str, dict[str, Tensor] | None]:
    """Return a state_dict and the entry that it was found in, which is empty for the whole; None where there is none.

    An entry of a usual name comes first; of others, there must be only one that is a state_dict.
    """
    if _is_state_dict(found):
        return "", found
    if not isinstance(found, dict):
        return "", None
    inner = {str(key): part for key, part in found.items() if isinstance(part, dict) and part}
    fitting = [key for key, part in inner.items() if _is_state_dict(part)]
    chosen = next((key for key in _ENTRIES if key in fitting), fitting[0] if len(fitting) == 1 else None)
    return ("", None) if chosen is None else (repr(chosen), inner[chosen])


def _is_state_dict(found: Any) -> bool:
    return isinstance(found, dict) and all(
        isinstance(key, str) and isinstance(part, Tensor) for key, part in found.items()
    )


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_state` wrote. Raises ModelError as `load_weights` does."""
    state = _load(Path(path), "training state")
    if not isinstance(state, dict) or "epochs_done" not in state:
        raise ModelError(f"{str(path)!r} holds no training state")
    return state


def unlike(found: Any, own: Any, where: str) -> str:
    """Say what in a state that was read is of another kind or shape than in `own`, of the same origin; or nothing.

    Of dictionaries, whatever both have is compared, and what tensors, numbers and further parts `own` has must be
    there: another version of torch has other switches.
    """
    if isinstance(own, dict):
        if not isinstance(found, dict):
            return f"{where} is {_kind(found)}"
        for key, part in own.items():
            if key in found:
                if fault := unlike(found[key], part, f"{where}.{key}"):
                    return fault
            elif isinstance(part, (Tensor, dict, list, tuple)) or _is_number(part):
                return f"{where} lacks {key}"
        return ""
    if isinstance(own, (list, tuple)):
        if not isinstance(found, (list, tuple)) or len(found) != len(own):
            return f"{where} is {_kind(found)}"
        return next(filter(None, (unlike(a, b, where) for a, b in zip(found, own, strict=True))), "")
    if isinstance(own, Tensor):
        alike = isinstance(found, Tensor) and found.shape == own.shape and found.dtype == own.dtype
        return "" if alike and _is_whole(found) else f"{where} is {_kind(found)}"
    if _is_number(own):
        whole = isinstance(own, int)
        alike = _is_number(found) and (isinstance(found, int) or not whole) and abs(found) < 2**63
        open_ended = isinstance(own, float) and math.isinf(own) and isinstance(found, float)  # a best loss so far
        fits = (open_ended and not math.isnan(found)) or (alike and found >= min(own, 0))
        return "" if fits else f"{where} is {short(repr(found), 60) if _is_number(found) else _kind(found)}"
    return "" if type(found) is type(own) else f"{where} is {_kind(found)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    return f"of kind {type(value).__name__}{shape}"


def _save(content: dict[str, Any], path: Path) -> Path:
    buffer = io.BytesIO()  # torch's own writer says nothing of a full disk, a plain write does
    torch.save(content, buffer)
    return write_whole(path, lambda stream: stream.write(buffer.getbuffer()))


def _load(path: Path, what: str) -> Any:
    try:
        with open_regular(path) as stream, warnings.catch_warnings():
            if path.suffix.lower() == SAFETENSORS:
                return _safetensors(path, stream)
            warnings.simplefilter("ignore")  # torch warns of files that are no checkpoints before it refuses them
            _check_unpacked_size(path, stream)
            return torch.load(stream, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"no {what} {str(path)!r}") from None
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        other = f" ({named[1]})" if named else ""
        raise ModelError(
            f"{str(path)!r} holds something else than tensors{other} and is not loaded; "
            "write the weights with torch.save(model.state_dict(), FILE)"
        ) from None
    except DlwError:
        raise
    except (RuntimeError, OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{str(path)!r} is no whole file of {what}: {first_line(error).split('. ')[0]}") from None
    except Exception:  # noqa: BLE001 - whatever torch stumbles over is in the file
        raise ModelError(f"{str(path)!r} is no whole file of {what}: PyTorch cannot make sense of it") from None


def _safetensors(path: Path, stream: BinaryIO) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, which holds nothing that could run."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ModuleNotFoundError:
        raise ModelError(not_installed(repr(str(path)), "safetensors", "safetensors")) from None
    try:
        return load(stream.read())
    except SafetensorError as error:
        raise ModelError(f"{str(path)!r} is no whole safetensors file: {first_line(error)}") from None


def _check_unpacked_size(path: Path, stream: BinaryIO) -> None:
    """Raise ModelError for a file that takes more room when it is read than on disk, as torch writes none."""
    if stream.read(4) == _ZIP:
        with zipfile.ZipFile(stream) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > (size := os.fstat(stream.fileno()).st_size):
            raise ModelError(
                f"{str(path)!r} is compressed: {unpacked:,} bytes in {size:,}; PyTorch writes weights uncompressed, "
                "write it again: torch.save(torch.load(FILE), FILE)"
            )
    stream.seek(0)


def _is_whole(tensor: Tensor) -> bool:
    """Say whether a file holds every number of a tensor: a small one can claim a shape that fills any memory."""
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    return plain and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def apply_weights(model: nn.Module, weights: StateDict, *, source: str = "the weights") -> None:
    """Copy weights into a model of the same architecture.

    Raises ModelError that lists missing, unexpected and misshapen names; the model is then as it was.
    """
    weights, notes = as_named(weights, own := model.state_dict())
    if faults := weight_faults(own, weights):
        raise ModelError(f"{source} are not of this {type(model).__name__}: {list_faults(faults)}")
    model.load_state_dict(_versioned(model, weights))
    log_notes(notes, source)


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
    """Return errors in one line, the first of them and how many more there are."""
    return ", ".join(faults[:most]) + (f" and {len(faults) - most} more" if len(faults) > most else "")


def save_model(model: nn.Module, target_dir: str | os.PathLike[str], model_name: str) -> Path:
    """Write a model's weights to `target_dir/model_name` and return that path; the folder is made where missing.

    Raises ValueError unless `model_name` ends in .pth or .pt, and RunError for a folder that cannot be made.
    """
    if not model_name.endswith((".pth", ".pt")):
        raise ValueError(f"model_name ends in .pth or .pt, not {model_name!r}")
    folder = user_path(target_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {str(folder)!r}: {system_reason(error)}") from None
    return save_weights(model.state_dict(), folder / model_name)


def count_parameters(model: nn.Module) -> int:
    """Return how many trainable numbers a model has."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def load_matching(model: nn.Module, weights: StateDict, *, source: str = "the weights") -> tuple[list[str], list[str]]:
    """Copy the weights whose name and shape a model shares, and leave its others; return (matched, not matched).

    Raises ModelError when nothing matches.
    """
    weights, notes = as_named(weights, own := model.state_dict())
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
    log_notes(notes, source)
    return matched, others
