"""TODO assembly."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from timeit import default_timer
from typing import Any

import torch
from torch import nn

from dlworkflow.data.loaders import make_loader
from dlworkflow.data.protocol import labels_of
from dlworkflow.data.slices import slice_of
from dlworkflow.engine.data_parallel import Group, OwnDraws, OwnEpoch, SharedLoss, sample_before
from dlworkflow.engine.loop import Epoch
from dlworkflow.engine.losses import sample_weights
from dlworkflow.engine.mixup import Mixed, MixedLoss, Mixing
from dlworkflow.engine.precision import Autocast
from dlworkflow.engine.signals import Stoppable, StopRequest
from dlworkflow.engine.tasks import LossFn
from dlworkflow.models.backbone import Classifier, Staged
from dlworkflow.training.frozen_features import remember_features
from dlworkflow.training.job import Job as Job
from dlworkflow.training.optimization import Learning, build_learning
from dlworkflow.training.recorder import Learner, Recorder

_log = logging.getLogger(__name__)


FEATURE_BATCH = 256
"""Samples that go through a frozen backbone at once where the settings say `full`."""


def shared_loss(loss_fn: LossFn, group: Group | None) -> LossFn:
    """Return a loss over whole batches, of which each process has a slice."""
    return loss_fn if group is None else SharedLoss(loss_fn, group)


def build_learner(job: Job) -> tuple[Learner, Learning]:
    """Put the model on its device and what trains it together."""
    job.model.to(job.device)
    if job.config.channels_last:
        job.model.to(memory_format=torch.channels_last)
    learning = build_learning(job.config, job.model, job.n_batches)
    averaged = learning.average.averaged if learning.average else None
    draws = {"val": torch.Generator().manual_seed(job.config.seed)}
    return Learner(job.model, learning.optimizer, draws, learning.parts, averaged), learning


def as_seen_by_the_classifier(job: Job, request: StopRequest) -> Job:
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


def as_trained(job: Job, model: nn.Module, draws: OwnDraws | None) -> tuple[nn.Module, LossFn]:
    """Return the model and the loss as they are trained: in half precision and on blends where the settings say so."""
    if job.config.precision != "fp32":
        model = Autocast(model, job.config.precision, job.device)
    mixing, loss = Mixing(job.config.mixup, job.config.cutmix), shared_loss(job.training_loss.to(job.device), job.group)
    if job.group is not None and draws is not None:
        mixing.before, mixing.drawing = sample_before(job.group), draws.together
    if not mixing.mixup and not mixing.cutmix:
        return model, loss
    return Mixed(model, mixing), MixedLoss(loss, mixing)


def as_staged(job: Job, recorder: Recorder, learning: Learning) -> tuple[nn.Module, Callable[[Epoch], object]]:
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


def build_loaders(job: Job, val_draws: torch.Generator, draws: OwnDraws | None, epochs_done: int) -> dict[str, Any]:
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
