"""`dlw predict`: pictures or numbers in, labels with probabilities out."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.command import Command
from dlworkflow.cli.options import (
    DeviceOption,
    OverwriteOption,
    RunOption,
    RunsDirOption,
    SetOption,
    complete_models,
    count,
    figure_file,
    say,
)
from dlworkflow.data.folders.listing import lists_images
from dlworkflow.data.folders.tables import as_number, read_lines
from dlworkflow.errors import ConfigError, DlwError, few, unknown
from dlworkflow.files.paths import matching_paths, user_path
from dlworkflow.files.text import json_text, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlworkflow.inference.predictor import Prediction, Predictor
    from dlworkflow.runs import Summary


class PredictFormat(StrEnum):
    """How predictions are printed."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


class Weights(StrEnum):
    """Which weights of a run."""

    best = "best"
    last = "last"


def predict(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Images, folders, globs, a CSV that lists them, `-` for names from stdin; numbers or a CSV.",
        ),
    ],
    run: RunOption = None,
    top_k: Annotated[
        int, typer.Option("--top-k", metavar="N", parser=count, help="How many of the likeliest classes.")
    ] = 1,
    output: Annotated[PredictFormat, typer.Option("--format", help="How to print.")] = PredictFormat.table,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the pictures with what was said.")
    ] = None,
    overwrite: OverwriteOption = False,
    weights: Annotated[
        str,
        typer.Option(
            metavar="best|last|FILE",
            help="Those of a run's best epoch or of its last; with --model, a file of weights.",
        ),
    ] = Weights.best.value,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Use no run but this model with --weights FILE.", autocompletion=complete_models
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME,...", help="With --model: its classes in the order of their labels."),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size", metavar="N", parser=count, help="With --model: side of its pictures, if not the usual."
        ),
    ] = None,
    settings: SetOption = None,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", parser=count, help="Inputs at a time.")] = 32,
    device: DeviceOption = None,
    runs_dir: RunsDirOption = None,
) -> None:
    """Predict pictures or rows of numbers.

    The run is the last that fits, unless --run names one; its own preprocessing is used. With --model there is no run:
    pictures are resized and scaled to 0..1.

    \b
    dlw predict photo.jpg folder/ "*.png" --top-k 3
    find . -name "*.jpg" | dlw predict - --format jsonl
    dlw predict 0.5 -0.2 --run circles
    dlw predict photo.jpg --model tinyvgg --weights w.pth --classes pizza,steak,sushi

    A file that cannot be read is a row with the reason, and the exit code is 1.
    """
    for given in inputs:
        if not given:
            raise ConfigError("an input is empty; name a picture, a folder or `.`")
        if _looks_like_an_option(given):
            raise _unknown_option(context, given)
    lines = _lines_of_stdin() if "-" in inputs else []
    names = [name for given in inputs for name in (lines if given == "-" else [given])]
    if not names:
        raise DlwError("no files were named")
    numbers = _rows_given(inputs, lines)

    target = figure_file("--plot", plot, overwrite, map(Path, names))
    if model is None:
        alone = {"--classes": classes, "--image-size": image_size, "--set": settings or None}
        _refuse(alone, "only with --model; a run knows its own")
        predictor = _from_run(run, runs_dir, weights, device, names=names, numbers=numbers)
    else:
        _refuse({"--run": run, "--runs-dir": runs_dir}, "not with --model, which uses no run")
        predictor = _from_weights(model, weights, classes, image_size, settings, device)
    options = {"batch_size": batch_size, "top_k": top_k}
    if predictor.kind == "tabular":
        if target is not None:
            raise ConfigError(f"--plot draws pictures; {predictor.name} takes numbers")
        predictions = list(predictor.predict_rows(_rows(predictor, names, numbers), **options))
    else:
        if numbers is not None and not any(map(_is_here, names)):
            raise DlwError(f"{predictor.name} takes pictures, not numbers")
        from dlworkflow.inference.inputs import expand_paths

        paths = expand_paths(names, on_left_out=say)
        if target is not None:
            target.check([*paths, Path(weights)])
        predictions = _predict_pictures(predictor, paths, options)
    _print(predictions, output, top_k)
    if target is not None:
        say(f"figure {target.save(_drawn(predictor, predictions))}")
    bad = sum(prediction.error is not None for prediction in predictions)
    if bad:
        say(f"{bad} of {len(predictions)} files could not be read")
        raise typer.Exit(1)


