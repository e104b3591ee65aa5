"""`dlw trace`: gradient descent, a classifier's forward pass, and a convolution, worked with all their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.options import (
    OverwriteOption,
    TextFormatOption,
    complete_data,
    complete_models,
    figure_file,
    say,
)
from dlworkflow.cli.tables import render
from dlworkflow.cli.worked_text import classifier_lines, conv_lines, descent_lines
from dlworkflow.errors import ConfigError, unknown
from dlworkflow.files.text import json_text, printable

if TYPE_CHECKING:
    from dlworkflow.cli.options import FigureFile

MOST_SAMPLES = 100


def complete_traces(incomplete: str) -> list[str]:
    """Return what can be traced and starts so."""
    return [name for name in ("conv", "activations") if name.startswith(incomplete)] + complete_models(incomplete)


def trace(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|conv|activations",
            help="Classifier of `dlw models`, conv or activations [default: gradient descent on a line].",
            autocompletion=complete_traces,
        ),
    ] = None,
    w: Annotated[float | None, typer.Option("--w", help="Descent: initial slope [default: 1.5].")] = None,
    b: Annotated[float | None, typer.Option("--b", help="Descent: initial intercept [default: -0.5].")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Descent: learning rate [default: 0.01].")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Descent: number of steps [default: 5].")] = None,
    x: Annotated[str | None, typer.Option("--x", metavar="N,N,...", help="Descent: inputs [default: 1,2,3].")] = None,
    y: Annotated[str | None, typer.Option("--y", metavar="N,N,...", help="Descent: targets [default: 2,4,6].")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Model: data set of the samples [default: its usual data].",
            autocompletion=complete_data,
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="Model: number of samples of the training split [default: 3].")
    ] = None,
    shape: Annotated[
        str | None, typer.Option("--shape", metavar="C,H,W", help="conv: shape of the image [default: 3,64,64].")
    ] = None,
    channels: Annotated[int | None, typer.Option("--channels", help="conv: output channels [default: 10].")] = None,
    kernel: Annotated[int | None, typer.Option("--kernel", help="conv: kernel size [default: 3].")] = None,
    stride: Annotated[int | None, typer.Option("--stride", help="conv: stride [default: 1].")] = None,
    padding: Annotated[int | None, typer.Option("--padding", help="conv: padding [default: 0].")] = None,
    pool: Annotated[
        int | None, typer.Option("--pool", help="conv: kernel size of the max pooling [default: 2].")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Model, conv: seed of the weights [default: 42].")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Save a figure: loss surface and path, feature maps, or activations [default: none].",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    output: TextFormatOption = "table",
) -> None:
    """Work out an example step by step, with all its numbers.

    Examples:
    dlw trace                                   gradient descent on the points (1, 2), (2, 4), (3, 6)
    dlw trace --lr 0.1 --steps 3 --plot path.png
    dlw trace circles_v0                        a forward pass, to the loss of each sample
    dlw trace conv --kernel 3 --stride 1 --padding 0
    dlw trace activations --plot activations.png
    """
    target = figure_file("--plot", plot, overwrite)
    descent = {"w": w, "b": b, "lr": lr, "steps": steps, "x": x, "y": y}
    classifier = {"data": data, "samples": samples}
    convolution = {"shape": shape, "channels": channels, "kernel": kernel, "stride": stride, "padding": padding}
    convolution |= {"pool": pool}
    if what is None:
        _refuse("gradient descent", {**classifier, **convolution, "seed": seed})
        _trace_descent(_given(descent), target, output)
    elif what == "activations":
        _refuse("activations", {**descent, **classifier, **convolution, "seed": seed})
        _trace_activations(target, output)
    elif what == "conv":
        _refuse("a convolution", {**descent, **classifier})
        _trace_conv(_given({**convolution, "seed": seed}), target, output)
    else:
        _refuse("a model", {**descent, **convolution, "plot": plot})
        _trace_model(what, output, **_given({**classifier, "seed": seed}))


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _refuse(subject: str, options: Mapping[str, Any]) -> None:
    """Raise ConfigError for options that do not apply here."""
    given = [f"--{name}" for name in _given(options)]
    if given:
        raise ConfigError(f"{', '.join(given)}: not for {subject} (see `dlw trace --help`)")


def _trace_activations(target: FigureFile | None, output: str) -> None:
    from dlworkflow.course.trace import trace_activations

    x = (-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)
    values = trace_activations(x)
    if target is not None:
        from dlworkflow.plotting import plot_activations

        say(f"wrote {target.save(plot_activations(tuple(values)))}")
    rows = [{"x": at, **{name: found[i] for name, found in values.items()}} for i, at in enumerate(x)]
    cells = [{name: f"{value:.4f}" if name != "x" else f"{value:g}" for name, value in row.items()} for row in rows]
    _print(rows, render(cells, {name: name for name in rows[0]}).splitlines(), output)


def _trace_descent(given: dict[str, Any], target: FigureFile | None, output: str) -> None:
    from dlworkflow.course.descent import descent_path, loss_surface, trace_descent

    usual = {"x": "1,2,3", "y": "2,4,6"}
    x, y = (_numbers(f"--{name}", given.pop(name, usual[name]), float, "numbers", "1,2,3") for name in usual)
    taken = _flagged(lambda: trace_descent(x, y, **given))
    if target is not None:
        from dlworkflow.plotting import plot_loss_surface

        path = descent_path(taken)
        surface = loss_surface(x, y, path)
        say(f"wrote {target.save(plot_loss_surface(surface.w, surface.b, surface.loss, path))}")
    _print([asdict(step) for step in taken], descent_lines(x, y, taken, given.get("lr", 0.01)), output)


def _trace_model(name: str, output: str, *, data: str | None = None, samples: int = 3, seed: int = 42) -> None:
    from dlworkflow import models
    from dlworkflow.data import load, locate

    if name not in models.names():
        raise ConfigError(f"trace: {unknown('model', name, ['conv', *models.names()])}")
    source = data or models.recipe(name).get("data", {}).get("name")
    if source is None:
        raise ConfigError(f"model {name!r} has no usual data; give --data NAME or a path")
    if not 1 <= samples <= MOST_SAMPLES:
        raise ConfigError(f"--samples: must be between 1 and {MOST_SAMPLES}, not {samples}")
    splits = load(**locate(source), data_dir=None, offline=True)
    if splits.task == "regression":
        raise ConfigError(f"trace: {name!r} on {source!r} is a regression; `dlw trace` alone works one out")

    import torch

    from dlworkflow.course.trace import trace_classifier
    from dlworkflow.engine.random_state import set_seeds

    set_seeds(seed)
    model = models.build(name, splits.in_shape, splits.n_outputs)
    count = min(samples, len(splits.train))  # type: ignore[arg-type]
    inputs, labels = zip(*(splits.train[i] for i in range(count)), strict=True)
    traced = trace_classifier(model, torch.stack(inputs), torch.stack([*map(torch.as_tensor, labels)]), splits.task)
    if output == "table":
        say(f"{name} with the weights that seed {seed} gives it, untrained, on the first samples of {splits.name}")
    _print(asdict(traced), classifier_lines(traced, splits.classes, splits.task), output)


def _trace_conv(given: dict[str, Any], target: FigureFile | None, output: str) -> None:
    from dlworkflow.course.convolution import trace_conv

    if "shape" in given:
        given["in_shape"] = _numbers("--shape", given.pop("shape"), int, "whole numbers", "3,64,64")
    traced = _flagged(lambda: trace_conv(**given))
    if target is not None:
        from dlworkflow.plotting import plot_convolution

        say(f"wrote {target.save(plot_convolution([(step.label, step.values.numpy()) for step in traced.steps]))}")
    steps = [{"label": step.label, "shape": step.shape} for step in traced.steps]
    _print(vars(traced) | {"steps": steps, "pixel": asdict(traced.pixel)}, conv_lines(traced), output)


def _numbers(option: str, text: str, kind: type, called: str, example: str) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option}: must be {called} with commas between, as {example}, not {text!r}") from None


def _flagged(work: Callable[[], Any]) -> Any:
    """Do something; its errors name the settings as options."""
    try:
        return work()
    except ConfigError as error:
        typed = [f"--{text}".replace("in_shape", "shape").replace("x and y", "x and --y") for text in error.faults]
        raise ConfigError(*typed) from None


def _print(data: Any, lines: Iterable[str], output: str) -> None:
    if output == "json":
        typer.echo(json_text(data, indent=1))
        return
    for line in lines:
        typer.echo(printable(line))
