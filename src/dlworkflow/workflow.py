"""Where settings, data, model, engine and run folder meet: `run_training(config)`, `resume_training(run)`.

Says what it does through the callbacks it is given; prints nothing.
"""

from __future__ import annotations

import copy
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from timeit import default_timer
from typing import Any

import torch
from torch import nn

from dlworkflow import data, models
from dlworkflow._version import __version__
from dlworkflow.checkpoint import apply_weights, count_parameters, load_matching, load_weights
from dlworkflow.config import DataSettings, Layer, ModelSettings, TrainConfig, build_config, merge
from dlworkflow.contradictions import against_task, contradictions
from dlworkflow.data.images import remember_all
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.remembered import Progress
from dlworkflow.data.splits import Splits, labels_of, with_validation
from dlworkflow.device import choose_device, choose_threads, describe_device, describe_machine, set_seeds, thread_count
from dlworkflow.engine import Epoch, evaluate, train
from dlworkflow.errors import ConfigError, DlwError, MissingDataError, ModelError, RunError
from dlworkflow.features import remember_features
from dlworkflow.learning import Learning, build_learning
from dlworkflow.losses import build_training_loss, class_weights, sample_weights
from dlworkflow.metrics import majority_baseline
from dlworkflow.mixing import Mixed, MixedLoss, Mixing
from dlworkflow.models import torchvision_models
from dlworkflow.models.backbone import Classifier, Staged, classifier_name
from dlworkflow.precision import Autocast, check_compiler, check_precision
from dlworkflow.pretrained import find_or_fetch, take_pretrained
from dlworkflow.recorder import Learner, Recorder, Trained
from dlworkflow.runs import Run, runs_folder
from dlworkflow.sharing import Group, OwnDraws, OwnEpoch, SharedLoss, Slice, check_size
from dlworkflow.stopping import Halt, Stoppable, Stopped, StopRequest, noted_signals
from dlworkflow.tasks import LossFn, Task, build_loss, get_task
from dlworkflow.transfer import is_file, settle

FEATURE_BATCH = 256
"""Samples that go through a frozen backbone at once where the settings say `full`."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A training run with everything in place that could fail before its folder exists."""

    config: TrainConfig
    splits: Splits
    model: nn.Module
    task: Task
    loss_fn: LossFn
    training_loss: nn.Module
    """What is minimised; `loss_fn` is what scores."""
    device: torch.device
    threads: int
    initialised: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    """With `init_from` or `weights`: which weights came from there, and which did not."""
    group: Group | None = None
    """The processes that train together, where there are several."""

    @property
    def stem(self) -> str:
        """The run's name without its number."""
        return f"{self.config.model.name}-{self.splits.name}"


def resolve_config(layers: Sequence[Layer]) -> TrainConfig:
    """Lay the user's settings over the recipe of the model they name and check everything.

    `layers` go from weakest to strongest. Raises ConfigError with all faults at once.
    """
    user = merge(layers)
    name = _section(user.values, "model").get("name")
    faults: dict[str, str] = {}
    recipe: dict[str, Any] = {}
    if name is None:
        faults["model.name"] = f"no model was named; possible: {', '.join(models.names())}"
    elif _faultless(models.check_name, name, faults, "model.name"):
        recipe = {"model": {"name": name}, **models.recipe(str(name))}
    fallback = {"optimizer": {"name": "adam"}, "schedule": {"name": "constant"}} | (
        {"data": {"name": ""}, "model": {"name": ""}} if not recipe else {}
    )
    layer = merge([Layer(fallback), Layer(recipe), user])
    if recipe:
        layer, found = settle(layer, str(name))
        faults |= found
        given = {key: value for key, value in _section(layer.values, "model").items() if key != "name"}
        faults |= {f"model.{key}": fault for key, fault in models.faults(str(name), given).items()}
    dataset = _section(layer.values, "data")
    if dataset.get("name") is None:
        faults["data.name"] = f"model {name!r} has no usual data; name some with --data"
    elif dataset["name"] != "" and _faultless(data.check_name, dataset["name"], faults, "data.name"):
        given = {key: value for key, value in dataset.items() if key not in DataSettings.model_fields}
        faults |= {f"data.{key}": fault for key, fault in data.faults(str(dataset["name"]), given).items()}
    known = data.entries().get(str(dataset.get("name")))
    return build_config(layer, contradictions(layer.values, known.task if known else "any") | faults)


