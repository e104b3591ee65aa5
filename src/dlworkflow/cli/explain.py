"""`dlw explain`: what in an image or a row made the answer, whether that can be relied on, and which columns count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.evaluate import Split
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import (
    RUN_HELP,
    DataDirOption,
    DeviceOption,
    OverwriteOption,
    RunsDirOption,
    Weights,
    complete_runs,
    count,
    echo_path,
    figure_file,
    save_under_free_name,
    say,
)
from dlworkflow.cli.predict import PredictCommand, stdin_text
from dlworkflow.cli.predict_model import from_runs
from dlworkflow.cli.tables import Format, FormatOption, print_table
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.files.numbers import number, short
from dlworkflow.files.text import json_text, printable
from dlworkflow.inference.inputs import Inputs, read_inputs

if TYPE_CHECKING:
    from dlworkflow.analysis.explanation import ImageExplanation, RowExplanation
    from dlworkflow.inference.predictor import Predictor


@takes_code
def explain(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT]...",
            help="What to explain, as for `dlw predict`: images, folders, patterns, rows of numbers, a CSV file "
            "[default: which columns a run of numbers relies on].",
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help=RUN_HELP, autocompletion=complete_runs)
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="gradcam, occlusion or integrated_gradients [default: gradcam where the model averages its "
            "last feature maps and it marks something, else occlusion; integrated_gradients for rows].",
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Class to explain [default: the likeliest].")
    ] = None,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k",
            metavar="N",
            parser=count,
            help="Likeliest classes of an image, at most 10 of them in the figure.",
        ),
    ] = 3,
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="Check the map of an image: hide what it marks, and compare it with untrained copies of the model.",
        ),
    ] = True,
    limit: Annotated[
        int | None, typer.Option(metavar="N", parser=count, help="Explain the first N inputs [default: all].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the checks and of the shuffles.")] = 0,
    split: Annotated[Split, typer.Option(help="Without INPUT: split of the run's data.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Figure of images: .png, .svg or .pdf [default: a new file here]."),
    ] = None,
    overwrite: OverwriteOption = False,
    weights: Annotated[Weights, typer.Option(help="Weights of the best or of the last epoch.")] = Weights.best,
    device: DeviceOption = None,
    data_dir: DataDirOption = None,
    runs_dir: RunsDirOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Explain predictions: what in an image or a row made the answer.

    Of images, a figure with a heat map for each of the likeliest classes, and whether the map can be relied on: what
    hiding the marked part does to the answer, and whether an untrained network gives the same map. Of rows, what each
    column contributes. Without INPUT, how much worse a run of numbers is where one column is shuffled.

    Examples:
    dlw explain photo.jpg
    dlw explain photos/ --method occlusion --top-k 1 --out why.png
    dlw explain 0.5 -0.2 --run circles
    dlw explain --run mlp
    """
    if not inputs:
        if refused := [name for name, value in {"--method": method, "--class": label, "--out": out}.items() if value]:
            raise ConfigError(f"{refused[0]}: only with an INPUT, an image or a row to explain")
        _explain_run(run, split, seed, weights.value, device, data_dir, runs_dir, output)
        return
    given = read_inputs(inputs, stdin_text)
    target = figure_file("--out", out, overwrite, map(Path, given.names))
    _refuse_run(given, run, runs_dir)
    import_torch()
    using: dict[str, Any] = {"backend": "torch", "device": device, "tta": None, "calibrated": True}
    predictor: Any = from_runs([run] if run else (), runs_dir, weights.value, given, **using)

    from dlworkflow.analysis.explanation import draw_explanations
    from dlworkflow.analysis.explanation.explaining import explanations_of

    options: dict[str, Any] = {"method": method, "label": label, "top_k": top_k, "check": check, "seed": seed}
    paths = given.images(owner=predictor.name, on_left_out=say) if predictor.kind == "image" else None
    if target is not None:
        if paths is None:
            raise ConfigError(f"--out: draws images; {predictor.name} takes numbers")
        target.check(paths)
    made, _ = explanations_of(predictor, _rows(predictor, given) if paths is None else iter(paths), **options)
    made = islice(made, limit)
    start = "the mean training row" if predictor.columns is not None else "a row of zeros"
    found: list[Any] = _print_rows(made, start, output) if paths is None else _print_images(made, output)
    if any(each.error is None for each in found) and paths is not None:
        figure = draw_explanations(found)
        name = Path(found[0].source).stem if len(found) == 1 else getattr(predictor.run, "name", "ensemble")
        echo = echo_path if output is Format.table else lambda path: say(f"figure {path}")
        echo(target.save(figure) if target is not None else save_under_free_name(figure, f"{name}-why"))
    if bad := sum(each.error is not None for each in found):
        say(f"{bad} of {len(found)} inputs could not be explained")
        raise typer.Exit(1)


COMMAND = PredictCommand


