"""Builds what changes while a run trains from its settings: optimizer, schedule, update, early stopping, average.

Knows settings and a model; no data set and no run folder.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dlworkflow.config import TrainConfig
from dlworkflow.engine.early_stopping import EarlyStopping
from dlworkflow.engine.ema import WeightAverage
from dlworkflow.engine.optimizers import build_optimizer, spare_bias_and_norm
from dlworkflow.engine.random_state import Generators
from dlworkflow.engine.schedules import Rates, Schedule, build_curve
from dlworkflow.engine.update import Update
from dlworkflow.errors import ConfigError
from dlworkflow.models.backbone import parameter_groups
from dlworkflow.training.state import TrainState


def build_state(config: TrainConfig, model: nn.Module, n_batches: int) -> TrainState:
    """Return what changes while `model`, which is on its device, trains with `n_batches` batches per epoch."""
    optimizer = build_optimizer(config.optimizer.name, _weights(config, model), **config.optimizer.settings)
    schedule = _build_schedule(config, optimizer, -(-n_batches // config.accumulate))
    stopping = config.early_stopping
    average = WeightAverage(model, config.ema) if config.ema is not None else None
    scaler = torch.amp.GradScaler(_device_type(model)) if config.precision == "fp16" else None
    after = [schedule.after_update] if schedule is not None and schedule.counts_updates else []
    after += [average.after_update] if average is not None else []
    return TrainState(
        model,
        optimizer,
        Update(
            optimizer,
            accumulate=config.accumulate,
            clip_norm=config.clip_norm,
            clip_value=config.clip_value,
            scaler=scaler,
            after=after,
        ),
        Generators({"val": torch.Generator().manual_seed(config.seed)}),
        schedule,
        EarlyStopping(**stopping.model_dump()) if stopping else None,
        average,
        scaler,
    )


def check_schedule(config: TrainConfig, n_batches: int) -> None:
    """Raise ConfigError where the updates are too few for the schedule; an epoch has `n_batches` batches."""
    n_updates = -(-n_batches // config.accumulate)
    curve_of(config, n_updates)
    total, epochs = config.epochs * n_updates, config.schedule.warmup_epochs
    warmup = round(epochs * n_updates)
    if epochs and total and not 0 < warmup < total:
        part = "less than one update" if not warmup else f"all {total} updates"
        raise ConfigError(
            f"schedule.warmup_epochs: {epochs:g} epochs are {part}, as an epoch has {n_updates}; give "
            f"{'more' if not warmup else 'fewer'}, or smaller batches"
        )


def curve_of(config: TrainConfig, n_updates: int) -> Rates | None:
    """Return how the learning rate changes in a run with `n_updates` per epoch."""
    if not config.epochs:
        return None
    return build_curve(
        config.schedule.name,
        config.schedule.settings,
        lr=config.optimizer.lr,
        epochs=config.epochs,
        warmup_epochs=config.schedule.warmup_epochs,
        updates_per_epoch=n_updates,
    )


def _device_type(model: nn.Module) -> str:
    return next(model.parameters()).device.type


def _weights(config: TrainConfig, model: nn.Module) -> Any:
    """Return what the optimizer is over: all weights alike, or groups with a rate or a decay of their own."""
    scale = config.backbone_lr_scale
    groups = None if scale == 1 else parameter_groups(model, config.optimizer.lr, scale)
    if not config.optimizer.decay_bias_and_norm:
        return spare_bias_and_norm(model, groups)
    return groups or model.parameters()


def _build_schedule(config: TrainConfig, optimizer: Optimizer, n_updates: int) -> Schedule | None:
    """Return what changes the learning rate, None where it stays; `n_updates` are those of an epoch."""
    curve, warmup = curve_of(config, n_updates), round(config.schedule.warmup_epochs * n_updates)
    return Schedule(optimizer, curve, warmup=warmup) if curve is not None or warmup else None
