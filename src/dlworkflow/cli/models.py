"""`dlw models` and `dlw summary`: which architectures there are, and one of them layer by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.options import (
    DataDirOption,
    OfflineOption,
    OverwriteOption,
    RunOption,
    RunsDirOption,
    SetOption,
    complete_data,
    complete_models,
    count,
    echo_path,
    figure_file,
    save_under_free_name,
    say,
    typed_model,
)
from dlworkflow.cli.tables import Format, FormatOption, print_table
from dlworkflow.files.numbers import number
from dlworkflow.files.text import printable

if TYPE_CHECKING:
    from torch import nn

    from dlworkflow.cli.options import FigureFile
    from dlworkflow.inference.predictor import Predictor


def models(
    search: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="List the models whose names contain a text, those of torchvision and timm too [default: off].",
        ),
    ] = None,
    output: FormatOption = Format.table,
) -> None:
    """List the models.

    Parameters are those for the notes' input, in the column beside it. With --search, the last column has the names of
    published weights for --weights.

    Examples:
    dlw models --search convnext
    """
    from dlworkflow.models import entries, recipe_names

    if search is not None:
        _search(search, output)
        return
    rows = [
        {
            "model": name,
            "task": entry.task,
            "usual_data": entry.data,
            "input": "x".join(map(str, entry.in_shape)),
            "outputs": entry.n_outputs or None,
            "parameters": entry.parameters or None,
            "recipes": ", ".join(recipe_names(name)),
        }
        for name, entry in entries().items()
    ]
    columns = {key: key.replace("_", " ") for key in rows[0]}
    print_table([{key: number(value) for key, value in row.items()} for row in rows], columns, output, rows)
    say(
        "and the classification models of torchvision and timm (resnet18, timm/convnext_atto): dlw models --search TEXT"
    )


def _search(text: str, output: Format) -> None:
    """Print the models whose names contain a text, in any case, and the published weights of each."""
    from dlworkflow.errors import ConfigError
    from dlworkflow.models import names, timm_models, torchvision_models

    own = names()
    found = {name: ["in1k"] if name in timm_models.LITE else [] for name in [*own, *timm_models.LITE]}
    found |= torchvision_models.weights()
    try:
        found |= timm_models.weights()
    except ConfigError as error:
        say(str(error).removeprefix("model.name: "))
    fitting = [name for name in found if text.lower() in name.lower()]
    rows = [{"model": name, "weights": ", ".join(found[name])} for name in fitting]
    if not rows:
        raise ConfigError(f"--search: no name of a model contains {text!r}")
    print_table(rows, {"model": "model", "weights": "weights"}, output)


@takes_code
def summary(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Model: a name of `dlw models`, or FILE.py:CLASS.", autocompletion=complete_models
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Data that the model is built for [default: the course's input].",
            autocompletion=complete_data,
        ),
    ] = None,
    settings: SetOption = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", parser=count, help="Batch size of the input.")
    ] = 1,
    trace: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGE",
            help="Follow one image through the layers and save a figure of the feature maps [default: off].",
        ),
    ] = None,
    run: RunOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File of the figure of --trace [default: MODEL-layers.png, numbered if it exists]."
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    data_dir: DataDirOption = None,
    runs_dir: RunsDirOption = None,
    offline: OfflineOption = False,
) -> None:
    """Print a model layer by layer.

    Shapes, parameters and multiplications, by torchinfo, for the notes' input, that of --data or that of a run.
    """
    from dlworkflow.errors import ConfigError

    model = typed_model(model)
    if trace is None and out is not None:
        raise ConfigError("--out: only with --trace IMAGE")
    if run is not None and (data is not None or settings):
        raise ConfigError("--run: the run says data and settings; leave out --data and --set")
    target = figure_file("--out", out, overwrite, [trace] if trace is not None else [])
    predictor = _from_run(model, run, runs_dir) if run else None
    if predictor is not None:
        built, in_shape = predictor.model, predictor.in_shape
    else:
        built, in_shape = _fresh(model, data, settings, data_dir, offline)
    if trace is not None:
        _trace(model, built, in_shape, trace, target, predictor)
        return

    typer.echo(_layers(built, (batch_size, *in_shape)))


def _layers(built: nn.Module, input_size: Sequence[int]) -> str:
    """Return torchinfo's table of a model, with units that can be read."""
    import torchinfo

    columns = ("input_size", "output_size", "num_params", "mult_adds")
    table = torchinfo.summary(built, input_size=input_size, col_names=columns, row_settings=("var_names",), verbose=0)
    if table.total_mult_adds < 10_000:  # 0.00 million says nothing
        table.formatting.macs_units = torchinfo.Units.NONE
    # Python 3.11 formats torchinfo's M, G and T as Units.MEGABYTES and so on
    return re.sub(r"\(Units\.(\w)\w*\)", r"(\1)", str(table))


