"""`dlw trace`: gradient descent, activations, a convolution, a pooling, or a model, worked with all their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.options import (
    OverwriteOption,
    RunOption,
    RunsDirOption,
    TextFormatOption,
    complete_data,
    complete_models,
    figure_file,
    say,
    typed_model,
)
from dlworkflow.cli.tables import render
from dlworkflow.cli.worked_text import conv_lines, descent_lines, model_lines, pool_lines
from dlworkflow.errors import ConfigError
from dlworkflow.files.text import json_text, printable

if TYPE_CHECKING:
    from dlworkflow.cli.options import FigureFile

EXAMPLES = {  # name a user types -> what it is called, and the options that it takes
    "descent": ("gradient descent", {"w", "b", "lr", "steps", "x", "y", "plot"}),
    "activations": ("activations", {"x", "plot"}),
    "conv": (
        "a convolution",
        {"shape", "channels", "kernel", "stride", "padding", "pool", "pooling", "seed", "plot"},
    ),
    "pool": ("a pooling", {"x", "pool", "stride", "seed"}),
}
OF_MODEL = {"data", "samples", "x", "y", "lr", "seed", "run", "runs-dir", "plot"}


def complete_traces(incomplete: str) -> list[str]:
    """Return what can be traced and starts so."""
    return [name for name in EXAMPLES if name.startswith(incomplete)] + complete_models(incomplete)


@takes_code
def trace(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="|".join([*EXAMPLES, "MODEL"]),
            help="Example, or a model of `dlw models` [default: descent, gradient descent on a line; with --run, the "
            "model of the run].",
            autocompletion=complete_traces,
        ),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(
            "--x",
            metavar="N,N,...",
            help="Numbers that go in; pool, MODEL: rows with ; between [default: descent 1,2,3; activations -10 to 9; "
            "pool 2x2 of the seed; MODEL its data].",
        ),
    ] = None,
    y: Annotated[
        str | None,
        typer.Option(
            "--y",
            metavar="N,N,...",
            help="descent: targets; MODEL: label of each row of --x, a class or its number [default: descent 2,4,6].",
        ),
    ] = None,
    w: Annotated[float | None, typer.Option("--w", help="descent: initial slope [default: 1.5].")] = None,
    b: Annotated[float | None, typer.Option("--b", help="descent: initial intercept [default: -0.5].")] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", help="descent, MODEL: learning rate [default: descent 0.01; MODEL that of its recipe]."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="descent: number of steps [default: 5].")] = None,
    run: RunOption = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="MODEL: data set of the samples [default: its usual data].",
            autocompletion=complete_data,
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="MODEL: number of samples of the training split [default: 3].")
    ] = None,
    shape: Annotated[
        str | None, typer.Option("--shape", metavar="C,H,W", help="conv: shape of the image [default: 3,64,64].")
    ] = None,
    channels: Annotated[int | None, typer.Option("--channels", help="conv: output channels [default: 10].")] = None,
    kernel: Annotated[int | None, typer.Option("--kernel", help="conv: kernel size [default: 3].")] = None,
    stride: Annotated[
        int | None, typer.Option("--stride", help="conv, pool: stride [default: conv 1; pool its window].")
    ] = None,
    padding: Annotated[int | None, typer.Option("--padding", help="conv: padding [default: 0].")] = None,
    pool: Annotated[
        int | None, typer.Option("--pool", help="conv, pool: window of the pooling, N by N [default: 2].")
    ] = None,
    pooling: Annotated[
        Literal["max", "average"] | None,
        typer.Option("--pooling", help="conv: kind of the pooling; pool works out both [default: max]."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, max=2**32 - 1, help="conv, pool, MODEL: seed of the numbers [default: 42]."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Save a figure: loss surface and path, activations, or feature maps [default: none].",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    runs_dir: RunsDirOption = None,
    output: TextFormatOption = "table",
) -> None:
    """Work out an example step by step, with all its numbers.

    Examples:
    dlw trace                                   gradient descent on the points (1, 2), (2, 4), (3, 6)
    dlw trace descent --lr 0.1 --steps 3 --plot path.png
    dlw trace activations --x=-2,0,2            identity, ReLU, sigmoid, tanh, leaky ReLU, GELU
    dlw trace conv --kernel 3 --stride 1 --padding 0 --pooling average
    dlw trace pool --x "1,2;3,4"                max and average pooling
    dlw trace circles_v0                        layers, loss of each sample, gradients and one step of SGD
    dlw trace circles_v0 --x "0.5,-0.2" --y 1   a sample of your own
    dlw trace --run last                        the same with the weights of a run
    """
    given: dict[str, Any] = {"x": x, "y": y, "w": w, "b": b, "lr": lr, "steps": steps, "data": data, "samples": samples}
    given |= {"shape": shape, "channels": channels, "kernel": kernel, "stride": stride, "padding": padding}
    given |= {"pool": pool, "pooling": pooling, "seed": seed, "run": run, "runs-dir": runs_dir, "plot": plot}
    subject = typed_model(what) if what else "descent" if run is None else None
    if subject is not None and subject not in EXAMPLES:
        from dlworkflow.cli.model_trace import check_name

        check_name(subject, list(EXAMPLES))
    called, taken = EXAMPLES.get(subject or "", ("a model", OF_MODEL))
    options = _given(given)
    if extra := [f"--{name}" for name in options if name not in taken]:
        raise ConfigError(f"{', '.join(extra)}: not for {called} (see `dlw trace --help`)")
    target = figure_file("--plot", plot, overwrite)
    options.pop("plot", None)
    if subject == "descent":
        _trace_descent(options, target, output)
    elif subject == "activations":
        _trace_activations(x, target, output)
    elif subject == "conv":
        _trace_conv(options, target, output)
    elif subject == "pool":
        _trace_pool(options, output)
    else:
        _trace_model(subject, options, target, output)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _trace_activations(text: str | None, target: FigureFile | None, output: str) -> None:
    from dlworkflow.course.trace import trace_activations

    x = [float(value) for value in range(-10, 10)] if text is None else _numbers("--x", text)
    values = trace_activations(x)
    if target is not None:
        from dlworkflow.plotting import plot_activations

        low, high = min(x), max(x)
        margin = 0.0 if low < high else 1.0
        say(f"wrote {target.save(plot_activations(tuple(values), low - margin, high + margin))}")
    rows = [{"x": at, **{name: found[i] for name, found in values.items()}} for i, at in enumerate(x)]
    cells = [
        {name: f"{round(value, 4) + 0.0:.4f}" if name != "x" else f"{value:g}" for name, value in row.items()}
        for row in rows
    ]
    _print(rows, render(cells, {name: name for name in rows[0]}).splitlines(), output)


def _trace_descent(given: dict[str, Any], target: FigureFile | None, output: str) -> None:
    from dlworkflow.course.descent import descent_path, loss_surface, trace_descent

    usual = {"x": "1,2,3", "y": "2,4,6"}
    x, y = (_numbers(f"--{name}", given.pop(name, usual[name])) for name in usual)
    taken = _flagged(lambda: trace_descent(x, y, **given))
    if target is not None:
        from dlworkflow.plotting import plot_loss_surface

        path = descent_path(taken)
        surface = loss_surface(x, y, path)
        figure = plot_loss_surface(surface.w, surface.b, surface.loss, path, lowest=surface.lowest)
        say(f"wrote {target.save(figure)}")
    _print([asdict(step) for step in taken], descent_lines(x, y, taken, given.get("lr", 0.01)), output)


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


def _trace_pool(given: dict[str, Any], output: str) -> None:
    from dlworkflow.course.convolution import trace_pool

    image = _image(given.pop("x")) if "x" in given else None
    size = given.pop("pool", 2)
    traced = _flagged(lambda: trace_pool(image, size=size, **given))
    _print(asdict(traced), pool_lines(traced), output)


def _image(text: str) -> list[list[float]]:
    """Read rows of an image; a single row of 4, 9, 16, ... numbers is a square."""
    rows = _rows("--x", text)
    side = math.isqrt(len(rows[0]))
    if len(rows) > 1 or side * side != len(rows[0]):
        return rows
    return [rows[0][i : i + side] for i in range(0, len(rows[0]), side)]


def _trace_model(name: str | None, given: dict[str, Any], target: FigureFile | None, output: str) -> None:
    from dlworkflow.cli import model_trace

    run, runs_dir = given.pop("run", None), given.pop("runs-dir", None)
    of_fresh = {key: given.pop(key) for key in ("data", "seed") if key in given}
    if run is not None:
        if of_fresh:
            raise ConfigError(f"--{next(iter(of_fresh))}: not with --run, which has its own")
        subject = model_trace.of_run(run, runs_dir, name)
    else:
        assert name is not None
        if runs_dir is not None:
            raise ConfigError("--runs-dir: only with --run RUN")
        subject = model_trace.fresh(name, **of_fresh)
    traced, inputs = _flagged(lambda: model_trace.trace(subject, _rows, **given))
    if target is not None:
        from dlworkflow.models.layers import layer_outputs
        from dlworkflow.plotting import plot_feature_maps

        layers = layer_outputs(subject.model, inputs[:1])
        maps = [("input", inputs[0]), *((f"{each.name} {each.kind}", each.output[0]) for each in layers)]
        say(f"wrote {target.save(plot_feature_maps(maps))}")
    _print(asdict(traced), model_lines(traced, subject.classes, subject.task), output)


def _rows(option: str, text: str) -> list[list[float]]:
    return [_numbers(option, row, example="1,2 or 1,2;3,4") for row in text.split(";")]


def _numbers(
    option: str, text: str, kind: type = float, called: str = "finite numbers", example: str = "1,2,3"
) -> list[Any]:
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise ConfigError(f"{option}: must be {called} with commas between, as {example}, not {text!r}")
    return found


def _flagged(work: Callable[[], Any]) -> Any:
    """Do something; its errors name the settings as options."""
    try:
        return work()
    except ConfigError as error:
        raise ConfigError(*(_as_option(text) for text in error.faults)) from None


def _as_option(text: str) -> str:
    """Return a sentence that names a parameter with the option that sets it."""
    parameter, colon, _ = text.partition(":")
    option = {"in_shape": "shape", "image": "x", "size": "pool", "x and y": "x and --y"}.get(parameter, parameter)
    return text if text.startswith("-") or not colon else f"--{option}{text.removeprefix(parameter)}"


def _print(data: Any, lines: Iterable[str], output: str) -> None:
    if output == "json":
        typer.echo(json_text(data, indent=1))
        return
    for line in lines:
        typer.echo(printable(line))
