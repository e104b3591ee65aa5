"""Models that are called together say what each says alone, whatever they do with their samples."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from dlworkflow.training.sweep.stacked import Stacked


class Centred(nn.Module):
    """Looks at all samples at once: called with a further dimension it would mix models."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        scores = self.layer(x)
        return scores - scores.mean(0)


class Halved(nn.Linear):
    """A linear layer that is not torch's."""

    def forward(self, x):
        return super().forward(x) / 2


MODELS = {
    "layers and activations": nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3, bias=False), nn.Tanh()),
    "all samples at once": Centred(),
    "a layer of one's own": nn.Sequential(Halved(2, 4), nn.Linear(4, 3)),
}


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def stacked(request):
    """Two models of one architecture with other weights, together and one by one, and samples."""
    draws = torch.Generator().manual_seed(0)
    params = {name: torch.randn(2, *p.shape, generator=draws) for name, p in request.param.named_parameters()}
    X = torch.randn(5, 2, generator=draws)
    alone = torch.stack(
        [functional_call(request.param, {name: p[i] for name, p in params.items()}, (X,)) for i in range(2)]
    )
    return Stacked(request.param, params, X), params, X, alone


def test_together_they_say_what_each_says_alone(stacked):
    network, params, X, alone = stacked

    torch.testing.assert_close(network(params, X, training=True), alone, rtol=1e-5, atol=1e-6)


def test_only_a_network_that_mixes_no_models_is_called_once_for_all(request, stacked):
    network, *_ = stacked

    assert network.at_once is ("layers and activations" in request.node.name)
