"""From what a user names, data or a run, to the cross-validation that checks its labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

from dlworkflow import data
from dlworkflow.config import Layer, SweepSettings, from_mapping, merge
from dlworkflow.data.shards.names import shards_path
from dlworkflow.errors import ConfigError, DataError, DlwError, MissingDataError, RunError, nearest, not_installed
from dlworkflow.files.paths import user_path
from dlworkflow.inference.rebuild import take_code
from dlworkflow.registry.user_code import is_code
from dlworkflow.runs import Run, list_runs
from dlworkflow.runs.finding import is_run
from dlworkflow.training.choice import choose_model
from dlworkflow.training.job import Job
from dlworkflow.training.settings import locate_data
from dlworkflow.training.sweep.folder import Plan, Sweep, find_run_or_sweep, list_sweeps
from dlworkflow.training.sweep.folds import is_cross_validation, plan_folds


class Check(NamedTuple):
    """A cross-validation that is to check labels: its plan, its settings, the job of its first run, and a note."""

    plan: Plan
    settings: SweepSettings
    job: Job
    note: str


def check_extra() -> None:
    """Raise DlwError where cleanlab is not installed."""
    if find_spec("cleanlab") is None:
        raise DlwError(not_installed("the search for wrong labels", "cleanlab", "labels"))


def subject_of(given: Any, runs_dir: str | os.PathLike[str] | None = None) -> str | Run | Sweep:
    """Return what `DATA|RUN` means: a cross-validation, a run, or the text where it names data.

    A data set of the table and an existing path that is no run are data. The run of a fold is its cross-validation.
    Raises RunError for a sweep that compares settings, and for a name that is neither data nor a run.
    """
    if isinstance(given, Run | Sweep):
        return _checked(given)
    text = os.fspath(given)
    path = user_path(text)
    is_folder_of_runs = is_run(path) or (path / "sweep.json").is_file()
    if not is_folder_of_runs and (text in data.names() or is_code(text) or path.exists() or shards_path(text, "DATA")):
        return text
    try:
        found = find_run_or_sweep(text, runs_dir)
    except RunError:
        trained = [*(run.name for run in list_runs(runs_dir)), *(sweep.name for sweep in list_sweeps(runs_dir))]
        if text in ("last", "best") or is_folder_of_runs or any(name.startswith(text) for name in trained):
            raise
        if path.name != text:
            raise MissingDataError(f"DATA|RUN: no such folder, file or run: {text!r}") from None
        guess = nearest(text, [*data.names(), *trained])
        hint = f"did you mean {guess!r}?" if guess else "`dlw data list` and `dlw runs` list what there is"
        raise ConfigError(f"DATA|RUN: {text!r} is neither a data set, a path nor a run; {hint}") from None
    return _checked(found)


def plan_check(
    subject: str | Run, layers: Sequence[Layer], *, folds: int = 5, repeats: int = 1, offline: bool = False
) -> Check:
    """Plan the cross-validation of data, or of a run's settings, under the `layers` of a user's own.

    Without a model, one that suits the data is taken, and the note says which. Raises DataError for a regression, and
    as `plan_folds` does.
    """
    note = ""
    if isinstance(subject, Run):
        take_code(subject)
        base = [_settings_of(subject)]
    else:
        base = [from_mapping({"data": subject})]
        given = merge([locate_data(layer) for layer in (*base, *layers)]).values
        if "name" not in given.get("model", {}):
            chosen, why = choose_model(given["data"])
            base = [Layer(chosen), *base]
            note = f"no model was named: {chosen['model']['name']} is {why}"
    plan, settings, job = plan_folds([*base, *layers], folds=folds, repeats=repeats, offline=offline)
    if job.splits.task == "regression":
        raise DataError(
            f"data {job.splits.name!r} has numbers, not classes: its largest errors are in errors.csv of "
            f"`dlw crossval {job.config.model.name} --data {subject if isinstance(subject, str) else job.splits.name}`"
        )
    return Check(plan, settings, job, note)


def _checked(found: Run | Sweep) -> Run | Sweep:
    if isinstance(found, Run):
        above = Sweep(found.path.parent)
        in_folds = (above.path / "sweep.json").is_file() and is_cross_validation(above.read())
        return above if in_folds else found
    if not is_cross_validation(found.read()):
        raise RunError(f"{found.name} is a sweep that compares settings; name one of its runs, or a cross-validation")
    return found


def _settings_of(run: Run) -> Layer:
    """Return the settings of a run, without what is of it alone."""
    config = dict(run.summary().config)
    config["data"] = {key: value for key, value in config["data"].items() if key not in ("folds", "fold")}
    return Layer({key: value for key, value in config.items() if key != "track"})
