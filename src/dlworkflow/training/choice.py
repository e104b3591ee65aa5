"""What a training takes where the user names no recipe or no model, and the sentence that says so.

Knows the tables of models, recipes and data sets, and settings as nested dictionaries; builds and loads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlworkflow import data, models
from dlworkflow.config import DataSettings, TrainConfig, Tree
from dlworkflow.errors import ConfigError

_LOOKS = {"photos": "photos", "grey": "small grey images", "points": "points", "table": "tables of numbers"}
"""What data looks like, in words."""


def recipe_for(
    model: str, dataset: Mapping[str, Any], which: object = None, faults: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return the settings of a recipe of `model`, as its images are prepared for `dataset`; its name is `recipe`.

    Without a name `which` it is the one that works on what the data looks like, the model's usual data if none is
    named. A name that the model has not is noted in `faults`; {} with the name None are the settings of no recipe.
    """
    chosen: dict[str, Any]
    named = which is not None
    if not named:
        dataset = {"name": models.entry(model).data, **dataset}
        which = models.usual_recipe(model, data.looks(dataset), str(dataset["name"]))
    try:
        chosen = models.recipe(model, str(which), data.looks(dataset))
    except ConfigError as error:
        if faults is None:
            raise
        faults["recipe"], chosen = str(error).removeprefix("recipe: "), models.recipe(model)
    taken = which if chosen or named else None
    chosen = _for_data(chosen, dataset)
    return {**chosen, "model": {"name": model, **chosen.get("model", {})}, "recipe": taken}


def usual_epochs(config: Mapping[str, Any]) -> int:
    """Return how many epochs the recipe of a run has, as `config` its settings; the default where it has none."""
    known: int = TrainConfig.model_fields["epochs"].default
    epochs: int = recipe_for(config["model"]["name"], config["data"], config.get("recipe"), {}).get("epochs", known)
    return epochs


def _for_data(recipe: dict[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Let a recipe's images be prepared alike where the user trains on other data that has settings for it.

    Images that must not be mirrored, as those of digits, are not.
    """
    own = recipe.get("data", {})
    name = dataset.get("name") or own.get("name")
    if "transform" in own and not data.mirrors({**own, **dataset}):
        own = own | {"transform": [step for step in own["transform"] if step != "flip"]}
    if name in (None, own.get("name")) or name not in data.names():
        return recipe | ({"data": own} if own else {})
    known = data.settings(str(name))
    kept = {key: own[key] for key in ("image_size", "transform", "standardize") if key in own and key in known}
    served = {key: value for key, value in own.items() if key in DataSettings.model_fields}
    return recipe | {"data": served | kept | {"name": name}}


def is_of_recipe(config: TrainConfig, key: str) -> bool:
    """Return whether a setting has the value, or a section the name, that the recipe of these settings gives it.

    False for a setting within a section, `data.sampler`: a section is taken or left as a whole.
    """
    name, which = config.model.name, config.recipe
    if "." in key or which is None or which not in models.recipe_names(name):
        return False
    recipe, value = models.recipe(name, which, data.looks(config.data.model_dump())), getattr(config, key)
    return key in recipe and (recipe[key]["name"] == value.name if hasattr(value, "name") else recipe[key] == value)


def begin_data(given: Mapping[str, Any]) -> None:
    """Begin to read the data that settings name, or that is usual for their model, see `data.begin`.

    Settings that are wrong are left for their check.
    """
    model, dataset = (part if isinstance(part := given.get(key), Mapping) else {} for key in ("model", "data"))
    usual = models.entries().get(str(model.get("name")))
    name, folder = dataset.get("name") or (usual.data if usual is not None else None), dataset.get("data_dir")
    if isinstance(name, str) and isinstance(folder, str | None):
        data.begin(name, folder)


def describe_recipe(config: TrainConfig) -> str:
    """Return which recipe is taken and what it is for; "" where there is none."""
    name, looks = config.model.name, data.looks(config.data.model_dump())
    better = looks in models.recipe_looks(name, "best")
    if config.recipe == models.NOTES:
        return "notes, the course's settings" + ("; --recipe best is more accurate on such data" if better else "")
    if config.recipe is None:
        return ""
    others = [which for which in models.recipe_names(name) if which != config.recipe and models.recipe(name, which)]
    other = f"; the course's settings: --recipe {models.NOTES}" if models.NOTES in others else ""
    return f"{config.recipe}, for {_LOOKS[looks]}{other}" if better else f"{config.recipe}{other}"


def choose_model(dataset: Mapping[str, Any]) -> tuple[Tree, str]:
    """Return the settings that name a model for data, given by its settings, where the user names none, and why.

    Raises ConfigError where nothing is known of the data.
    """
    from dlworkflow.models.weights.pretrained import at_hand

    looks, name = data.looks(dataset), str(dataset.get("name"))
    if looks == "points":
        usual = [model for model, entry in models.entries().items() if entry.data == name]
        known = [model for model in _OF_POINTS if model in usual] or ["mlp"]
        return _model(known[0]), f"the usual model of {name}" if usual else "a model for points"
    if looks == "table":
        return _model("mlp"), "a model for tables of numbers"
    if looks == "grey":
        return _model("tinyvgg"), "a small model for small grey images"
    if looks == "photos":
        if (backbone := at_hand()) is None:
            return _model("tinyvgg"), "for photos where no pretrained weights are at hand (see `dlw guide transfer`)"
        frozen = {} if "best" in models.recipe_names(backbone) else {"weights": "default", "freeze": "backbone"}
        return _model(backbone, **frozen), "for photos, and its pretrained weights are on this machine"
    raise ConfigError(f"MODEL: none was named, and what data {name!r} looks like is not known; `dlw models` lists them")


def _model(name: str, **settings: Any) -> Tree:
    return {"model": {"name": name}, **settings}


_OF_POINTS = ("line_v2", "circles_v2", "blobs")
"""The models of the notes that learn points."""
