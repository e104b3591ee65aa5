"""From merged layers to checked settings: all errors at once, with the keys as the user wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dlworkflow.config.layers import SECTIONS, Layer, copy_tree
from dlworkflow.config.settings import EarlyStoppingSettings, SweepSettings, TrainConfig, Tree
from dlworkflow.errors import IN_QUOTES, ConfigError, plain, short, unknown


def build_config(layer: Layer, faults: Mapping[str, str] | None = None) -> TrainConfig:
    """Check a merged layer and return the settings.

    `faults` are those found elsewhere, {dotted key: sentence}. Raises ConfigError with all errors at once.
    """
    labels = {**{key.removesuffix(".name"): label for key, label in layer.labels.items()}, **layer.labels}
    found = {key: f"{labels.get(key, key)}: {sentence}" for key, sentence in (faults or {}).items()}
    config = None
    try:
        config = TrainConfig.model_validate(layer.values)
    except ValidationError as error:
        for fault in error.errors():
            key = _key_of(fault["loc"])
            label = layer.labels.get(key) or layer.labels.get(f"{key}.name", key)
            if key not in found and not (fault["type"] == "missing" and f"{key}.name" in found):
                found[key] = f"{label}: {_sentence(fault, key)}"
    if found or config is None:
        raise ConfigError(*found.values())
    return config


def build_sweep_settings(layer: Layer) -> SweepSettings:
    """Check the section `sweep` of a merged layer. Raises ConfigError with all errors at once."""
    given = layer.values.get("sweep", {})
    label = layer.labels.get("sweep", "sweep")
    if not isinstance(given, dict):
        raise ConfigError(f"{label}: must be a mapping of settings, not {short(repr(given))}")
    try:
        return SweepSettings.model_validate(given)
    except ValidationError as error:
        found: dict[str, str] = {}
        for fault in error.errors():
            key = f"sweep.{fault['loc'][0]}"
            known = list(SweepSettings.model_fields)
            extra = fault["type"] == "extra_forbidden"
            sentence = unknown("setting", fault["loc"][0], known) if extra else _sentence(fault, key)
            found.setdefault(key, f"{layer.labels.get(key, key)}: {sentence}")
        raise ConfigError(*found.values()) from None


def right_part(values: Tree) -> tuple[TrainConfig | None, frozenset[str]]:
    """Return the settings with those that are wrong left at their defaults, and the keys of the wrong ones.

    None where even so no settings come out: where the model, the data or the optimizer cannot be made sense of.
    """
    wrong: set[str] = set()
    while True:
        try:
            return TrainConfig.model_validate(values), frozenset(wrong)
        except ValidationError as error:
            faulty = {_key_of(fault["loc"]) for fault in error.errors()}
            values = {key: copy_tree(value) for key, value in values.items()}
            for key in faulty:
                if not _uproot(values, key):
                    return None, frozenset(wrong)
            wrong |= faulty


def _uproot(tree: Tree, key: str) -> bool:
    """Take a dotted key out of a tree; return whether it was there."""
    section, _, name = key.rpartition(".")
    branch = tree[section] if section else tree
    return isinstance(branch, dict) and branch.pop(name, branch) is not branch


def _key_of(location: tuple[int | str, ...]) -> str:
    """Drop from pydantic's location what a user did not write: the branches of a union."""
    parts = [str(part) for part in location]
    return ".".join(parts[:2] if parts[0] in SECTIONS else parts[:1])


def _sentence(fault: Any, key: str) -> str:
    """Return the sentence for one error of pydantic."""
    kind, given, limits = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        section, _, name = key.rpartition(".")
        known = EarlyStoppingSettings if section == "early_stopping" else TrainConfig
        return unknown("setting", name, known.model_fields)
    if kind == "missing":
        return "is missing"
    if kind == "literal_error" and key not in _WORDS:
        values = [value.strip("'") for value in limits["expected"].replace(" or ", ", ").split(", ")]
        return unknown("value", given, values)
    bounds = {
        "greater_than": "more than {gt}",
        "greater_than_equal": "at least {ge}",
        "less_than": "less than {lt}",
        "less_than_equal": "at most {le}",
        "int_type": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "model_type": "a mapping of settings" if key == "early_stopping" else "a name or a mapping of settings",
        "list_type": "a list",
        "too_short": "a list of at least one",
        "literal_error": limits.get("expected", ""),
    }
    shown = short(" ".join(repr(given).split()))
    shown_limits = {name: plain(limit) if isinstance(limit, (int, float)) else limit for name, limit in limits.items()}
    if kind == "value_error":
        return f"{limits['error']}, not {shown}"
    if kind in bounds:
        word = _WORDS.get(key)
        quotes = f"; {IN_QUOTES}" if kind == "string_type" else ""
        return f"must be {bounds[kind].format(**shown_limits)}{f' or {word!r}' if word else ''}, not {shown}{quotes}"
    return f"{fault['msg']}, not {shown}"


_WORDS = {"data.batch_size": "full", "data.val_seed": "seed"}
_WORDS |= dict.fromkeys(("threads", "sweep.jobs", "channels_last"), "auto")
