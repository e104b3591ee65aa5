"""How a run was trained: its settings, the command that repeats it, the versions that it depends on."""

from __future__ import annotations

import json
from typing import Any

from dlworkflow.analysis.diagnosis.of_run import situation_of
from dlworkflow.analysis.diagnosis.suggestions import own_command
from dlworkflow.analysis.report.document import Block, Command, Fold, Section, Table, Text
from dlworkflow.config.command_line import OF_THE_MACHINE, flat
from dlworkflow.files.text import shell_command, without_places
from dlworkflow.registry.user_code import code_options
from dlworkflow.runs import Run

_MAIN = (  # what whoever knows the field asks first
    *("recipe", "epochs", "data.batch_size", "optimizer.name", "optimizer.lr", "optimizer.weight_decay"),
    *("schedule.name", "loss", "data.transform", "weights", "freeze", "seed"),
)
_PLACES = ("data.data_dir", "data.path")  # of another machine


def settings_section(run: Run) -> Section:
    """Return the settings of a run, those that differ from the usual ones first, and all in a fold."""
    summary = run.summary()
    settings = _cells(summary.config)
    usual = situation_of(summary).usual
    usually = _cells(usual) if usual is not None else {}
    differing = [
        key
        for key, value in settings.items()
        if usually and usually.get(key, "") != value and key not in ("recipe", *OF_THE_MACHINE)
    ]
    first = dict.fromkeys([*differing, *(key for key in _MAIN if settings.get(key, "null") != "null")])
    rows = [
        {"setting": key, "value": settings[key], "usual": usually.get(key, "") if key in differing else ""}
        for key in first
    ]
    columns = {"setting": "setting", "value": "value"}
    blocks: list[Block] = []
    if differing:
        columns["usual"] = "usual value"
        dataset = summary.config["data"]
        usual_command = shell_command(["dlw", "train", summary.model, "--data", dataset.get("path") or dataset["name"]])
        blocks.append(Text(f"The usual value is what `{usual_command}` takes by itself."))
    elif usually:
        blocks.append(Text("All settings are the usual ones of this model on this data."))
    every = [{"setting": key, "value": value} for key, value in settings.items()]
    blocks += [
        Table("Settings", columns, rows),
        Fold(f"All {len(every)} settings", [Table("All settings", {"setting": "setting", "value": "value"}, every)]),
    ]
    return Section("Settings", blocks)


def repeat_section(run: Run) -> Section:
    """Return the command that trains such a run again, and what its numbers depend on besides."""
    summary = run.summary()
    command = own_command(situation_of(summary))
    if code := code_options(summary.code):
        command += f" {shell_command(code)}"
    blocks: list[Block] = [Command(command)]
    if without_places(command) != command:
        blocks.append(Text("Files and folders are named without their place: write where they are on your machine."))
    rows = [{"name": name, "value": value} for name, value in _versions(run)]
    blocks.append(Table("Versions and machine", {"name": "name", "value": "value"}, rows))
    return Section("How to repeat it", blocks)


def _versions(run: Run) -> list[tuple[str, str]]:
    summary, known = run.summary(), run.environment()
    packages, machine = known.get("packages"), known.get("machine")
    packages = packages if isinstance(packages, dict) else {}
    machine = machine if isinstance(machine, dict) else {}
    found = [("dlworkflow", known.get("dlworkflow")), ("Python", known.get("python")), *packages.items()]
    found += [("system", machine.get("system")), ("device", summary.device), ("threads", summary.threads)]
    found += [("processes", known.get("processes")), ("git commit", known.get("git_commit"))]
    found += [(f"fingerprint of the {split} split", each) for split, each in run.data_fingerprints().items()]
    return [(str(what), str(value)) for what, value in found if value is not None]


def _cells(config: Any) -> dict[str, str]:
    """Return settings by dotted key as `--set` takes them; none for those that name a place on a machine."""
    found = {key: value for key, value in flat(config).items() if key not in _PLACES}
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in found.items()
    }
