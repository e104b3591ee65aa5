"""What a batch's loss does to the weights where that is more than a step of the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn, optim
from torch.optim import Optimizer

from dlworkflow.engine.losses import batch_share, is_sum
from dlworkflow.engine.tasks import LossFn


class Stepper:
    """What a batch's loss does to the weights: its gradients, then a step of the optimizer."""

    def __init__(self, optimizer: optim.Optimizer) -> None:
        self.optimizer = optimizer

    def __call__(self, loss: Tensor, y: Tensor, loss_fn: Callable[..., Any]) -> None:  # noqa: ARG002 - for `Update`
        """Improve the weights by the gradients of `loss`, what `loss_fn` gave of a batch with labels `y`."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def finish(self) -> None:
        """Do what is left to do at the end of an epoch."""


class Update(Stepper):
    """Gradients of `accumulate` batches, scaled and clipped, then one step of the optimizer, then `after`.

    The gradient is that of the loss of all these batches as one; what is left at the end of an epoch is a smaller
    group. `clip_value` bounds each number of the gradient, then `clip_norm` the length of the whole. `scaler` is
    torch's GradScaler for half precision.
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
        super().__init__(optimizer)
        self._accumulate, self._clip_norm, self._clip_value = accumulate, clip_norm, clip_value
        self._scaler, self._after = scaler, tuple(after)
        self._batches = 0
        self._shares: list[Tensor | int] = []

    def __call__(self, loss: Tensor, y: Tensor, loss_fn: LossFn) -> None:
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
        if self._batches:
            self._update()

    def _update(self) -> None:
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
        if self._shares:
            whole = sum(self._shares)
            for gradient in self._gradients():
                gradient.div_(whole)
        self._clip()
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        self._batches, self._shares = 0, []
        for tell in self._after:
            tell()

    def _clip(self) -> None:
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        if self._clip_value is not None:
            nn.utils.clip_grad_value_(parameters, self._clip_value)
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self._clip_norm)

    def _gradients(self) -> Iterator[Tensor]:
        for group in self.optimizer.param_groups:
            yield from (parameter.grad for parameter in group["params"] if parameter.grad is not None)
