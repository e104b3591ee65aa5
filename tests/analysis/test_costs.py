"""What a prediction costs: multiplications as counted by hand, memory of the model alone."""

from __future__ import annotations

import pytest
import torch

from dlworkflow.analysis import costs
from dlworkflow.models.tiny_vgg import TinyVGG
from dlworkflow.training.run import run_training


def test_multiplications_are_those_counted_by_hand():
    model = TinyVGG(3, 10, 3, padding=0, image_size=(64, 64)).eval()
    by_hand = 10 * 27 * 62**2 + 10 * 90 * 60**2 + 10 * 90 * (28**2 + 26**2) + 3 * 10 * 13**2

    assert costs.mult_adds(model, torch.rand(1, 3, 64, 64)) == by_hand
    assert costs.mult_adds(model, torch.rand(5, 3, 64, 64)) == 5 * by_hand


@pytest.mark.slow
def test_memory_grows_with_the_weights(tmp_path):
    def memory(width):
        config = {"model": {"name": "mlp", "hidden_units": width}, "data": "circles", "epochs": 1}
        return costs.measure_costs(run_training(config, runs_dir=tmp_path)).memory_bytes

    small, large = memory(8), memory(2000)

    assert small is not None
    assert large - small > 4 * 2000 * 2000
