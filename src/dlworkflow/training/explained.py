"""What a user may set and what it means: the settings of every run, and those of models, data sets, optimizers.

Joins the documentation of `config` with the signatures in the registries. Knows no run and no terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from dlworkflow.config.documentation import Setting, fixed_settings, settings_of_thing, split_default
from dlworkflow.config.flags import FLAGS
from dlworkflow.errors import ConfigError, unknown
from dlworkflow.registry import Registry

REGISTRIES = {  # section -> where the things are that its name chooses among
    "model": "dlworkflow.models:REGISTRY",
    "data": "dlworkflow.data:REGISTRY",
    "optimizer": "dlworkflow.engine.optimizers:OPTIMIZERS",
    "schedule": "dlworkflow.engine.schedules:SCHEDULES",
    "loss": "dlworkflow.engine.losses:LOSSES",
}


@dataclass(frozen=True)
class Explained:
    """A setting, the things that have it with their defaults (all where there are none), and how to set it."""

    setting: Setting
    owners: dict[str, str]
    example: str


def explain(key: str) -> Explained:
    """Explain one setting by its dotted key. Raises ConfigError, with the nearest key, for one that there is not."""
    setting, owners = fixed_settings().get(key), {}
    if setting is None:
        found = _owners(key)
        owners = {name: of_thing.default for name, of_thing in found.items()}
        defaults = set(owners.values())
        setting = next((one for one in found.values() if one.about), next(iter(found.values()), None))
        if setting is not None:
            setting = replace(setting, key=key, default=defaults.pop() if len(defaults) == 1 else "")
    if setting is None:
        raise ConfigError(f"{unknown('setting', key, known_keys())} (`dlw config` lists them)")
    flag = next((flag for flag in FLAGS.values() if flag.key == key), None)
    if flag is not None and not setting.about:
        setting = replace(setting, about=split_default(flag.about)[0])
    return Explained(setting, owners, f"{flag.name} {flag.metavar}".strip() if flag else _example(setting, owners))


def explain_all(section: str | None = None) -> list[Explained]:
    """Explain the settings that every run has; or those of one section, with the settings of its signatures."""
    return [explain(key) for key in (fixed_settings() if section is None else _keys_of(section))]


def sections() -> list[str]:
    """Return the sections of the settings."""
    return list(dict.fromkeys(key.partition(".")[0] for key in fixed_settings() if "." in key))


def registry_of(section: str) -> Registry[Any]:
    """Return the registry that the name of a section is looked up in."""
    module, _, attribute = REGISTRIES[section].partition(":")
    found: Registry[Any] = getattr(import_module(module), attribute)
    return found


def _owners(key: str) -> dict[str, Setting]:
    """Return the things that have a setting in their signature, by name."""
    section, _, setting = key.partition(".")
    if section not in REGISTRIES:
        return {}
    registry = registry_of(section)
    found = {name: settings_of_thing(registry, name) for name in registry.names()}
    return {name: own[setting] for name, own in found.items() if setting in own}


def _keys_of(section: str) -> list[str]:
    """Return the dotted keys of a section, those of every run first."""
    fixed = [key for key in fixed_settings() if key.startswith(f"{section}.")]
    registry = registry_of(section) if section in REGISTRIES else None
    own = [key for name in registry.names() for key in registry.settings(name)] if registry is not None else []
    return list(dict.fromkeys([*fixed, *(f"{section}.{key}" for key in own)]))


def known_keys() -> list[str]:
    """Return the dotted keys of all settings, those of every run first."""
    return list(dict.fromkeys([*fixed_settings(), *(key for section in REGISTRIES for key in _keys_of(section))]))


def _example(setting: Setting, owners: dict[str, str]) -> str:
    """Return the option that sets it, with a value."""
    default = setting.default or next((default for default in owners.values() if default), "")
    return f"--set {setting.key}={default if default not in ('', 'none') and ' ' not in default else 'VALUE'}"
