"""From a diagnosis to the commands that would try its cures: a run's own settings with one change each.

Knows the settings of a run as plain nested dictionaries; no torch, no run folder, no terminal.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from operator import mul, truediv
from typing import Any

from dlworkflow.diagnosis import Cure, Diagnosis, Tree

_OTHER_MODELS: dict[str, dict[str, str]] = {  # kind of model -> {a run's model: the one to try}
    "nonlinear": {"circles_v0": "circles_v2", "circles_v1": "circles_v2", "fashion_mnist_v0": "fashion_mnist_v2"},
    "convolutional": {"fashion_mnist_v1": "fashion_mnist_v2"},
    "dropout": {"tinyvgg": "improved_tinyvgg"},
}
_STRAIGHT = ("line", "line_v2", "line_deep", *_OTHER_MODELS["nonlinear"])  # more units do not bend these
_AUGMENTATIONS = ("flip", "trivial_augment")


def cure_commands(diagnosis: Diagnosis, config: Tree, usual: Tree | None = None) -> list[str]:
    """Return the cures as commands, each trying one on top of the run's own settings.

    `config` is the `config` of a run's summary, complete. `usual` is what `dlw train MODEL --data DATA` would use
    when nothing else is said: what agrees with it is left out of the commands; without it they say everything.
    """
    return [command for _, command in reasoned_commands(diagnosis, config, usual)]


def reasoned_commands(diagnosis: Diagnosis, config: Tree, usual: Tree | None = None) -> list[tuple[str, str]]:
    """Return the cures that fit a run as (why, command), each command once; arguments as in `cure_commands`."""
    found: dict[str, str] = {}
    for cure in diagnosis.cures:
        cured = _cured(cure, config, usual)
        if cured is None:
            continue
        found.setdefault(_command(cured, usual), cure.why)
        if cure.decisive:
            break
    return [(why, command) for command, why in found.items()]


def _cured(cure: Cure, config: Tree, usual: Tree | None) -> Tree | None:
    """Return the settings with a cure applied; None where one of its changes does not fit the run."""
    tree: dict[str, Any] = dict(config)
    for setting in cure.settings:
        found = re.fullmatch(r"([a-z_.]+)(=|\*|/|>=|<=)(.+)", setting)
        assert found, setting
        key, operator, text = found.groups()
        section, _, name = key.rpartition(".")
        branch = tree[section] if section else tree
        if key == "model.name":
            replaced = _other_model(branch, text, usual)
        elif key == "optimizer.name":
            replaced = {"name": text} if branch["name"] == "sgd" else None
        else:
            value = _changed(key, branch, operator, text)
            replaced = None if value is None else {**branch, name: value}
        if replaced is None:
            return None
        tree = tree | {section: replaced} if section else dict(replaced)
    return tree


def _other_model(model: Tree, kind: str, usual: Tree | None) -> Tree | None:
    """Return the section of another model of a kind; it keeps the hidden units that a user chose."""
    other = _OTHER_MODELS[kind].get(model["name"])
    if other is None:
        return None
    units = model.get("hidden_units")
    chosen = usual is not None and units != usual["model"].get("hidden_units")
    return {"name": other, "hidden_units": units} if chosen else {"name": other}


def _changed(key: str, branch: Tree, operator: str, text: str) -> Any:
    """Return a setting's new value; None where the run does not have it or would not change."""
    name = key.rpartition(".")[2]
    if name not in branch:
        return None
    value = branch[name]
    if key == "model.hidden_units" and _is_straight(branch):
        return None
    if key == "data.transform":
        return text if value in ((None, "none", "flip") if text != "none" else _AUGMENTATIONS) else None
    if operator == "=":
        return json.loads(text) if value != json.loads(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if key == "model.dropout" and not value:
        return None  # what is said of more of it is no advice for a first try
    new = _ARITHMETIC[operator](value, float(text))
    if isinstance(value, int) and key not in ("optimizer.lr", "optimizer.weight_decay", "model.dropout"):
        new = max(1, int(new))
    else:
        new = float(f"{new:.6g}")
    return new if new != value else None


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {"*": mul, "/": truediv, ">=": max, "<=": min}


def _is_straight(model: Tree) -> bool:
    return model["name"] in _STRAIGHT or (model.get("relu") is False and not model.get("activation"))


_FLAGS = {"epochs": "--epochs", "optimizer.name": "--optimizer", "optimizer.lr": "--lr", "seed": "--seed"}
_FLAGS |= {"data.batch_size": "--batch-size", "data.data_dir": "--data-dir"}
_SAID = ("model.name", "data.name", "data.path")  # what the command opens with
_OF_THE_MACHINE = ("device", "threads")


def _command(config: Tree, usual: Tree | None) -> str:
    """Return the command line that trains with these settings."""
    name, dataset = config["model"]["name"], config["data"]
    words = ["dlw", "train", name, "--data", str(dataset.get("path") or dataset["name"])]
    base = _flat(usual) if usual is not None else {}
    if usual is not None and usual["optimizer"]["name"] != config["optimizer"]["name"]:
        base = {key: value for key, value in base.items() if not key.startswith("optimizer.")}
    flat = {key: value for key, value in _flat(config).items() if key not in (*_SAID, *_OF_THE_MACHINE)}
    differing = {key: value for key, value in flat.items() if base.get(key) != value}
    for key, flag in _FLAGS.items():
        if key in differing:
            words += [flag, str(differing[key])]
    for key, value in differing.items():
        if key not in _FLAGS:
            words += ["--set", f"{key}={_text(value)}"]
    return shlex.join(words)


def _flat(tree: Tree) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= {f"{key}.{name}": part for name, part in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat


def _text(value: Any) -> str:
    """Return a value as `--set` reads it: a plain word as it is, all else as JSON, which is YAML too."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w.,-]*", value)
    if plain and value.casefold() not in ("null", "true", "false", "yes", "no", "on", "off", "y", "n"):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
