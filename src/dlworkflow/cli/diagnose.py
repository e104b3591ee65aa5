"""`dlw diagnose`: what the curves of a run mean, and the commands that may improve it."""

from __future__ import annotations

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.options import RunArgument, RunsDirOption, TextFormatOption, say
from dlworkflow.files.text import json_text, printable


@takes_code
def diagnose(
    run: RunArgument = None,
    runs_dir: RunsDirOption = None,
    output: TextFormatOption = "table",
) -> None:
    """Diagnose the learning curves of a run.

    Underfitting, overfitting, good fit, unstable, diverged, collapsed or too short to tell; the evidence in numbers;
    and what to try next, each as the command that would try it.
    """
    from dlworkflow.runs import find_run

    found = find_run(run, runs_dir)
    say(f"run {found.path}")

    from dlworkflow.analysis.diagnosis.of_run import diagnose_run

    result = diagnose_run(found)
    for note in result.notes:
        say(note)
    if output == "json":
        diagnosis = result.diagnosis
        steps = [{"why": why, "command": command} for why, command in result.suggestions]
        data = {"run": str(found.path), "verdict": diagnosis.verdict, "evidence": diagnosis.evidence, "cures": steps}
        typer.echo(json_text(data, indent=1))
        return
    for line in result.lines():
        typer.echo(printable(line))
