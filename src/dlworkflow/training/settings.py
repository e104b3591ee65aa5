"""The settings of a run, resolved in layers, completed from model and data, and checked once, all together.

Whoever trains comes through here: key against key (`config.conflicts`), against the model, data set, optimizer,
schedule and loss that are named, and, once the data is loaded, against its task. Builds no model and loads no data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlworkflow import data, models
from dlworkflow.config import (
    DataSettings,
    Layer,
    ModelSettings,
    OptimizerSettings,
    ScheduleSettings,
    TrainConfig,
    build_config,
    from_mapping,
    merge,
    over_notes,
    right_part,
)
from dlworkflow.config.conflicts import contradictions
from dlworkflow.config.flags import FLAGS, HINTS, SHORT
from dlworkflow.engine.losses import LOSSES, check_fits, names_for
from dlworkflow.engine.optimizers import OPTIMIZERS, check_optimizer, known_name
from dlworkflow.engine.schedules import SCHEDULES, build_curve, check_first_change
from dlworkflow.errors import ConfigError, few, nearest, short
from dlworkflow.metrics.functions import epoch_fault
from dlworkflow.registry.user_code import is_code
from dlworkflow.training.choice import is_of_recipe, recipe_for
from dlworkflow.training.own_code import resolve_code
from dlworkflow.training.trackers import tracker_fault
from dlworkflow.training.transfer import settle

if TYPE_CHECKING:
    from dlworkflow.data.splits import Splits

NAMED: dict[str, tuple[Any, Any]] = {  # section -> what its name is a name of, and the class of its settings
    "model": (models, ModelSettings),
    "data": (data, DataSettings),
    "optimizer": (OPTIMIZERS, OptimizerSettings),
    "schedule": (SCHEDULES, ScheduleSettings),
}


def resolve_config(
    settings: TrainConfig | Mapping[str, Any] | Sequence[Layer] | None = None, /, **more: Any
) -> TrainConfig:
    """Lay the user's settings over the recipe of the model they name and check everything.

    `settings` are a dictionary as `config.from_mapping` takes it, or layers from weakest to strongest; `more` are laid
    over them: `resolve_config({"model": "tinyvgg", "optimizer.lr": 0.1}, epochs=3)`. A key `recipe` chooses among the
    model's recipes; without it the one that works on such data is taken, or `notes` where a dictionary sets how to
    train. A `TrainConfig` is checked and completed without one. Raises ConfigError with all errors at once.
    """
    if isinstance(settings, TrainConfig):
        return _checked(merge([locate_data(Layer(settings.to_tree())), locate_data(from_mapping(more))]), {})
    if not isinstance(settings, Mapping | list | tuple | None):
        kind = type(settings).__name__
        raise ConfigError(f"settings must be a dictionary, as {{'model': 'tinyvgg', 'epochs': 3}}, not {kind}")
    if isinstance(settings, list | tuple):
        return _resolved([*settings, from_mapping(more)])
    return _resolved(over_notes([from_mapping(settings or {}), from_mapping(more)]))


def _resolved(layers: Sequence[Layer]) -> TrainConfig:
    user = merge([locate_data(layer) for layer in layers])
    name = _section(user.values, "model").get("name")
    faults: dict[str, str] = {}
    recipe: dict[str, Any] = {}
    if name is None and isinstance(user.values.get("model"), Mapping | None):  # all else is found later
        faults["model.name"] = f"no model was named; possible: {few(models.names(), 20, quoted=False)}"
    elif name is not None and _faultless(models.check_name, name, faults, "model.name"):
        recipe = recipe_for(str(name), _section(user.values, "data"), user.values.get("recipe"), faults)
        user.values["recipe"] = recipe.pop("recipe")
    fallback = {"optimizer": {"name": "adam"}, "schedule": {"name": "constant"}} | (
        {"data": {"name": ""}, "model": {"name": ""}} if not recipe else {}
    )
    return _checked(merge([Layer(fallback), Layer(recipe), user]), faults)


def check_stored(config: TrainConfig) -> None:
    """Raise ConfigError where the settings of a stored run do not fit its optimizer, schedule or loss."""
    tree, faults = config.to_tree(), dict[str, str]()
    for section in ("optimizer", "schedule"):
        _completed(section, tree[section], *NAMED[section], faults)
    _check_loss(tree.get("loss"), faults)
    if faults:
        raise ConfigError(*(f"{key}: {sentence}" for key, sentence in faults.items()))


def _checked(layer: Layer, faults: dict[str, str]) -> TrainConfig:
    """Return complete settings. Raises ConfigError with these `faults` and all others at once."""
    model, dataset = (_section(layer.values, section).get("name") for section in ("model", "data"))
    if model and "model.name" not in faults and _faultless(models.check_name, model, faults, "model.name"):
        layer, found = settle(layer, str(model))
        faults |= found
    if dataset is None:
        faults["data.name"] = f"model {model!r} has no usual data; give --data NAME or a path"
    values = dict(layer.values)
    if isinstance(loss := values.get("loss"), dict) and loss.keys() == {"name"}:
        values["loss"] = loss["name"]
    for section, (registry, kind) in NAMED.items():
        given = values.get(section)
        if isinstance(given, dict) and given.get("name") and f"{section}.name" not in faults:
            values[section] = _completed(section, given, registry, kind, faults)
    _check_top_level(values, faults)
    _check_loss(values.get("loss"), faults)
    if fault := epoch_fault(values.get("metrics")):
        faults["metrics"] = fault
    config, wrong = right_part(values)
    if config is not None:
        if "track" not in wrong and (fault := tracker_fault(config.trackers)):
            faults["track"] = fault
        wrong |= faults.keys()
        _check_together(config, wrong, faults)
        faults |= contradictions(config, layer.values, wrong | faults.keys())
        known = data.entries().get(config.data.name)
        found = against_task(config, known.task if known else "any")
        faults |= {key: text for key, text in found.items() if key not in wrong and not is_of_recipe(config, key)}
    return build_config(Layer(values, layer.labels), faults)


def _completed(section: str, given: dict[str, Any], registry: Any, kind: Any, faults: dict[str, str]) -> dict[str, Any]:
    """Note what is wrong in a section; return it with the defaults of the optimizer's or the schedule's signature."""
    name = str(given["name"])
    try:
        name = known_name(name) if section == "optimizer" else name
    except ConfigError as error:
        faults["optimizer.name"] = str(error).removeprefix("optimizer.name: ")
        return given
    if not _faultless(registry.check_name, name, faults, f"{section}.name"):
        return given
    own = {key: value for key, value in given.items() if key not in kind.model_fields}
    faults |= {f"{section}.{key}": fault for key, fault in registry.faults(name, own).items()}
    usual = registry.settings(name) if section in ("optimizer", "schedule") else {}
    return {"name": name, **usual, **given} | ({"name": name} if section == "optimizer" else {})


def _check_top_level(values: Mapping[str, Any], faults: dict[str, str]) -> None:
    """Note settings that are written without their section, or as another tool calls them."""
    for key in values.keys() - TrainConfig.model_fields.keys() - {"name"}:
        if meant := _meant(str(key), values, faults):
            faults[key] = f"unknown setting {short(str(key))!r}; did you mean {meant!r}?"


def _meant(key: str, values: Mapping[str, Any], faults: Mapping[str, str]) -> str | None:
    """Return the setting that `lr`, `learning_rate` or `batchsize` is meant for; None where a top-level one is near."""
    for section, (registry, kind) in NAMED.items():
        name = _section(values, section).get("name")
        if name and f"{section}.name" not in faults and key in {*kind.model_fields, *registry.settings(name)}:
            return f"{section}.{key}"
    if flag := FLAGS.get(HINTS.get(f"--{key.replace('_', '-')}", "")):
        return flag.key
    return None if nearest(key, TrainConfig.model_fields) else nearest(key, SHORT.values())


def _check_loss(given: object, faults: dict[str, str]) -> None:
    """Note what is wrong with the loss, a name or a mapping with settings."""
    name = given.get("name") if isinstance(given, Mapping) else given
    if not isinstance(name, str) or not _faultless(LOSSES.check_name, name, faults, "loss", "loss.name"):
        return
    own = {key: value for key, value in given.items() if key != "name"} if isinstance(given, Mapping) else {}
    faults |= {f"loss.{key}": fault for key, fault in LOSSES.faults(name, own).items()}


def _check_together(config: TrainConfig, wrong: Collection[str], faults: dict[str, str]) -> None:
    """Note what the optimizer or the schedule refuses though each of its settings is right alone."""

    def note(check: Callable[..., object], *arguments: Any) -> None:
        try:
            check(*arguments)
        except ConfigError as error:
            for fault in error.faults:
                key, _, sentence = fault.partition(": ")
                faults[key] = sentence

    optimizer, schedule = config.optimizer, config.schedule
    sections = {key.partition(".")[0] for key in wrong}
    if "optimizer" not in sections:
        note(check_optimizer, optimizer.name, optimizer.settings)
    if not {"optimizer", "schedule", "epochs"} & sections:
        note(_check_schedule, optimizer.lr, schedule, config.epochs)


def _check_schedule(lr: float, schedule: ScheduleSettings, epochs: int) -> None:
    warmup = schedule.warmup_epochs
    if epochs:
        curve = build_curve(schedule.name, schedule.settings, lr=lr, epochs=epochs, warmup_epochs=warmup)
        check_first_change(schedule.name, curve, epochs)


def against_task(config: TrainConfig, task: str) -> dict[str, str]:
    """Return the settings that a task has no use for, {dotted key: sentence}; "any" is a task that is not known yet."""
    found: dict[str, str] = {}
    loss = config.loss["name"] if isinstance(config.loss, dict) else config.loss
    if loss is not None and task != "any":
        _faultless(lambda name: check_fits(name, task), loss, found, "loss")
    if task == "regression":
        set_ = {"label_smoothing": config.label_smoothing, "loss_weights": config.loss_weights}
        set_ |= {"data.sampler": config.data.sampler, "mixup": config.mixup, "cutmix": config.cutmix}
        set_ |= {"metrics": config.metrics}
        found |= {key: "is for classes; this data has numbers for labels" for key, value in set_.items() if value}
    elif fault := epoch_fault(config.metrics, task):
        found["metrics"] = fault
    if task == "multilabel" and config.data.sampler:
        found["data.sampler"] = "is for one class per sample; here loss_weights=balanced evens out rare labels"
    return found


def fitting_data(config: TrainConfig, splits: Splits) -> TrainConfig:
    """Return the settings without those of the recipe that loaded data has no use for.

    Raises ConfigError for others that it has no use for.
    """
    found = against_task(config, splits.task)
    if config.data.fold is not None and splits.val is None:
        found |= dict.fromkeys(_watching(config), f"the fold that is scored would decide; {_HELD_OUT}")
    loss = config.loss["name"] if isinstance(config.loss, dict) else config.loss or names_for(splits.task)[0]
    if config.label_smoothing and "label_smoothing" not in LOSSES.settings(loss):
        found.setdefault("label_smoothing", f"the loss {loss!r} has no use for it")
    if splits.kind != "image":
        numbers = f"data {splits.name!r} has numbers"
        if config.channels_last is True:
            found["channels_last"] = f"is a memory format of images; {numbers}"
        if config.cutmix:
            found.setdefault("cutmix", f"cuts pieces out of images; {numbers} (mixup blends them)")
    of_recipe = [key for key in found if is_of_recipe(config, key)]
    if wrong := [f"{key}: {sentence}" for key, sentence in found.items() if key not in of_recipe]:
        raise ConfigError(*wrong)
    return config.model_copy(update={key: TrainConfig.default_of(key) for key in of_recipe})


_HELD_OUT = "hold out a part of the others for it with --val-fraction 0.2, or leave it out"


def _watching(config: TrainConfig) -> list[str]:
    """Return the settings by which a loss during training decides how it continues."""
    found = ["early_stopping.patience"] if config.early_stopping is not None else []
    return [*found, "schedule.name"] if config.schedule.name == "plateau" else found


def locate_data(layer: Layer) -> Layer:
    """Return a layer in which `data` may be a path, as after `--data`: from the working folder, where it is relative.

    Things of the user's own files get the names that the registries have for them. A name that is neither is left for
    the check of all settings. Raises MissingDataError for a path that is not there, ConfigError for an address.
    """
    layer = resolve_code(layer)
    section = _section(layer.values, "data")
    name = section.get("name")
    if not isinstance(name, str) or name in data.names() or is_code(name):
        return layer
    try:
        located = data.locate(name, layer.labels.get("data.name", "data.name"))
    except ConfigError:
        if Path(name).name == name:
            return layer
        raise
    return Layer(dict(layer.values) | {"data": {**section, **located}}, layer.labels)


def fill_defaults(config: TrainConfig) -> TrainConfig:
    """Return the settings with those of the signatures of all that they name filled in."""
    full = {}
    for section, (registry, kind) in NAMED.items():
        given = getattr(config, section)
        full[section] = kind(**given.model_dump() | registry.settings(given.name) | given.settings)
    return config.model_copy(update=full)


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, Mapping) else {}


def _faultless(
    check: Callable[[str], None], name: object, faults: dict[str, str], key: str, said: str | None = None
) -> bool:
    """Return whether a check of a name passes; otherwise store its error, without the key `said` at its start."""
    try:
        check(str(name))
    except ConfigError as error:
        faults[key] = str(error).removeprefix(f"{said or key}: ")
        return False
    return True
