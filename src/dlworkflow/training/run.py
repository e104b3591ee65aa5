"""Where settings, data, model, engine and run folder meet: `run_training(config)`, `resume_training(run)`.

Says what it does through the callbacks it is given; prints nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch

from dlworkflow.config import TrainConfig
from dlworkflow.data.check.leakage import find_copies
from dlworkflow.data.loaders import explained_workers, make_loader
from dlworkflow.data.protocol import counts_of, fingerprint_of, knows_fingerprint
from dlworkflow.data.splits import has_changed
from dlworkflow.engine.data_parallel import OwnDraws
from dlworkflow.engine.device import thread_count
from dlworkflow.engine.loop import Epoch, evaluate, train
from dlworkflow.engine.random_state import set_seeds
from dlworkflow.engine.signals import Halt, Stoppable, Stopped, noted_signals
from dlworkflow.errors import DlwError, RunError, few, reason_of
from dlworkflow.models.backbone import Classifier
from dlworkflow.models.weights.checkpoint import apply_weights
from dlworkflow.runs import OVER_SAMPLES, Run, runs_folder
from dlworkflow.training.assembly import (
    as_seen_by_the_classifier,
    as_staged,
    as_trained,
    build_learner,
    build_loaders,
    shared_loss,
)
from dlworkflow.training.job import Job, prepare
from dlworkflow.training.optimization import Learning
from dlworkflow.training.provenance import environment, first_summary, leakage
from dlworkflow.training.recorder import Learner, Recorder, Trained

_log = logging.getLogger(__name__)


def run_training(
    config: TrainConfig,
    *,
    runs_dir: str | os.PathLike[str] | None = None,
    name: str | None = None,
    offline: bool = False,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> Run:
    """Train as `config` says and return the run folder, `runs_dir/<name>-NNN`.

    Seeds every generator twice, as the notes do: before the model is built and before the loop. `on_start` and
    `on_epoch` are told of what happens. Whatever ends training early, the state of the last complete epoch is written
    first; the summary then says `interrupted` or `failed`, and `resume_training` goes on from there. Ctrl-C raises
    KeyboardInterrupt after the batch, SIGTERM SystemExit(143), SIGHUP SystemExit(129).
    """
    return train_job(
        prepare(config, offline=offline), runs_dir=runs_dir, name=name, on_start=on_start, on_epoch=on_epoch
    )


def train_job(
    job: Job,
    *,
    runs_dir: str | os.PathLike[str] | None = None,
    name: str | None = None,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> Run:
    """Train what `prepare` put in place; see `run_training`."""
    learner, learning = build_learner(job)  # whatever can fail does so before there is a folder
    run = _create_run(job, runs_dir, name)
    with run.locked():
        train_recorded(job, run, learner, learning, on_start=on_start, on_epoch=on_epoch)
    return run


def _create_run(job: Job, runs_dir: str | os.PathLike[str] | None, name: str | None, **more: Any) -> Run:
    return Run.create(
        runs_folder(runs_dir),
        name or job.stem,
        summary=first_summary(job) | more,
        config=job.config.to_yaml(),
        environment=environment(job),
        split_indices=job.splits.indices,
    )


class RecordedJob:
    """The run folder of a job whose epochs are trained elsewhere, as training here would have left it.

    For training that draws no random number within its loop. `more` is added to the summary. The run is locked until
    `close`.
    """

    def __init__(
        self, job: Job, *, runs_dir: str | os.PathLike[str] | None = None, name: str | None = None, **more: Any
    ) -> None:
        learner, _ = build_learner(job)
        self._job, self.run = job, _create_run(job, runs_dir, name, **more)
        self._recorder = Recorder(self.run, learner)
        self._held = ExitStack()
        self._held.enter_context(self.run.locked())

    def write(self, trained: Trained, status: str) -> None:
        """Write all that was trained so far; `status` is `running` while there is more to come."""
        set_seeds(self._job.config.seed)
        self._recorder.adopt(trained)
        if status == "running":
            self._recorder.save()
            return
        if status == "finished":
            self.run.update_summary(**_look_at_the_best(self._job, self._recorder))
        self._recorder.finish(status)

    def close(self) -> None:
        """Let others have the run."""
        self._held.close()


def unread_digests(job: Job) -> dict[str, Any]:
    """Return the splits whose fingerprint is not known before they have been gone through once."""
    return {split: part for split, part in job.splits.parts().items() if not knows_fingerprint(part)}


def refuse_changed(run: Run, job: Job, splits: Iterable[str], moved: object = None) -> None:
    """Raise RunError where these splits are not what the run was trained on, or where that cannot be told of `moved`.

    So it is where the classes have other names.
    """
    then, parts, classes = run.data_fingerprints(), job.splits.parts(), run.summary()["classes"]
    if list(job.splits.classes) != classes:
        raise RunError(
            f"the classes of {job.splits.name!r} are no longer those of {run.name}: now {few(job.splits.classes)}; "
            f"then {few(classes)}"
        )
    if moved and (unknown := [split for split in splits if split not in then]):
        raise RunError(
            f"whether {job.splits.source!r} is the data of {run.name} cannot be told: it noted no fingerprint of its "
            f"{', '.join(unknown)} split; --force goes on with it all the same"
        )
    if changed := [split for split in splits if has_changed(parts[split], then.get(split))]:
        raise RunError(
            f"the data of {run.name} has changed since ({', '.join(changed)} split, {job.splits.source}); "
            "--force goes on with it as it is now"
        )


def _read_through(job: Job, run: Run, on_end: Callable[[Epoch], object], compare: bool) -> Callable[[Epoch], object]:
    """Return what ends an epoch; the first that has gone through data unknown before compares it, or notes it down.

    An epoch on data that has changed is not kept.
    """
    unread = unread_digests(job)
    if not unread:
        return on_end

    def end(epoch: Epoch) -> None:
        then = run.data_fingerprints()
        if unread and compare:
            refuse_changed(run, job, unread)
        if new := {s: d for s, part in unread.items() if s not in then and (d := fingerprint_of(part))}:
            run.add_fingerprints(new)
        if (copies := find_copies(job.splits)) is not None:
            run.update_summary(leakage=leakage(copies))
        unread.clear()
        on_end(epoch)

    return end


def train_recorded(
    job: Job,
    run: Run,
    learner: Learner,
    learning: Learning,
    *,
    resume: bool = False,
    force: bool = False,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> None:
    """Train within a run's folder; however it ends, what is written is a whole epoch and the summary says how."""
    config, group = job.config, job.group
    val_draws, averaged = learner.generators["val"], learner.averaged
    recorder = Recorder(run, learner, on_epoch, writes=group is None or group.rank == 0)
    status = "failed"
    try:
        with (
            thread_count(job.threads),
            explained_workers(),
            noted_signals(group.highest if group is not None else None) as request,
        ):
            try:
                if on_start is not None:
                    on_start(job, run)
                set_seeds(config.seed)
                if resume and run.state_path.is_file():
                    recorder.resume()
                    if learning.stopper is not None and run.summary().get("stopped_early"):
                        learning.stopper.waited = 0
                        run.update_summary(stopped_early=False)
                elif resume:  # it was stopped before its first state was written
                    run.cut_history(0)
                seen = as_seen_by_the_classifier(job, request)
                if config.compile:
                    seen.model.compile()  # in place: names of weights stay
                draws = OwnDraws(config.seed, group.rank) if group is not None else None
                loaders = build_loaders(seen, val_draws, draws, recorder.epochs_done)
                batches = {split: Stoppable(loader, request) for split, loader in loaders.items()}
                model, on_end = as_staged(seen, recorder, learning)
                trained, minimised = as_trained(job, model, draws)
                train(
                    trained if group is None else group.share(trained),
                    batches["train"],
                    batches["test"],
                    learning.optimizer,
                    shared_loss(job.loss_fn, group),
                    config.epochs,
                    task=job.task,
                    averaging=config.averaging,
                    training_loss=minimised,
                    on_epoch=_read_through(job, run, on_end, compare=resume and not force),
                    val_dataloader=batches.get("val"),
                    epochs_done=recorder.epochs_done,
                    stepper=learning.stepper,
                    enough=learning.enough,
                    scored=Classifier(averaged) if averaged is not None and isinstance(model, Classifier) else averaged,
                    group=group,
                )
                early = {"stopped_early": recorder.epochs_done < config.epochs} if learning.stopper else {}
                run.update_summary(**_look_at_the_best(job, recorder), **early)
                status = "finished"
            except (Stopped, Halt, KeyboardInterrupt, BrokenPipeError) as stop:
                status = "interrupted"
                recorder.finish(status)
                if isinstance(stop, Stopped):
                    request.raise_as_asked()
                raise
    except BaseException as error:
        if status != "interrupted":
            status = "interrupted" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "failed"
            _finish_after(error, recorder, status, {"reason": reason_of(error)} if status == "failed" else {})
        raise
    recorder.finish(status)