def prepare(
    config: TrainConfig,
    *,
    offline: bool = False,
    initialise: bool = True,
    group: Group | None = None,
    on_pictures: Progress | None = None,
) -> Job:
    """Load the data, build the model, choose the device: everything that can fail, before anything is written.

    Pictures are decoded here, so that an unreadable one is named before training starts; `on_pictures` is told of
    (done, all) meanwhile. Without `initialise`, weights of `init_from` are left alone: a run that goes on has its own.
    In a `group`, each process does all this for itself, on a device of its own and with one CPU thread unless the
    settings say otherwise.
    """
    with _in_turn(group):
        return _prepare(config, offline, initialise, group, on_pictures)


def _shared(loss_fn: LossFn, group: Group | None) -> LossFn:
    """Return a loss over whole batches, of which each process has a slice."""
    return loss_fn if group is None else SharedLoss(loss_fn, group)


def _in_turn(group: Group | None) -> AbstractContextManager[None]:
    return group.in_turn() if group is not None else nullcontext()


def _prepare(
    config: TrainConfig, offline: bool, initialise: bool, group: Group | None, on_pictures: Progress | None
) -> Job:
    device = choose_device(config.device, process=group.local_rank if group is not None else None)
    check_precision(config.precision, device)
    if config.compile:
        check_compiler(device)
    splits = data.load(config.data.name, data_dir=config.data.data_dir, offline=offline, **config.data.settings)
    if config.data.val_fraction is not None:
        splits = with_validation(splits, config.data.val_fraction, random_state=config.data.val_seed)
    task = get_task(splits.task)
    if found := against_task(config, task.name):
        raise ConfigError(*(f"{key}: {sentence}" for key, sentence in found.items()))
    if config.channels_last and splits.kind != "image":
        raise ConfigError(f"channels_last: is a memory format of pictures; data {splits.name!r} has numbers")
    if config.cutmix and splits.kind != "image":
        raise ConfigError(f"cutmix: cuts pieces out of pictures; data {splits.name!r} has numbers (mixup blends them)")
    loss_fn, training_loss = build_loss(task, config.loss), _training_loss(config, splits, task)
    set_seeds(config.seed)
    try:
        model = models.build(config.model.name, splits.in_shape, splits.n_outputs, **config.model.settings)
    except ModelError as error:
        raise ModelError(f"{error} (data {splits.name!r}: {splits.task})") from error
    initialised = None
    if config.init_from is not None and initialise:
        matched, others = load_matching(model, load_weights(config.init_from))
        initialised = tuple(matched), tuple(others)
    if config.weights is not None and initialise:
        taken, new = _take_weights(config, model, offline)
        initialised = tuple(taken), tuple(f"{name} (new)" for name in new)
    if config.freeze != "none" or config.backbone_lr_scale != 1:
        classifier_name(model)  # it must say what its backbone is before a run is made
    _check_last_batch(config, splits, model)
    remember_all(splits.parts().values(), on_pictures)
    if group is not None and config.accumulate > 1:
        raise ConfigError("accumulate: batches are not gathered in several processes; give a larger data.batch_size")
    if group is not None and (config.mixup or config.cutmix):
        raise ConfigError("mixup, cutmix: samples are blended in one process alone")
    if group is not None and config.data.batch_size != "full":
        check_size(group, config.data.batch_size, len(splits.train))  # type: ignore[arg-type]
    wanted = 1 if group is not None and config.threads == "auto" else config.threads
    threads = choose_threads(wanted, model, splits.in_shape)
    resolved = _resolved(config, task, threads)
    return Job(resolved, splits, model, task, loss_fn, training_loss, device, threads, initialised, group)


def _training_loss(config: TrainConfig, splits: Splits, task: Task) -> nn.Module:
    """Return what is minimised: the loss that scores, or that with smoothed labels and weighed classes."""
    weights = class_weights(config.loss_weights, splits.classes, labels_of(splits.train))
    return build_training_loss(task, config.loss, label_smoothing=config.label_smoothing, weights=weights)


