"""The settings of a run, resolved in layers, completed from model and data, and checked once, all together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlworkflow import data, models
from dlworkflow.config import DataSettings, Layer, ModelSettings, TrainConfig, build_config, merge
from dlworkflow.config.conflicts import contradictions
from dlworkflow.errors import ConfigError, few
from dlworkflow.training.transfer import settle


def resolve_config(layers: Sequence[Layer]) -> TrainConfig:
    """Lay the user's settings over the recipe of the model they name and check everything.

    `layers` go from weakest to strongest; a key `recipe` in them chooses among the model's recipes. Raises ConfigError
    with all faults at once.
    """
    user = merge([locate_data(layer) for layer in layers])
    which = user.values.pop("recipe", models.USUAL)
    name = _section(user.values, "model").get("name")
    faults: dict[str, str] = {}
    recipe: dict[str, Any] = {}
    if name is None:
        faults["model.name"] = f"no model was named; possible: {few(models.names(), 20, quoted=False)}"
    elif _faultless(models.check_name, name, faults, "model.name"):
        try:
            chosen = models.recipe(str(name), str(which))
        except ConfigError as error:
            faults["recipe"], chosen = str(error).removeprefix("recipe: "), models.recipe(str(name))
        chosen = _for_data(chosen, _section(user.values, "data").get("name"))
        recipe = {**chosen, "model": {"name": name, **chosen.get("model", {})}}
    fallback = {"optimizer": {"name": "adam"}, "schedule": {"name": "constant"}} | (
        {"data": {"name": ""}, "model": {"name": ""}} if not recipe else {}
    )
    layer = merge([Layer(fallback), Layer(recipe), user])
    if recipe:
        layer, found = settle(layer, str(name))
        faults |= found
        given = {key: value for key, value in _section(layer.values, "model").items() if key != "name"}
        faults |= {f"model.{key}": fault for key, fault in models.faults(str(name), given).items()}
    dataset = _section(layer.values, "data")
    if dataset.get("name") is None:
        faults["data.name"] = f"model {name!r} has no usual data; name some with --data"
    elif dataset["name"] != "" and _faultless(data.check_name, dataset["name"], faults, "data.name"):
        given = {key: value for key, value in dataset.items() if key not in DataSettings.model_fields}
        faults |= {f"data.{key}": fault for key, fault in data.faults(str(dataset["name"]), given).items()}
    known = data.entries().get(str(dataset.get("name")))
    return build_config(layer, contradictions(layer.values, known.task if known else "any") | faults)


def locate_data(layer: Layer) -> Layer:
    """Return a layer in which `data` may be a path, as after `--data`: from the working folder, where it is relative.

    A name that is neither is left for the check of all settings. Raises MissingDataError for a path that is not there,
    ConfigError for an address.
    """
    section = _section(layer.values, "data")
    name = section.get("name")
    if not isinstance(name, str) or name in data.names():
        return layer
    try:
        located = data.locate(name, layer.labels.get("data.name", "data.name"))
    except ConfigError:
        if Path(name).name == name:
            return layer
        raise
    return Layer(dict(layer.values) | {"data": {**section, **located}}, layer.labels)


def _for_data(recipe: dict[str, Any], name: object) -> dict[str, Any]:
    """Let a recipe's pictures be prepared alike where the user trains on other data that has settings for it."""
    own = recipe.get("data", {})
    if name in (None, own.get("name")) or name not in data.names():
        return recipe
    known = data.settings(str(name))
    kept = {key: own[key] for key in ("image_size", "transform") if key in own and key in known}
    served = {key: value for key, value in own.items() if key in DataSettings.model_fields}
    return recipe | {"data": served | kept | {"name": name}}


def fill_defaults(config: TrainConfig) -> TrainConfig:
    """Return the settings with those of the model's and the data set's signatures filled in."""
    model = config.model.model_dump() | models.settings(config.model.name) | config.model.settings
    dataset = config.data.model_dump() | data.settings(config.data.name) | config.data.settings
    return config.model_copy(update={"model": ModelSettings(**model), "data": DataSettings(**dataset)})


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, Mapping) else {}


def _faultless(check: Callable[[str], None], name: object, faults: dict[str, str], key: str) -> bool:
    try:
        check(str(name))
    except ConfigError as error:
        faults[key] = str(error).removeprefix(f"{key}: ")
        return False
    return True
