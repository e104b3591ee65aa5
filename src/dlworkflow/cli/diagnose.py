"""`dlw diagnose`: what the curves of a run mean, and the commands that may improve it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from dlworkflow.cli.options import RunArgument, RunsDirOption, TextFormatOption, say
from dlworkflow.files.text import json_text, printable

if TYPE_CHECKING:
    from dlworkflow.analysis.diagnosis import Diagnosis


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
    diagnosis, commands = result.diagnosis, result.suggestions
    for note in result.notes:
        say(note)
    if output == "json":
        steps = [{"why": why, "command": command} for why, command in commands]
        data = {"run": str(found.path), "verdict": diagnosis.verdict, "evidence": diagnosis.evidence, "cures": steps}
        typer.echo(json_text(data, indent=1))
        return
    for line in _lines(diagnosis, commands):
        typer.echo(printable(line))


def _lines(diagnosis: Diagnosis, commands: Sequence[tuple[str, str]]) -> list[str]:
    """Return a diagnosis as people read it: verdict and reason, evidence, commands."""
    reason, *evidence = diagnosis.evidence
    lines = [f"{diagnosis.verdict.replace('_', ' ')}: {reason[:1].lower()}{reason[1:]}"]
    lines += [f"  - {sentence}" for sentence in evidence]
    if commands:
        lines += ["", "to try, one at a time, most promising first:"]
    for why, command in commands:
        lines += [f"  {why}", f"    {command}"]
    return lines
