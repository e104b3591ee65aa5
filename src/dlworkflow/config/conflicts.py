"""Settings that are right one by one and cannot stand together, found before any data is read.

Knows settings only; what contradicts the data itself is found where that is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator

from dlworkflow.config import (
    ConstantSettings,
    CosineSettings,
    DataSettings,
    MultiStepSettings,
    OneCycleSettings,
    PlateauSettings,
    SGDSettings,
    StepSettings,
    TrainConfig,
    Tree,
    right_part,
)

_NOTHING_CUT_OFF = "nothing is cut off with it; give a --val-fraction, or leave it out"

Finding = tuple[str, tuple[str, ...], str]
"""The setting to blame, the others that it is about, and a sentence."""


def contradictions(values: Tree, task: str = "any") -> dict[str, str]:
    """Return what contradicts itself in merged settings, {dotted key: sentence}; `task` is that of the data.

    Settings that are wrong by themselves are left out of it; that is said elsewhere.
    """
    config, wrong = right_part(values)
    if config is None:
        return {}
    found: dict[str, str] = {}
    dataset = values.get("data")
    if config.data.val_fraction is None and isinstance(dataset, dict) and dataset.get("val_seed") == "seed":
        found["data.val_seed"] = _NOTHING_CUT_OFF
    for check in (_optimizer, _schedule, _early_stopping, _batches):
        for key, others, sentence in check(config):
            if not wrong & {key, *others}:
                found.setdefault(key, sentence)
    return found | {key: sentence for key, sentence in against_task(config, task).items() if key not in wrong}


def against_task(config: TrainConfig, task: str) -> dict[str, str]:
    """Return the settings that a task has no use for, {dotted key: sentence}."""
    set_ = {"label_smoothing": config.label_smoothing, "loss_weights": config.loss_weights}
    set_ |= {"data.sampler": config.data.sampler, "mixup": config.mixup, "cutmix": config.cutmix}
    if task != "regression":
        return {}
    return {key: "is for classes; this data has numbers for labels" for key, value in set_.items() if value}


def _optimizer(config: TrainConfig) -> Iterator[Finding]:
    optimizer = config.optimizer
    if isinstance(optimizer, SGDSettings) and optimizer.nesterov and not optimizer.momentum:
        yield (
            "optimizer.nesterov",
            ("optimizer.momentum",),
            "needs momentum; set optimizer.momentum, for example to 0.9",
        )
    if not optimizer.decay_bias_and_norm and not optimizer.weight_decay:
        yield (
            "optimizer.decay_bias_and_norm",
            ("optimizer.weight_decay",),
            "there is no weight decay to spare them; set optimizer.weight_decay, for example to 1e-4",
        )


def _schedule(config: TrainConfig) -> Iterator[Finding]:
    schedule, epochs = config.schedule, config.epochs
    if isinstance(schedule, OneCycleSettings):
        return
    if schedule.warmup_epochs >= epochs:
        yield (
            "schedule.warmup_epochs",
            ("epochs",),
            f"a warm-up of {schedule.warmup_epochs:g} of {epochs} epochs leaves none at the full rate; give fewer, or "
            "more --epochs",
        )
    if not isinstance(schedule, ConstantSettings) and epochs == 1:
        yield (
            "schedule.name",
            ("epochs",),
            f"{schedule.name!r} has no second epoch to change the rate in; give more --epochs",
        )
    elif isinstance(schedule, StepSettings) and schedule.step_size >= epochs:
        yield "schedule.step_size", ("epochs",), _too_late(schedule.step_size, epochs)
    elif isinstance(schedule, MultiStepSettings) and max(schedule.milestones) >= epochs:
        yield "schedule.milestones", ("epochs",), _too_late(max(schedule.milestones), epochs)
    elif isinstance(schedule, PlateauSettings) and schedule.patience + 1 >= epochs:
        yield "schedule.patience", ("epochs",), _too_late(schedule.patience + 1, epochs)
    if isinstance(schedule, (CosineSettings, PlateauSettings)) and schedule.min_lr >= config.optimizer.lr:
        yield (
            "schedule.min_lr",
            ("optimizer.lr",),
            f"must be less than the learning rate, which is {config.optimizer.lr:g}, not {schedule.min_lr:g}",
        )


def _too_late(epoch: int, epochs: int) -> str:
    return f"the rate would first change after epoch {epoch} of {epochs}; give fewer, or more --epochs"


def _early_stopping(config: TrainConfig) -> Iterator[Finding]:
    stopping, epochs = config.early_stopping, config.epochs
    if stopping is not None and stopping.patience >= epochs:
        yield (
            "early_stopping.patience",
            ("epochs",),
            f"{stopping.patience} epochs without improvement cannot go by in {epochs}; give fewer, or more --epochs",
        )


def _batches(config: TrainConfig) -> Iterator[Finding]:
    if config.accumulate > 1 and config.data.batch_size == "full":
        yield (
            "accumulate",
            ("data.batch_size",),
            "a full batch is all samples already; give a --batch-size, or leave it out",
        )
    if config.data.val_fraction is None and config.data.val_seed != DataSettings.model_fields["val_seed"].default:
        yield (
            "data.val_seed",
            ("data.val_fraction",),
            _NOTHING_CUT_OFF,
        )
    if config.data.sampler is not None and not config.data.shuffle:
        yield (
            "data.sampler",
            ("data.shuffle",),
            "draws at random, and data.shuffle is false; set data.shuffle=true as well, or leave it out",
        )