def _refuse_run(given: Inputs, run: str | None, runs_dir: str | None) -> None:
    """Raise ConfigError where the only input is no file and means a run."""
    from dlworkflow.runs import find_run

    name = given.names[0]
    if len(given.names) > 1 or not given.missing():
        return
    try:
        find_run(name, runs_dir)
    except RunError:
        return
    raise ConfigError(
        f"INPUT: {name!r} is a run, and no file here; a run is named by --run {run or name}, and an image or a row "
        "is the INPUT (a run of numbers needs none)"
    )


def _rows(predictor: Predictor, given: Inputs) -> Any:
    """Return the rows of numbers that were given, or the CSV files that hold them."""
    if predictor.columns is not None and given.numbers is None:
        given.records(predictor.columns, owner=predictor.name, on_note=lambda text: say(f"note    {text}"))
        return list(given.names)
    width = len(predictor.columns.names) if predictor.columns is not None else predictor.in_shape[0]
    return given.rows(width, owner=predictor.name, on_note=lambda text: say(f"note    {text}"))


def _print_images(made: Iterable[Any], output: Format) -> list[ImageExplanation]:
    """Print what was found of each image when it is found, in a table's format, else of all at the end."""
    found = []
    for each in made:
        found.append(each)
        if output is Format.table:
            answers = each.error or f"{', '.join(answer.text() for answer in each.answers)} ({each.method})"
            typer.echo(printable(f"{each.source}: {answers}"))
            for line in each.sentences():
                typer.echo(f"  {printable(line)}")
    if output is not Format.table:
        _print_each(found, _row_of_image, output)
    return found


def _row_of_image(found: ImageExplanation) -> dict[str, Any]:
    if found.error is not None:
        return {"input": found.source, "error": found.error}
    row = {"input": found.source, "method": found.method, **found.answers[0].as_object()}
    if found.curves is None:
        return row
    row |= {"hidden_tenth": found.curves.deletion[1], "hidden_elsewhere": found.curves.random_deletion[1]}
    row |= {"shown_tenth": found.curves.insertion[1], "shown_elsewhere": found.curves.random_insertion[1]}
    row |= found.curves.areas | {"untrained_correlation": found.untrained}
    return row


def _print_rows(made: Iterable[Any], start: str, output: Format) -> list[RowExplanation]:
    """Print a row as a table of its columns, the largest contribution first; several as a line each."""
    found: list[RowExplanation] = list(made)
    if len(found) == 1 and found[0].error is None and output is Format.table:
        [one] = found
        rows = [{"column": row["column"], "contribution": f"{row['contribution']:+.4g}"} for row in one.shown_rows()]
        typer.echo(printable(f"{one.source}: {one.answer.text()}; {start}: {one.start.text()}"))
        print_table(rows, {"column": "column", "contribution": "contribution"})
    else:
        _print_each(found, _row_of, output)
    return found


def _print_each(found: Sequence[Any], row_of: Callable[[Any], dict[str, Any]], output: Format) -> None:
    """Print a line for each input, or all as JSON."""
    if output is Format.json:
        typer.echo(json_text([each.as_object() for each in found], indent=1))
        return
    raw = [row_of(each) for each in found]
    keys = list(dict.fromkeys(key for row in raw for key in row))
    cells = [{key: _cell(value) for key, value in row.items()} for row in raw]
    print_table(cells, {key: key for key in keys}, output, raw)


def _row_of(found: RowExplanation) -> dict[str, Any]:
    if found.error is not None:
        return {"input": found.source, "error": found.error}
    return {"input": found.source, **found.answer.as_object(), **found.contributions}


def _cell(value: Any) -> str:
    return short(value) if isinstance(value, float) else number(value)


def _explain_run(
    name: str | None,
    split: str,
    seed: int,
    weights: str,
    device: str | None,
    data_dir: str | None,
    runs_dir: str | None,
    output: Format,
) -> None:
    """Print how much a run of numbers relies on each column."""
    from dlworkflow.runs import find_run

    wanted: dict[str, Any] = (
        {}
        if name not in (None, "last", "best")
        else {
            "fits": lambda summary: bool(summary.best) and summary.kind == "tabular",
            "what": "trained run of numbers (an image to explain is named: `dlw explain photo.jpg`)",
        }
    )
    run = find_run(name, runs_dir, **wanted)

    import_torch()
    from dlworkflow.analysis.explanation.importance import importance_of
    from dlworkflow.inference.predictor import Predictor

    predictor = Predictor.from_run(run, weights=weights, device=device or "auto")
    say(f"run {run.path} ({weights} weights)")
    found = importance_of(predictor, split, data_dir=data_dir, seed=seed)
    if output is Format.json:
        typer.echo(json_text(vars(found), indent=1))
        return
    cells = [{key: _cell(value) for key, value in row.items()} for row in found.columns]
    keys = ("column", "worse", "low", "high")
    print_table(cells, {key: key for key in keys}, output, found.columns)
    if output is Format.table:
        for line in found.sentences():
            typer.echo(printable(line))
