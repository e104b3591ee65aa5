"""What each layer makes of an input."""

from __future__ import annotations

import torch

from dlworkflow.models.layers import layer_outputs
from dlworkflow.models.tiny_vgg import TinyVGG


def test_a_picture_is_followed_shape_by_shape():
    layers = layer_outputs(TinyVGG(3, 10, 3, padding=0), torch.rand(1, 3, 64, 64))

    assert [tuple(layer.output.shape[1:]) for layer in layers] == [
        *[(10, 62, 62)] * 2,
        *[(10, 60, 60)] * 2,
        (10, 30, 30),
        *[(10, 28, 28)] * 2,
        *[(10, 26, 26)] * 2,
        (10, 13, 13),
        (1690,),
        (3,),
    ]


def test_layers_bear_the_models_names():
    assert layer_outputs(TinyVGG(3, 10, 3), torch.rand(1, 3, 64, 64))[0].name == "conv_block_1.0"


def test_the_model_is_left_as_it_was():
    model = TinyVGG(3, 10, 3).train()

    layer_outputs(model, torch.rand(1, 3, 64, 64))

    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_that_works_in_place_leaves_the_output_before_it():
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU(inplace=True))

    outputs = [layer.output.tolist() for layer in layer_outputs(model, torch.tensor([[-1.0, 2.0]]).clone())]

    assert outputs == [[[-1.0, 2.0]], [[0.0, 2.0]]]


def test_a_model_without_layers_is_one_itself():
    [layer] = layer_outputs(torch.nn.Linear(2, 1), torch.zeros(1, 2))

    assert (layer.name, layer.kind) == ("model", "Linear")
