"""One forward pass of k models of one architecture, with stacked weights, over the same samples.

Samples lie as columns in memory, for the products of many small matrices are several times faster so: (out, in) times
(in, n) instead of (n, in) times (in, out).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

Weights = dict[str, Tensor]
"""Parameters of k models by name, each (k, *shape)."""


class Stacked:
    """k models of one architecture, called with the weights of all: X (n, *in_shape) gives raw scores (k, n, ...).

    A network of linear layers and activations is called as it is, with matrices of one more dimension; torch.vmap,
    which takes any, has three times the overhead.
    """

    def __init__(self, model: nn.Module, params: Weights, X: Tensor) -> None:
        self._base = copy.deepcopy(model).to("meta")
        for part in self._base.modules():
            if type(part) is nn.Linear:
                part.__class__ = _Columns
        parted = [name.rpartition(".") for name in params]
        self._places = [(self._base.get_submodule(path), name) for path, _, name in parted]
        self.at_once = self._is_same_at_once(params, X)

    def __call__(self, params: Weights, X: Tensor, *, training: bool) -> Tensor:
        if self._base.training != training:
            self._base.train(training)
        return self._through_all(params, X) if self.at_once else self._through_each(params, X)

    def _through_each(self, params: Weights, X: Tensor) -> Tensor:
        logits: Tensor = vmap(lambda one: functional_call(self._base, one, (X,)))(params)
        return logits

    def _through_all(self, params: Weights, X: Tensor) -> Tensor:
        for (part, name), weights in zip(self._places, params.values(), strict=True):
            part._parameters[name] = weights  # type: ignore[assignment] # what functional_call does, without its checks
        logits: Tensor = self._base(X)
        return logits

    @torch.no_grad()
    def _is_same_at_once(self, params: Weights, X: Tensor) -> bool:
        """Return whether both ways give the same scores, for weights that differ from model to model."""
        draws = torch.Generator().manual_seed(0)
        apart = {
            name: weights * (1 + 0.1 * torch.randn(weights.shape, generator=draws).to(weights))
            for name, weights in params.items()
        }
        for training in (True, False):
            self._base.train(training)
            expected = self._through_each(apart, X)
            try:
                found = self._through_all(apart, X)
            except (RuntimeError, ValueError, TypeError, IndexError):  # a layer that takes no further dimension
                return False
            if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
                return False
        return True


class _Columns(nn.Linear):
    """A linear layer whose output is transposed in memory; with weights (k, out, in) it is k layers.

    Takes x (n, in) or (k, n, in).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.ndim == 3:
            k, _, width = self.weight.shape
            columns = x.mT.expand(k, width, x.shape[-2])
            if self.bias is None:
                return torch.bmm(self.weight, columns).mT
            return torch.baddbmm(self.bias[:, :, None], self.weight, columns).mT
        if x.ndim != 2:
            return super().forward(x)
        columns = self.weight @ x.mT
        return (columns if self.bias is None else columns + self.bias[:, None]).mT
