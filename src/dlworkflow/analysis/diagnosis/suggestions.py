"""From a diagnosis to the commands that would try its cures: a run's own settings with one change each.

Knows the settings of a run as plain nested dictionaries, and what it is told of the run; no torch, no run folder, no
terminal.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import add, mul, truediv
from typing import Any

from dlworkflow.analysis.diagnosis import Cure, Diagnosis, Tree
from dlworkflow.config.command_line import flat, lr_find_command, train_command

MOST = 6
"""More advice than this nobody follows: those further down the list of a diagnosis are left out."""

_OTHER_MODELS: dict[str, dict[str, str]] = {  # kind of model -> {a run's model: the one to try}
    "nonlinear": {"circles_v0": "circles_v2", "circles_v1": "circles_v2", "fashion_mnist_v0": "fashion_mnist_v2"},
    "convolutional": {"fashion_mnist_v1": "fashion_mnist_v2"},
}
_STRAIGHT = ("line", "line_v2", "line_deep", *_OTHER_MODELS["nonlinear"])  # more units do not bend these
_SATURATING = ("sigmoid", "tanh")
_PRETRAINED = "resnet18"
_STRONG_AUGMENTATIONS = ("trivial_augment", "trivial_augment_wide_v2", "rand_augment", "auto_augment")
_NO_AUGMENTATIONS = ("none", "resize", "center_crop", "normalize")  # steps of a transform that are the same each time


@dataclass(frozen=True)
class Situation:
    """A run, as the choice of its cures needs to know it.

    `config` is the `config` of a run's summary, complete. `usual` is what `dlw train MODEL --data DATA` would use when
    nothing else is said, or with `--recipe` its key `recipe`: what agrees with it is left out of the commands;
    without it they say everything. `samples` are those of the training split, `validated` tells whether there is a
    validation split, `unequal` whether the classes are of very unequal size, `stopped_early` whether early stopping
    ended the run. `resume` is the path of a run that was stopped before its end. `has_recipe` tells whether the model
    has a recipe `best` that suits the data, `pretrained` what has to be fetched for pretrained weights, "" for
    nothing; None where the data are no photos. A command is printed when `accepts` takes its settings.
    """

    config: Tree
    usual: Tree | None = None
    samples: int | None = None
    validated: bool = False
    unequal: bool = False
    stopped_early: bool = False
    resume: str | None = None
    has_recipe: bool = False
    pretrained: str | None = None
    accepts: Callable[[Tree], bool] = lambda _: True


def cure_commands(diagnosis: Diagnosis, run: Situation) -> list[tuple[str, str]]:
    """Return the cures that fit a run as (why, command), most promising first and each command once."""
    found: dict[str, str] = {}
    for cure in diagnosis.cures:
        told = _WAYS[cure.way](cure, run)
        if told is None:
            continue
        why, command = told
        found.setdefault(command, why)
        if cure.decisive or len(found) == MOST:
            break
    return [(why, command) for command, why in found.items()]


Told = tuple[str, str] | None


def _change(cure: Cure, run: Situation) -> Told:
    """Return the run's own command with a cure's settings changed; None where they do not fit the run."""
    settings, why = cure.settings, cure.why
    if settings[0].startswith("epochs") and run.resume is not None:
        return f"{why}: it was stopped before its end", shlex.join(["dlw", "train", "--resume", run.resume])
    if settings[0].startswith("epochs") and run.stopped_early:  # more of them would end where these did
        settings = ("early_stopping=null", *(setting for setting in settings if ">=" in setting))
        why = f"{why}, without stopping early"
    tree = _with_all(run.config, settings, run)
    if tree == run.config:
        return None
    tree = _with_all(tree, cure.also, run)
    if not run.accepts(tree):
        return None
    return why, train_command(_over_recipe(tree, run), run.usual, changed=_changed_keys(run.config, tree))


def _changed_keys(before: Tree, after: Tree) -> set[str]:
    """Return the keys whose values differ, and the sections that are of another thing."""
    own = {"early_stopping.min_delta": 0.0} | flat(before)
    keys = {key for key, value in flat(after).items() if key not in own or own[key] != value}
    return keys | {key for key in ("optimizer", "schedule") if after[key]["name"] != before[key]["name"]}


def _with_all(tree: Tree, settings: Sequence[str], run: Situation) -> Tree:
    for setting in settings:
        tree = _with(tree, setting, run)
    return tree


def _lr_find(cure: Cure, run: Situation) -> Told:
    return (cure.why, lr_find_command(_over_recipe(run.config, run), run.usual)) if run.accepts(run.config) else None


def _over_recipe(tree: Tree, run: Situation) -> Tree:
    """Return settings that are written as what differs from the recipe that the run is nearest to."""
    return {**tree, "recipe": run.usual["recipe"]} if run.usual and "recipe" in run.usual else tree


def _recipe(cure: Cure, run: Situation) -> Told:
    """Return the command of the model's best recipe, where the run is not of it."""
    if not run.has_recipe or (run.usual or {}).get("recipe"):
        return None
    return _anew(cure.why, {"recipe": "best"}, run.config["model"]["name"], (), run)