def _finish_after(error: BaseException, recorder: Recorder, status: str, why: Mapping[str, str]) -> None:
    """Write what can be written after a failure; of several errors the first is the one to tell."""
    try:
        recorder.finish(status, **why)
    except DlwError as another:
        error.add_note(str(another))


def _look_at_the_best(job: Job, recorder: Recorder) -> dict[str, Any]:
    """Return what the history does not tell of the best weights on the test split, for the summary.

    `collapsed_to` is the class that they answer for every sample, where they do; such a model scores exactly that
    class's share of the split, and only then are its answers looked at. `over_samples` has loss and accuracy over
    samples where the history has means over batches.
    """
    counts, best = counts_of(job.splits.test, len(job.splits.classes)), recorder.best
    if best is None or counts is None or not job.task.has_accuracy:
        return {}
    by_batch = job.config.averaging == "batch"
    loss, acc = (best.get(f"{key}{OVER_SAMPLES if by_batch else ''}") for key in ("test_loss", "test_acc"))
    known = {"over_samples": {"test_loss": loss, "test_acc": acc}} if by_batch and acc is not None else {}
    shares = counts / counts.sum()
    if acc is not None and not torch.isclose(shares, torch.tensor(acc).float(), atol=1e-6).any():
        return known
    apply_weights(job.model, recorder.weights["best"])
    batches = make_loader(job.splits.test, job.config.data.batch_size, generator=torch.Generator())
    result = evaluate(job.model, batches, job.loss_fn, task=job.task)
    apply_weights(job.model, recorder.weights["last"])
    answered = job.task.labels(result.logits).unique()
    found = {"over_samples": {"test_loss": result.loss, "test_acc": result.acc}} if by_batch else {}
    return found | known | ({"collapsed_to": job.splits.classes[int(answered)]} if len(answered) == 1 else {})
