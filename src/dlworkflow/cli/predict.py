"""`dlw predict`: images or numbers in, labels with probabilities out."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dlworkflow.cli.command import Command, takes_code
from dlworkflow.cli.options import (
    RUN_HELP,
    BackendOption,
    DeviceOption,
    MaxErrorOption,
    MinConfidenceOption,
    OfflineOption,
    OverwriteOption,
    RejectUnknownOption,
    RunsDirOption,
    SetOption,
    TtaOption,
    UncalibratedOption,
    Weights,
    complete_models,
    complete_runs,
    count,
    count_or_all,
    figure_file,
    say,
)
from dlworkflow.cli.predict_model import cautious, from_exported, from_published, from_runs, from_weights, near
from dlworkflow.cli.predict_text import PRINTED_AT_ONCE, PredictFormat, drawn, drawn_neighbours, print_predictions
from dlworkflow.config.flags import DATA, MODEL, OUTPUT
from dlworkflow.errors import ConfigError
from dlworkflow.files.paths import user_path
from dlworkflow.inference.inputs import Inputs, is_number, read_inputs

if TYPE_CHECKING:
    from dlworkflow.cli.options import FigureFile
    from dlworkflow.inference.base import BasePredictor
    from dlworkflow.inference.prediction import Prediction

Input = TypeVar("Input")


@takes_code
def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Image files, folders, patterns, a CSV file that lists images; rows of numbers, a CSV file of them; - "
            "for the lines of standard input.",
        ),
    ],
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help=f"{RUN_HELP} May be repeated; several, or all those of a sweep, are averaged.",
            autocompletion=complete_runs,
        ),
    ] = None,
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
            help="Format of the predictions; jsonl and csv print each when it is made, csv-bom is CSV for Excel.",
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
            metavar="best|last|FILE|default",
            help="Weights of the run's best or last epoch; with --model, a file of weights, or default for those that "
            "torchvision or timm publish.",
            rich_help_panel=MODEL,
        ),
    ] = Weights.best.value,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|FILE.onnx",
            help="Use this model with --weights FILE or default, or this exported file, and no run [default: a run].",
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
    tta: TtaOption = None,
    min_confidence: MinConfidenceOption = None,
    max_error: MaxErrorOption = None,
    reject_unknown: RejectUnknownOption = False,
    uncalibrated: UncalibratedOption = False,
    neighbours: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            parser=count,
            help="Print the K training samples that the model finds nearest to each input [default: none].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=count, help="Predict the first N inputs [default: all].", rich_help_panel=DATA
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="N", parser=count, help="Inputs per batch.", rich_help_panel=DATA),
    ] = 32,
    device: DeviceOption = None,
    backend: BackendOption = None,
    offline: OfflineOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Predict classes of images, or of rows of numbers.

    Uses the last run that takes such inputs, or --run, with the preprocessing of that run. Several runs are averaged,
    with a column of their disagreement: the share of models with another label, of numbers the standard deviation.
    A run that was exported by `dlw export` predicts without torch, which starts sooner. With --model there is no run:
    images are resized and scaled to [0, 1], or prepared as for the published weights, or as an exported file has it. A
    file that cannot be read is a row with the reason, and the exit code is 1. With --min-confidence, --max-error or
    --reject-unknown some answers are `unsure`, see `dlw guide unsure`.

    Examples:
    dlw predict photo.jpg folder/ "*.png" --top-k 3
    dlw predict photos/ --max-error 5%
    dlw predict photo.jpg --neighbours 5 --plot near.png
    find . -name "*.jpg" | dlw predict - --format jsonl
    dlw predict 0.5 -0.2 --run circles
    dlw predict photos/ --run tinyvgg-sweep-001 --tta flip
    dlw predict photo.jpg --model tinyvgg --weights w.pth --classes pizza,steak,sushi
    dlw predict photo.jpg --model efficientnet_lite0 --weights default --top-k 5
    dlw predict photo.jpg --model model.onnx
    """
    given = read_inputs(inputs, stdin_text)
    target = figure_file("--plot", plot, overwrite, map(Path, given.names))
    alone = {"--classes": classes, "--image-size": image_size, "--set": settings or None}
    if model is None:
        _refuse(alone, "only with --model; a run has its own")
        options: dict[str, Any] = {"device": device, "tta": tta, "calibrated": not uncalibrated}
        options["backend"] = backend or ("torch" if reject_unknown or neighbours else "auto")
        predictor = from_runs(run or (), runs_dir, weights, given, **options)
    else:
        _refuse({"--run": run or None, "--runs-dir": runs_dir}, "not with --model, which uses no run")
        _refuse({"--backend": backend}, "not with --model, which decides it")
        _refuse({"--uncalibrated": uncalibrated or None}, "not with --model, which uses no run")
        predictor = _without_a_run(model, weights, alone, device, offline).with_tta(tta)
    predictor = cautious(predictor, min_confidence, max_error, reject_unknown)
    if neighbours is not None:
        predictor = near(predictor, neighbours)
    n, predictions = _predictions(predictor, given, target, weights, limit, batch_size=batch_size, top_k=top_k)
    found: list[Prediction] = []  # all for a figure, else those of inputs that could not be read
    noted = _noted(predictions, found, every=target is not None)
    print_predictions(_with_bar(noted, n, batch_size, output), output, top_k)
    if target is not None:
        figure = drawn_neighbours(predictor, found) if neighbours else drawn(predictor, found, with_bars=top_k > 1)
        say(f"figure {target.save(figure)}")
    if bad := sum(prediction.error is not None for prediction in found):
        say(f"{bad} of {n} files could not be read")
        raise typer.Exit(1)


