"""From settings to the command that repeats them; knows settings as plain nested dictionaries, and the flags."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from dlworkflow.config.flags import FLAGS, OF_LR_FIND, OF_TRAIN
from dlworkflow.files.text import shell_command

Tree = Mapping[str, Any]

_OPENING = ("model.name", "data.name", "data.path", "recipe")  # what the command opens with
_BY_SET = ("data.transform", "loss.name")  # lists and settings of their own, which --set takes
OF_THE_MACHINE = ("device", "threads")
"""Settings that a command leaves out: another machine has its own."""

_FLAGS = {key: name for name in OF_TRAIN if (key := FLAGS[name].key) not in (*_OPENING, *_BY_SET, *OF_THE_MACHINE)}
_SECTIONS = ("model", "data", "optimizer", "schedule", "loss", "early_stopping")
_NOT_OF_LR_FIND = (  # what a range test leaves out, or what makes sense with a number of epochs only
    *("optimizer.lr", "epochs", "schedule", "early_stopping", "accumulate", "clip_norm", "clip_value", "ema"),
    *("mixup", "cutmix", "precision", "averaging", "freeze_epochs", "compile", "reseed", "track"),
)


def train_command(settings: Tree, usual: Tree | None = None, *, changed: Collection[str] = ()) -> str:
    """Return the command that trains with `settings`.

    What agrees with `usual` is left out; without `usual` all is said. What is `changed`, keys or sections, is said in
    any case, and last. A key `recipe` of the settings names the recipe that they are laid over.
    """
    differing = _differing(settings, usual, changed)
    new = {key: differing.pop(key) for key in list(differing) if _among(key, changed)}
    return shell_command(["dlw", "train", *_opening(settings), *_said(differing), *_said(new)])


def lr_find_command(settings: Tree, usual: Tree | None = None) -> str:
    """Return the command that looks for the learning rate of a run with `settings`; see `train_command`."""
    without = (*_NOT_OF_LR_FIND, *(["backbone_lr_scale"] if settings.get("freeze") == "backbone" else []))
    differing = _differing(settings, usual, ())
    wanted = {key: value for key, value in differing.items() if not _among(key, without)}
    return shell_command(["dlw", "lr-find", *_opening(settings), *_said(wanted, OF_LR_FIND)])


def flat(tree: Tree) -> dict[str, Any]:
    """Return settings by dotted keys; what lies below a setting of a section stays whole."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if key in _SECTIONS and isinstance(value, Mapping):
            found |= {f"{key}.{name}": part for name, part in value.items()}
        else:
            found[key] = value
    return found


def _opening(settings: Tree) -> list[str]:
    """Return what a command says first: the model, the data, the recipe."""
    dataset = settings["data"]
    words = [settings["model"]["name"], "--data", str(dataset.get("path") or dataset["name"])]
    return words + (["--recipe", settings["recipe"]] if settings.get("recipe") else [])


def _differing(settings: Tree, usual: Tree | None, changed: Collection[str]) -> dict[str, Any]:
    base = {} if usual is None else {"early_stopping.min_delta": 0.0} | flat(usual)
    return {
        key: value
        for key, value in flat(settings).items()
        if key not in (*_OPENING, *OF_THE_MACHINE)
        and base.get(key) != "auto"  # a rule chooses it again
        and (key not in base or base[key] != value or _among(key, changed))
    }


def _among(key: str, keys: Collection[str]) -> bool:
    """Return whether a key is one of some, or in a section that is."""
    return key in keys or key.partition(".")[0] in keys


def _said(settings: Tree, names: Collection[str] = OF_TRAIN) -> list[str]:
    """Return the words that state settings: flags first, in the order of their table."""
    words, rest = [], dict(settings)
    for key, name in _FLAGS.items():
        value = rest.get(key)
        if name in names and FLAGS[name].kind == "names" and _are_names(value):
            words += [word for each in rest.pop(key) for word in (name, each)]
        elif name in names and value is not None and value is not False and not isinstance(value, list):
            del rest[key]
            words += [name] if value is True else [name, str(value)]
    return words + [word for key, value in rest.items() for word in ("--set", f"{key}={_text(value)}")]


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _text(value: Any) -> str:
    """Return a value as `--set` reads it: a plain word as it is, all else as JSON, which is YAML too."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w.,-]*", value)
    if plain and value.casefold() not in ("null", "true", "false", "yes", "no", "on", "off", "y", "n"):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
