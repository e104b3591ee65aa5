"""`dlw predict`: images or numbers in, labels with probabilities out."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    Weights,
    complete_models,
    count,
    count_or_all,
    figure_file,
    say,
)
from dlworkflow.config.flags import DATA, MODEL, OUTPUT
from dlworkflow.errors import ConfigError, MissingDataError, RunError, few, unknown
from dlworkflow.files.text import json_text, printable
from dlworkflow.inference.inputs import Inputs, is_number, read_inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlworkflow.cli.options import FigureFile
    from dlworkflow.inference.predictor import Prediction, Predictor


class PredictFormat(StrEnum):
    """How predictions are printed."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    csv_bom = "csv-bom"


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Image files, folders, patterns, a CSV file that lists images; rows of numbers, a CSV file of them; - "
            "for the lines of standard input.",
        ),
    ],
    run: RunOption = None,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k",
            metavar="N|all",
            parser=count_or_all,
            help="Number of likeliest classes to print.",
            rich_help_panel=OUTPUT,
        ),
    ] = 1,
    output: Annotated[
        PredictFormat,
        typer.Option(
            "--format",
            help="Format of the predictions; jsonl prints each when it is made, csv-bom is CSV that Excel opens.",
            rich_help_panel=OUTPUT,
        ),
    ] = PredictFormat.table,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Save a figure of the images with their predictions, and with --top-k bars of the probabilities: "
            ".png, .svg or .pdf [default: none].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    weights: Annotated[
        str,
        typer.Option(
            metavar="best|last|FILE",
            help="Weights of the run's best or last epoch; with --model, a file of weights.",
            rich_help_panel=MODEL,
        ),
    ] = Weights.best.value,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Use this model with --weights FILE and no run [default: a run].",
            autocompletion=complete_models,
            rich_help_panel=MODEL,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...",
            help="With --model: class names in the order of their labels.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size",
            metavar="N",
            parser=count,
            help="With --model: height and width of its images [default: by the weights].",
            rich_help_panel=MODEL,
        ),
    ] = None,
    settings: SetOption = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="N", parser=count, help="Inputs per batch.", rich_help_panel=DATA),
    ] = 32,
    device: DeviceOption = None,
    runs_dir: RunsDirOption = None,
) -> None:
    """Predict classes of images, or of rows of numbers.

    Uses the last run that takes such inputs, or --run, with the preprocessing of that run. With --model there is no
    run: images are resized and scaled to [0, 1]. A file that cannot be read is a row with the reason, and the exit
    code is 1.

    Examples:
    dlw predict photo.jpg folder/ "*.png" --top-k 3
    find . -name "*.jpg" | dlw predict - --format jsonl
    dlw predict 0.5 -0.2 --run circles
    dlw predict photo.jpg --model tinyvgg --weights w.pth --classes pizza,steak,sushi
    """
    given = read_inputs(inputs, _stdin)
    target = figure_file("--plot", plot, overwrite, map(Path, given.names))
    if model is None:
        alone = {"--classes": classes, "--image-size": image_size, "--set": settings or None}
        _refuse(alone, "only with --model; a run has its own")
        predictor = _from_run(run, runs_dir, weights, device, given)
    else:
        _refuse({"--run": run, "--runs-dir": runs_dir}, "not with --model, which uses no run")
        predictor = _from_weights(model, weights, classes, image_size, settings, device)
    n, predictions = _predictions(predictor, given, target, weights, {"batch_size": batch_size, "top_k": top_k})
    if output is PredictFormat.jsonl and target is None:
        bad = _stream(predictions)
    else:
        found = list(predictions)
        bad = sum(prediction.error is not None for prediction in found)
        _print(found, output, top_k)
        if target is not None:
            say(f"figure {target.save(_drawn(predictor, found, with_bars=top_k > 1))}")
    if bad:
        say(f"{bad} of {n} files could not be read")
        raise typer.Exit(1)


class PredictCommand(Command):
    """Takes numbers below zero as inputs, and what follows a `--` as files, whatever their names begin with."""

    ignore_unknown_options = True  # -0.5 is a number; other unknown options are errors below

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; `-dash.jpg` is one name, and no `-d -a -s -h`."""
        end = args.index("--") if "--" in args else len(args)
        options: dict[str, Any] = {name: option for option in self.get_params(ctx) for name in option.opts}
        for before, given in zip(["", *args], args[:end], strict=False):
            is_value = before in options and not options[before].is_flag
            if _looks_like_an_option(given) and given.partition("=")[0] not in options and not is_value:
                error = self.unknown_option(given, ctx.command_path)
                raise ConfigError(f"{error}; a file of that name is ./{given}")
        files = [f"./{name}" if _looks_like_an_option(name) else name for name in args[end + 1 :]]
        return super().parse_args(ctx, [*args[:end], *args[end : end + 1], *files])


COMMAND = PredictCommand


def _looks_like_an_option(given: str) -> bool:
    return given.startswith("-") and given != "-" and not is_number(given)


def _stdin() -> str:
    """Return what standard input holds, without a byte order mark; a file's name need be no text."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    return sys.stdin.read().removeprefix("\ufeff")


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Raise ConfigError for the first of these options that was given."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"{name}: {why}")


