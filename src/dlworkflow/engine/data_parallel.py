"""Data-parallel training seen from one of its processes: its random numbers, losses and batch norms.

Rank r takes slice r of the batch that one process would have taken. Losses, gradients, batch norms and accuracies are
computed over whole batches, so that results are those of one process up to the rounding of sums. Here a group is a
plain value: how processes find each other and communicate is in `training/distributed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from dlworkflow.engine.loss_means import batch_share, is_sum
from dlworkflow.engine.tasks import LossFn
from dlworkflow.errors import ConfigError

Item = TypeVar("Item")


class Group(Protocol):
    """The processes that train one model: this is number `rank` of `size`, and number `local_rank` on its machine.

    All processes make the same calls in the same order. `launch` names the command that started them.
    """

    rank: int
    size: int
    local_rank: int
    backend: str
    launch: str

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes of tensors of one shape, the same to the bit on each."""
        ...

    def highest(self, number: int) -> int:
        """Return the highest of the processes' numbers."""
        ...

    def share(self, model: nn.Module) -> nn.Module:
        """Return the model with shared gradients: those of each process are the mean over all."""
        ...

    def in_turn(self) -> AbstractContextManager[None]:
        """Let one process of each machine run the block first; an error on one ends all and is reported once."""
        ...


class OwnDraws:
    """Switches torch's generator between random numbers that all processes share and those of this process.

    The order of the samples is drawn from the shared state. After that, augmentation and dropout draw from this
    process's own state until the epoch ends, seeded by seed, epoch, rank and worker. `together` draws from the shared
    state again.
    """

    def __init__(self, seed: int, rank: int) -> None:
        self._seed, self._rank = seed, rank
        self._epoch: int | None = None
        self._shared: Tensor | None = None

    def begin(self, epoch: int) -> None:
        """Begin an epoch, whose order is still to be drawn."""
        self._epoch = epoch

    def take_over(self) -> None:
        """Switch to this process's own state, once per epoch; outside of an epoch do nothing."""
        if self._epoch is None:
            return
        import numpy as np

        worker = get_worker_info()
        number = worker.id + 1 if worker is not None else 0
        seed = np.random.SeedSequence([self._seed, self._epoch, self._rank, number]).generate_state(1, np.uint64)
        self._shared, self._epoch = torch.get_rng_state(), None
        torch.manual_seed(int(seed[0]))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Draw from the shared state within the block, as a single process would after the order."""
        if self._shared is None:
            yield
            return
        own = torch.get_rng_state()
        torch.set_rng_state(self._shared)
        try:
            yield
        finally:
            self._shared = torch.get_rng_state()
            torch.set_rng_state(own)

    def end(self) -> None:
        """Return to the shared state, as it was after the last draw from it."""
        if self._shared is not None:
            torch.set_rng_state(self._shared)
        self._epoch = self._shared = None


class OwnEpoch(Generic[Item]):
    """Training batches with random numbers of this process; `done` epochs were trained before."""

    def __init__(self, batches: Iterable[Item], draws: OwnDraws, done: int) -> None:
        self._batches, self._draws, self._number = batches, draws, done

    def __iter__(self) -> Iterator[Item]:
        self._number += 1
        self._draws.begin(self._number)
        try:
            for batch in self._batches:
                self._draws.take_over()
                yield batch
        finally:
            self._draws.end()

    def __len__(self) -> int:
        if not isinstance(self._batches, Sized):
            raise TypeError("these batches have no length")
        return len(self._batches)


class SharedLoss:
    """The mean loss of a whole batch of which each process has a slice, the same to the bit on each.

    Its gradients on one process are `size` times the part of its samples: their mean over the processes is that of
    the whole batch.
    """

    def __init__(self, loss_fn: LossFn, group: Group) -> None:
        self._loss_fn, self._group = loss_fn, group

    @property
    def __wrapped__(self) -> LossFn:
        """The loss of a slice."""
        return self._loss_fn

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        nothing = 0 * logits.sum()
        if is_sum(self._loss_fn):
            own, n = (self._loss_fn(logits, y) if len(y) else nothing), None
        else:
            n = torch.as_tensor(batch_share(self._loss_fn, y), device=logits.device)
            own = self._loss_fn(logits, y) * n if len(y) else nothing
            own = torch.where(n > 0, own, nothing)  # the mean of nothing, or of ignored labels alone, is nan
        mean: Tensor = _Mean.apply(own, n, self._group)
        return mean

    def batch_share(self, y: Tensor) -> Tensor:
        """Return what the mean over the whole batch was divided by."""
        return self._group.sum(torch.as_tensor(batch_share(self._loss_fn, y), device=y.device).float())


class _Mean(torch.autograd.Function):
    """Sum of losses over sum of weights, over all processes; the sum alone where there are no weights."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, n: Tensor | None, group: Group) -> Tensor:
        parts = [own.detach(), torch.ones_like(own) / group.size if n is None else n.detach()]
        on_cpu = own.device.type == "cpu"  # not every device has float64
        exact = torch.float64 if on_cpu else torch.promote_types(own.dtype, torch.float32)
        total, whole = group.sum(torch.stack([part.to(exact) for part in parts]))
        ctx.scale = group.size / whole
        return (total / whole).to(own.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.scale.to(gradients[0].dtype), None, None


class _Sum(torch.autograd.Function):
    """The sum over all processes, with gradients to each."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.sum(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.group.sum(gradients[0]), None


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm over whole batches of which each process has a slice; torch's SyncBatchNorm needs a GPU.

    Takes and returns x (n, channels, ...); holds the very weights and statistics of `norm`, under the same names.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm, group: Group) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        for name in (*norm._parameters, *norm._buffers):
            setattr(self, name, getattr(norm, name))
        self.training, self._group = norm.training, group

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        others = [dim for dim in range(x.ndim) if dim != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        count = x.new_full((1,), x.numel() // x.shape[1])
        sums = _Sum.apply(torch.cat([x.sum(others), count]), self._group)
        n = sums[-1].detach()
        mean = sums[:-1] / n
        centred = x - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(others), self._group) / n
        self._remember(mean.detach(), variance.detach() * n / (n - 1))
        scaled = centred * torch.rsqrt(variance + self.eps).view(shape)
        return scaled if not self.affine else scaled * self.weight.view(shape) + self.bias.view(shape)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics with those of a batch, as torch's batch norm does."""
        if not self.track_running_stats or self.num_batches_tracked is None:
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        part = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, part)
        self.running_var.lerp_(variance, part)


