"""What a trained model needs again: its network with the weights of a run, its number of outputs, its own code."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dlworkflow import models
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.inference.stored import stored_transform, stored_weights
from dlworkflow.models.weights.from_weights import load_model
from dlworkflow.registry.user_code import take_recorded
from dlworkflow.registry.user_files import KINDS
from dlworkflow.runs import Run, Summary


def possible_outputs(model_name: str, task: str, classes: tuple[str, ...]) -> list[int]:
    """Return how many raw scores per sample the model may return. Raises ConfigError for names that do not fit it."""
    if task == "regression" and classes:
        raise ConfigError(f"--classes: model {model_name!r} predicts a number, not a class")
    if not classes:
        if task not in ("regression", "any"):
            raise ConfigError(f"--classes: model {model_name!r} needs the names of its classes, in their order")
        return [1]
    if len(classes) == 1 or len(set(classes)) < len(classes) or not all(classes):
        raise ConfigError(f"--classes: must be two or more different names, not {','.join(classes)!r}")
    return [1, 2] if len(classes) == 2 and task == "binary" else [2, 1] if len(classes) == 2 else [len(classes)]


def load_run_model(run: Run, weights: str = "best", model: nn.Module | None = None) -> nn.Module:
    """Rebuild a run's model with its weights, on the CPU, in evaluation mode; `model` is it where it is there already.

    Raises RunError when the run has no weights, and CodeError for code that was not named.
    """
    if model is not None:
        return load_model(model.cpu(), stored_weights(run, weights)).eval()
    summary = run.summary()
    take_code(run, ("model",))
    settings = dict(summary.config["model"])
    path = stored_weights(run, weights)
    with torch.random.fork_rng(devices=[]):  # its initial weights are drawn for nothing
        model = models.build(settings.pop("name"), tuple(summary.in_shape), summary.n_outputs, **settings)
    return load_model(model, path).eval()


def take_code(run: Run, kinds: Collection[str] = KINDS) -> None:
    """Put a run's own code of these kinds in place; see `take_recorded`. Raises CodeError for files to be named."""
    summary = run.summary()
    take_recorded(summary.code, summary.named, kinds, run=run.name)


def check_alike(runs: Sequence[Run]) -> None:
    """Raise RunError for no runs, and for runs whose predictions cannot be averaged: of other classes, say."""
    if not runs:
        raise RunError("an ensemble needs at least one run")
    first, *others = ((run.name, _what_goes_in_and_out(run.summary())) for run in runs)
    for name, facts in others:
        for what, fact in facts.items():
            if fact != first[1][what]:
                raise RunError(
                    f"the runs {first[0]} and {name} cannot be averaged, their {what} differ: {first[1][what]}; {fact}"
                )


def _what_goes_in_and_out(summary: Summary) -> dict[str, str]:
    way = stored_transform(summary)
    return {
        "tasks": summary.task,
        "classes": ", ".join(summary.classes),
        "inputs": "x".join(map(str, summary.in_shape)),
        "columns": ", ".join(_as_input(column) for column in (summary.columns or {"inputs": []})["inputs"]),
        "preprocessing": way.for_evaluation().text() if way is not None else "",
    }


def _as_input(column: Mapping[str, Any]) -> str:
    """Return a column of a table with what decides how it becomes inputs."""
    if "categories" in column:
        return f"{column['name']} ({', '.join(column['categories'])})"
    return f"{column['name']} (mean {column['mean']:g}, deviation {column['scale']:g})"


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """Put a model on its device; channels-last weights halve the time of convolutions on a CPU."""
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub forgets this