def _check_last_batch(config: TrainConfig, splits: Splits, model: nn.Module) -> None:
    """Raise ConfigError where the last batch is one sample that a batch norm cannot take a variance of."""
    n, size = len(splits.train), config.data.batch_size  # type: ignore[arg-type]
    trained = config.freeze == "none" or config.freeze_epochs is not None
    if size == "full" or n % size != 1 or not trained or not any(map(_is_batch_norm, model.modules())):
        return
    try:
        with torch.no_grad():
            copy.deepcopy(model).train()(torch.zeros(1, *splits.in_shape))
    except ValueError:  # a sample with more than one place a channel is enough for it
        raise ConfigError(
            f"data.batch_size: {n} samples in batches of {size} leave one alone, which batch norm cannot train on; "
            "give another size, or larger pictures (data.image_size)"
        ) from None


def _is_batch_norm(part: nn.Module) -> bool:
    return isinstance(part, nn.modules.batchnorm._BatchNorm)


def _take_weights(config: TrainConfig, model: nn.Module, offline: bool) -> tuple[list[str], list[str]]:
    """Load pretrained weights from their file, or from where torchvision publishes them."""
    assert config.weights is not None
    if is_file(config.weights):
        path, source = Path(config.weights), f"weights {config.weights!r}"
        if not path.is_file():
            raise MissingDataError(f"weights: no file {config.weights!r}")
    else:
        published = torchvision_models.published(config.model.name, config.weights)
        path, source = find_or_fetch(published, offline=offline), f"weights {published.name}"
    return take_pretrained(model, load_weights(path), source=source)


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
    run = _create_run(job, runs_dir, name)
    with run.locked():
        _train(job, run, on_start=on_start, on_epoch=on_epoch)
    return run


def _create_run(job: Job, runs_dir: str | os.PathLike[str] | None, name: str | None, **more: Any) -> Run:
    return Run.create(
        runs_folder(runs_dir),
        name or job.stem,
        summary=_first_summary(job) | more,
        config=job.config.to_yaml(),
        environment=_environment(job),
        split_indices=job.splits.indices,
    )


def record_job(
    job: Job,
    trained: Trained,
    *,
    status: str,
    runs_dir: str | os.PathLike[str] | None = None,
    name: str | None = None,
    **more: Any,
) -> Run:
    """Write the run folder of a job whose epochs were trained elsewhere, as training here would have left it.

    For training that draws no random number within its loop. `more` is added to the summary.
    """
    run = _create_run(job, runs_dir, name, **more)
    with run.locked():
        learner, _ = _learner(job)
        set_seeds(job.config.seed)
        recorder = Recorder(run, learner)
        recorder.adopt(trained)
        if status == "finished":
            run.update_summary(**_look_at_the_best(job, recorder))
        recorder.finish(status)
    return run


def resume_training(
    run: Run,
    *,
    epochs: int | None = None,
    force: bool = False,
    offline: bool = False,
    group: Group | None = None,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    on_pictures: Progress | None = None,
) -> Run:
    """Go on with a run in its own folder, from its last complete epoch, to the same bits as if it had never stopped.

    `epochs` is the number in all; it may be raised. Raises RunError when the run has all its epochs, has no state,
    is being trained by another process, or when its data has changed, unless `force`.
    """
    with run.locked():
        with _in_turn(group):
            job = prepare_resume(run, epochs=epochs, force=force, offline=offline, group=group, on_pictures=on_pictures)
        run.sweep()
        run.write_config(job.config.to_yaml())
        run.update_summary(status="running", config=job.config.to_tree(), **_processes(group))
        _train(job, run, resume=True, on_start=on_start, on_epoch=on_epoch)
    return run


def prepare_resume(
    run: Run,
    *,
    epochs: int | None = None,
    force: bool = False,
    offline: bool = False,
    group: Group | None = None,
    on_pictures: Progress | None = None,
) -> Job:
    """Put a run's own data, model and settings in place to go on with it; see `resume_training`."""
    summary = run.summary()
    tree = dict(summary["config"])
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
    job = _prepare(build_config(Layer(tree)), offline, fresh, group, on_pictures)
    then = run.data_fingerprints()
    changed = [split for split, found in job.splits.fingerprints().items() if then.get(split, found) != found]
    if changed and not force:
        raise RunError(
            f"the data of {run.name} has changed since ({', '.join(changed)} split, {job.splits.source}); "
            "--force goes on with it as it is now"
        )
    return job


