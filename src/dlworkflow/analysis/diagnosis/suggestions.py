"""From suggestions to the commands that try them: a run's own settings with one change each.

Knows the settings of a run as plain nested dictionaries, and facts about the run; no torch, no run folder, no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal

from dlworkflow.analysis.diagnosis.changes import changed
from dlworkflow.config.command_line import flat, lr_find_command, train_command
from dlworkflow.files.text import shell_command

MOST = 6
"""Nobody follows more advice than this: suggestions further down the list are left out."""

_OF_A_RUN = ("model.", "data.sampler", "precision", "freeze", "label_smoothing", "mixup", "cutmix")
"""Settings that not every training has."""

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Suggestion:
    """Something to try: why, and what.

    A `change` is of `settings` in the notation of `changes`, of which at least one must change the run and those of
    `also` may. The other ways are a search for the learning rate, the model's recipe `best`, and a pretrained network.
    After a `decisive` suggestion that fits the run no other is worth the time. `anyhow` is the sentence for curves of
    which nothing else is known, where `why` or the settings take more for granted.
    """

    why: str
    settings: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    way: Literal["change", "lr_find", "recipe", "pretrained"] = "change"
    decisive: bool = False
    anyhow: str = ""

    @property
    def for_any_model(self) -> str:
        """The sentence for curves of which nothing else is known; empty where the suggestion takes more for granted."""
        takes_more = self.way != "change" or any(setting.startswith(_OF_A_RUN) for setting in self.settings)
        return self.anyhow or ("" if takes_more else self.why)


@dataclass(frozen=True)
class Situation:
    """Facts about a run by which suggestions are chosen.

    `config` is the `config` of its summary, complete. `recipe` is that of the run, or the one that it is nearest to.
    `usual` is what `dlw train MODEL --data DATA` uses by default, or with `--recipe` its key `recipe`: commands leave
    out what agrees with it; without it they repeat everything.
    `samples` counts the training split, `validated` is whether there is a validation split, `unequal` whether the
    classes are of very unequal size, `stopped_early` whether early stopping ended the run. `resume` is the path of a
    run that was stopped before its end. `has_recipe` is whether the model has a recipe `best` that suits the data,
    `pretrained` is a pretrained network and where its weights come from, None where the data is no photos. A command is
    printed when `accepts` takes its settings.
    """

    config: Tree
    usual: Tree | None = None
    recipe: str = ""
    samples: int | None = None
    validated: bool = False
    unequal: bool = False
    stopped_early: bool = False
    resume: str | None = None
    has_recipe: bool = False
    pretrained: tuple[str, str] | None = None
    accepts: Callable[[Tree], bool] = lambda _: True


Command = tuple[str, str] | None
"""Why, and the command line; None where a suggestion does not fit the run."""


def of_curves_alone(suggestions: Sequence[Suggestion]) -> tuple[Suggestion, ...]:
    """Return the suggestions that may be made without a run: no model, optimizer or data is known."""
    known = [replace(each, why=each.for_any_model) for each in suggestions if each.for_any_model]
    return tuple({each.why: each for each in known}.values())[:MOST]


def suggested_commands(suggestions: Sequence[Suggestion], run: Situation) -> list[tuple[str, str]]:
    """Return the suggestions that fit a run as (why, command), most promising first and each command once.

    A pretrained network comes before all else, where it fits: it does most for a few photos.
    """
    found: dict[str, str] = {}
    for suggestion in sorted(suggestions, key=lambda each: each.way != "pretrained"):
        if command := _WAYS[suggestion.way](suggestion, run):
            found.setdefault(command[1], command[0])
            if suggestion.decisive or len(found) == MOST:
                break
    return [(why, command) for command, why in found.items()]


def own_command(run: Situation) -> str:
    """Return the command that trains with the run's own settings."""
    return train_command(_over_recipe(run.config, run), run.usual)


def _change(suggestion: Suggestion, run: Situation) -> Command:
    """Return the run's own command with the suggested settings changed."""
    settings, why = suggestion.settings, suggestion.why
    if settings[0].startswith("epochs") and run.resume is not None:
        return f"{why}: it was stopped before its end", shell_command(["dlw", "train", "--resume", run.resume])
    if settings[0].startswith("epochs") and run.stopped_early:  # more of them would end where these did
        settings = ("early_stopping=null", *(setting for setting in settings if ">=" in setting))
        why = f"{why}, without stopping early"
    tree = _with_all(run.config, settings, run)
    if tree == run.config or not run.accepts(tree := _with_all(tree, suggestion.also, run)):
        return None
    return why, train_command(_over_recipe(tree, run), run.usual, changed=_changed_keys(run.config, tree))


def _with_all(tree: Tree, changes: Sequence[str], run: Situation) -> Tree:
    return reduce(lambda before, change: changed(before, change, run), changes, tree)


def _changed_keys(before: Tree, after: Tree) -> set[str]:
    """Return the keys whose values differ, and the sections that are of another thing."""
    own = {"early_stopping.min_delta": 0.0} | flat(before)
    keys = {key for key, value in flat(after).items() if key not in own or own[key] != value}
    return keys | {key for key in ("optimizer", "schedule") if after[key]["name"] != before[key]["name"]}


def _over_recipe(tree: Tree, run: Situation) -> Tree:
    """Return settings that are written as what differs from the recipe that the run is nearest to."""
    return tree if run.usual is None else {**tree, "recipe": run.usual.get("recipe")}


def _lr_find(suggestion: Suggestion, run: Situation) -> Command:
    command = lr_find_command(_over_recipe(run.config, run), run.usual)
    return (suggestion.why, command) if run.accepts(run.config) else None


def _recipe(suggestion: Suggestion, run: Situation) -> Command:
    """Return the command of the model's best recipe, where the run is not of it."""
    if not run.has_recipe or run.recipe == "best":
        return None
    return _anew(suggestion.why, {"recipe": "best"}, run.config["model"]["name"], (), run)


def _pretrained(suggestion: Suggestion, run: Situation) -> Command:
    """Return the command that trains a classifier on a pretrained network."""
    if run.pretrained is None or any(run.config[key] is not None for key in ("weights", "init_from")):
        return None
    model, source = run.pretrained
    frozen = {"weights": "default", "freeze": "backbone"}
    settings = {"recipe": "best"} if model == "efficientnet_lite0" else frozen
    return _anew(f"{suggestion.why}; {source}", settings, model, ("image_size", "channels"), run)


def _anew(why: str, settings: Tree, model: str, dropped: tuple[str, ...], run: Situation) -> Command:
    """Return the command that starts over with other settings, on the run's own data and with its seed."""
    dropped = (*dropped, "batch_size", "shuffle", "sampler", "num_workers", "transform")
    dataset = {key: value for key, value in run.config["data"].items() if key not in dropped}
    tree = {**settings, "model": {"name": model}, "data": dataset, "seed": run.config["seed"]}
    return (why, train_command(tree, run.usual)) if run.accepts(tree) else None


_WAYS: dict[str, Callable[[Suggestion, Situation], Command]] = {
    "change": _change,
    "lr_find": _lr_find,
    "recipe": _recipe,
    "pretrained": _pretrained,
}
