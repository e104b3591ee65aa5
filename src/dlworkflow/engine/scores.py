"""Loss and accuracy of an epoch from its batches, over samples or over batches. Knows no model and no loader.

Nothing is fetched from the device before the epoch ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dlworkflow.engine.data_parallel import Group
from dlworkflow.engine.gathered import KEPT_APART
from dlworkflow.engine.given_accuracy import AccuracyFn, GivenAccuracy, numbers
from dlworkflow.engine.loss_means import ignored_label, is_sum, shares_of
from dlworkflow.engine.tasks import LossFn, Task
from dlworkflow.errors import DataError, DivergedError

Averaging = Literal["sample", "batch"]


class Scores(NamedTuple):
    """Loss in the loss function's units (nats for cross entropy) and accuracy in [0, 1], nan for a regression.

    Accuracy is on the scale of `accuracy_fn` where one was given.
    """

    loss: float
    acc: float


_RECENT = 50
"""How many batches a loss that is shown within an epoch is the mean of."""


class Total:
    """Sums the losses and correct predictions of an epoch, kept as tensors so that no batch waits for the device.

    Over samples, the loss is that of all samples as one batch (for a loss that is a sum: the mean over samples), and
    samples with an ignored label count neither as correct nor as wrong. In a `group`, losses are those of whole
    batches and predictions those of this process, which are summed at the end. After `scores()`, `over_samples` has
    the scores over samples.
    """

    def __init__(
        self,
        task: Task,
        averaging: Averaging,
        loss_fn: LossFn,
        accuracy_fn: AccuracyFn | None = None,
        group: Group | None = None,
    ) -> None:
        if averaging not in ("sample", "batch"):
            raise ValueError(f"averaging is 'sample' or 'batch', not {averaging!r}")
        self.task, self.over_samples = task, Scores(math.nan, math.nan)
        self._averaging, self._group = averaging, group
        self._given = GivenAccuracy(accuracy_fn, task) if accuracy_fn is not None else None
        self._sums_up, self._ignored, self._shares_of = is_sum(loss_fn), ignored_label(loss_fn), shares_of(loss_fn)
        self._counts = task.has_accuracy and accuracy_fn is None
        self._losses: list[Tensor | float] = []
        self._sizes: list[int] = []
        self._predictions: list[tuple[Tensor, Tensor]] = []
        self._n_waiting = 0
        self._right: list[Tensor] = []
        self._known: list[Tensor] = []
        self._shares: list[Tensor] = []

    def add(self, loss: Tensor | float, logits: Tensor, y: Tensor) -> None:
        """Add a batch: its loss, raw scores (n, ...) and labels (n, ...)."""
        size = len(y)
        self._losses.append(loss)
        self._sizes.append(size)
        if self._given is not None:
            self._given.add(y, self.task.labels(logits))
        if self._counts:
            self._predictions.append((logits, y))
            self._n_waiting += logits.nbytes
            if self._n_waiting >= KEPT_APART:  # counting each batch costs a small model 5 % of its time
                self._count()
        else:
            self._add_shares(y)

    def recent_loss(self) -> float:
        """Return the mean loss of the latest batches, of a loss that is a sum that of their samples."""
        losses, sizes = numbers(self._losses[-_RECENT:]), self._sizes[-_RECENT:]
        return _add(losses) / (sum(sizes) if self._sums_up else len(sizes))

    def scores(self, *, finite: bool = False) -> Scores:
        """Return the scores. Raises DataError if there is no batch, with `finite` DivergedError if a loss is not."""
        if not self._sizes:
            raise DataError("no batch: the data loader is empty")
        losses = numbers(self._losses)
        if finite and not all(map(math.isfinite, losses)):
            first = next(index for index, loss in enumerate(losses) if not math.isfinite(loss))
            raise DivergedError(losses[first], first + 1)
        self._count()
        rights, known, shares = self._rights(), self._sums(self._known), self._sums(self._shares)
        if self._group is not None:
            together = self._group.sum(torch.tensor([rights, known, shares, self._sizes], dtype=torch.float64))
            rights, known, shares, self._sizes = together.tolist()
        loss = _add(losses) / sum(self._sizes) if self._sums_up else _mean(losses, shares)
        self.over_samples = Scores(loss, self._acc(rights, known))
        if self._averaging == "batch":
            return Scores(_running_mean(losses), self._acc_by_batch(rights, known))
        return self.over_samples

    def _count(self) -> None:
        """Record which of the waiting predictions are correct, and which count."""
        if not self._predictions:
            return
        waiting, self._predictions, self._n_waiting = self._predictions, [], 0
        logits, y = (parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*waiting, strict=True))
        right = self.task.is_correct(logits, y, self._ignored)
        if self._ignored is not None:
            known = (y != self._ignored).reshape(len(y), math.prod(y.shape[1:])).any(dim=1)
            right = right & known
            self._known.append(known)
        self._right.append(right)
        self._add_shares(y)

    def _add_shares(self, y: Tensor) -> None:
        if self._shares_of is not None and (shares := self._shares_of(y)) is not None:
            self._shares.append(shares)

    def _rights(self) -> Sequence[float]:
        """Return the number of correct predictions in each batch."""
        if not self._right:
            return [0] * len(self._sizes)
        right = torch.cat(self._right)
        if len(self._sizes) == 1:
            return [int(right.sum())]
        sums = right.cpu().cumsum(dim=0)
        ends = torch.tensor(self._sizes).cumsum(dim=0)
        return torch.nn.functional.pad(sums, (1, 0))[ends].diff(prepend=torch.zeros(1, dtype=sums.dtype)).tolist()

    def _sums(self, values: list[Tensor]) -> Sequence[float]:
        """Return the sum of `values` over each batch: its size where all are 1, or there are none."""
        if not values:
            return self._sizes
        each = torch.cat(values)
        if bool((each == 1).all()):
            return self._sizes
        return torch.stack([part.sum() for part in each.split(self._sizes)]).tolist()

    def _acc(self, rights: Sequence[float], known: Sequence[float]) -> float:
        """Return the accuracy over samples, nan where there is none."""
        if self._given is not None:
            return self._given.over_samples(self._sizes)
        return _share(sum(rights), sum(known)) if self.task.has_accuracy else math.nan

    def _acc_by_batch(self, rights: Sequence[float], known: Sequence[float]) -> float:
        if self._given is not None:
            accs = self._given.by_batch()
        elif self.task.has_accuracy:
            accs = [_share(right, count) for right, count in zip(rights, known, strict=True)]
        else:
            return math.nan
        return math.fsum(accs) / len(accs)


def _share(right: float, count: float) -> float:
    return right / count if count else math.nan


def _add(values: Sequence[float]) -> float:
    return (math.fsum if all(map(math.isfinite, values)) else sum)(values)  # fsum refuses inf and -inf together


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the weighted mean over batches; those of weight 0 are left out, as their value may be nan."""
    return _add([value * weight for value, weight in zip(values, weights, strict=True) if weight]) / sum(weights)


def _running_mean(losses: list[float]) -> float:
    """Return the mean of losses summed in float32, as in the notes: their last printed digit depends on it."""
    import numpy as np

    sums = np.array(losses, dtype=np.float32).cumsum()
    return float(sums[-1] / np.float32(len(sums)))