def _from_run(run: str | None, runs_dir: str | None, weights: str, device: str | None, given: Inputs) -> Predictor:
    """Find the run that is named, or the last that takes such inputs, and report which it is."""
    from dlworkflow.runs import find_run

    if weights not in set(Weights):
        raise ConfigError(f"--weights: {unknown('weights', weights, set(Weights))} (a file of weights needs --model)")
    if run not in (None, "last", "best"):
        found = find_run(run, runs_dir)
    else:
        fits, what = given.wanted_run()
        try:
            found = find_run(run, runs_dir, fits=fits, what=f"trained run that takes {what}")
        except RunError as error:
            if missing := given.missing():
                raise MissingDataError(f"no file {few(missing, 3)}; {error}") from None
            raise

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
    """Put a file of weights into a model and report what was built."""
    from dlworkflow.models import check_name

    try:
        check_name(model)
    except ConfigError as error:
        raise ConfigError(str(error).replace("model.name", "--model", 1)) from None
    if weights in set(Weights):
        raise ConfigError("--model: name the file of its weights, --weights FILE (./best for a file of that name)")
    of_model, transform = _settings_of_model(settings)

    from dlworkflow.inference.predictor import Predictor

    predictor = Predictor.from_weights(
        model,
        weights,
        classes=[name.strip() for name in classes.split(",")] if classes is not None else (),
        image_size=image_size,
        settings=of_model,
        transform=transform,
        device=device or "auto",
    )
    built = ", ".join(f"{key}={value}" for key, value in predictor.settings.items())
    shape = "x".join(map(str, predictor.in_shape))
    say(f"weights {weights} in {model}{f' ({built})' if built else ''} for inputs of {shape}")
    return predictor


def _settings_of_model(settings: list[str] | None) -> tuple[dict[str, Any], Any]:
    """Return the settings of the model and `data.transform`. Raises ConfigError for any other setting."""
    from dlworkflow.config import from_overrides

    given = from_overrides(settings or ()).values
    of_model, of_data = given.pop("model", {}), given.pop("data", {})
    of_others = [*given, *(f"data.{key}" for key in of_data if key != "transform")]
    if extra := [*of_others, *(["model.name"] if "name" in of_model else [])]:
        raise ConfigError(f"--set {extra[0]}: with --model, only settings of the model and data.transform apply here")
    return of_model, of_data.get("transform")


def _predictions(
    predictor: Predictor, given: Inputs, target: FigureFile | None, weights: str, options: dict[str, int]
) -> tuple[int, Iterable[Prediction]]:
    """Return how many predictions there will be, and these, made as they are asked for."""
    if predictor.kind == "tabular":
        if target is not None:
            raise ConfigError(f"--plot draws images; {predictor.name} takes numbers")
        width = predictor.in_shape[0]
        rows = given.rows(width, owner=predictor.name, on_note=lambda text: say(f"note    {text}"))
        return len(rows), predictor.predict_rows(rows, **options)
    paths = given.images(owner=predictor.name, on_left_out=say)
    if target is not None:
        target.check([*paths, Path(weights)])
    return len(paths), _with_bar(predictor.predict_images(paths, **options), len(paths), options["batch_size"])


def _with_bar(predictions: Iterable[Prediction], n: int, batch_size: int) -> Iterator[Prediction]:
    from tqdm import tqdm

    hidden = n <= batch_size or not sys.stderr.isatty()
    yield from tqdm(predictions, total=n, unit="image", leave=False, disable=hidden, file=sys.stderr)


def _stream(predictions: Iterable[Prediction]) -> int:
    """Print each prediction as a line of JSON when it is made; return how many inputs could not be read."""
    bad = 0
    for prediction in predictions:
        typer.echo(json_text(_as_object(prediction)))
        bad += prediction.error is not None
    return bad


def _print(predictions: Sequence[Prediction], output: PredictFormat, top_k: int) -> None:
    from dlworkflow.cli.tables import Format, number, print_table

    if output in (PredictFormat.json, PredictFormat.jsonl):
        rows = [_as_object(prediction) for prediction in predictions]
        typer.echo(json_text(rows, indent=1) if output is PredictFormat.json else "\n".join(map(json_text, rows)))
        return
    raw = [_as_row(prediction) for prediction in predictions]
    pretty = [{key: f"{v:.3f}" if key.startswith("prob") else number(v) for key, v in row.items()} for row in raw]
    print_table(pretty, {key: key for key in _columns(predictions, top_k)}, Format(output.value), raw)


def _columns(predictions: Sequence[Prediction], top_k: int) -> Iterator[str]:
    yield "input"
    if any(prediction.value is not None for prediction in predictions):
        yield "value"
    else:
        shown = max((len(prediction.top) for prediction in predictions), default=0) or 1
        for rank in range(1, min(top_k, shown) + 1):
            yield from (f"label{_tail(rank)}", f"probability{_tail(rank)}")
    if any(prediction.error for prediction in predictions):
        yield "error"


def _tail(rank: int) -> str:
    return f"_{rank}" if rank > 1 else ""


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
        row |= {f"label{_tail(rank)}": label, f"probability{_tail(rank)}": probability}
    return row


def _drawn(predictor: Predictor, predictions: Sequence[Prediction], *, with_bars: bool) -> Figure:
    from dlworkflow.data.images.dataset import load_image
    from dlworkflow.plotting import plot_predicted_images, plot_prediction_bars
    from dlworkflow.plotting.grid import LONGEST_SIDE, MOST_IMAGES

    assert predictor.transform is not None
    shown = predictions[:MOST_IMAGES]
    channels, value_range = predictor.in_shape[0], predictor.transform.value_range
    images = [
        None if p.error else load_image(p.source, channels, longest=LONGEST_SIDE, value_range=value_range)
        for p in shown
    ]
    images += [None] * (len(predictions) - len(shown))
    titles = [p.error or f"Pred: {printable(p.label)} | Prob: {p.probability:.3f}" for p in predictions]
    names = [Path(p.source).name for p in predictions]
    if with_bars:
        return plot_prediction_bars(images, [p.top for p in predictions], titles, names=names)
    return plot_predicted_images(images, titles, names=names)
