"""Trackers: where a run reports its curves and results, a file each; `tracking` reports and keeps failures from a run.

A tracker is a class derived from `Tracker` and a line in the table here; the parameters of its constructor are its
settings. What it reports with is imported when it starts, not here. Add your own with `register_tracker`, or from
another package through the entry-point group `dlworkflow.trackers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from dlworkflow.errors import ConfigError, not_installed
from dlworkflow.registry import Registry
from dlworkflow.training.trackers.tracker import Tracked as Tracked
from dlworkflow.training.trackers.tracker import Tracker as Tracker


def _adopted(thing: Any) -> type[Tracker]:
    """Return a class of trackers. Raises ConfigError for anything else."""
    if not isinstance(thing, type) or not issubclass(thing, Tracker):
        raise ConfigError("is no class derived from dlworkflow.Tracker")
    return thing


TRACKERS: Registry[type[Tracker]] = Registry(
    "tracker",
    {
        "tensorboard": "tensorboard:TensorBoard",
        "mlflow": "mlflow:MLflow",
        "wandb": "wandb:WandB",
    },
    "trackers",
    package="dlworkflow.training.trackers",
    section="",
    adopt=_adopted,
)


def register_tracker(name: str, tracker: type[Tracker]) -> None:
    """Make `track` know a tracker of your own.

    Raises ConfigError for a name that the library has, and for what is no class derived from `Tracker`.
    """
    TRACKERS.register(name, _checked(name, tracker))


def tracker_fault(named: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what is wrong with trackers, {name: settings}, in one sentence; empty if nothing.

    The package of each has to be installed.
    """
    faults: list[str] = []
    for name, settings in named.items():
        try:
            tracker = _checked(name, TRACKERS[name])  # that of another package may be anything
        except ConfigError as error:
            faults.append(str(error))
            continue
        faults += [f"{name}.{key}: {sentence}" for key, sentence in TRACKERS.faults(name, settings).items()]
        if tracker.package and not _is_installed(tracker.package):
            faults.append(not_installed(repr(name), tracker.package, tracker.extra or tracker.package))
    return "; ".join(faults)


def _checked(name: str, thing: Any) -> type[Tracker]:
    """Return a class of trackers. Raises ConfigError with the name for anything else."""
    try:
        return _adopted(thing)
    except ConfigError as error:
        raise ConfigError(f"tracker {name!r} {error}") from None


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # what stands for a module that must not be imported
        return False
