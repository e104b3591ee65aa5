"""Smith's range test: train for some updates at a rate that grows each time, and see where the loss falls fastest.

See https://arxiv.org/abs/1506.01186. Everything happens in memory, on a model that is thrown away; no run is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from dlworkflow.config import TrainConfig
from dlworkflow.data.loaders import make_loader
from dlworkflow.engine.device import thread_count
from dlworkflow.engine.loop import Batch, train_step
from dlworkflow.engine.optimizers import build_optimizer
from dlworkflow.errors import ConfigError, DivergedError
from dlworkflow.models.backbone import Staged
from dlworkflow.training.job import Job, prepare

_SMOOTHING = 0.9
"""Weight of the past in the running mean that tells whether the losses of single batches diverge."""

_REACH = 7
"""So many losses either side make the mean that is looked at: the loss of one batch is noise."""

_DIVERGED = 4.0
"""The test ends where the running mean is this many times its lowest."""


@dataclass(frozen=True)
class LrSearch:
    """The rates that were tried, rising, the loss of each update and the mean around it; and what they suggest.

    `suggestion` is None where the loss never fell; `reason` says why, or why this rate.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    reason: str


def search_lr(
    config: TrainConfig, *, low: float = 1e-6, high: float = 10.0, steps: int = 100, offline: bool = False
) -> LrSearch:
    """Run the test, from rate `low` to `high`, with a run's own data, model, loss, optimizer and batches.

    A frozen backbone stays frozen. What spans updates or changes samples (schedule, accumulation, clipping, averages,
    blends, half precision) is left out of it.

    Raises ConfigError for ends that are no range, or fewer than ten steps. Leaves the global generators as they were.
    """
    if not 0 < low < high < math.inf:
        raise ConfigError(f"--low, --high: must be two rates above 0, the lower first, not {low:g} and {high:g}")
    if steps < 10:
        raise ConfigError(f"--steps: must be at least 10, not {steps}")
    with torch.random.fork_rng():
        job = prepare(config, offline=offline)
        rates = [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]
        with thread_count(job.threads):
            losses = list(_losses(job, rates))
    smoothed = _means(losses)
    suggestion, reason = suggest(rates, smoothed)
    return LrSearch(tuple(rates[: len(losses)]), tuple(losses), tuple(smoothed), suggestion, reason)


def suggest(rates: Sequence[float], smoothed: Sequence[float]) -> tuple[float | None, str]:
    """Return a rate to begin with, and why: a tenth of where the loss is lowest, or where it falls fastest if lower.

    At the lowest itself the loss is about to rise: training longer at that rate does not end well.
    """
    tried = rates[: len(smoothed)]
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__)
    if lowest < 3 or smoothed[lowest] > 0.995 * smoothed[0]:
        return None, f"the loss does not fall at any rate from {tried[0]:.2g} to {tried[-1]:.2g}"
    steepest = tried[min(range(1, lowest + 1), key=lambda step: smoothed[step] - smoothed[step - 1])]
    rate = min(steepest, tried[lowest] / 10)
    start = "there" if rate == steepest else "a tenth of that"
    return (
        rate,
        f"the loss falls fastest at {steepest:.2g} and is lowest at {tried[lowest]:.2g}; {start} is a safe start",
    )


def _losses(job: Job, rates: Sequence[float]) -> Iterator[float]:
    """Train one batch at each rate and give its loss before the update, until it diverges."""
    model: nn.Module = job.model.to(job.device)
    if job.config.freeze == "backbone":
        model = staged = Staged(model)
        staged.freeze()
    settings = job.config.optimizer.settings | {"lr": rates[0]}
    optimizer = build_optimizer(job.config.optimizer.name, model.parameters(), **settings)
    loss_fn = job.training_loss.to(job.device)
    mean, lowest = 0.0, math.inf
    for step, (rate, batch) in enumerate(zip(rates, _endless(_batches(job)), strict=False), start=1):
        for group in optimizer.param_groups:
            group["lr"] = rate
        try:
            loss = train_step(model, [batch], loss_fn, optimizer, task=job.task).loss
        except DivergedError:
            return
        yield loss
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smooth = mean / (1 - _SMOOTHING**step)
        lowest = min(lowest, smooth)
        if smooth > _DIVERGED * lowest:
            return


def _batches(job: Job) -> Iterable[Batch]:
    settings = job.config.data
    return make_loader(
        job.splits.train,
        settings.batch_size,
        shuffle=settings.shuffle,
        generator=torch.Generator().manual_seed(job.config.seed),
    )


def _endless(batches: Iterable[Batch]) -> Iterator[Batch]:
    while True:
        yield from batches


def _means(losses: Sequence[float]) -> list[float]:
    """Return the mean of each loss and its neighbours, as many before as after it: one that does not lag behind."""
    found = []
    for step in range(len(losses)):
        reach = min(_REACH, step, len(losses) - 1 - step)
        window = losses[step - reach : step + reach + 1]
        found.append(sum(window) / len(window))
    return found
