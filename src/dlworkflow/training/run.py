"""Training a run: what `prepare` put in place is trained epoch by epoch in a run folder. Knows of no resume's checks.

Reports progress through callbacks; prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import takewhile
from typing import Any

import torch

from dlworkflow.config import TrainConfig
from dlworkflow.data.images.decoded_cache import UnreadableError
from dlworkflow.data.loaders import explained_workers
from dlworkflow.engine.device import repeatable_convolutions, thread_count
from dlworkflow.engine.loop import BatchHandler, Epoch, EpochHandler, train_epochs
from dlworkflow.engine.random_state import set_seeds
from dlworkflow.engine.signals import Halt, Stopped, StopRequest, noted_signals
from dlworkflow.errors import DlwError, RunError, reason_of
from dlworkflow.runs import Run
from dlworkflow.runs.keeping import remove_folder
from dlworkflow.training.assembly import assemble, new_state
from dlworkflow.training.changed_data import read_through
from dlworkflow.training.job import Job, prepare
from dlworkflow.training.provenance import best_on_test, boosting, create_run
from dlworkflow.training.recorder import Recorder
from dlworkflow.training.settings import resolve_config
from dlworkflow.training.state import TrainState
from dlworkflow.training.trackers.tracking import Tracking


def run_training(
    config: TrainConfig | Mapping[str, Any] | None = None,
    *,
    runs_dir: str | os.PathLike[str] | None = None,
    name: str | None = None,
    offline: bool = False,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: EpochHandler | None = None,
    **settings: Any,
) -> Run:
    """Train as `config` and `settings` say and return the run folder, `runs_dir/<name>-NNN`.

    Both are settings as `resolve_config` takes them: `run_training({"model": "tinyvgg", "data": "digits"}, epochs=3)`.
    With 0 epochs the untrained model is evaluated, as epoch 0, and saved.
    Seeds every generator before the model is built and, unless `reseed` is false, again before the loop. `on_start` is
    called before the first epoch, `on_epoch` after each. Whatever ends training early, the last complete epoch's state
    is written first; the summary then has the status `interrupted` or `failed`, and `resume_training` continues.
    Ctrl-C raises KeyboardInterrupt after the batch, SIGTERM SystemExit(143), SIGHUP SystemExit(129).
    """
    job = prepare(resolve_config(config, **settings), offline=offline)
    return train_job(job, runs_dir=runs_dir, name=name, on_start=on_start, on_epoch=on_epoch)


def train_job(
    job: Job,
    *,
    runs_dir: str | os.PathLike[str] | None = None,
    name: str | None = None,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: EpochHandler | None = None,
    on_batch: BatchHandler | None = None,
) -> Run:
    """Train what `prepare` put in place; see `run_training`. `on_batch` is called after each batch of each split.

    Where images cannot be read and no epoch has ended, no run folder is left.
    """
    state = new_state(job)  # whatever can fail does so before there is a folder
    run = create_run(job, runs_dir, name)
    try:
        with run.locked():
            train_recorded(job, run, state, on_start=on_start, on_epoch=on_epoch, on_batch=on_batch)
    except UnreadableError:  # images that are read while it trains: where they are read before, there is no folder
        if not run.history():
            with suppress(RunError):  # it stays, as a failed run
                remove_folder(run.path)
        raise
    return run


def train_recorded(
    job: Job,
    run: Run,
    state: TrainState,
    *,
    resume: bool = False,
    force: bool = False,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: EpochHandler | None = None,
    on_batch: BatchHandler | None = None,
) -> None:
    """Train in a run's folder. However training ends, the folder holds whole epochs and the summary its status."""
    group = job.group
    writes = group is None or group.rank == 0
    recorder = Recorder(run, state, writes=writes)
    tracking = Tracking(run, job.config.track, on=writes)
    with (
        noted_signals(group.highest if group is not None else None) as request,
        _early_end_recorded(recorder, tracking, request),
        thread_count(job.threads),
        repeatable_convolutions(),
        explained_workers(),
    ):
        if on_start is not None:
            on_start(job, run)
        set_seeds(job.config.seed)
        if not job.config.reseed:
            torch.set_rng_state(job.drawn)
        if resume:
            _continue(run, recorder, state)
        with recorder.uncounted():
            tracking.start()
        shown: Any = {"on_epoch": on_epoch, "on_batch": on_batch}
        _train(job, run, state, recorder, tracking, request, compare=resume and not force, **shown)
        run.update_summary(**best_on_test(job, recorder.best, recorder.weights))
        if state.early_stopping is not None:
            run.update_summary(stopped_early=recorder.epochs_done < job.config.epochs)
    try:
        recorder.finish("finished")
        run.update_summary(**boosting(job))
    finally:
        tracking.end(recorder.written)


def _train(
    job: Job,
    run: Run,
    state: TrainState,
    recorder: Recorder,
    tracking: Tracking,
    request: StopRequest,
    *,
    compare: bool,
    on_epoch: EpochHandler | None,
    on_batch: BatchHandler | None,
) -> None:
    """Train the epochs that are left and call the handlers of the end of an epoch, in their order.

    Data read for the first time is compared with the run's; schedule and early stopping advance; the recorder takes
    the state and writes; a backbone is unfrozen; trackers report; `on_epoch` shows progress. A handler that raises
    ends training: the epoch is kept if the recorder has seen it.
    """

    def track(_: Epoch) -> None:
        tracking.note(recorder.last)
        with recorder.uncounted():
            tracking.report(until=recorder.written)

    parts = assemble(job, state, request, recorder.epochs_done, on_batch)
    handlers: list[EpochHandler] = [*read_through(job, run, compare=compare), state.end_epoch, recorder]
    handlers += [*parts.handlers, track]
    handlers += [on_epoch] if on_epoch is not None else []
    left = range(recorder.epochs_done + 1, job.config.epochs + 1) if job.config.epochs else (0,)
    numbers = takewhile(lambda _: not state.should_stop(), left)
    for epoch in train_epochs(numbers, parts.trained, parts.tested, parts.batches, state.update, parts.metrics.of):
        if counted := parts.metrics.take():
            epoch = replace(epoch, metrics=counted)
        for handle in handlers:
            handle(epoch)


def _continue(run: Run, recorder: Recorder, state: TrainState) -> None:
    """Take up the state of a run; one that has stopped early waits as many epochs again."""
    recorder.resume()
    if state.early_stopping is not None and run.summary().stopped_early:
        state.early_stopping.restart()
        run.update_summary(stopped_early=False)


@contextmanager
def _early_end_recorded(recorder: Recorder, tracking: Tracking, request: StopRequest) -> Iterator[None]:
    """Record and report the end of training where an exception is that: an interruption, or a failure with a reason."""
    try:
        yield
    except (Stopped, Halt, KeyboardInterrupt, BrokenPipeError) as stop:
        try:
            recorder.finish(stop.status if isinstance(stop, Halt) else "interrupted")
        finally:
            tracking.end(recorder.written)
        if isinstance(stop, Stopped):
            request.raise_as_asked()
        raise
    except BaseException as error:
        failed = not isinstance(error, SystemExit)
        why = {"reason": reason_of(error)} if failed else {}
        try:
            recorder.finish("failed" if failed else "interrupted", **why)
        except DlwError as another:  # the first error is the one to report
            error.add_note(str(another))
        tracking.end(recorder.written)
        raise
