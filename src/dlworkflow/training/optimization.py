"""Builds what changes while a run trains from its settings: optimizer, schedule, update, early stopping, average.

Knows settings and a model; no data set and no run folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dlworkflow.config import CosineSettings, OneCycleSettings, PlateauSettings, TrainConfig
from dlworkflow.engine.early_stopping import EarlyStopping
from dlworkflow.engine.ema import WeightAverage
from dlworkflow.engine.optimizers import build_optimizer, spare_bias_and_norm
from dlworkflow.engine.random_state import Generators
from dlworkflow.engine.schedules import (
    Curve,
    Plateau,
    Schedule,
    constant,
    cosine,
    exponential,
    multi_step,
    one_cycle,
    step,
)
from dlworkflow.engine.update import Update
from dlworkflow.errors import ConfigError
from dlworkflow.models.backbone import parameter_groups
from dlworkflow.training.state import TrainState


def build_state(config: TrainConfig, model: nn.Module, n_batches: int) -> TrainState:
    """Return what changes while `model`, which is on its device, trains with `n_batches` batches per epoch."""
    settings = config.optimizer.model_dump()
    spare = not settings.pop("decay_bias_and_norm")
    optimizer = build_optimizer(settings.pop("name"), _weights(config, model, spare=spare), **settings)
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
    n_updates, lr, chosen = -(-n_batches // config.accumulate), config.optimizer.lr, config.schedule
    total = config.epochs * n_updates
    if isinstance(chosen, OneCycleSettings):
        curve = one_cycle(total=total, **chosen.model_dump(exclude={"name"}))
        peak = int(chosen.pct_start * total)
        highest = max(curve(lr, done) for done in range(max(0, peak - 2), min(total, peak + 2)))
        if highest < lr / 2:
            raise ConfigError(
                f"schedule.name: one_cycle over {total} update{'s' if total != 1 else ''} never comes near the rate of "
                f"{lr:g}, its highest is {highest:.2g}; give more epochs, smaller batches or another schedule"
            )
        return
    warmup = round(chosen.warmup_epochs * n_updates)
    if chosen.warmup_epochs and not 0 < warmup < total:
        part = "less than one update" if not warmup else f"all {total} updates"
        raise ConfigError(
            f"schedule.warmup_epochs: {chosen.warmup_epochs:g} epochs are {part}, as an epoch has {n_updates}; give "
            f"{'more' if not warmup else 'fewer'}, or smaller batches"
        )


def _device_type(model: nn.Module) -> str:
    return next(model.parameters()).device.type


def _weights(config: TrainConfig, model: nn.Module, *, spare: bool) -> Any:
    """Return what the optimizer is over: all weights alike, or groups with a rate or a decay of their own."""
    scale = config.backbone_lr_scale
    groups = None if scale == 1 else parameter_groups(model, config.optimizer.lr, scale)
    if spare:
        return spare_bias_and_norm(model, groups)
    return groups or model.parameters()


def _build_schedule(config: TrainConfig, optimizer: Optimizer, n_updates: int) -> Schedule | None:
    """Return what changes the rate, None where it stays; `n_updates` are those of an epoch."""
    chosen, total = config.schedule, config.epochs * n_updates
    if isinstance(chosen, OneCycleSettings):
        curve = one_cycle(total=total, **chosen.model_dump(exclude={"name"}))
        return Schedule(optimizer, curve, by_update=True)
    warmup = round(chosen.warmup_epochs * n_updates)
    settings = chosen.model_dump(exclude={"name", "warmup_epochs"})
    if isinstance(chosen, PlateauSettings):
        return Plateau(optimizer, warmup=warmup, **settings)
    if isinstance(chosen, CosineSettings):
        total = total - warmup if warmup else config.epochs
        return Schedule(optimizer, cosine(total=total, **settings), warmup=warmup, by_update=warmup > 0)
    if chosen.name == "constant" and not warmup:
        return None
    return Schedule(optimizer, _CURVES[chosen.name](**settings), warmup=warmup)


_CURVES: dict[str, Callable[..., Curve]] = {
    "constant": constant,
    "step": step,
    "multi_step": multi_step,
    "exponential": exponential,
}
