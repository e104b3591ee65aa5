"""A run's diagnosis, from what its folder holds: what its curves mean, and the commands that would try to mend it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlworkflow import data
from dlworkflow.config import Layer
from dlworkflow.cures import reasoned_commands
from dlworkflow.diagnosis import Diagnosis, diagnose
from dlworkflow.errors import DlwError, RunError
from dlworkflow.runs import Run
from dlworkflow.tasks import get_task
from dlworkflow.workflow import fill_defaults, resolve_config


@dataclass(frozen=True)
class RunDiagnosis:
    """What a run's curves say; the cures that fit it, as (why, command); and what to know before reading either."""

    diagnosis: Diagnosis
    cures: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def diagnose_run(run: Run) -> RunDiagnosis:
    """Say what the curves of a run mean and what to try next.

    Raises RunError when no epoch has ended, or when a file of the run is missing or damaged.
    """
    summary, history = run.summary(), run.history()
    status = run.status(summary)
    if not history:
        raise RunError(f"{run.name} ({status}) has not ended an epoch: there is nothing to diagnose")
    baseline = summary["baseline"]
    diagnosis = diagnose(
        history,
        baseline_acc=baseline["score"] if baseline.get("metric") == "accuracy" else None,
        baseline_loss=baseline["score"] if baseline.get("metric") == "loss" else None,
        collapsed_to=summary.get("collapsed_to"),
    )
    cures = reasoned_commands(diagnosis, summary["config"], _usual(summary))
    return RunDiagnosis(diagnosis, tuple(cures), tuple(_notes(summary, status, len(history))))


def _notes(summary: Mapping[str, Any], status: str, epochs: int) -> list[str]:
    """Say that a run did not end, and that its accuracies are means over batches and what the true one is."""
    notes = []
    if status != "finished":
        planned = summary["config"]["epochs"]
        notes.append(f"the run is {status}, {epochs} of {planned} epochs are there: the verdict is about these")
    if over_samples := summary.get("over_samples"):
        notes.append(
            "the run's accuracies are means over batches, which overweigh a short last batch: "
            f"over samples the best weights score {over_samples['test_acc']:.2%} on the test split"
        )
    return notes


def _usual(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the settings that the run's model trains with on its data when nothing else is said, all filled in.

    None where that cannot be told, as for a model of another package that is no longer there.
    """
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
