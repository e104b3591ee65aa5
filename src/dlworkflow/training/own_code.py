"""Settings that name things of a user's own files: which these are, and the names that the registries have for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dlworkflow import data, models
from dlworkflow.config import Layer, TrainConfig
from dlworkflow.data.images.augmentations import AUGMENTATIONS
from dlworkflow.engine.losses import LOSSES
from dlworkflow.engine.optimizers import OPTIMIZERS
from dlworkflow.engine.schedules import SCHEDULES
from dlworkflow.errors import ConfigError
from dlworkflow.metrics.functions import METRICS
from dlworkflow.registry import Registry
from dlworkflow.training.trackers import TRACKERS

_SECTIONS: dict[str, Registry[Any]] = {
    "model": models.REGISTRY,
    "data": data.REGISTRY,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "loss": LOSSES,
}

Rename = Callable[[Registry[Any], str], str]


def resolve_code(layer: Layer) -> Layer:
    """Return a layer in which `file.py:Name` and `file.py` are the names that the registries have for them.

    The files are imported, where the user has named them. What fails is left as it is: the check of all settings
    reports it.
    """
    return Layer(_renamed(layer.values, _resolved), layer.labels)


def own_things(config: TrainConfig) -> list[tuple[Registry[Any], str]]:
    """Return the things that settings name, each with its registry."""
    found: list[tuple[Registry[Any], str]] = []

    def note(registry: Registry[Any], name: str) -> str:
        found.append((registry, name))
        return name

    _renamed(config.to_tree(), note)
    return found


def _resolved(registry: Registry[Any], name: str) -> str:
    try:
        return registry.resolved(name)
    except ConfigError:
        return name


def _renamed(tree: Mapping[str, Any], rename: Rename) -> dict[str, Any]:
    """Return settings with each name of a thing renamed."""
    values = dict(tree)
    for section, registry in _SECTIONS.items():
        given = values.get(section)
        if isinstance(given, str):
            values[section] = rename(registry, given)
        elif isinstance(given, Mapping) and isinstance(given.get("name"), str):
            values[section] = {**given, "name": rename(registry, given["name"])}
    if isinstance(dataset := values.get("data"), Mapping) and dataset.get("transform"):
        values["data"] = {**dataset, "transform": _renamed_steps(dataset["transform"], rename)}
    if isinstance(metrics := values.get("metrics"), list):
        values["metrics"] = [rename(METRICS, each) if isinstance(each, str) else each for each in metrics]
    if track := values.get("track"):
        values["track"] = _renamed_keys(track, rename)
    return values


def _renamed_steps(spec: Any, rename: Rename) -> Any:
    """Return a transform, a text or a list of steps, with the names of its augmentations renamed."""
    if isinstance(spec, str):
        return ",".join(rename(AUGMENTATIONS, part.strip()) for part in spec.split(","))
    return [_renamed_step(step, rename) for step in spec] if isinstance(spec, list | tuple) else spec


def _renamed_step(step: Any, rename: Rename) -> Any:
    if isinstance(step, str):
        return rename(AUGMENTATIONS, step)
    if isinstance(step, Mapping) and isinstance(step.get("name"), str):
        return {**step, "name": rename(AUGMENTATIONS, step["name"])}
    return {_named(key, rename): value for key, value in step.items()} if isinstance(step, Mapping) else step


def _renamed_keys(track: Any, rename: Rename) -> Any:
    """Return trackers, in any way that `track` takes them, with their names renamed."""
    if isinstance(track, str):
        return ",".join(rename(TRACKERS, name.strip()) for name in track.split(","))
    if isinstance(track, Mapping):
        return {rename(TRACKERS, key) if isinstance(key, str) else key: part for key, part in track.items()}
    return [_renamed_keys(each, rename) for each in track] if isinstance(track, list | tuple) else track


def _named(key: Any, rename: Rename) -> Any:
    return rename(AUGMENTATIONS, key) if isinstance(key, str) else key
