"""`dlw export`: a run's model in a format that other programs read, checked against the run before it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import (
    DataDirOption,
    OverwriteOption,
    RunArgument,
    RunsDirOption,
    UncalibratedOption,
    Weights,
    echo_path,
    say,
)
from dlworkflow.cli.predict_model import chosen_weights, finished_runs


@takes_code
def export(
    run: RunArgument = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Format: onnx (other programs), torch (.pt2, torch alone) or safetensors (weights and labels.json).",
        ),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to write [default: model.onnx, .pt2 or .safetensors in the run folder]."
        ),
    ] = None,
    package: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="New folder to write instead: model.onnx, a script that runs it without dlworkflow, a Dockerfile.",
        ),
    ] = None,
    weights: Annotated[Weights, typer.Option(help="Weights of the best or of the last epoch.")] = Weights.best,
    uncalibrated: UncalibratedOption = False,
    overwrite: OverwriteOption = False,
    data_dir: DataDirOption = None,
    runs_dir: RunsDirOption = None,
) -> None:
    """Export a run's model for other programs.

    Scaling, normalization and activation are inside the file: it takes raw pixels or rows and returns probabilities or
    values. Up to 256 held-out samples are predicted by the run and by the file first; where a probability differs by
    more than 0.0001, nothing is written.

    Examples:
    dlw export
    dlw export circles --format torch --out circles.pt2
    dlw export --package for-you
    """
    from dlworkflow.errors import ConfigError
    from dlworkflow.runs import find_run

    runs = finished_runs(run, runs_dir) if run not in (None, "last", "best") else []
    if len(runs) > 1:
        raise ConfigError(f"{run} is {len(runs)} runs, and a file holds one model: name one, as {runs[0].name}")
    found = runs[0] if runs else find_run(run, runs_dir, fits=lambda summary: bool(summary.best), what="trained run")

    import_torch()
    from dlworkflow.analysis.export import export_run
    from dlworkflow.inference.stored import stored_temperature

    temperature = stored_temperature(found, weights.value) if not uncalibrated else None
    say(f"run {found.path} {chosen_weights(weights.value, None, temperatures=[temperature])}")
    exported = export_run(
        found,
        format=format_,
        out=out,
        package=package,
        weights=weights.value,
        overwrite=overwrite,
        data_dir=data_dir,
        calibrated=not uncalibrated,
    )
    for note in exported.notes:
        say(f"note: {note}")
    description = exported.description
    assert description.parity is not None
    say(f"compared {description.parity.text(description.task)}")
    echo_path(exported.path)
