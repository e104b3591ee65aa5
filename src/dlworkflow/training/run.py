"""Where settings, data, model, engine and run folder meet: `run_training(config)`, `resume_training(run)`.

Says what it does through the callbacks it is given; prints nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from timeit import default_timer
from typing import Any

import torch
from torch import nn

from dlworkflow.config import Layer, TrainConfig, build_config
from dlworkflow.data.check.leakage import find_copies
from dlworkflow.data.images.decoded_cache import Progress
from dlworkflow.data.loaders import explained_workers, make_loader
from dlworkflow.data.splits import ONLY_NAMES, counts_of, has_changed, is_former, labels_of
from dlworkflow.engine.data_parallel import Group, OwnDraws, OwnEpoch, SharedLoss, sample_before, slice_of
from dlworkflow.engine.device import set_seeds, thread_count
from dlworkflow.engine.loop import Epoch, evaluate, train
from dlworkflow.engine.losses import sample_weights
from dlworkflow.engine.mixup import Mixed, MixedLoss, Mixing
from dlworkflow.engine.precision import Autocast
from dlworkflow.engine.signals import Halt, Stoppable, Stopped, StopRequest, noted_signals
from dlworkflow.engine.tasks import LossFn
from dlworkflow.errors import ConfigError, DlwError, MissingDataError, RunError, few, reason_of
from dlworkflow.models.backbone import Classifier, Staged
from dlworkflow.models.weights.checkpoint import apply_weights
from dlworkflow.runs import OVER_SAMPLES, Run, runs_folder
from dlworkflow.training.frozen_features import remember_features
from dlworkflow.training.job import Job as Job
from dlworkflow.training.job import fill_defaults as fill_defaults
from dlworkflow.training.job import in_turn, put_in_place
from dlworkflow.training.job import locate_data as locate_data
from dlworkflow.training.job import prepare as prepare
from dlworkflow.training.job import resolve_config as resolve_config
from dlworkflow.training.optimization import Learning, build_learning
from dlworkflow.training.provenance import environment, first_summary, leakage, processes
from dlworkflow.training.recorder import Learner, Recorder, Trained

FEATURE_BATCH = 256
"""Samples that go through a frozen backbone at once where the settings say `full`."""


_log = logging.getLogger(__name__)


def _shared(loss_fn: LossFn, group: Group | None) -> LossFn:
    """Return a loss over whole batches, of which each process has a slice."""
    return loss_fn if group is None else SharedLoss(loss_fn, group)


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
    learner, learning = _learner(job)  # whatever can fail does so before there is a folder
    run = _create_run(job, runs_dir, name)
    with run.locked():
        _train(job, run, learner, learning, on_start=on_start, on_epoch=on_epoch)
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
        learner, _ = _learner(job)
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


def resume_training(
    run: Run,
    *,
    epochs: int | None = None,
    place: Mapping[str, Any] | None = None,
    force: bool = False,
    offline: bool = False,
    group: Group | None = None,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    on_pictures: Progress | None = None,
) -> Run:
    """Go on with a run in its own folder, from its last complete epoch, to the same bits as if it had never stopped.

    `epochs` is the number in all; it may be raised. `place` says where the data is now: settings such as `path` or
    `data_dir`, which the run keeps from then on. Raises RunError when the run has all its epochs, has no state, is
    being trained by another process, or when its data has changed, unless `force`.
    """
    with run.locked():
        with in_turn(group):
            job = prepare_resume(
                run, epochs=epochs, place=place, force=force, offline=offline, group=group, on_pictures=on_pictures
            )
        learner, learning = _learner(job)
        run.sweep()
        run.write_config(job.config.to_yaml())
        now = {"config": job.config.to_tree(), "source": job.splits.source, "leakage": leakage(job.leakage)}
        now |= {"reason": None} if "reason" in run.summary() else {}
        run.update_summary(status="running", **now, **processes(group))
        _train(job, run, learner, learning, resume=True, force=force, on_start=on_start, on_epoch=on_epoch)
    return run


def prepare_resume(
    run: Run,
    *,
    epochs: int | None = None,
    place: Mapping[str, Any] | None = None,
    force: bool = False,
    offline: bool = False,
    group: Group | None = None,
    on_pictures: Progress | None = None,
) -> Job:
    """Put a run's own data, model and settings in place to go on with it; see `resume_training`."""
    summary = run.summary()
    tree = dict(summary["config"])
    if place:
        tree["data"] = _placed(run, tree["data"], place)
    done, planned = len(run.history()), build_config(Layer(tree)).epochs
    if epochs is not None and epochs < planned and epochs < done:
        raise ConfigError(f"--epochs: {run.name} has {done} epochs already, more than {epochs}")
    tree["epochs"] = epochs or planned
    if not force:
        _refuse_to_stretch(run, summary, planned, tree["epochs"])
    if summary["status"] == "finished" and tree["epochs"] <= done:
        raise RunError(f"{run.name} has finished its {done} epochs; give more, for example --epochs {2 * done}")
    if not run.state_path.is_file() and any(run.weights_path(which).exists() for which in ("best", "last")):
        raise RunError(
            f"{run.name} has no {run.state_path.name} to go on from; --init-from starts anew from its weights"
        )
    fresh = not run.state_path.is_file()
    try:
        job = put_in_place(build_config(Layer(tree)), offline, fresh, group, on_pictures)
    except MissingDataError as error:
        if place or "path" not in tree["data"]:
            raise
        raise MissingDataError(
            f"{error}; if the data was moved: dlw train --resume {run.name} --data NEWPATH"
        ) from None
    if not force:
        then, unread = run.data_fingerprints(), {} if place else _unread(job)
        _refuse_changed(run, job, [split for split, part in job.splits.parts().items() if split not in unread], place)
        if any(is_former(then.get(split), part) for split, part in job.splits.parts().items()):
            _log.info("%s %s", run.name, ONLY_NAMES)
    return job


