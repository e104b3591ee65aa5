"""The learning rate range test: train with a learning rate that grows per update, and find where the loss falls.

See https://arxiv.org/abs/1506.01186. Knows a job and no run folder: the model is thrown away.
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
from dlworkflow.files.notebook import Shown
from dlworkflow.models.backbone import Staged
from dlworkflow.training.job import Job, prepare
from dlworkflow.training.settings import resolve_config

_SMOOTHING = 0.9
"""Weight of the past in the running mean of the batch losses, by which divergence is detected."""

_REACH = 7
"""The suggestion goes by means over this many losses on either side: the loss of one batch is noise."""

_DIVERGED = 4.0
"""The test ends when the running mean is this many times its lowest value."""


@dataclass(frozen=True)
class LrSearch(Shown):
    """The learning rates tried, in rising order, the loss of each update, the mean around it, and a suggestion.

    `suggestion` is None where the loss never fell; `reason` explains either.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    reason: str

    def __repr__(self) -> str:
        found = f"{self.suggestion:.3g}" if self.suggestion is not None else "none"
        return f"LrSearch(suggestion {found} of {len(self.rates)} learning rates: {self.reason})"

    def shown_rows(self) -> list[dict[str, float]]:
        """Return what a notebook shows: the loss at each learning rate."""
        columns = zip(self.rates, self.losses, self.smoothed, strict=True)
        return [{"lr": lr, "loss": loss, "smoothed": mean} for lr, loss, mean in columns]


def search_lr(
    config: TrainConfig, *, low: float = 1e-6, high: float = 10.0, steps: int = 100, offline: bool = False
) -> LrSearch:
    """Run the test from learning rate `low` to `high` with the data, model, loss, optimizer and batches of `config`.

    A frozen backbone stays frozen. Schedule, accumulation, clipping, EMA, mixup, CutMix and mixed precision are left
    out. Raises ConfigError for an empty range or fewer than ten steps. Restores the state of torch's generators.
    """
    if not 0 < low < high < math.inf:
        raise ConfigError(f"--low, --high: learning rates above 0, the lower first, not {low:g} and {high:g}")
    if steps < 10:
        raise ConfigError(f"--steps: must be at least 10, not {steps}")
    with torch.random.fork_rng():
        job = prepare(resolve_config(config), offline=offline)
        rates = [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]
        with thread_count(job.threads):
            losses = list(_losses(job, rates))
    smoothed = _means(losses)
    suggestion, reason = suggest(rates, smoothed)
    return LrSearch(tuple(rates[: len(losses)]), tuple(losses), tuple(smoothed), suggestion, reason)


def suggest(rates: Sequence[float], smoothed: Sequence[float]) -> tuple[float | None, str]:
    """Return a learning rate and why: a tenth of where the loss is lowest, or where it falls fastest if that is lower.

    At the learning rate of the lowest loss itself, longer training is about to diverge.
    """
    tried = rates[: len(smoothed)]
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__)
    if lowest < 3 or smoothed[lowest] > 0.995 * smoothed[0]:
        return None, f"the loss does not fall at any learning rate from {tried[0]:.2g} to {tried[-1]:.2g}"
    steepest = tried[min(range(1, lowest + 1), key=lambda step: smoothed[step] - smoothed[step - 1])]
    rate = min(steepest, tried[lowest] / 10)
    start = "there" if rate == steepest else "a tenth of that"
    return (
        rate,
        f"the loss falls fastest at {steepest:.2g} and is lowest at {tried[lowest]:.2g}; {start} is a safe start",
    )


def _losses(job: Job, rates: Sequence[float]) -> Iterator[float]:
    """Train one batch at each learning rate and yield its loss before the update, until it diverges."""
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
    """Return the mean of each loss and its neighbours, as many before as after it, so that it does not lag."""
    found = []
    for step in range(len(losses)):
        reach = min(_REACH, step, len(losses) - 1 - step)
        window = losses[step - reach : step + reach + 1]
        found.append(sum(window) / len(window))
    return found
