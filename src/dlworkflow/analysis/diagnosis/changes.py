"""Changes of a run's settings, written as text: `epochs*4`, `optimizer.lr/10`, `mixup?=0.2`.

A change is `key=value`, `key?=value` (where it is not set), `key*factor`, `key/divisor`, `key+more`, or a bound that
the setting is brought to: `key>=value`, `key<=value`. A change that does not suit the run leaves its settings as they
are. Settings are plain nested dictionaries here; knows no rule and no command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from operator import add, mul, truediv
from typing import TYPE_CHECKING, Any

from dlworkflow.errors import ConfigError

if TYPE_CHECKING:
    from dlworkflow.analysis.diagnosis.suggestions import Situation, Tree

OTHER_MODELS: dict[str, dict[str, str]] = {  # kind of model -> {a run's model: the one to try}
    "nonlinear": {"circles_v0": "circles_v2", "circles_v1": "circles_v2", "fashion_mnist_v0": "fashion_mnist_v2"},
    "convolutional": {"fashion_mnist_v1": "fashion_mnist_v2"},
}
_LINEAR = ("line", "line_v2", "line_deep", *OTHER_MODELS["nonlinear"])  # more units do not bend these
_SATURATING = ("sigmoid", "tanh")
_STRONG_AUGMENTATIONS = ("trivial_augment", "trivial_augment_wide_v2", "rand_augment", "auto_augment")
_NO_AUGMENTATIONS = ("none", "resize", "center_crop", "normalize")  # steps of a transform that are the same each time


def changed(tree: Tree, change: str, run: Situation) -> Tree:
    """Return the settings with one change. Raises ConfigError for a text that is none."""
    found = re.fullmatch(r"([a-z_.]+)(\?=|=|\*|/|\+|>=|<=)(.+)", change)
    if found is None:
        raise ConfigError(f"{change!r} is no change of a setting; write key=value or, for a number, key*2")
    key, operator, text = found.groups()
    if key in _SPECIAL:
        return _SPECIAL[key](tree, text, run)
    section, _, name = key.rpartition(".")
    branch = tree[section] if section else tree
    if name not in branch or (key in _FITS and not _FITS[key](tree, run)):
        return tree
    value = {name: _new_value(branch[name], operator, text, whole=key in _WHOLE)}
    return _with(tree, section, **value) if section else {**tree, **value}


def _with(tree: Tree, section: str, **values: Any) -> Tree:
    return {**tree, section: {**tree[section], **values}}


def _new_value(value: Any, operator: str, text: str, *, whole: bool) -> Any:
    """Return a setting's new value; the old one where it is no number to count with."""
    if operator == "=":
        return json.loads(text)
    if operator == "?=":
        return value or json.loads(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    new = _ARITHMETIC[operator](value, float(text))
    if whole:
        return max(1, int(new))
    return int(new) if isinstance(value, int) and new == int(new) else float(f"{new:.6g}")


_WHOLE = ("epochs", "data.n_samples", "data.batch_size", "model.hidden_units", "model.hidden_layers", "model.blocks")
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {"*": mul, "/": truediv, "+": add, ">=": max, "<=": min}


def _is_not_linear(tree: Tree, _: Situation) -> bool:
    model = tree["model"]
    return model["name"] not in _LINEAR and (model.get("relu") is not False or bool(model.get("activation")))


def _has_room(tree: Tree, run: Situation) -> bool:
    """Return whether a batch four times as large is still less than all samples."""
    size = tree["data"]["batch_size"]
    return size != "full" and (run.samples is None or 4 * size < run.samples)


def _is_unequal(tree: Tree, run: Situation) -> bool:
    """Return whether the classes are of unequal size and nothing is done about it."""
    return run.unequal and not tree["loss_weights"] and not tree["data"]["sampler"]


_FITS: dict[str, Callable[[Tree, Situation], bool]] = {  # when a setting may be changed, where the run has it
    "model.hidden_units": _is_not_linear,
    "model.hidden_layers": _is_not_linear,
    "model.activation": lambda tree, _: tree["model"]["activation"] in _SATURATING,
    "data.batch_size": _has_room,
    "data.val_fraction": lambda _, run: not run.validated,
    "data.sampler": _is_unequal,
    "loss_weights": _is_unequal,
    "freeze_epochs": lambda tree, _: tree["freeze"] == "backbone" and tree["freeze_epochs"] is None,
    "cutmix": lambda tree, _: "transform" in tree["data"],
}


def _other_model(tree: Tree, kind: str, run: Situation) -> Tree:
    """Exchange the model for one of a kind; it keeps the hidden units that a user chose."""
    other = OTHER_MODELS[kind].get(tree["model"]["name"])
    if other is None:
        return tree
    units = tree["model"].get("hidden_units")
    chosen = run.usual is not None and units != run.usual["model"].get("hidden_units")
    return {**tree, "model": {"name": other, "hidden_units": units} if chosen else {"name": other}}


def _another_optimizer(tree: Tree, name: str, _: Situation) -> Tree:
    """Exchange SGD; weight decay stays, the learning rate is the new optimizer's default."""
    old = tree["optimizer"]
    if old["name"] != "sgd":
        return tree
    decay = {key: old[key] for key in ("weight_decay", "decay_bias_and_norm") if old["weight_decay"]}
    return {**tree, "optimizer": {"name": name, **decay}}


def _weight_decay(tree: Tree, text: str, _: Situation) -> Tree:
    """Raise weight decay to at least so much, or set it to none; AdamW's is decoupled and needs more."""
    name, old = tree["optimizer"]["name"], tree["optimizer"]["weight_decay"]
    if text == "0":
        return _with(tree, "optimizer", weight_decay=0.0, decay_bias_and_norm=True) if old else tree
    return _with(tree, "optimizer", weight_decay=max(old, float(text) * (100 if name == "adamw" else 1)))


def _dropout(tree: Tree, text: str, _: Situation) -> Tree:
    """Set dropout to 0, set it where it is 0, or with a `+` raise it where it is not."""
    old = tree["model"].get("dropout")
    if old is None:
        return tree
    if text.startswith("+"):
        return _with(tree, "model", dropout=max(old, float(text)) if old else old)
    return _with(tree, "model", dropout=0.0 if text == "0" else old or float(text))


def _schedule(tree: Tree, name: str, _: Situation) -> Tree:
    """Replace a constant learning rate by a schedule; a warm-up stays."""
    old = tree["schedule"]
    if old["name"] != "constant":
        return tree
    warm_up = {"warmup_epochs": old["warmup_epochs"]} if old["warmup_epochs"] else {}
    return {**tree, "schedule": {"name": name, **warm_up}}


def _early_stopping(tree: Tree, text: str, _: Situation) -> Tree:
    """Stop early after a tenth of the epochs without a lower loss, at least three of them; or never."""
    patience = {"patience": max(3, tree["epochs"] // 10), "min_delta": 0.0}
    return {**tree, "early_stopping": None if text == "null" else tree["early_stopping"] or patience}


def _transform(tree: Tree, text: str, _: Situation) -> Tree:
    """Add an augmentation, or with `plain` remove all; resizing and normalization stay."""
    if "transform" not in tree["data"]:
        return tree
    spec = tree["data"]["transform"]
    steps = [step.strip() for step in spec.split(",")] if isinstance(spec, str) else list(spec or [])
    steps = [step for step in steps if step not in ("", "none")]
    names = [step if isinstance(step, str) else str(step.get("name", next(iter(step), ""))) for step in steps]
    if text == "plain":
        new = [step for step, name in zip(steps, names, strict=True) if name in _NO_AUGMENTATIONS]
    elif text in names or (text in _STRONG_AUGMENTATIONS and set(names) & set(_STRONG_AUGMENTATIONS)):
        return tree
    else:
        place = names.index("normalize") if "normalize" in names else len(steps)
        new = [*steps[:place], text, *steps[place:]]
    if new == steps:
        return tree
    return _with(tree, "data", transform=",".join(new) or "none" if all(isinstance(s, str) for s in new) else new)


_SPECIAL: dict[str, Callable[[Tree, str, Situation], Tree]] = {  # settings that take more than an operator
    "model.name": _other_model,
    "model.dropout": _dropout,
    "optimizer.name": _another_optimizer,
    "optimizer.weight_decay": _weight_decay,
    "schedule.name": _schedule,
    "early_stopping": _early_stopping,
    "data.transform": _transform,
}
