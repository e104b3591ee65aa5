"""`dlw report`: what a colleague wants to know of runs, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.options import (
    RUN_HELP,
    DataDirOption,
    OverwriteOption,
    RunsDirOption,
    complete_runs,
    echo_path,
    say,
)
from dlworkflow.errors import few


@takes_code
def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help=f"{RUN_HELP} A sweep stands for all its runs [default: last].",
            autocompletion=complete_runs,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File of the report: .html or .md [default: report.html]."),
    ] = None,
    form: Annotated[
        Literal["html", "md"] | None,
        typer.Option(
            "--format",
            help="Format: html is one page with its figures inside, md is Markdown with a folder of figures "
            "[default: html, or as --out is named].",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    data_dir: DataDirOption = None,
    runs_dir: RunsDirOption = None,
) -> None:
    """Write a report of runs to be sent to others.

    What was trained on what, the scores with intervals and baselines, curves, the best and worst predictions, a
    diagnosis, the settings and the command that repeats it. Several runs are compared first. The page holds no
    absolute path and loads nothing.

    Examples:
    dlw report                            the last run, as report.html
    dlw report tinyvgg resnet18 --out both.html
    dlw report best --out best.md         Markdown, its figures in best_files
    """
    from dlworkflow.analysis.report.writing import report_file, write_report
    from dlworkflow.training.sweep.folder import find_runs

    path, _ = report_file(out, form)
    runs = list({run.path.resolve(): run for name in names or ["last"] for run in find_runs(name, runs_dir)}.values())
    say(
        f"run {runs[0].path}" if len(runs) == 1 else f"{len(runs)} runs: {few((r.name for r in runs), 5, quoted=False)}"
    )
    echo_path(write_report(runs, path, form=form, overwrite=overwrite, data_dir=data_dir))