def _pretrained(cure: Cure, run: Situation) -> Told:
    """Return the command that trains a classifier on a pretrained network; None where the data are no photos."""
    if run.pretrained is None or any(run.config[key] is not None for key in ("weights", "init_from")):
        return None
    why = f"{cure.why} ({run.pretrained})" if run.pretrained else cure.why
    return _anew(why, {"weights": "default", "freeze": "backbone"}, _PRETRAINED, ("image_size", "channels"), run)


def _anew(why: str, settings: Tree, model: str, dropped: tuple[str, ...], run: Situation) -> Told:
    """Return the command that begins with other settings, on the run's own data and with its seed."""
    dropped = (*dropped, "batch_size", "shuffle", "sampler", "num_workers", "transform")
    dataset = {key: value for key, value in run.config["data"].items() if key not in dropped}
    tree = {**settings, "model": {"name": model}, "data": dataset, "seed": run.config["seed"]}
    return (why, train_command(tree, run.usual)) if run.accepts(tree) else None


_WAYS: dict[str, Callable[[Cure, Situation], Told]] = {
    "change": _change,
    "lr_find": _lr_find,
    "recipe": _recipe,
    "pretrained": _pretrained,
}


def _with(tree: Tree, setting: str, run: Situation) -> Tree:
    """Return the settings with one changed; as they are where the run has it not, or has no use for the change."""
    found = re.fullmatch(r"([a-z_.]+)(\?=|=|\*|/|\+|>=|<=)(.+)", setting)
    assert found, setting
    key, operator, text = found.groups()
    if key in _SPECIAL:
        return _SPECIAL[key](tree, text, run)
    section, _, name = key.rpartition(".")
    branch = tree[section] if section else tree
    if name not in branch or (key in _FITS and not _FITS[key](tree, run)):
        return tree
    value = _changed(branch[name], operator, text, whole=key in _WHOLE)
    return {**tree, section: {**branch, name: value}} if section else {**tree, name: value}


