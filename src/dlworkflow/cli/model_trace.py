"""`dlw trace MODEL`: a forward pass and a step of training in numbers, of new weights or those of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlworkflow.cli.options import say
from dlworkflow.errors import ConfigError, few, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dlworkflow.course.trace import ModelTrace

MOST_SAMPLES = 100

Numbers = Callable[[str, str], list[list[float]]]
"""Reads rows of numbers; takes the option that they were typed for and their text."""


@dataclass(frozen=True)
class Subject:
    """A model with what is needed to trace it: its samples by number, its usual loss and learning rate."""

    name: str
    model: nn.Module
    task: str
    classes: tuple[str, ...]
    in_shape: tuple[int, ...]
    loss: Any
    lr: float
    first_samples: Callable[[int], tuple[Tensor, Tensor]]
    about: str
    of_data: str


def fresh(name: str, *, data: str | None = None, seed: int | None = None) -> Subject:
    """Build a model with new weights for its usual data, or for other data that are there."""
    from dlworkflow import models
    from dlworkflow.data import load, locate
    from dlworkflow.data.protocol import without_augmentation
    from dlworkflow.engine.random_state import set_seeds

    recipe = models.recipe(name)
    source = data or recipe.get("data", {}).get("name")
    if source is None:
        raise ConfigError(f"model {name!r} has no usual data; give --data NAME or a path")
    splits = load(**locate(source), data_dir=None, offline=True)
    chosen = 42 if seed is None else seed
    set_seeds(chosen)
    return Subject(
        name=name,
        model=models.build(name, splits.in_shape, splits.n_outputs),
        task=splits.task,
        classes=tuple(splits.classes),
        in_shape=tuple(splits.in_shape),
        loss=recipe.get("loss"),
        lr=recipe.get("optimizer", {}).get("lr", 0.1),
        first_samples=lambda n: _first(without_augmentation(splits.train), n),
        about=f"{name} with the weights that seed {chosen} gives it, untrained",
        of_data=f"the training split of {splits.name}",
    )


def of_run(run: str, runs_dir: str | None, name: str | None) -> Subject:
    """Rebuild the model of a run with its best weights. Raises ConfigError where it is not of model `name`."""
    from dlworkflow.analysis.scored_data import load_part
    from dlworkflow.inference.rebuild import load_run_model
    from dlworkflow.runs import find_run

    fits = None if name is None else (lambda summary: summary.model == name)
    found = find_run(run, runs_dir, fits=fits, what=f"run of {name!r}") if fits else find_run(run, runs_dir)
    summary = found.summary()
    if name not in (None, summary.model):
        raise ConfigError(f"--run: {found.name} is a {summary.model}, not a {name}")
    return Subject(
        name=summary.model,
        model=load_run_model(found),
        task=summary.task,
        classes=tuple(summary.classes),
        in_shape=tuple(summary.in_shape),
        loss=summary.config["loss"],
        lr=summary.config["optimizer"].get("lr", 0.1),
        first_samples=lambda n: _first(load_part(found, "train", offline=True).dataset, n),
        about=f"{summary.model} with the best weights of run {found.path}",
        of_data=f"the training split of {summary.data}",
    )


def trace(
    subject: Subject,
    rows_of: Numbers,
    *,
    x: str | None = None,
    y: str | None = None,
    samples: int | None = None,
    lr: float | None = None,
) -> tuple[ModelTrace, Tensor]:
    """Trace a model on samples of its data, or on those typed as `x` and `y`; return the trace and the inputs."""
    from dlworkflow.course.trace import trace_model
    from dlworkflow.engine.losses import build_loss
    from dlworkflow.engine.tasks import get_task

    if (x is None) != (y is None):
        given, lacking = ("--x", "--y") if y is None else ("--y", "--x")
        raise ConfigError(f"{given}: needs {lacking} too; own samples are numbers and labels, as --x '0.5,-0.2' --y 1")
    if x is not None and y is not None:
        if samples is not None:
            raise ConfigError("--samples: not with --x and --y, which are samples of your own")
        inputs, labels = _typed(subject, rows_of("--x", x), y)
        source = "samples of your own"
    else:
        count = 3 if samples is None else samples
        if not 1 <= count <= MOST_SAMPLES:
            raise ConfigError(f"--samples: must be between 1 and {MOST_SAMPLES}, not {count}")
        inputs, labels = subject.first_samples(count)
        source = f"the first samples of {subject.of_data}"
    task = get_task(subject.task)
    rate = subject.lr if lr is None else lr
    traced = trace_model(subject.model, inputs, labels, task, loss_fn=build_loss(task, subject.loss), lr=rate)
    say(f"{subject.about}, on {source}")
    return traced, inputs


def _first(dataset: Any, n: int) -> tuple[Tensor, Tensor]:
    """Return the first n samples of a data set, (n, *in_shape) and their labels, or all where it has fewer."""
    import torch

    from dlworkflow.data.loaders import make_loader

    inputs, labels = next(iter(make_loader(dataset, n, generator=torch.Generator())))
    return inputs, labels


def _typed(subject: Subject, rows: Sequence[Sequence[float]], y: str) -> tuple[Tensor, Tensor]:
    """Return samples as typed, rows of numbers and a label each, as tensors."""
    import torch

    if len(subject.in_shape) != 1:
        raise ConfigError(
            f"--x: {subject.name!r} takes images; `dlw summary {subject.name} --trace IMAGE` follows one of yours"
        )
    [width] = subject.in_shape
    if wrong := [len(row) for row in rows if len(row) != width]:
        raise ConfigError(f"--x: {subject.name!r} takes {width} number(s) a sample, not {wrong[0]}; rows end with ;")
    typed = [part.strip() for part in y.replace(";", ",").split(",")]
    if len(typed) != len(rows):
        raise ConfigError(f"--x and --y: {len(rows)} sample(s) and {len(typed)} label(s); give as many of each")
    inputs = torch.tensor(rows, dtype=torch.float32)
    if not subject.classes:
        return inputs, torch.tensor([[_target(text)] for text in typed], dtype=torch.float32)
    labels = [_label(text, subject.classes) for text in typed]
    return inputs, torch.tensor(labels, dtype=torch.float32 if subject.task == "binary" else torch.int64)


def _label(text: str, classes: Sequence[str]) -> int:
    """Return a class, typed by its name or by its number, as its number."""
    if text in classes:
        return classes.index(text)
    if text.isdecimal() and int(text) < len(classes):
        return int(text)
    numbered = [f"{i} {name}" for i, name in enumerate(classes)]
    raise ConfigError(f"--y: must be a class or its number, not {text!r}; possible: {few(numbered, 20, quoted=False)}")


def _target(text: str) -> float:
    from dlworkflow.inference.inputs import is_number

    if not is_number(text):
        raise ConfigError(f"--y: must be numbers with commas between, as 0.5,0.7, not {text!r}")
    return float(text)


def check_name(name: str, examples: Sequence[str]) -> None:
    """Raise ConfigError for a name that is neither an example nor a model."""
    from dlworkflow import models

    if name not in models.REGISTRY:
        raise ConfigError(f"trace: {unknown('model or example', name, [*examples, *models.names()])}")
