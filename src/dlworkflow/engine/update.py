"""From the loss of a batch to updated weights: gradients, accumulation, clipping, a step of the optimizer.

Knows no settings and no data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from dlworkflow.engine.loss_means import batch_share, is_sum
from dlworkflow.engine.tasks import LossFn


class Update:
    """Sums the gradients of `accumulate` batches, scales and clips them, makes one step, then calls each of `after`.

    The gradient is that of all these batches as one; at the end of an epoch the last group may be smaller.
    `clip_value` bounds each element of the gradient, then `clip_norm` the norm of the whole. `scaler` is torch's
    GradScaler for fp16.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        scaler: Any = None,
        after: Sequence[Callable[[], object]] = (),
    ) -> None:
        self.optimizer = optimizer
        self._accumulate, self._clip_norm, self._clip_value = accumulate, clip_norm, clip_value
        self._scaler, self._after = scaler, tuple(after)
        self._batches = 0
        self._shares: list[Tensor | int] = []

    def __call__(self, loss: Tensor, y: Tensor, loss_fn: LossFn) -> None:
        """Add the gradients of `loss`, that of `loss_fn` for a batch of labels `y`; step when a group is full."""
        if not self._batches:
            self.optimizer.zero_grad()
        if self._accumulate > 1 and not is_sum(loss_fn):
            self._shares.append(batch_share(loss_fn, y))
            loss = loss * self._shares[-1]
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()
        self._batches += 1
        if self._batches == self._accumulate:
            self._update()

    def finish(self) -> None:
        """Update with the batches that remain at the end of an epoch."""
        if self._batches:
            self._update()

    def _update(self) -> None:
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
        if self._shares:
            whole = sum(self._shares)
            for parameter in self._parameters():
                if parameter.grad is not None:
                    parameter.grad.div_(whole)
        if self._clip_value is not None:
            nn.utils.clip_grad_value_(self._parameters(), self._clip_value)
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters(), self._clip_norm)
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        self._batches, self._shares = 0, []
        for call in self._after:
            call()

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