def _changed(value: Any, operator: str, text: str, *, whole: bool) -> Any:
    """Return a setting's new value; the old one where it is no number to count with."""
    if operator == "=":
        return json.loads(text)
    if operator == "?=":
        return value or json.loads(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    new = _ARITHMETIC[operator](value, float(text))
    return max(1, int(new)) if whole else float(f"{new:.6g}")


_WHOLE = ("epochs", "data.n_samples", "data.batch_size", "model.hidden_units", "model.hidden_layers", "model.blocks")
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {"*": mul, "/": truediv, "+": add, ">=": max, "<=": min}


def _is_straight(tree: Tree) -> bool:
    model = tree["model"]
    return model["name"] in _STRAIGHT or (model.get("relu") is False and not model.get("activation"))


def _bends(tree: Tree, _: Situation) -> bool:
    return not _is_straight(tree)


def _saturates(tree: Tree, _: Situation) -> bool:
    return tree["model"]["activation"] in _SATURATING


def _has_room(tree: Tree, run: Situation) -> bool:
    """Tell whether a batch four times as large would still be less than all samples."""
    size = tree["data"]["batch_size"]
    return size != "full" and (run.samples is None or 4 * size < run.samples)


def _is_unequal(tree: Tree, run: Situation) -> bool:
    """Tell whether the classes are of unequal size and nothing is done about it."""
    return run.unequal and not tree["loss_weights"] and not tree["data"]["sampler"]


def _keeps_frozen(tree: Tree, _: Situation) -> bool:
    return bool(tree["freeze"] == "backbone" and tree["freeze_epochs"] is None)


_FITS: dict[str, Callable[[Tree, Situation], bool]] = {
    "model.hidden_units": _bends,
    "model.hidden_layers": _bends,
    "model.activation": _saturates,
    "data.batch_size": _has_room,
    "data.val_fraction": lambda _, run: not run.validated,
    "data.sampler": _is_unequal,
    "loss_weights": _is_unequal,
    "freeze_epochs": _keeps_frozen,
    "cutmix": lambda tree, _: "transform" in tree["data"],
}
"""When a setting may be changed, beside that the run has it."""


def _other_model(tree: Tree, kind: str, run: Situation) -> Tree:
    """Exchange the model for one of a kind; it keeps the hidden units that a user chose."""
    other = _OTHER_MODELS[kind].get(tree["model"]["name"])
    if other is None:
        return tree
    units = tree["model"].get("hidden_units")
    chosen = run.usual is not None and units != run.usual["model"].get("hidden_units")
    return {**tree, "model": {"name": other, "hidden_units": units} if chosen else {"name": other}}


def _another_optimizer(tree: Tree, name: str, _: Situation) -> Tree:
    """Exchange SGD; weight decay stays, the rate is the new one's own."""
    old = tree["optimizer"]
    if old["name"] != "sgd":
        return tree
    decay = {key: old[key] for key in ("weight_decay", "decay_bias_and_norm") if old["weight_decay"]}
    return {**tree, "optimizer": {"name": name, **decay}}


def _weight_decay(tree: Tree, text: str, _: Situation) -> Tree:
    """Bring weight decay to at least so much, or to none; AdamW's works apart from the gradient and needs more."""
    optimizer = tree["optimizer"]
    if text == "0":
        changed = {"weight_decay": 0.0, "decay_bias_and_norm": True}
        return {**tree, "optimizer": {**optimizer, **changed}} if optimizer["weight_decay"] else tree
    least = float(text) * (100 if optimizer["name"] == "adamw" else 1)
    return {**tree, "optimizer": {**optimizer, "weight_decay": max(optimizer["weight_decay"], least)}}


def _dropout(tree: Tree, text: str, _: Situation) -> Tree:
    """Take dropout out, put some in where there is none, or with a `+` more where there is some."""
    old = tree["model"].get("dropout")
    if old is None:
        return tree
    if text.startswith("+"):
        new = max(old, float(text)) if old else old
    else:
        new = 0.0 if text == "0" else old or float(text)
    return {**tree, "model": {**tree["model"], "dropout": new}}


def _schedule(tree: Tree, name: str, _: Situation) -> Tree:
    """Put a schedule in the place of a constant rate; a warm-up stays."""
    old = tree["schedule"]
    if old["name"] != "constant":
        return tree
    warm_up = {"warmup_epochs": old["warmup_epochs"]} if old["warmup_epochs"] else {}
    return {**tree, "schedule": {"name": name, **warm_up}}


def _early_stopping(tree: Tree, text: str, _: Situation) -> Tree:
    """Stop early after a tenth of the epochs without a lower loss, at least three of them; or never."""
    if text == "null":
        return {**tree, "early_stopping": None}
    patience = max(3, tree["epochs"] // 10)
    return {**tree, "early_stopping": tree["early_stopping"] or {"patience": patience, "min_delta": 0.0}}


def _transform(tree: Tree, text: str, _: Situation) -> Tree:
    """Add an augmentation to those of a run, or take all of them out; resizing and normalising stay."""
    if "transform" not in tree["data"]:
        return tree
    steps = _steps(tree["data"]["transform"])
    names = [step if isinstance(step, str) else str(step.get("name", next(iter(step), ""))) for step in steps]
    fixed = [step for step, name in zip(steps, names, strict=True) if name in _NO_AUGMENTATIONS]
    if text == "plain":
        new = fixed if len(fixed) < len(steps) else steps
    elif text in names or (text in _STRONG_AUGMENTATIONS and set(names) & set(_STRONG_AUGMENTATIONS)):
        new = steps
    else:
        place = names.index("normalize") if "normalize" in names else len(steps)
        new = [*steps[:place], text, *steps[place:]]
    if new == steps:
        return tree
    written = ",".join(new) or "none" if all(isinstance(step, str) for step in new) else new
    return {**tree, "data": {**tree["data"], "transform": written}}


def _steps(spec: Any) -> list[Any]:
    """Return the steps of a transform, however a user wrote it."""
    if isinstance(spec, str):
        return [name for part in spec.split(",") if (name := part.strip()) not in ("", "none")]
    return list(spec or [])


_SPECIAL: dict[str, Callable[[Tree, str, Situation], Tree]] = {
    "model.name": _other_model,
    "model.dropout": _dropout,
    "optimizer.name": _another_optimizer,
    "optimizer.weight_decay": _weight_decay,
    "schedule.name": _schedule,
    "early_stopping": _early_stopping,
    "data.transform": _transform,
}
"""Settings that are not changed one by one with an operator."""