class PredictCommand(Command):
    """Takes numbers below zero as inputs, and what follows a `--` as files, whatever their names begin with."""

    ignore_unknown_options = True  # -0.5 is a number

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; `-dash.jpg` is one name, and no `-d -a -s -h`."""
        end = args.index("--") if "--" in args else len(args)
        for before, given in zip(["", *args], args[:end], strict=False):
            is_value = before.startswith("--")
            if _looks_like_an_option(given) and given[1] != "-" and given != "-h" and not is_value:
                raise _unknown_option(ctx, given)
        files = [f"./{name}" if _looks_like_an_option(name) else name for name in args[end + 1 :]]
        return super().parse_args(ctx, [*args[:end], *args[end : end + 1], *files])


COMMAND = PredictCommand


def _looks_like_an_option(given: str) -> bool:
    return given.startswith("-") and given != "-" and not _is_number(given)


def _unknown_option(context: Any, given: str) -> ConfigError:
    error = context.command.unknown_option(given, context.command_path)
    return ConfigError(f"{error}; a file of that name is ./{given}")


def _lines_of_stdin() -> list[str]:
    """Return what stands in the lines of stdin; a file's name need be no text."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    return [line for line in sys.stdin.read().splitlines() if line.strip()]


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Raise ConfigError for the first of these options that was given."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"{name}: {why}")


def _from_run(
    run: str | None,
    runs_dir: str | None,
    weights: str,
    device: str | None,
    *,
    names: Sequence[str],
    numbers: list[list[float]] | None,
) -> Predictor:
    """Find the run that is named, or the last that takes such inputs, and say which it is."""
    from dlworkflow.runs import find_run

    if weights not in set(Weights):
        raise ConfigError(f"--weights: {unknown('weights', weights, set(Weights))} (a file of weights needs --model)")

    named = run not in (None, "last", "best")  # what such a run takes says what the inputs are
    tabular = not named and _are_rows(names, numbers)
    width = _width(names, numbers) if tabular else None

    def fits(summary: Summary) -> bool:
        kind = "tabular" if tabular else "image"
        takes = summary.in_shape[0]
        fitting = width is None or (width % takes == 0 if numbers and len(numbers) == 1 else width == takes)
        return bool(summary.best) and summary.kind == kind and fitting

    takes = f"rows of numbers ({width} given)" if width else "rows of numbers" if tabular else "pictures"
    found = find_run(run, runs_dir, fits=fits, what=f"trained run that takes {takes}")

    from dlworkflow.inference.predictor import Predictor

    predictor = Predictor.from_run(found, weights=weights, device=device or "auto")
    say(f"run {found.path} ({weights} weights)")
    return predictor


def _from_weights(
    model: str,
    weights: str,
    classes: str | None,
    image_size: int | None,
    settings: list[str] | None,
    device: str | None,
) -> Predictor:
    """Put a file of weights into a model and say what was built."""
    from dlworkflow.config import from_overrides
    from dlworkflow.models import check_name

    try:
        check_name(model)
    except ConfigError as error:
        raise ConfigError(str(error).replace("model.name", "--model", 1)) from None
    if weights in set(Weights):
        raise ConfigError("--model: name the file of its weights, --weights FILE (./best for a file of that name)")
    given = from_overrides(settings or ()).values
    of_model, of_data = given.pop("model", {}), given.pop("data", {})
    if extra := [
        *given,
        *(f"data.{key}" for key in of_data if key != "transform"),
        *("model.name",) * ("name" in of_model),
    ]:
        raise ConfigError(f"--set {extra[0]}: with --model, only settings of the model and data.transform matter here")

    from dlworkflow.inference.predictor import Predictor

    predictor = Predictor.from_weights(
        model,
        weights,
        classes=[name.strip() for name in classes.split(",")] if classes is not None else (),
        image_size=image_size,
        settings=of_model,
        transform=of_data.get("transform"),
        device=device or "auto",
    )
    built = ", ".join(f"{key}={value}" for key, value in predictor.settings.items())
    shape = "x".join(map(str, predictor.in_shape))
    say(f"weights {weights} in {model}{f' ({built})' if built else ''} for inputs of {shape}")
    return predictor


def _is_number(text: str) -> bool:
    number = as_number(text)
    return number is not None and math.isfinite(number)


def _is_here(name: str) -> bool:
    return user_path(name).exists()


def _is_csv(name: str) -> bool:
    return name.casefold().endswith(".csv") and not user_path(name).is_dir()


def _are_rows(names: Sequence[str], numbers: list[list[float]] | None) -> bool:
    """Tell whether the inputs are rows of numbers, where no run says so; CSV files are looked into.

    Raises ConfigError for a number that is also the name of something here.
    """
    if numbers is not None:
        if here := next(filter(_is_here, names), None):
            raise ConfigError(
                f"{here!r} may be a number or what bears that name here; write ./{here} for the latter, or name a run "
                "that takes numbers with --run RUN"
            )
        return True
    return all(map(_is_csv, names)) and not all(lists_images(path) for name in names for path in matching_paths(name))


