"""Training and resuming one run in several processes: rank 0 writes it, the others have a copy of what they need."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dlworkflow.engine.loop import BatchHandler, EpochHandler
from dlworkflow.errors import RunError
from dlworkflow.runs import Run, find_run, list_runs, runs_folder
from dlworkflow.training.distributed.group import Processes
from dlworkflow.training.job import Job
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import train_job

_FILES = ("config.yaml", "environment.json", "summary.json", "history.csv", "resume.pth")


def train_together(
    group: Processes,
    job: Job,
    *,
    runs_dir: str | os.PathLike[str] | None = None,
    name: str | None = None,
    offline: bool = False,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: EpochHandler | None = None,
    on_batch: BatchHandler | None = None,
) -> Run:
    """Do what `train_job` does with the job that each process of the group prepared; see there.

    Processes that torchrun has restarted resume their run.
    """
    shown: Any = {"on_start": on_start, "on_epoch": on_epoch, "on_batch": on_batch}
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        begun = run_of(group.launch, runs_dir) if not group.rank else None
        status = group.tell(begun.summary().status if begun is not None else "")[0]
        if status:
            return _resumed(group, begun, over=status == "finished", offline=offline, **shown)
    with _own_folder(group) as folder:
        return train_job(job, runs_dir=folder or runs_dir, name=name, **shown)


def resume_together(
    group: Processes,
    name: str,
    *,
    runs_dir: str | os.PathLike[str] | None = None,
    epochs: int | None = None,
    place: Mapping[str, Any] | None = None,
    force: bool = False,
    offline: bool = False,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: EpochHandler | None = None,
    on_batch: BatchHandler | None = None,
) -> Run:
    """Do what `resume_training` does with the run `name` of rank 0; the number of processes may change."""
    run: Run | None = None
    with group.in_turn():
        if not group.rank:
            run = find_run(name, runs_dir)
    shown: Any = {"on_start": on_start, "on_epoch": on_epoch, "on_batch": on_batch}
    return _resumed(group, run, epochs=epochs, place=place, force=force, offline=offline, **shown)


def _resumed(group: Processes, run: Run | None, *, over: bool = False, **settings: Any) -> Run:
    """Resume rank 0's run on every process, unless it is `over`."""
    with _own_folder(group) as folder:
        run = _copied(group, run, folder)
        return run if over else resume_training(run, group=group, **settings)


def run_of(launch: str, runs_dir: str | os.PathLike[str] | None) -> Run | None:
    """Return the newest run that was started by this command."""
    found = []
    for run in list_runs(runs_folder(runs_dir)):
        with suppress(RunError):  # a damaged one is none of ours
            summary = run.summary()
            if summary.launch == launch:
                found.append((str(summary.started), run))
    return max(found, key=lambda pair: pair[0], default=(None, None))[1]


@contextmanager
def _own_folder(group: Processes) -> Iterator[Path | None]:
    """Yield a temporary folder on all ranks but 0, which has the run folder itself."""
    if not group.rank:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="dlworkflow-") as folder:
        yield Path(folder)


def _copied(group: Processes, run: Run | None, folder: Path | None) -> Run:
    """Copy the files of rank 0's run to the folders of the others; return each process's own run."""
    for file in _FILES:
        source = run.path / file if run is not None else None
        content = group.send(source.read_bytes() if source is not None and source.is_file() else None)
        if content is not None and folder is not None:
            (folder / file).write_bytes(content)
    if run is not None:
        return run
    assert folder is not None
    return Run(folder)