def _without_a_run(
    model: str, weights: str, options: Mapping[str, Any], device: str | None, offline: bool
) -> BasePredictor:
    """Return what predicts for `--model`: an exported file, a file of weights, or those that are published."""
    if model.casefold().endswith(".onnx"):
        _refuse(options, f"not with --model {model}, which has classes and preprocessing of its own")
        return from_exported(model, weights, device)
    from dlworkflow.training.transfer import is_file

    if weights in set(Weights) or is_file(weights) or user_path(weights).exists():
        classes, image_size, settings = options.values()
        return from_weights(model, weights, classes, image_size, settings, device)
    _refuse(options, f"not with --weights {weights}, which have classes and preprocessing of their own")
    return from_published(model, weights, device, offline)


class PredictCommand(Command):
    """Takes numbers below zero as inputs, and what follows a `--` as files, whatever their names begin with."""

    ignore_unknown_options = True  # -0.5 is a number; other unknown options are errors below

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; `-dash.jpg` is one name, and no `-d -a -s -h`."""
        end = args.index("--") if "--" in args else len(args)
        options: dict[str, Any] = {
            name: option for option in self.get_params(ctx) for name in (*option.opts, *option.secondary_opts)
        }
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


def stdin_text() -> str:
    """Return what standard input holds, without a byte order mark; a file's name need be no text."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    return sys.stdin.read().removeprefix("\ufeff")


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Raise ConfigError for the first of these options that was given."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"{name}: {why}")


def _predictions(
    predictor: BasePredictor,
    given: Inputs,
    target: FigureFile | None,
    weights: str,
    limit: int | None,
    *,
    batch_size: int,
    top_k: int,
) -> tuple[int, Iterable[Prediction]]:
    """Return how many predictions there will be, and these, made as they are asked for; with a `limit` the first."""
    if predictor.kind == "tabular":
        if target is not None:
            raise ConfigError(f"--plot draws images; {predictor.name} takes numbers")
        notes: Any = {"owner": predictor.name, "on_note": lambda text: say(f"note    {text}")}
        if predictor.columns is not None and given.numbers is None:
            sources, records = given.records(predictor.columns, **notes)
            records, sources = _first(records, limit), sources[:limit]
            return len(records), predictor.predict_records(records, sources=sources, batch_size=batch_size, top_k=top_k)
        width = len(predictor.columns.names) if predictor.columns is not None else predictor.in_shape[0]
        rows = _first(given.rows(width, **notes), limit)
        return len(rows), predictor.predict_rows(rows, batch_size=batch_size, top_k=top_k)
    paths = _first(given.images(owner=predictor.name, on_left_out=say), limit)
    if target is not None:
        target.check([*paths, Path(weights)])
    return len(paths), predictor.predict_images(paths, batch_size=batch_size, top_k=top_k)


def _first(inputs: list[Input], limit: int | None) -> list[Input]:
    """Return the first inputs, and print how many there are where some are left out."""
    if limit is None or limit >= len(inputs):
        return inputs
    say(f"note    limited to the first {limit:,} of {len(inputs):,} inputs")
    return inputs[:limit]


def _noted(predictions: Iterable[Prediction], found: list[Prediction], *, every: bool) -> Iterator[Prediction]:
    """Yield predictions; note `every` one, or those without an answer, as they pass."""
    for prediction in predictions:
        if every or prediction.error is not None:
            found.append(prediction)
        yield prediction


def _with_bar(
    predictions: Iterable[Prediction], n: int, batch_size: int, output: PredictFormat
) -> Iterable[Prediction]:
    """Show how far predictions are, where nothing else on the terminal does."""
    if n <= batch_size or not sys.stderr.isatty() or (output in PRINTED_AT_ONCE and sys.stdout.isatty()):
        return predictions
    from tqdm import tqdm

    return tqdm(predictions, total=n, unit="input", leave=False, file=sys.stderr)
