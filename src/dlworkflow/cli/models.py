"""`dlw models` and `dlw summary`: which architectures there are, and one of them layer by layer."""

from __future__ import annotations

from typing import Annotated

import typer

from dlworkflow.cli.options import DataDirOption, OfflineOption, SetOption, complete_data, complete_models, count
from dlworkflow.cli.tables import Format, number, render

FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]


def models(output: FormatOption = Format.table) -> None:
    """List the models.

    Parameters are those for the notes' input, in the column beside it.
    """
    from dlworkflow.models import entries

    rows = [
        {
            "model": name,
            "task": entry.task,
            "usual_data": entry.data,
            "input": "x".join(map(str, entry.in_shape)),
            "outputs": entry.n_outputs or None,
            "parameters": entry.parameters or None,
        }
        for name, entry in entries().items()
    ]
    columns = {key: key.replace("_", " ") for key in rows[0]}
    typer.echo(render([{key: number(value) for key, value in row.items()} for row in rows], columns, output, rows))


def summary(
    model: Annotated[str, typer.Argument(help="A name of `dlw models`.", autocompletion=complete_models)],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH", help="Build it for this data, not for the notes'.", autocompletion=complete_data
        ),
    ] = None,
    settings: SetOption = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", parser=count, help="Samples in the table's input.")
    ] = 32,
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
) -> None:
    """Print a model layer by layer.

    Shapes, parameters and multiplications, by torchinfo, for the notes' input or that of --data.
    """
    from dlworkflow.config import from_overrides
    from dlworkflow.errors import ConfigError
    from dlworkflow.models import build, entry

    known = entry(model)
    given = from_overrides(settings or ()).values
    extra = [key for key in given if key != "model"]
    if extra:
        raise ConfigError(f"--set {extra[0]}: a summary is of the model alone; only model.* settings matter here")
    if data is None and not known.in_shape:
        raise ConfigError(f"model {model!r} has no usual input; name some data with --data")
    in_shape, n_outputs = known.in_shape, known.n_outputs
    if data is not None:
        from dlworkflow.data import load, locate

        splits = load(**locate(data), data_dir=data_dir, offline=offline)
        in_shape, n_outputs = splits.in_shape, splits.n_outputs
    built = build(model, in_shape, n_outputs, **given.get("model", {}))

    import torchinfo

    columns = ("input_size", "output_size", "num_params", "mult_adds")
    table = torchinfo.summary(
        built, input_size=(batch_size, *in_shape), col_names=columns, row_settings=("var_names",), verbose=0
    )
    typer.echo(str(table))