def _refuse_to_stretch(run: Run, summary: Mapping[str, Any], planned: int, epochs: int) -> None:
    """Raise RunError where more epochs would not be what the run was to be: it has said itself where it ends."""
    schedule = _section(summary["config"], "schedule").get("name")
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
    *,
    resume: bool = False,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> None:
    """Train within a run's folder; however it ends, what is written is a whole epoch and the summary says how."""
    config, group = job.config, job.group
    learner, learning = _learner(job)
    val_draws, averaged = learner.generators["val"], learner.averaged
    recorder = Recorder(run, learner, on_epoch, writes=group is None or group.rank == 0)
    status = "failed"
    try:
        with thread_count(job.threads), noted_signals(group.highest if group is not None else None) as request:
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
                loaders = _loaders(seen, val_draws, recorder.epochs_done)
                batches = {split: Stoppable(loader, request) for split, loader in loaders.items()}
                model, on_end = _staged(seen, recorder, learning)
                trained, minimised = _as_trained(job, model)
                train(
                    trained if group is None else group.share(trained),
                    batches["train"],
                    batches["test"],
                    learning.optimizer,
                    _shared(job.loss_fn, group),
                    config.epochs,
                    task=job.task,
                    averaging=config.averaging,
                    training_loss=_shared(minimised, group),
                    on_epoch=on_end,
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
            _finish_after(error, recorder, status)
        raise
    recorder.finish(status)


def _learner(job: Job) -> tuple[Learner, Learning]:
    """Put the model on its device and what trains it together."""
    job.model.to(job.device)
    if job.config.channels_last:
        job.model.to(memory_format=torch.channels_last)
    learning = build_learning(job.config, job.model, _batches_an_epoch(job))
    averaged = learning.average.averaged if learning.average else None
    draws = {"val": torch.Generator().manual_seed(job.config.seed)}
    return Learner(job.model, learning.optimizer, draws, learning.parts, averaged), learning


def _batches_an_epoch(job: Job) -> int:
    """Return how many batches the training split makes."""
    size = job.config.data.batch_size
    return 1 if size == "full" else -(-len(job.splits.train) // size)  # type: ignore[arg-type]


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


def _as_trained(job: Job, model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return the model and the loss as they are trained: in half precision and on blends where the settings say so."""
    if job.config.precision != "fp32":
        model = Autocast(model, job.config.precision, job.device)
    mixing, loss = Mixing(job.config.mixup, job.config.cutmix), job.training_loss.to(job.device)
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


def _finish_after(error: BaseException, recorder: Recorder, status: str) -> None:
    """Write what can be written after a failure; of several errors the first is the one to tell."""
    try:
        recorder.finish(status)
    except DlwError as another:
        error.add_note(str(another))


def _look_at_the_best(job: Job, recorder: Recorder) -> dict[str, Any]:
    """Return what the history does not tell of the best weights on the test split, for the summary.

    `collapsed_to` is the class that they answer for every sample, where they do; such a model scores exactly that
    class's share of the split, and only then are its answers looked at. `over_samples` has loss and accuracy over
    samples where the history has means over batches.
    """
    labels = labels_of(job.splits.test)
    if recorder.best is None or labels is None or not job.task.has_accuracy:
        return {}
    shares = torch.bincount(labels.long()) / len(labels)
    by_batch = job.config.averaging == "batch"
    if not by_batch and not torch.isclose(shares, torch.tensor(recorder.best["test_acc"]).float(), atol=1e-6).any():
        return {}
    apply_weights(job.model, recorder.weights["best"])
    batches = make_loader(job.splits.test, job.config.data.batch_size, generator=torch.Generator())
    result = evaluate(job.model, batches, job.loss_fn, task=job.task)
    apply_weights(job.model, recorder.weights["last"])
    answered = job.task.labels(result.logits).unique()
    found: dict[str, Any] = {"over_samples": {"test_loss": result.loss, "test_acc": result.acc}} if by_batch else {}
    return found | ({"collapsed_to": job.splits.classes[int(answered)]} if len(answered) == 1 else {})


def _loaders(job: Job, val_draws: torch.Generator, epochs_done: int) -> dict[str, Any]:
    """Return each split's batches; in a group, this process's slices of them."""
    parts, group = job.splits.parts(), job.group
    if group is None:
        return {split: _loader(job, split, part, val_draws) for split, part in parts.items()}
    draws = OwnDraws(job.config.seed, group.rank)
    loaders = {split: _loader(job, split, Slice(part, group, draws), val_draws) for split, part in parts.items()}
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


def _resolved(config: TrainConfig, task: Task, threads: int) -> TrainConfig:
    """Fill in all that was left to a default or a rule, so that the file repeats the run whatever these become."""
    full = fill_defaults(config)
    dataset = full.data.model_dump()
    if data.entries()[config.data.name].files:
        dataset["data_dir"] = str(data.data_folder(config.data.data_dir).resolve())
    return full.model_copy(
        update={"data": DataSettings(**dataset), "loss": config.loss or task.losses[0], "threads": threads}
    )


def fill_defaults(config: TrainConfig) -> TrainConfig:
    """Return the settings with those of the model's and the data set's signatures filled in."""
    model = config.model.model_dump() | models.settings(config.model.name) | config.model.settings
    dataset = config.data.model_dump() | data.settings(config.data.name) | config.data.settings
    return config.model_copy(update={"model": ModelSettings(**model), "data": DataSettings(**dataset)})


def _first_summary(job: Job) -> dict[str, Any]:
    splits = job.splits
    return {
        "config": job.config.to_tree(),
        "data": splits.name,
        "kind": splits.kind,
        "task": splits.task,
        "classes": list(splits.classes),
        "in_shape": list(splits.in_shape),
        "n_outputs": splits.n_outputs,
        "transform": splits.transform.to_spec() if splits.transform else None,
        "samples": {split: len(part) for split, part in splits.parts().items()},  # type: ignore[arg-type]
        "skipped": splits.skipped,
        "source": splits.source,
        "parameters": count_parameters(job.model),
        "device": describe_device(job.device),
        "threads": job.threads,
        "scored": "averaged weights" if job.config.ema is not None else "weights",
        **_processes(job.group),
        "chosen_on": "val" if splits.val is not None else "test",
        "baseline": _baseline(job),
        "best": None,
        "last": None,
    }


def _baseline(job: Job) -> dict[str, Any]:
    """Return what answering without looking scores on the test split: the most frequent class, or the mean."""
    train_labels, test_labels = labels_of(job.splits.train), labels_of(job.splits.test)
    if train_labels is None or test_labels is None:
        return {}
    if job.task.has_accuracy:
        label, score = majority_baseline(train_labels.long().tolist(), test_labels.long().tolist())
        return {"score": score, "metric": "accuracy", "answer": job.splits.classes[label]}
    mean = train_labels.mean(dim=0, keepdim=True)
    score = float(job.loss_fn(mean.expand_as(test_labels), test_labels))
    return {"score": score, "metric": "loss", "answer": float(mean.mean())}


def _environment(job: Job) -> dict[str, Any]:
    packages = ("torch", "torchvision", "numpy", "pillow", "scikit-learn")
    return {
        "dlworkflow": __version__,
        "python": sys.version.split()[0],
        "packages": {name: found for name in packages if (found := _version(name))},
        "command": sys.argv,
        "machine": describe_machine(),
        "device": describe_device(job.device),
        "threads": job.threads,
        **_processes(job.group),
        "git_commit": _git_commit(),
        "data_fingerprint": job.splits.fingerprints(),
    }


def _processes(group: Group | None) -> dict[str, Any]:
    """Return how many processes train together, how they talk, and which command started them."""
    if group is None:
        return {"processes": 1, "backend": None, "launch": None}
    return {"processes": group.size, "backend": group.backend, "launch": group.launch}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the repository that training was started in, or None outside of one."""
    if not any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
        return None
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, Mapping) else {}


def _faultless(check: Callable[[str], None], name: object, faults: dict[str, str], key: str) -> bool:
    try:
        check(str(name))
    except ConfigError as error:
        faults[key] = str(error).removeprefix(f"{key}: ")
        return False
    return True
