"""From a job to what the training loop is given: wrapped model and loss, batches. Knows settings and no run folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from timeit import default_timer
from typing import Any

import torch
from torch import Tensor, nn

from dlworkflow.data.loaders import make_loader
from dlworkflow.data.protocol import labels_of
from dlworkflow.data.slices import slice_of
from dlworkflow.engine.class_weights import sample_weights
from dlworkflow.engine.data_parallel import OwnDraws, OwnEpoch, SharedLoss, sample_before
from dlworkflow.engine.loop import BatchHandler, Epoch, EpochHandler, Pass
from dlworkflow.engine.mixup import Mixed, MixedLoss, Mixing
from dlworkflow.engine.precision import Autocast
from dlworkflow.engine.scores import Total
from dlworkflow.engine.signals import Stoppable, StopRequest
from dlworkflow.engine.tasks import LossFn, get_task
from dlworkflow.models.backbone import Classifier, Staged
from dlworkflow.training.epoch_metrics import EpochMetrics
from dlworkflow.training.frozen_features import remember_features
from dlworkflow.training.job import Job
from dlworkflow.training.optimization import build_state
from dlworkflow.training.state import TrainState

_log = logging.getLogger(__name__)

FEATURE_BATCH = 256
"""Batch size in a frozen backbone where the settings say `full`."""


@dataclass(frozen=True)
class Assembly:
    """The arguments of `train_epochs`, and what must be called at the end of an epoch for the wrappers."""

    trained: Pass
    tested: Pass
    batches: Mapping[str, Iterable[tuple[Tensor, Tensor]]]
    metrics: EpochMetrics
    handlers: list[EpochHandler]


class _Watched:
    """Batches of a split; after each, `on_batch` is called."""

    def __init__(self, batches: Any, split: str, on_batch: BatchHandler, running: list[Total]) -> None:
        self._batches, self._split, self._on_batch, self._running = batches, split, on_batch, running

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        total = len(self._batches)
        for number, batch in enumerate(self._batches, start=1):
            yield batch
            self._on_batch(self._split, number, total, self._running[0].recent_loss)


def new_state(job: Job) -> TrainState:
    """Move the model to its device and build what changes while it trains."""
    job.model.to(job.device)
    if job.config.channels_last:
        job.model.to(memory_format=torch.channels_last)
    return build_state(job.config, job.model, job.n_batches)


def assemble(
    job: Job, state: TrainState, request: StopRequest, epochs_done: int, on_batch: BatchHandler | None = None
) -> Assembly:
    """Return what the loop trains after `epochs_done` epochs; its batches end when `request` asks for that."""
    group = job.group
    draws = OwnDraws(job.config.seed, group.rank) if group is not None else None
    seen = _on_features(job, request)
    loaders = _loaders(seen, state.generators.own["val"], draws, epochs_done)
    batches: dict[str, Any] = {split: Stoppable(loader, request) for split, loader in loaders.items()}
    running: list[Total] = []
    if on_batch is not None:
        batches = {split: _Watched(each, split, on_batch, running) for split, each in batches.items()}
    model, training_loss, handlers = _wrapped(seen, draws, epochs_done)
    loss_fn = job.loss_fn if group is None else SharedLoss(job.loss_fn, group)
    task, averaging = get_task(job.task, job.loss_fn), job.config.averaging
    trained = Pass(model, training_loss, task, job.device, averaging, group=group, running=running)
    tested = model if state.average is None else state.average.averaged
    if state.average is not None and isinstance(seen.model, Classifier):
        tested = Classifier(tested)
    metrics = EpochMetrics(job.config.metrics or (), trained.task, len(job.splits.classes), group)
    return Assembly(trained, replace(trained, model=tested, loss_fn=loss_fn), batches, metrics, handlers)


def _wrapped(job: Job, draws: OwnDraws | None, epochs_done: int) -> tuple[nn.Module, LossFn, list[EpochHandler]]:
    """Return model and loss as they are trained. All wrappers share the weights of the model, and are put on here.

    The model, from the inside out: compiled, backbone frozen (`Staged`), forward pass in half precision (`Autocast`),
    inputs mixed (`Mixed`), gradients shared among processes (`Group.share`). The loss: over whole batches of which
    each process has a slice (`SharedLoss`), then of mixed labels (`MixedLoss`).
    """
    config, group = job.config, job.group
    model, handlers = job.model, []
    if config.compile:
        model.compile()  # in place: names of weights stay
    if config.freeze != "none" and not isinstance(model, Classifier):
        model = staged = Staged(model)
        handlers = _freeze(staged, config.freeze_epochs, epochs_done)
    if config.precision in ("bf16", "fp16"):
        model = Autocast(model, config.precision, job.device)
    loss: LossFn = job.training_loss.to(job.device)
    loss = loss if group is None else SharedLoss(loss, group)
    if config.mixup or config.cutmix:
        mixing = Mixing(config.mixup, config.cutmix)
        if group is not None and draws is not None:
            mixing.before, mixing.drawing = sample_before(group), draws.together
        model, loss = Mixed(model, mixing), MixedLoss(loss, mixing)
    return model if group is None else group.share(model), loss, handlers


def _freeze(staged: Staged, until: int | None, epochs_done: int) -> list[EpochHandler]:
    """Freeze the backbone; return the handler that unfreezes it after epoch `until`, none without one."""
    staged.freeze(until is None or epochs_done < until)

    def unfreeze(epoch: Epoch) -> None:
        if epoch.number == until:
            staged.freeze(False)

    return [unfreeze] if until is not None else []


def _on_features(job: Job, request: StopRequest) -> Job:
    """Return the job of training the classifier on features, where a frozen backbone gives the same in every epoch."""
    config = job.config
    if config.freeze == "none" or config.freeze_epochs is not None or not config.cache_features:
        return job
    if config.mixup or config.cutmix:  # mixed inputs differ in every epoch
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


def _loaders(job: Job, val_draws: torch.Generator, draws: OwnDraws | None, epochs_done: int) -> dict[str, Any]:
    """Return the batches of each split; in a group, this process's slices of them."""
    parts, group = job.splits.parts(), job.group
    if group is None or draws is None:
        return {split: _loader(job, split, part, val_draws) for split, part in parts.items()}
    loaders = {split: _loader(job, split, slice_of(part, group, draws), val_draws) for split, part in parts.items()}
    return loaders | {"train": OwnEpoch(loaders["train"], draws, epochs_done)}


def _loader(job: Job, split: str, part: Any, val_draws: torch.Generator) -> Any:
    """Return a split's batches, which draw as the notes' loop does; validation has a generator of its own."""
    settings = job.config.data
    weights = None
    if settings.sampler == "balanced" and split == "train":
        weights = sample_weights(job.splits.classes, labels_of(job.splits.train))
    return make_loader(
        part,
        settings.batch_size,
        shuffle=settings.shuffle and split == "train",
        num_workers=settings.num_workers,
        generator=val_draws if split == "val" else None,
        device=job.device,
        weights=weights,
    )