def _fresh(
    model: str, data: str | None, settings: list[str] | None, data_dir: str | None, offline: bool
) -> tuple[nn.Module, tuple[int, ...]]:
    """Build a model with new weights, always the same ones, for the notes' input or for some data."""
    from dlworkflow.config import from_overrides
    from dlworkflow.engine.random_state import set_seeds
    from dlworkflow.errors import ConfigError
    from dlworkflow.models import build, entry

    known = entry(model)
    given = from_overrides(settings or ()).values
    extra = [key for key in given if key != "model"]
    if extra:
        raise ConfigError(f"--set {extra[0]}: a summary is of the model alone; only model.* settings matter here")
    chosen = given.get("model", {})
    if not isinstance(chosen, dict):
        raise ConfigError(f"--set model: must be a name or settings of it, not {chosen!r}")
    if chosen.pop("name", model) != model:
        raise ConfigError(f"--set model.name: contradicts MODEL {model!r}; leave it out")
    if data is None and not known.in_shape:
        raise ConfigError(f"model {model!r} has no usual input; name some data with --data")
    in_shape, n_outputs = known.in_shape, known.n_outputs
    if data is not None:
        from dlworkflow.data import load, locate

        splits = load(**locate(data), data_dir=data_dir, offline=offline)
        in_shape, n_outputs = splits.in_shape, splits.n_outputs
    set_seeds(42)
    return build(model, in_shape, n_outputs, **chosen), in_shape


def _from_run(model: str, run: str, runs_dir: str | None) -> Predictor:
    from dlworkflow.errors import ConfigError
    from dlworkflow.inference.predictor import Predictor
    from dlworkflow.runs import find_run

    found = find_run(run, runs_dir, fits=lambda summary: summary.model == model, what=f"run of {model!r}")
    summary = found.summary()
    if summary.model != model:
        raise ConfigError(f"--run: {found.name} is a {summary.model}, not a {model}")
    say(f"run {found.path} (best weights)")
    return Predictor.from_run(found, device="cpu")


def _trace(
    model: str,
    built: nn.Module,
    in_shape: tuple[int, ...],
    file: Path,
    target: FigureFile | None,
    predictor: Predictor | None,
) -> None:
    """Print each layer's output shape for one image and draw its feature maps.

    With a run, the image is preprocessed as in the run, and the prediction is printed too.
    """
    from dlworkflow.data.images.pipeline import Pipeline
    from dlworkflow.data.images.pixels import to_uint8
    from dlworkflow.errors import ConfigError
    from dlworkflow.models.layers import layer_outputs
    from dlworkflow.plotting import plot_feature_maps

    if len(in_shape) != 3:
        raise ConfigError(f"--trace: model {model!r} takes rows of numbers, not images; see `dlw trace {model}`")
    way = predictor.transform if predictor is not None else None
    way = way or Pipeline((in_shape[1], in_shape[2]))
    image = way.to_float(to_uint8(way.read(file, in_shape[0]))[None])[0]
    layers = layer_outputs(built, image[None])
    rows = [{"layer": "input", "kind": "", "output": _times(image.shape)}]
    rows += [{"layer": layer.name, "kind": layer.kind, "output": _times(layer.output.shape[1:])} for layer in layers]
    print_table(rows, {key: key for key in rows[0]})
    if predictor is not None:
        [prediction] = predictor.predict_images([file])
        typer.echo(
            f"answer: {prediction.error or f'{printable(prediction.label)}, probability {prediction.probability:.3f}'}"
        )
    maps = [("input", image.numpy()), *((f"{x.name} {x.kind}", x.output[0].numpy()) for x in layers)]
    figure = plot_feature_maps(maps)
    echo_path(target.save(figure) if target else save_under_free_name(figure, f"{model}-layers"))


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
