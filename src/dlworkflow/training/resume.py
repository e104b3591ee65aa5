"""Resuming a run: its settings and data are checked against what it wrote. Knows the run folder, not the loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from dlworkflow.config import Layer, TrainConfig, build_config
from dlworkflow.data.protocol import OnProgress
from dlworkflow.data.splits import ONLY_NAMES, is_former
from dlworkflow.engine.data_parallel import Group
from dlworkflow.engine.loop import BatchHandler, EpochHandler
from dlworkflow.engine.schedules import depends_on_length
from dlworkflow.errors import ConfigError, MissingDataError, RunError
from dlworkflow.registry.user_code import take_recorded
from dlworkflow.registry.user_files import KINDS
from dlworkflow.runs import Run, RunLike, Summary, as_run
from dlworkflow.training.assembly import new_state
from dlworkflow.training.changed_data import refuse_changed, unread_splits
from dlworkflow.training.job import Job as Job
from dlworkflow.training.job import in_turn, put_in_place
from dlworkflow.training.provenance import leakage, processes
from dlworkflow.training.run import train_recorded
from dlworkflow.training.settings import check_stored

_log = logging.getLogger(__name__)


def resume_training(
    run: RunLike,
    *,
    epochs: int | None = None,
    place: Mapping[str, Any] | None = None,
    force: bool = False,
    offline: bool = False,
    group: Group | None = None,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: EpochHandler | None = None,
    on_batch: BatchHandler | None = None,
    on_images: OnProgress | None = None,
) -> Run:
    """Resume a run in its own folder after its last complete epoch, to the same bits as if it had never stopped.

    `epochs` is the total, which may be raised; a run of 0 epochs is then trained as a new one. `place` has the settings
    that say where the data is now, such as `path` or `data_dir`; the run keeps them from then on. Raises RunError when
    the run has all its epochs, has no state, is being trained by another process, or when its data has changed, unless
    `force`.
    """
    run = as_run(run)
    with run.locked():
        with in_turn(group):
            job = prepare_resume(
                run, epochs=epochs, place=place, force=force, offline=offline, group=group, on_images=on_images
            )
        state = new_state(job)
        run.sweep()
        run.write_config(job.config.to_yaml())
        now = {"config": job.config.to_tree(), "source": job.splits.source, "leakage": leakage(job.leakage)}
        run.update_summary(status="running", reason=None, **now, **processes(group))
        shown: Any = {"on_start": on_start, "on_epoch": on_epoch, "on_batch": on_batch}
        train_recorded(job, run, state, resume=True, force=force, **shown)
    return run


def prepare_resume(
    run: Run,
    *,
    epochs: int | None = None,
    place: Mapping[str, Any] | None = None,
    force: bool = False,
    offline: bool = False,
    group: Group | None = None,
    on_images: OnProgress | None = None,
) -> Job:
    """Put the data, model and settings of a run in place to resume it; see `resume_training`."""
    summary = run.summary()
    take_recorded(summary.code, summary.named, KINDS, run=run.name, strict=not force)
    config = _config_of(run, epochs, place, force=force)
    fresh, last = not run.state_path.is_file(), summary.last
    untrained = last is not None and not last["epoch"]
    if fresh and not untrained and any(run.weights_path(which).exists() for which in ("best", "last")):
        raise RunError(
            f"{run.name} has no {run.state_path.name} to resume from; --init-from starts a new run from its weights"
        )
    try:
        job = put_in_place(config, offline, fresh, group, on_images)
    except MissingDataError as error:
        if place or "path" not in config.data.settings:
            raise
        raise MissingDataError(
            f"{error}; if the data was moved: dlw train --resume {run.name} --data NEWPATH"
        ) from None
    if not force:
        _check_data(run, job, place)
    return job


def _config_of(run: Run, epochs: int | None, place: Mapping[str, Any] | None, *, force: bool) -> TrainConfig:
    """Return the settings of a run with the total of `epochs` and the `place` of its data."""
    summary = run.summary()
    tree = dict(summary.config)
    if place:
        tree["data"] = _placed(run, tree["data"], place)
    done, planned = run.epochs_done(), build_config(Layer(tree)).epochs
    if epochs is not None and epochs < planned and epochs < done:
        raise ConfigError(f"--epochs: {run.name} has {done} epochs already, more than {epochs}")
    total = planned if epochs is None else epochs
    if not force and planned:
        _refuse_to_stretch(run, summary, planned, total)
    if summary.status == "finished" and total <= done:
        raise RunError(f"{run.name} has finished its {done} epochs; give more, for example --epochs {2 * done or 5}")
    config = build_config(Layer(tree | {"epochs": total}))
    check_stored(config)
    return config


def _check_data(run: Run, job: Job, place: Mapping[str, Any] | None) -> None:
    """Raise RunError where the data that is known before it is read has changed."""
    then, unread = run.data_fingerprints(), {} if place else unread_splits(job)
    refuse_changed(run, job, [split for split in job.splits.parts() if split not in unread], place)
    if any(is_former(then.get(split), part) for split, part in job.splits.parts().items()):
        _log.info("%s %s", run.name, ONLY_NAMES)


def _placed(run: Run, stored: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data settings of a run with another place to find it. Raises ConfigError for other data."""
    if (name := place.get("name", stored["name"])) != stored["name"]:
        raise ConfigError(
            f"--data: {run.name} was trained on data {stored['name']!r}, and this is {name!r}; a run resumes on its "
            "own data, wherever that is now"
        )
    return {**stored, **place}


def _refuse_to_stretch(run: Run, summary: Summary, planned: int, epochs: int) -> None:
    """Raise RunError where a run that knows its end, by its schedule or by early stopping, would get more epochs."""
    given = summary.config.get("schedule")
    schedule = given.get("name") if isinstance(given, dict) else None
    if epochs != planned and depends_on_length(str(schedule)):
        raise RunError(
            f"the schedule {schedule!r} of {run.name} was drawn for {planned} epochs; --force redraws it for {epochs}, "
            "so that the run is no longer one that had them from the start"
        )
    if summary.stopped_early:
        raise RunError(
            f"{run.name} has stopped early, after {run.epochs_done()} of {planned} epochs; --force waits as many "
            "epochs again"
        )
