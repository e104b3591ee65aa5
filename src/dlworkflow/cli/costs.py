"""`dlw costs`: what predictions of runs cost, measured one run after the other and kept with them."""

from __future__ import annotations

from typing import Annotated

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import RUN_HELP, DeviceOption, RunsDirOption, Weights, complete_runs, count, say
from dlworkflow.cli.tables import Format, FormatOption, print_table
from dlworkflow.runs.cells import headings, pretty


@takes_code
def costs(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help=RUN_HELP, autocompletion=complete_runs)
    ] = None,
    weights: Annotated[Weights, typer.Option(help="Weights of the run's best or last epoch.")] = Weights.best,
    threads: Annotated[
        int,
        typer.Option(
            metavar="N", parser=count, help="Threads of the CPU; `dlw predict` gives each core one [default: 1]."
        ),
    ] = 1,
    device: DeviceOption = None,
    runs_dir: RunsDirOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Measure what predictions of runs cost: size, multiplications, time, memory.

    Times are medians of 30 predictions or more, from numbers of the model's size to probabilities: of one input, and of
    each of 32 together. `reading` is the time to read and resize a JPEG of 512x512 pixels. Memory is what a process
    takes for the model and one prediction, beyond the libraries. The result is stored in the run: `dlw compare` shows
    it, and `dlw compare --plot FILE --plot-kind tradeoff` draws accuracy by time.

    Examples:
    dlw costs
    dlw costs tinyvgg efficientnet_lite0
    """
    from dlworkflow.analysis.costs import measure_costs
    from dlworkflow.runs import find_run

    rows, shown, machine = [], [], ""
    for name in names or (None,):
        run = find_run(name, runs_dir)
        say(f"run {run.path}")
        import_torch()
        found = measure_costs(run, weights=weights.value, threads=threads, device=device or "auto")
        run.write_found(found)
        machine = found.measured_on
        row = {"run": run.name, "parameters": found.parameters, **found.as_columns()}
        row["ms_reading"] = found.milliseconds_reading
        rows.append(row)
        shown.append(pretty(row))
    columns = headings(key for key in rows[0] if key != "measured_on")
    print_table(shown, columns, output, rows)
    say(f"times on {machine}")
