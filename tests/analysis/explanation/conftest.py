"""Models of which it is known what they look at."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dlworkflow.data.images.transforms import parse
from dlworkflow.engine.tasks import get_task
from dlworkflow.inference.predictor import Predictor


class Corner(nn.Module):
    """Looks at the upper left quarter of a grey image alone: class 1 where it is bright, class 0 where it is dark."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        nn.init.constant_(self.conv.weight, 1.0)
        nn.init.constant_(self.conv.bias, 0.0)

    def forward(self, x):
        maps = self.conv(x)
        bright = 8 * maps[:, 0, : x.shape[2] // 2, : x.shape[3] // 2].mean(dim=(1, 2)) - 2
        return torch.stack([-bright, bright], dim=1)


@pytest.fixture
def predictor_of():
    """Return a predictor of a model of grey images, 16x16 unless its preprocessing says otherwise."""

    def make(model, *, task="multiclass", classes=("dark", "bright"), transform="none", size=16, channels=1):
        way = parse(transform, image_size=size, channels=channels)
        shape = (channels, *way.size)
        device = torch.device("cpu")
        return Predictor(model.eval(), get_task(task), tuple(classes), shape, way, device, model_name="m")

    return make


@pytest.fixture
def corner(predictor_of):
    return predictor_of(Corner())
