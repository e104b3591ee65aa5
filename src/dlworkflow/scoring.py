"""The sums of an epoch: losses and right answers of its batches, and what they make over samples or over batches.

Nothing is fetched from the device before the epoch ends.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from itertools import islice
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from dlworkflow.errors import DataError, DivergedError
from dlworkflow.sharing import Group
from dlworkflow.tasks import Task

Averaging = Literal["sample", "batch"]
AccuracyFn = Callable[..., Any]


class Scores(NamedTuple):
    """Loss in the loss function's units (nats for cross entropy) and accuracy in [0, 1], nan for a regression.

    Accuracy is on the scale of `accuracy_fn` where one was given.
    """

    loss: float
    acc: float


_COUNTED_AT_ONCE = 4096
"""Answers of this many samples wait to be counted together: counting each batch costs a small model 5 % of its time."""


class Total:
    """Losses and right answers of an epoch's batches, kept as tensors so that no batch waits for the device.

    With a `group`, losses are those of whole batches, answers those of this process; they are added up at the end.
    """

    def __init__(
        self,
        task: Task,
        averaging: Averaging,
        accuracy_fn: AccuracyFn | None = None,
        group: Group | None = None,
    ) -> None:
        if averaging not in ("sample", "batch"):
            raise ValueError(f"averaging is 'sample' or 'batch', not {averaging!r}")
        self._task, self._averaging, self._accuracy_fn, self._group = task, averaging, accuracy_fn, group
        self._losses: list[Tensor | float] = []
        self._accs: list[Any] = []
        self._sizes: list[int] = []
        self._answers: list[tuple[Tensor, Tensor]] = []
        self._n_waiting = 0
        self._right: list[Tensor] = []

    def add(self, loss: Tensor | float, logits: Tensor, y: Tensor) -> None:
        size = len(y)
        self._losses.append(loss)
        self._sizes.append(size)
        if self._accuracy_fn is not None:
            self._accs.append(self._accuracy_fn(y_true=y, y_pred=self._task.labels(logits)))
        elif self._task.has_accuracy:
            self._answers.append((logits, y))
            self._n_waiting += size
            if self._n_waiting >= _COUNTED_AT_ONCE:
                self._count()

    def scores(self, *, finite: bool = False) -> Scores:
        if not self._sizes:
            raise DataError("no batch: the data loader is empty")
        losses = _numbers(self._losses)
        if finite and not all(map(math.isfinite, losses)):
            first = next(index for index, loss in enumerate(losses) if not math.isfinite(loss))
            raise DivergedError(losses[first], first + 1)
        if self._group is not None:
            return self._together(losses, self._group)
        if self._averaging == "batch":
            accs = self._batch_accs()
            return Scores(_running_mean(losses), math.fsum(accs) / len(accs))
        return Scores(self._mean(losses), self._acc())

    def _together(self, losses: list[float], group: Group) -> Scores:
        """Return the scores of all processes: right answers and sizes of each batch are counted over all of them."""
        rights, self._sizes = group.sum(torch.tensor([self._rights(), self._sizes])).tolist()
        accs = [right / size for right, size in zip(rights, self._sizes, strict=True)]
        by_batch = self._averaging == "batch"
        loss = _running_mean(losses) if by_batch else self._mean(losses)
        if not self._task.has_accuracy:
            return Scores(loss, math.nan)
        return Scores(loss, math.fsum(accs) / len(accs) if by_batch else sum(rights) / sum(self._sizes))

    def _mean(self, values: list[float]) -> float:
        """Average over samples what is known of each batch."""
        add = math.fsum if all(map(math.isfinite, values)) else sum  # fsum refuses inf and -inf together
        return add(map(operator.mul, values, self._sizes)) / sum(self._sizes)

    def _count(self) -> None:
        """Note which of the waiting answers are right."""
        logits, y = (parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*self._answers, strict=True))
        self._right.append(self._task.is_correct(logits, y))
        self._answers, self._n_waiting = [], 0

    def _acc(self) -> float:
        """Return the accuracy over samples, nan where there is none."""
        if self._accuracy_fn is not None:
            return self._mean(_numbers(self._accs))
        if self._answers:
            self._count()
        if not self._right:
            return math.nan
        return sum(int(right.sum()) for right in self._right) / sum(self._sizes)

    def _batch_accs(self) -> list[float]:
        """Return the accuracy of each batch."""
        if self._accuracy_fn is not None:
            return _numbers(self._accs)
        if not self._task.has_accuracy:
            return [math.nan]
        return [right / size for right, size in zip(self._rights(), self._sizes, strict=True)]

    def _rights(self) -> list[int]:
        """Return how many answers of each batch are right."""
        if self._answers:
            self._count()
        right = iter(torch.cat(self._right).tolist() if self._right else ())
        return [sum(islice(right, size)) for size in self._sizes]


def _numbers(values: list[Any]) -> list[float]:
    """Fetch numbers of a whole epoch from the device at once."""
    if isinstance(values[0], Tensor):
        numbers: list[float] = torch.stack(values).tolist()
        return numbers
    return [float(value) for value in values]


def _running_mean(losses: list[float]) -> float:
    """Add up in float32, batch after batch, as the notes do: their last printed digit depends on it."""
    import numpy as np

    sums = np.array(losses, dtype=np.float32).cumsum()
    return float(sums[-1] / np.float32(len(sums)))
