"""From settings to a job: data, model, loss and device. Knows no run folder: all that can fail fails before it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from dlworkflow import data, models
from dlworkflow.config import DataSettings, TrainConfig
from dlworkflow.data.check.leakage import Copy, find_copies
from dlworkflow.data.loaders import check_streamed
from dlworkflow.data.protocol import OnProgress, Streamed, batch_of, counts_of, remember
from dlworkflow.data.selection import SELECTION, select
from dlworkflow.data.splits import Splits, without_unreadable
from dlworkflow.engine.class_weights import class_weights
from dlworkflow.engine.data_parallel import Group, check_files, check_size
from dlworkflow.engine.device import choose_channels_last, choose_device, choose_threads
from dlworkflow.engine.losses import LOSSES, build_loss, build_training_loss, names_for
from dlworkflow.engine.precision import check_compiler, check_precision, choose_precision
from dlworkflow.engine.random_state import set_seeds
from dlworkflow.engine.tasks import LossFn, Task, get_task
from dlworkflow.errors import ConfigError, DlwError, MissingDataError, ModelError
from dlworkflow.files.paths import user_path
from dlworkflow.models import libraries
from dlworkflow.models.backbone import Staged, classifier_name
from dlworkflow.models.weights.checkpoint import load_matching, load_weights
from dlworkflow.models.weights.pretrained import find_or_fetch, take_pretrained
from dlworkflow.registry.user_files import refuse_while_importing, where
from dlworkflow.training.choice import is_of_recipe
from dlworkflow.training.optimization import build_state, check_schedule
from dlworkflow.training.settings import fill_defaults, fitting_data
from dlworkflow.training.transfer import is_file

Initialised = tuple[tuple[str, ...], tuple[str, ...]]
"""The names of the weights that `init_from` or `weights` provided, and of those that they did not."""


@dataclass(frozen=True)
class Job:
    """What `prepare` puts in place: settings, data, model, losses and device of a training run."""

    config: TrainConfig
    splits: Splits
    model: nn.Module
    task: Task
    loss_fn: LossFn
    training_loss: nn.Module
    """The loss that training minimises; `loss_fn` is the one that is reported for validation and test data."""
    device: torch.device
    threads: int
    drawn: torch.Tensor
    """The state of torch's generator after the initial weights were drawn: the loop starts there without `reseed`."""
    initialised: Initialised | None = None
    group: Group | None = None
    """The processes that share each batch, where there are several."""
    leakage: Mapping[str, Sequence[Copy]] | None = None
    """The images of other splits that are also in the training data; None where that is not known (yet)."""

    @property
    def n_batches(self) -> int:
        """The number of batches per training epoch."""
        size = self.config.data.batch_size
        return 1 if size == "full" else -(-len(self.splits.train) // size)  # type: ignore[arg-type]

    @property
    def stem(self) -> str:
        """The run's name without its number."""
        return f"{self.config.model.name.rpartition('.py:')[2]}-{self.splits.name}"


def prepare(
    config: TrainConfig,
    *,
    offline: bool = False,
    group: Group | None = None,
    on_images: OnProgress | None = None,
) -> Job:
    """Load the data, build the model, choose the device: everything that can fail, before anything is written.

    `config` is complete, as `resolve_config` returns it. Images are decoded here, so that an
    unreadable one is reported before training starts; `on_images` is called with (done, all) meanwhile. In a `group`,
    each process does all this for itself, on its own device, with one CPU thread by default.
    """
    refuse_while_importing("trains")
    with in_turn(group):
        job = put_in_place(config, offline, True, group, on_images)
        job = replace(job, config=_with_schedule(job.config, job.n_batches))
        build_state(job.config, job.model, job.n_batches)
        return job


def _with_schedule(config: TrainConfig, n_batches: int) -> TrainConfig:
    """Return the settings with a schedule that fits the updates: for so few, the recipe's gives way to none.

    Raises ConfigError for another that does not fit.
    """
    try:
        check_schedule(config, n_batches)
    except ConfigError:
        if not is_of_recipe(config, "schedule"):
            raise
        return config.model_copy(update={"schedule": TrainConfig.default_of("schedule")})
    return config


def in_turn(group: Group | None) -> AbstractContextManager[None]:
    """Let one process of each machine run the block first, where there are several."""
    return group.in_turn() if group is not None else nullcontext()


def put_in_place(
    config: TrainConfig, offline: bool, initialise: bool, group: Group | None, on_images: OnProgress | None
) -> Job:
    """Do what `prepare` does, in this process's turn.

    Without `initialise`, the weights of `init_from` and `weights` are not read: a resumed run has its own.
    """
    device = choose_device(config.device, process=group.local_rank if group is not None else None)
    if config.precision != "auto":
        check_precision(config.precision, device)
    if config.compile:
        check_compiler(device)
    splits = _load_data(config, offline, group)
    task = get_task(splits.task)
    config = fitting_data(config, splits)
    loss_fn, training_loss = build_loss(task, config.loss), _training_loss(config, splits, task)
    set_seeds(config.seed)
    model = _build_model(config, splits)
    drawn = torch.get_rng_state()
    initialised = _initialise(config, model, offline) if initialise else None
    _check_smallest_batch(config, splits, model)
    _try_own_loss(config, splits, model, task, loss_fn)
    ahead = device.type == "cpu" and not config.data.num_workers and group is None and not config.data.folds
    for part in splits.parts().values():
        remember(part, on_images, ahead=ahead)
    splits = without_unreadable(splits)
    if group is not None and config.data.batch_size != "full":
        check_size(group, config.data.batch_size, len(splits.train))  # type: ignore[arg-type]
    wanted = 1 if group is not None and config.threads == "auto" else config.threads
    threads = choose_threads(wanted, model, splits.in_shape)
    is_last = choose_channels_last(config.channels_last, model, splits.in_shape, device)
    precision = choose_precision(config.precision, model, splits.in_shape, device)
    resolved = _resolved(config, task, splits, threads=threads, channels_last=is_last, precision=precision)
    leakage = find_copies(splits)
    return Job(
        resolved, splits, model, task, loss_fn, training_loss, device, threads, drawn, initialised, group, leakage
    )


def _load_data(config: TrainConfig, offline: bool, group: Group | None) -> Splits:
    """Load the data and select what the run uses of it; check what the settings ask of streamed data."""
    splits = data.load(config.data.name, data_dir=config.data.data_dir, offline=offline, **config.data.settings)
    splits = select(splits, **{key: getattr(config.data, key) for key in SELECTION})
    if isinstance(splits.train, Streamed):
        check_streamed(config.data.batch_size, config.data.sampler is not None)
        if group is not None:
            check_files(group, len(splits.train.shards))
    return splits


def _build_model(config: TrainConfig, splits: Splits) -> nn.Module:
    try:
        model = models.build(config.model.name, splits.in_shape, splits.n_outputs, **config.model.settings)
    except ModelError as error:
        raise ModelError(f"{error} (data {splits.name!r}: {splits.task})") from error
    if config.freeze != "none" or config.backbone_lr_scale != 1:
        classifier_name(model)  # raises where the model does not name its classifier
    return model


def _initialise(config: TrainConfig, model: nn.Module, offline: bool) -> Initialised | None:
    """Copy the weights that `init_from` or `weights` names into the model; return which were found and which not."""
    if config.weights is not None:
        taken, new = _take_weights(config, model, offline)
        return tuple(taken), tuple(f"{name} (new)" for name in new)
    if config.init_from is not None:
        weights = load_weights(user_path(config.init_from))
        matched, others = load_matching(model, weights, source=f"weights {config.init_from!r}")
        return tuple(matched), tuple(others)
    return None


def _training_loss(config: TrainConfig, splits: Splits, task: Task) -> nn.Module:
    """Return the loss that training minimises: with label smoothing and class weights where these are set."""
    counts = counts_of(splits.train, len(splits.classes))
    n = len(splits.train) if task.name == "multilabel" else None  # type: ignore[arg-type]
    weights = class_weights(config.loss_weights, splits.classes, counts, of_labels=n)
    return build_training_loss(task, config.loss, label_smoothing=config.label_smoothing, weights=weights)


def _check_smallest_batch(config: TrainConfig, splits: Splits, model: nn.Module) -> None:
    """Raise ConfigError where a batch has one sample and a norm of the model cannot compute a variance from it.

    A norm over many positions of one image can, so a copy of the model is tried in training mode.
    """
    n, size = len(splits.train), config.data.batch_size  # type: ignore[arg-type]
    if (n if size == "full" else n % size or size) != 1 or not any(map(_is_norm, model.modules())):
        return
    copied = trial = copy.deepcopy(model)
    entered: list[tuple[str, nn.Module]] = []
    for found in copied.named_modules():
        if _is_norm(found[1]):
            found[1].register_forward_pre_hook(lambda *_, found=found: entered.append(found))
    if config.freeze != "none" and config.freeze_epochs is None:
        trial = Staged(copied)
        trial.freeze()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trial.train()(torch.zeros(1, *splits.in_shape))
    except ValueError as error:
        if not entered:
            raise
        name, norm = entered[-1]
        how = "batches of one sample" if size == 1 else f"{n} samples in batches of {size} leave a batch of one"
        who = f"the model's {type(norm).__name__} {name!r}"
        raise ConfigError(f"data.batch_size: {how}, and {who} cannot train on one; {_way_out(n, size)}") from error


def _way_out(n: int, size: int | str) -> str:
    """Name the nearest batch size, below if possible, that leaves no batch of one sample."""
    if n == 1 or size == "full":
        return "give more training data"
    sizes = [*range(int(size) - 1, 1, -1), *range(int(size) + 1, n + 1)]
    return f"give another --batch-size, {next(k for k in sizes if n % k != 1)} for one"


def _try_own_loss(config: TrainConfig, splits: Splits, model: nn.Module, task: Task, loss_fn: LossFn) -> None:
    """Compute a loss of the user's own for one sample: what it lacks shows now, not in the first epoch."""
    name = config.loss["name"] if isinstance(config.loss, dict) else config.loss
    if name is None or not LOSSES.is_own(name) or isinstance(splits.train, Streamed):
        return
    X, y = batch_of(splits.train, [0])
    was_training = model.training
    try:
        with torch.no_grad():
            outputs = model.eval()(X)
            loss_fn(task.align(outputs, y), y)
    except Exception as error:
        if isinstance(error, DlwError):
            raise
        raise ModelError(f"loss {name!r} fails for a sample: {where(error)}") from error
    finally:
        model.train(was_training)


def _is_norm(part: nn.Module) -> bool:
    return isinstance(part, (nn.modules.batchnorm._NormBase, nn.GroupNorm))


def _take_weights(config: TrainConfig, model: nn.Module, offline: bool) -> tuple[list[str], list[str]]:
    """Load pretrained weights from their file, or from where they are published."""
    assert config.weights is not None
    if is_file(config.weights):
        path, source = user_path(config.weights), f"weights {config.weights!r}"
        if not path.is_file():
            raise MissingDataError(f"weights: no file {config.weights!r}")
    else:
        published = libraries.published(config.model.name, config.weights)
        path, source = find_or_fetch(published, offline=offline), f"weights {published.name}"
    return take_pretrained(model, load_weights(path), source=source)


def _resolved(config: TrainConfig, task: Task, splits: Splits, **chosen: Any) -> TrainConfig:
    """Return the settings with all defaults and rules resolved, so that the file repeats the run in later versions.

    `chosen` are settings that were `auto`.
    """
    full = fill_defaults(config)
    dataset = full.data.model_dump()
    if data.entries()[config.data.name].files:
        dataset["data_dir"] = str(data.data_folder(config.data.data_dir).resolve())
    value_range = splits.transform.value_range if splits.transform is not None else None
    if "range" in dataset and isinstance(value_range, tuple):
        dataset["range"] = list(value_range)
    return full.model_copy(
        update={"data": DataSettings(**dataset), "loss": config.loss or names_for(task.name)[0], **chosen}
    )