def _width(names: Sequence[str], numbers: list[list[float]] | None) -> int:
    """Return how many numbers a row has; all of them for numbers given as arguments."""
    if numbers is not None:
        return len(numbers[0])
    return max((len(line.cells) for line in read_lines(matching_paths(names[0])[0])[:1]), default=0)


def _rows_given(inputs: Sequence[str], lines: Sequence[str]) -> list[list[float]] | None:
    """Return numbers given as arguments (one flat row) or on stdin (a row a line); None when they are no numbers."""
    if inputs == ["-"] and lines:
        rows = [line.replace(",", " ").split() for line in lines if line.strip()]
        return [[float(cell) for cell in row] for row in rows] if all(_is_number(c) for r in rows for c in r) else None
    return [[float(text) for text in inputs]] if all(map(_is_number, inputs)) else None


def _rows(predictor: Predictor, names: Sequence[str], numbers: list[list[float]] | None) -> list[list[float]]:
    from dlworkflow.inference.inputs import read_rows

    width = predictor.in_shape[0]
    if numbers is None:
        if other := [name for name in names if not _is_csv(name)]:
            raise DlwError(f"{predictor.name} takes {width} number(s) a row, or a CSV of them, not {few(other, 3)}")
        files = [path for name in names for path in matching_paths(name)]
        return [row for path in files for row in read_rows(path, width, on_note=lambda text: say(f"note    {text}"))]
    if len(numbers) > 1 or len(numbers[0]) % width:
        return numbers
    flat = numbers[0]
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _predict_pictures(predictor: Predictor, paths: Sequence[Path], options: dict[str, int]) -> list[Prediction]:
    from tqdm import tqdm

    predictions = predictor.predict_images(paths, **options)
    hidden = len(paths) <= options["batch_size"] or not sys.stderr.isatty()
    return list(tqdm(predictions, total=len(paths), unit="picture", leave=False, disable=hidden, file=sys.stderr))


def _print(predictions: Sequence[Prediction], output: PredictFormat, top_k: int) -> None:
    from dlworkflow.cli.tables import Format, number, render

    if output in (PredictFormat.json, PredictFormat.jsonl):
        rows = [_as_object(prediction) for prediction in predictions]
        if output is PredictFormat.json:
            typer.echo(json_text(rows, indent=1))
        else:
            typer.echo("\n".join(map(json_text, rows)))
        return
    columns = {"input": "input"}
    if any(prediction.value is not None for prediction in predictions):
        columns["value"] = "value"
    else:
        shown = max((len(prediction.top) for prediction in predictions), default=0) or 1
        for rank in range(1, min(top_k, shown) + 1):
            tail = f"_{rank}" if rank > 1 else ""
            columns |= {f"label{tail}": f"label{tail}", f"probability{tail}": f"probability{tail}"}
    if any(prediction.error for prediction in predictions):
        columns["error"] = "error"
    raw = [_as_row(prediction) for prediction in predictions]
    pretty = [{key: f"{v:.3f}" if key.startswith("prob") else number(v) for key, v in row.items()} for row in raw]
    typer.echo(render(pretty, columns, Format(output.value), raw))


def _as_object(prediction: Prediction) -> dict[str, Any]:
    found: dict[str, Any] = {"input": prediction.source}
    if prediction.error is not None:
        return found | {"error": prediction.error}
    if prediction.value is not None:
        return found | {"value": prediction.value if math.isfinite(prediction.value) else None}
    top = [{"label": label, "probability": probability} for label, probability in prediction.top]
    return found | {"label": prediction.label, "probability": prediction.probability, "top": top}


def _as_row(prediction: Prediction) -> dict[str, Any]:
    row: dict[str, Any] = {"input": prediction.source, "error": prediction.error, "value": prediction.value}
    for rank, (label, probability) in enumerate(prediction.top, start=1):
        tail = f"_{rank}" if rank > 1 else ""
        row |= {f"label{tail}": label, f"probability{tail}": probability}
    return row


def _drawn(predictor: Predictor, predictions: Sequence[Prediction]) -> Figure:
    from dlworkflow.data.images.dataset import load_image
    from dlworkflow.plotting import plot_predicted_images
    from dlworkflow.plotting.grid import LONGEST_SIDE, MOST_IMAGES

    assert predictor.transform is not None
    shown = predictions[:MOST_IMAGES]
    channels, value_range = predictor.in_shape[0], predictor.transform.value_range
    pictures = [
        None if p.error else load_image(p.source, channels, longest=LONGEST_SIDE, value_range=value_range)
        for p in shown
    ]
    pictures += [None] * (len(predictions) - len(shown))
    titles = [p.error or f"Pred: {printable(p.label)} | Prob: {p.probability:.3f}" for p in predictions]
    return plot_predicted_images(pictures, titles, names=[Path(p.source).name for p in predictions])