def _placed(run: Run, stored: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings of its data with another place to find it. Raises ConfigError for other data."""
    if (name := place.get("name", stored["name"])) != stored["name"]:
        raise ConfigError(
            f"--data: {run.name} was trained on data {stored['name']!r}, and this is {name!r}; a run is resumed on its "
            "own data, wherever that is now"
        )
    return {**stored, **place}


def _unread(job: Job) -> dict[str, Any]:
    """Return the splits whose fingerprint is not known before they have been gone through once."""
    return {split: part for split, part in job.splits.parts().items() if not getattr(part, "fingerprint_known", True)}


def _refuse_changed(run: Run, job: Job, splits: Iterable[str], moved: object = None) -> None:
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
    unread = _unread(job)
    if not unread:
        return on_end

    def end(epoch: Epoch) -> None:
        then = run.data_fingerprints()
        if unread and compare:
            _refuse_changed(run, job, unread)
        if new := {split: part.fingerprint() for split, part in unread.items() if split not in then}:
            run.add_fingerprints(new)
        if (copies := find_copies(job.splits)) is not None:
            run.update_summary(leakage=leakage(copies))
        unread.clear()
        on_end(epoch)

    return end


def _refuse_to_stretch(run: Run, summary: Mapping[str, Any], planned: int, epochs: int) -> None:
    """Raise RunError where more epochs would not be what the run was to be: it has said itself where it ends."""
    given = summary["config"].get("schedule")
    schedule = given.get("name") if isinstance(given, dict) else None
    if epochs != planned and schedule in ("cosine", "one_cycle"):
        raise RunError(
            f"the schedule {schedule!r} of {run.name} was drawn for {planned} epochs; --force redraws it for {epochs}, "
            "so that the run is no longer one that had them from the start"
        )
    if summary.get("stopped_early"):
        raise RunError(
            f"{run.name} has stopped early, after {len(run.history())} of {planned} epochs; --force waits as many "
            "epochs again"
        )


def _train(
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
                seen = _as_seen_by_the_classifier(job, request)
                if config.compile:
                    seen.model.compile()  # in place: names of weights stay
                draws = OwnDraws(config.seed, group.rank) if group is not None else None
                loaders = _loaders(seen, val_draws, draws, recorder.epochs_done)
                batches = {split: Stoppable(loader, request) for split, loader in loaders.items()}
                model, on_end = _staged(seen, recorder, learning)
                trained, minimised = _as_trained(job, model, draws)
                train(
                    trained if group is None else group.share(trained),
                    batches["train"],
                    batches["test"],
                    learning.optimizer,
                    _shared(job.loss_fn, group),
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


def _learner(job: Job) -> tuple[Learner, Learning]:
    """Put the model on its device and what trains it together."""
    job.model.to(job.device)
    if job.config.channels_last:
        job.model.to(memory_format=torch.channels_last)
    learning = build_learning(job.config, job.model, job.n_batches)
    averaged = learning.average.averaged if learning.average else None
    draws = {"val": torch.Generator().manual_seed(job.config.seed)}
    return Learner(job.model, learning.optimizer, draws, learning.parts, averaged), learning


def _as_seen_by_the_classifier(job: Job, request: StopRequest) -> Job:
    """Return the job of training the classifier on features, where a frozen backbone gives the same in every epoch."""
    config = job.config
    if config.freeze == "none" or config.freeze_epochs is not None or not config.cache_features:
        return job
    if config.mixup or config.cutmix:  # blends are new in every epoch
        return job
    started = default_timer()
    size = config.data.batch_size
    features = remember_features(
        job.model,
        job.splits.parts(),
        size if size != "full" else FEATURE_BATCH,
        watch=lambda batches: Stoppable(batches, request),
    )
    if features is None:
        return job
    count = sum(map(len, features.splits.values()))
    _log.info("features of %s samples computed once, in %.1f s", f"{count:,}", default_timer() - started)
    served = config.data.model_copy(update={"num_workers": 0})
    return replace(
        job,
        config=config.model_copy(update={"data": served}),
        splits=replace(job.splits, **features.splits),  # type: ignore[arg-type] # names of splits, all data sets
        model=features.classifier,
    )


def _as_trained(job: Job, model: nn.Module, draws: OwnDraws | None) -> tuple[nn.Module, LossFn]:
    """Return the model and the loss as they are trained: in half precision and on blends where the settings say so."""
    if job.config.precision != "fp32":
        model = Autocast(model, job.config.precision, job.device)
    mixing, loss = Mixing(job.config.mixup, job.config.cutmix), _shared(job.training_loss.to(job.device), job.group)
    if job.group is not None and draws is not None:
        mixing.before, mixing.drawing = sample_before(job.group), draws.together
    if not mixing.mixup and not mixing.cutmix:
        return model, loss
    return Mixed(model, mixing), MixedLoss(loss, mixing)


def _staged(job: Job, recorder: Recorder, learning: Learning) -> tuple[nn.Module, Callable[[Epoch], object]]:
    """Return the model as it is trained, its backbone frozen as long as the settings say, and what ends an epoch."""
    record = learning.before(recorder)
    if job.config.freeze == "none" or isinstance(job.model, Classifier):
        return job.model, record
    staged, until = Staged(job.model), job.config.freeze_epochs

    def begin(number: int) -> None:
        staged.freeze(until is None or number <= until)

    def end(epoch: Epoch) -> None:
        record(epoch)
        begin(epoch.number + 1)

    begin(recorder.epochs_done + 1)
    return staged, end


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


def _loaders(job: Job, val_draws: torch.Generator, draws: OwnDraws | None, epochs_done: int) -> dict[str, Any]:
    """Return each split's batches; in a group, this process's slices of them."""
    parts, group = job.splits.parts(), job.group
    if group is None or draws is None:
        return {split: _loader(job, split, part, val_draws) for split, part in parts.items()}
    loaders = {split: _loader(job, split, slice_of(part, group, draws), val_draws) for split, part in parts.items()}
    return loaders | {"train": OwnEpoch(loaders["train"], draws, epochs_done)}


def _loader(job: Job, split: str, part: Any, val_draws: torch.Generator) -> Any:
    """Return a split's batches: drawn from as the notes' loop does, but for validation, which has its own generator."""
    settings = job.config.data
    generator = val_draws if split == "val" else None
    weights = None
    if settings.sampler == "balanced" and split == "train":
        weights = sample_weights(job.splits.classes, labels_of(job.splits.train))
    return make_loader(
        part,
        settings.batch_size,
        shuffle=settings.shuffle and split == "train",
        num_workers=settings.num_workers,
        generator=generator,
        device=job.device,
        weights=weights,
    )