def sample_before(group: Group) -> Callable[[Tensor], Tensor]:
    """Return a function from values (n, ...) of this process's samples to those of the sample before each.

    Before the first sample of a slice comes the last of the slice before, and before the first of all the last of all.
    """

    def before(values: Tensor) -> Tensor:
        lasts = values.new_zeros(group.size, *values.shape[1:])
        filled = torch.zeros(group.size)
        if len(values):
            lasts[group.rank], filled[group.rank] = values[-1], 1
        lasts, n_filled = group.sum(lasts), int(group.sum(filled).sum())
        return torch.cat([lasts[(group.rank or n_filled) - 1][None], values])[:-1]

    return before


def share_batch_norms(model: nn.Module, group: Group) -> None:
    """Replace every batch norm in a model by a `SharedBatchNorm` with the same weights."""
    for name, part in model.named_children():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and not isinstance(part, SharedBatchNorm):
            setattr(model, name, SharedBatchNorm(part, group))
        else:
            share_batch_norms(part, group)


def check_size(group: Group, batch_size: int, n: int) -> None:
    """Raise ConfigError where a batch of a split of n samples has fewer samples than the group has processes."""
    if min(batch_size, n) < group.size:
        raise ConfigError(
            f"data.batch_size: {min(batch_size, n)} samples in a batch are fewer than {group.size} processes; "
            "give a larger one, or fewer processes"
        )


def check_files(group: Group, n: int) -> None:
    """Raise ConfigError where n shards are fewer than the processes, as each shard is read by one of them."""
    if n < group.size:
        raise ConfigError(
            f"--processes: {group.size} processes share out whole shards, and there are {n} for training; write more "
            "(`dlw data shard DIR --shards N`, best a multiple of processes times workers), or start fewer processes"
        )
