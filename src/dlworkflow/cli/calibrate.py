"""`dlw calibrate`: how true a run's probabilities are, and a temperature that makes them so."""

from __future__ import annotations

from typing import Annotated

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import (
    DataDirOption,
    DeviceOption,
    OfflineOption,
    RunArgument,
    RunsDirOption,
    UncalibratedOption,
    Weights,
    say,
)
from dlworkflow.cli.tables import Format, FormatOption


@takes_code
def calibrate(
    run: RunArgument = None,
    weights: Annotated[Weights, typer.Option(help="Weights of the best or of the last epoch.")] = Weights.best,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Labelled data that training has not seen: its split val, else test [default: the run's split val].",
        ),
    ] = None,
    uncalibrated: UncalibratedOption = False,
    device: DeviceOption = None,
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
    runs_dir: RunsDirOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Calibrate a run: probabilities that say how often it is right.

    Divides the raw scores by a temperature that is found on the validation split (Guo et al. 2017) and kept in the run:
    labels stay, and probabilities of `dlw predict`, `evaluate`, `serve` and `export` change from then on. Also finds
    what `dlw predict --max-error` and `--reject-unknown` need; for the latter, features of the training data are
    computed once and kept in the run. The best and the last weights have a calibration each. With --uncalibrated both
    are removed.

    Examples:
    dlw calibrate tinyvgg
    dlw calibrate tinyvgg --data labelled_photos
    dlw calibrate tinyvgg --uncalibrated
    """
    from dlworkflow.errors import ConfigError
    from dlworkflow.runs import find_run
    from dlworkflow.runs.calibration import CALIBRATED_ON, CalibrationSummary

    if data is not None and not data.strip():
        raise ConfigError("--data: is empty; give a name of `dlw data list` or a path")
    found = find_run(run, runs_dir, fits=lambda summary: bool(summary.best), what="trained run")
    if uncalibrated:
        removed = sum(found.remove_found(CalibrationSummary, split) for split in CALIBRATED_ON.values())
        say(f"run {found.path}: {'its calibration is removed' if removed else 'is not calibrated; nothing is removed'}")
        return

    import_torch()
    from dlworkflow.analysis.calibration import calibrate as calibrate_run
    from dlworkflow.cli.predict_model import chosen_weights
    from dlworkflow.cli.tables import print_table
    from dlworkflow.files.text import json_text
    from dlworkflow.runs.calibration_text import COLUMNS, rows, sentences

    say(f"run {found.path} {chosen_weights(weights.value, None)}")
    result = calibrate_run(
        found, weights=weights.value, data=data, device=device or "auto", data_dir=data_dir, offline=offline
    )
    if output is Format.json:
        typer.echo(json_text(result.to_data(), indent=1))
        return
    print_table(rows(result), COLUMNS, output)
    if output is Format.table:
        for line in sentences(result):
            typer.echo(line)
    say(f"kept in {found.path}; `dlw calibrate {found.path} --uncalibrated` removes it")
