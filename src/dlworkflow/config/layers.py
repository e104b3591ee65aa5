"""Settings from one source each (a recipe, a file, `--set`, flags) and how they are laid over each other.

A layer is nested plain data; whether it fits is checked elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlworkflow.config.flags import SHORT
from dlworkflow.config.settings import DataSettings, Tree, trackers_in
from dlworkflow.config.yaml_text import MOST_CHARACTERS, load_yaml
from dlworkflow.errors import ConfigError, MissingDataError, system_reason
from dlworkflow.files.paths import read_small_text
from dlworkflow.registry.user_code import use_code_named_in

NAMED = ("model", "data", "optimizer", "schedule", "loss")
"""The sections that a name alone may stand for."""

SECTIONS = (*NAMED, "early_stopping")
"""Settings that have settings below them."""

_OF_RUNS = ("summary.json", "sweep.json")
"""Files beside the settings of a run or a sweep: these are not a user's own, and no code is imported on their word."""

_NO_TRAINING = ("recipe", "model", "data", "sweep", "seed", "device", "threads", "track")
"""Settings that do not say how to train, apart from some of these sections."""

_SERVING = ("batch_size", "shuffle", "sampler", "transform", "image_size", "standardize")
"""Settings of data that do; all others say which data it is, and which of its samples."""


@dataclass(frozen=True)
class Layer:
    """Settings from one source: nested `values`, and how the user wrote each dotted key (for messages)."""

    values: Tree
    labels: Mapping[str, str] = field(default_factory=dict)


