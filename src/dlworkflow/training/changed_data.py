"""Whether the data of a run is still what it was trained on. Knows a job's data and a run's fingerprints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlworkflow.data.check.leakage import find_copies
from dlworkflow.data.protocol import fingerprint_of, knows_fingerprint
from dlworkflow.data.splits import has_changed
from dlworkflow.engine.loop import Epoch, EpochHandler
from dlworkflow.errors import RunError, few
from dlworkflow.runs import Run
from dlworkflow.training.job import Job
from dlworkflow.training.provenance import leakage


def unread_splits(job: Job) -> dict[str, Any]:
    """Return the splits whose fingerprint is unknown until an epoch has read them once."""
    return {split: part for split, part in job.splits.parts().items() if not knows_fingerprint(part)}


def refuse_changed(run: Run, job: Job, splits: Iterable[str], moved: object = None) -> None:
    """Raise RunError where these splits or their classes are not those of the run.

    Where data was `moved`, a split without a fingerprint to compare with is an error too.
    """
    then, parts, classes = run.data_fingerprints(), job.splits.parts(), run.summary().classes
    if list(job.splits.classes) != classes:
        raise RunError(
            f"the classes of {job.splits.name!r} are no longer those of {run.name}: now {few(job.splits.classes)}; "
            f"then {few(classes)}"
        )
    if moved and (unknown := [split for split in splits if split not in then]):
        raise RunError(
            f"cannot compare {job.splits.source!r} with the data of {run.name}, which has no fingerprint of its "
            f"{', '.join(unknown)} split; --force resumes without the comparison"
        )
    if changed := [split for split in splits if has_changed(parts[split], then.get(split))]:
        raise RunError(
            f"the data of {run.name} has changed since ({', '.join(changed)} split, {job.splits.source}); "
            "--force resumes on the data as it is now"
        )


def read_through(job: Job, run: Run, *, compare: bool) -> list[EpochHandler]:
    """Return the handler that completes the fingerprints once the first epoch has read the data; none where known.

    With `compare` it raises RunError when the data has changed, before that epoch is recorded.
    """
    unread = unread_splits(job)

    def complete(_: Epoch) -> None:
        if not unread:
            return
        if compare:
            refuse_changed(run, job, unread)
        then = run.data_fingerprints()
        if new := {s: d for s, part in unread.items() if s not in then and (d := fingerprint_of(part))}:
            run.add_fingerprints(new)
        if (copies := find_copies(job.splits)) is not None:
            run.update_summary(leakage=leakage(copies))
        unread.clear()

    return [complete] if unread else []
