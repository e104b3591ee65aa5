"""`dlw diagnose`: what the curves of a run say, and the commands that would try to mend it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.options import RunArgument, RunsDirOption, say
from dlworkflow.errors import DlwError, RunError
from dlworkflow.text import printable

if TYPE_CHECKING:
    from dlworkflow.diagnosis import Diagnosis
    from dlworkflow.runs import Run


class Format(StrEnum):
    """How a diagnosis is printed."""

    table = "table"
    json = "json"


def diagnose(
    run: RunArgument = None,
    runs_dir: RunsDirOption = None,
    output: Annotated[Format, typer.Option("--format", help="For people, or for programs.")] = Format.table,
) -> None:
    """Read the curves of a run.

    Underfitting, overfitting, good fit, unstable, diverged, collapsed or too short to tell; the evidence in numbers;
    and what to try next, each as the command that would try it.
    """
    from dlworkflow.runs import find_run

    found = find_run(run, runs_dir)
    say(f"run {found.path}")
    diagnosis, cures = _diagnose_run(found)
    if output is Format.json:
        import json

        steps = [{"why": why, "command": command} for why, command in cures]
        data = {"run": str(found.path), "verdict": diagnosis.verdict, "evidence": diagnosis.evidence, "cures": steps}
        typer.echo(json.dumps(data, indent=1, ensure_ascii=False))
        return
    for line in _lines(diagnosis, cures):
        typer.echo(printable(line))


def _lines(diagnosis: Diagnosis, cures: list[tuple[str, str]]) -> list[str]:
    """Return a diagnosis as people read it: verdict and reason, evidence, commands."""
    reason, *evidence = diagnosis.evidence
    lines = [f"{diagnosis.verdict.replace('_', ' ')}: {reason[:1].lower()}{reason[1:]}"]
    lines += [f"  - {sentence}" for sentence in evidence]
    if cures:
        lines += ["", "to try:"]
    for why, command in cures:
        lines += [f"  {why}", f"    {command}"]
    return lines


def _diagnose_run(run: Run) -> tuple[Diagnosis, list[tuple[str, str]]]:
    """Diagnose what a run wrote down; return it with the cures that fit, as (why, command)."""
    from dlworkflow.cures import reasoned_commands
    from dlworkflow.diagnosis import diagnose as diagnose_history

    summary, history = run.summary(), run.history()
    status = summary.get("status")
    if not history:
        raise RunError(f"{run.name} ({status}) has not ended an epoch: there is nothing to diagnose")
    try:
        if status != "finished":
            planned = summary["config"]["epochs"]
            say(f"the run is {status}, {len(history)} of {planned} epochs are there: the verdict is about these")
        baseline = summary.get("baseline") or {}
        diagnosis = diagnose_history(
            history,
            baseline_acc=baseline.get("score") if baseline.get("metric") == "accuracy" else None,
            baseline_loss=baseline.get("score") if baseline.get("metric") == "loss" else None,
            collapsed_to=summary.get("collapsed_to"),
        )
        _say_averaging(summary)
        return diagnosis, reasoned_commands(diagnosis, summary["config"], _usual(summary))
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{run.name} is damaged: its summary.json lacks or garbles {error}") from error


def _say_averaging(summary: Mapping[str, Any]) -> None:
    """Say that a run's accuracies are means over batches, and what the true one is."""
    over_samples = summary.get("over_samples")
    if over_samples is not None:
        say(
            "the run's accuracies are means over batches, which overweigh a short last batch: "
            f"over samples the best weights score {over_samples['test_acc']:.2%} on the test split"
        )


def _usual(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the settings that the run's model trains with on its data when nothing else is said, all filled in.

    None where that cannot be told, as for a model of another package that is no longer there.
    """
    from dlworkflow import data
    from dlworkflow.config import Layer
    from dlworkflow.tasks import get_task
    from dlworkflow.workflow import fill_defaults, resolve_config

    config = summary["config"]
    located = {key: config["data"][key] for key in ("name", "path") if key in config["data"]}
    said = {"model": {"name": config["model"]["name"]}, "data": located}
    try:
        alone = resolve_config([Layer(said)])
        usual = fill_defaults(resolve_config([Layer({**said, "optimizer": {"name": config["optimizer"]["name"]}})]))
        task = get_task(summary["task"])
        files = data.entries()[located["name"]].files
    except DlwError:
        return None
    tree = usual.to_tree()
    if alone.optimizer.name != usual.optimizer.name:
        tree["optimizer"]["name"] = None  # to be said, though its settings are the usual ones
    tree["loss"] = tree["loss"] or task.losses[0]
    if files:
        tree["data"]["data_dir"] = str(data.data_folder().resolve())
    return tree