def read_file(path: Path) -> Layer:
    """Read a YAML file of settings.

    Raises MissingDataError when it is not there and ConfigError when it is no YAML mapping of settings.
    """
    try:
        text = read_small_text(path, MOST_CHARACTERS)
    except FileNotFoundError:
        raise MissingDataError(f"--config: no file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config: cannot read {str(path)!r}: {system_reason(error)}") from None
    values = load_yaml(text, where=str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping of settings, not {type(values).__name__}")
    values = _named_sections(values)
    if not any(path.with_name(name).exists() for name in _OF_RUNS):
        use_code_named_in(values)
    return Layer(values, {key: f"{path}: {key}" for key in _dotted(values)})


def from_overrides(pairs: Iterable[str]) -> Layer:
    """Read `key=value` pairs (`optimizer.lr=1e-3`, `data.transform=flip`); values are YAML scalars or lists."""
    values: Tree = {}
    faults = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            faults.append(f"--set {pair}: write it as key=value, for example --set optimizer.lr=0.01")
            continue
        try:
            _plant(values, key, load_yaml(text, where=f"--set {key}"))
        except ConfigError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigError(*faults)
    values = _named_sections(values)
    use_code_named_in(values)
    return Layer(values, {key: f"--set {key}" for key in _dotted(values)})


def from_mapping(settings: Mapping[str, Any]) -> Layer:
    """Turn settings as Python users write them into a layer, whose messages name each as it was written.

    Sections are nested or dotted, `{"optimizer": {"lr": 0.1}}` or `{"optimizer.lr": 0.1}`; what has an option of the
    command line may bear its name: `{"lr": 0.1}`. Raises ConfigError for a setting that is given twice.
    """
    found: dict[str, tuple[str, Any]] = {}
    faults = []
    for name, given in _leaves(settings):
        key = SHORT.get(name, name)
        key = f"{key}.name" if key in NAMED and isinstance(given, str | os.PathLike) else key
        value = _plain(given, key)
        if key in found and found[key][1] != value:
            faults.append(f"{name}: {value!r} contradicts {found[key][0]} {found[key][1]!r}; leave one out")
        found.setdefault(key, (name, value))
    if faults:
        raise ConfigError(*faults)
    values: Tree = {}
    for key, (_, value) in found.items():
        _plant(values, key, value)
    use_code_named_in(values)
    return Layer(values, {key: name for key, (name, _) in found.items()})


def over_notes(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers of files or of Python settings over the recipe `notes`, if they set how to train.

    Those which only name a model and data, choose samples, a seed or a device are left to the recipe that suits the
    data.
    """
    sets = any(_sets_training(layer.values) for layer in layers)
    return [*([Layer({"recipe": "notes"})] if sets else []), *layers]


def _sets_training(values: Tree) -> bool:
    sections = {key: value if isinstance(value, Mapping) else {} for key, value in values.items()}
    own = [key for key in values if key not in _NO_TRAINING]
    own += [key for key in sections.get("model", {}) if key != "name"]
    own += [key for key in sections.get("data", {}) if key in _SERVING]
    return bool(own or {"grid", "variants"} & sections.get("sweep", {}).keys())


def _leaves(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the settings of sections by dotted keys beside all others."""
    leaves = []
    for name, value in settings.items():
        nested = isinstance(value, Mapping) and name in SECTIONS
        leaves += [(f"{name}.{key}", part) for key, part in value.items()] if nested else [(str(name), value)]
    return leaves


def _plain(value: Any, key: str) -> Any:
    """Return a value as YAML has it: text for a path or a device, numbers for NumPy's, lists for tuples."""
    if isinstance(value, os.PathLike):
        bare = key == "data.name" and not Path(value).is_absolute()  # a path, though a data set may have its name
        return f"./{os.fspath(value)}" if bare else os.fspath(value)
    if key == "device" and type(value).__name__ == "device":
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def from_values(settings: Mapping[str, Any], flag: str) -> Layer:
    """Turn {dotted key: value} into a layer whose messages say `flag` before the key."""
    values: Tree = {}
    for key, value in settings.items():
        _plant(values, key, value)
    values = _named_sections(values)
    return Layer(values, {key: f"{flag} {key}" for key in _dotted(values)})


def read_values(text: str, *, where: str) -> list[Any]:
    """Read values with commas between them (`1e-3,1e-2`, `[32, 32],[64, 64]`) as YAML does."""
    found: list[Any] = load_yaml(f"[{text}]", where=where)
    return found


def from_flags(flags: Mapping[str, tuple[str, Any]]) -> Layer:
    """Turn {dotted key: (flag as typed, value or None when it was not given)} into a layer."""
    values: Tree = {}
    labels = {}
    for key, (flag, value) in flags.items():
        if value is not None:
            _plant(values, key, value)
            labels[key] = flag
    use_code_named_in(values)
    return Layer(values, labels)


def merge(layers: Sequence[Layer]) -> Layer:
    """Lay each layer over those before it.

    A section whose `name` changes starts anew: the learning rate that a recipe chose for SGD is none for Adam.
    `data` keeps what serves any data set (batch size, shuffling, workers, folder).
    """
    values: Tree = {}
    labels: dict[str, str] = {}
    for layer in layers:
        for key, value in layer.values.items():
            below = values.get(key)
            if key == "track" and isinstance(value, dict) and below:
                values[key] = _over_trackers(below, value)
                continue
            if not isinstance(value, dict) or not isinstance(below, dict):
                values[key] = copy_tree(value)
                continue
            if "name" in value and below.get("name", value["name"]) != value["name"]:
                kept = set(DataSettings.model_fields) - {"name"} if key == "data" else set()
                below = {name: setting for name, setting in below.items() if name in kept}
            values[key] = below | copy_tree(value)
        labels |= layer.labels
    return Layer(values, labels)


def _over_trackers(below: Any, settings: Tree) -> Tree:
    """Return the trackers of a layer, in any way that `track` takes them, with `settings` by name laid over theirs."""
    try:
        known = trackers_in(below)
    except ValueError:  # what is wrong is reported of the layer that is left
        return dict(copy_tree(settings))
    own = {name: known.get(name, {}) | part for name, part in settings.items() if isinstance(part, dict)}
    return {**known, **copy_tree(settings), **copy_tree(own)}


def together(*layers: Layer) -> Layer:
    """Join layers that the user typed at once: a later value wins, but nothing typed is dropped unseen.

    Raises ConfigError for two names of one thing: settings would be dropped with the name that they belong to.
    """
    values: Tree = {}
    labels: dict[str, str] = {}
    for layer in layers:
        for key, value in layer.values.items():
            below = values.get(key)
            if isinstance(value, dict) and below is not None:
                if not isinstance(below, dict):
                    raise ConfigError(f"{labels.get(key, key)}: must be a name or settings, not {below!r}")
                _refuse_another_name(key, Layer(below, labels), Layer(value, layer.labels))
                values[key] = below | copy_tree(value)
            elif isinstance(below, dict) and isinstance(value, list):
                values[key] = _with_settings(value, Layer({key: below}, labels), layer.labels.get(key, key))
            else:
                values[key] = copy_tree(value)
        labels |= layer.labels
    return Layer(values, labels)


def _with_settings(names: list[Any], below: Layer, said: str) -> list[Any]:
    """Return names as `--track mlflow` gives them, each with its settings as `--set track.mlflow.log_model=true` does.

    Raises ConfigError for settings of a name that is not among them.
    """
    [(key, settings)] = below.values.items()
    if others := [name for name in settings if name not in names]:
        label = below.labels.get(f"{key}.{others[0]}", key)
        raise ConfigError(f"{label}: {others[0]!r} is not among the names of {said}; add it, or leave this out")
    return [{name: settings[name]} if name in settings else name for name in names]


def _refuse_another_name(section: str, below: Layer, above: Layer) -> None:
    """Raise ConfigError when two layers name different things in a section."""
    first, second = below.values.get("name"), above.values.get("name")
    if first is not None and second is not None and first != second:
        said, other = (layer.labels.get(f"{section}.name", section) for layer in (below, above))
        raise ConfigError(f"{said}: {first!r} contradicts {other} {second!r}; leave one out")


def _named_sections(values: Tree) -> Tree:
    """Let `model: tinyvgg` stand for `model: {name: tinyvgg}`."""
    return {key: {"name": value} if key in NAMED and isinstance(value, str) else value for key, value in values.items()}


def _plant(tree: Tree, key: str, value: Any) -> None:
    """Set a dotted key in a nested tree."""
    *sections, name = key.split(".")
    branch = tree
    for section in sections:
        below = branch.setdefault(section, {})
        if isinstance(below, str) and branch is tree:
            below = branch[section] = {"name": below}
        if not isinstance(below, dict):
            raise ConfigError(f"--set {key}: {section!r} was set to {below!r} and has no settings below it")
        branch = below
    if isinstance(branch.get(name), dict) and isinstance(value, str):
        branch[name]["name"] = value
    else:
        branch[name] = value


def _dotted(tree: Mapping[str, Any]) -> list[str]:
    """Return the keys of a tree, and those one level below, dotted."""
    keys = []
    for key, value in tree.items():
        keys.append(str(key))
        if isinstance(value, dict):
            keys.extend(f"{key}.{name}" for name in value)
    return keys


def copy_tree(value: Any) -> Any:
    """Return nested dictionaries that can be changed without changing these; what is no dictionary stays the same."""
    return {key: copy_tree(part) for key, part in value.items()} if isinstance(value, dict) else value
