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
from dlworkflow.data.loaders import make_loader
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
from dlworkflow.recorder import Learner, Recorder
from dlworkflow.runs import Run, runs_folder
from dlworkflow.stopping import Stoppable, Stopped, StopRequest, noted_signals
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


def prepare(config: TrainConfig, *, offline: bool = False, initialise: bool = True) -> Job:
    """Load the data, build the model, choose the device: everything that can fail, before anything is written.

    Pictures that fit in memory are read here, so that an unreadable one is named before training starts. Without
    `initialise`, weights of `init_from` are left alone: a run that goes on has its own.
    """
    device = choose_device(config.device)
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
    for part in splits.parts().values():
        if hasattr(part, "remember"):
            part.remember()
    threads = choose_threads(config.threads, model, splits.in_shape)
    resolved = _resolved(config, task, threads)
    return Job(resolved, splits, model, task, loss_fn, training_loss, device, threads, initialised)


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
    KeyboardInterrupt after the batch, SIGTERM SystemExit(143).
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
    run = Run.create(
        runs_folder(runs_dir),
        name or job.stem,
        summary=_first_summary(job),
        config=job.config.to_yaml(),
        environment=_environment(job),
    )
    with run.locked():
        _train(job, run, on_start=on_start, on_epoch=on_epoch)
    return run


def resume_training(
    run: Run,
    *,
    epochs: int | None = None,
    force: bool = False,
    offline: bool = False,
    on_start: Callable[[Job, Run], object] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> Run:
    """Go on with a run in its own folder, from its last complete epoch, to the same bits as if it had never stopped.

    `epochs` is the number in all; it may be raised. Raises RunError when the run has all its epochs, has no state,
    is being trained by another process, or when its data has changed, unless `force`.
    """
    with run.locked():
        job = prepare_resume(run, epochs=epochs, force=force, offline=offline)
        run.sweep()
        run.write_config(job.config.to_yaml())
        run.update_summary(status="running", config=job.config.to_tree())
        _train(job, run, resume=True, on_start=on_start, on_epoch=on_epoch)
    return run


def prepare_resume(run: Run, *, epochs: int | None = None, force: bool = False, offline: bool = False) -> Job:
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
    job = prepare(build_config(Layer(tree)), offline=offline, initialise=not run.state_path.is_file())
    then = run.environment().get("data_fingerprint") or {}
    changed = [split for split, found in _fingerprints(job).items() if then.get(split, found) != found]
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
    config = job.config
    job.model.to(job.device)
    if config.channels_last:
        job.model.to(memory_format=torch.channels_last)
    learning = build_learning(config, job.model, _batches_an_epoch(job))
    val_draws = torch.Generator().manual_seed(config.seed)
    averaged = learning.average.averaged if learning.average else None
    learner = Learner(job.model, learning.optimizer, {"val": val_draws}, learning.parts, averaged)
    recorder = Recorder(run, learner, on_epoch)
    status = "failed"
    try:
        with thread_count(job.threads), noted_signals() as request:
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
                batches = {split: Stoppable(_loader(seen, split, val_draws), request) for split in job.splits.parts()}
                model, on_end = _staged(seen, recorder, learning)
                trained, minimised = _as_trained(job, model)
                train(
                    trained,
                    batches["train"],
                    batches["test"],
                    learning.optimizer,
                    job.loss_fn,
                    config.epochs,
                    task=job.task,
                    averaging=config.averaging,
                    training_loss=minimised,
                    on_epoch=on_end,
                    val_dataloader=batches.get("val"),
                    epochs_done=recorder.epochs_done,
                    stepper=learning.stepper,
                    enough=learning.enough,
                    scored=Classifier(averaged) if averaged is not None and isinstance(model, Classifier) else averaged,
                )
                early = {"stopped_early": recorder.epochs_done < config.epochs} if learning.stopper else {}
                run.update_summary(**_look_at_the_best(job, recorder), **early)
                status = "finished"
            except (Stopped, KeyboardInterrupt, BrokenPipeError) as stop:
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


def _loader(job: Job, split: str, val_draws: torch.Generator) -> Any:
    """Return a split's batches: drawn from as the notes' loop does, but for validation, which has its own generator."""
    settings = job.config.data
    generator = val_draws if split == "val" else None
    weights = None
    if settings.sampler == "balanced" and split == "train":
        weights = sample_weights(job.splits.classes, labels_of(job.splits.train))
    return make_loader(
        job.splits.part(split),
        settings.batch_size,
        shuffle=settings.shuffle and split == "train",
        num_workers=settings.num_workers,
        generator=generator,
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
        "split_indices": splits.indices,
        "skipped": splits.skipped,
        "source": splits.source,
        "parameters": count_parameters(job.model),
        "device": describe_device(job.device),
        "threads": job.threads,
        "scored": "averaged weights" if job.config.ema is not None else "weights",
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
        "git_commit": _git_commit(),
        "data_fingerprint": _fingerprints(job),
    }


def _fingerprints(job: Job) -> dict[str, str]:
    return {split: part.fingerprint() for split, part in job.splits.parts().items() if hasattr(part, "fingerprint")}


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
