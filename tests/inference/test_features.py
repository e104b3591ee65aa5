"""Features of the last layer: the right ones, of every sample, in order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from torch import nn

from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import ModelError
from dlworkflow.inference.averaging import Ensemble
from dlworkflow.inference.features import features_of
from dlworkflow.inference.predictor import Predictor
from dlworkflow.models.backbone import logits_and_last_features
from dlworkflow.models.linear import LinearRegressionModel
from dlworkflow.models.mlp import MLP


def predictor(model, in_shape=(2,)):
    return Predictor(model.eval(), get_task("multiclass"), ("a", "b"), in_shape, None, torch.device("cpu"))


def test_features_times_the_last_weights_are_the_scores():
    model, X = MLP(2, 2, hidden_units=5), torch.randn(7, 2)

    logits, features = (found.numpy() for found in predictor(model).logits_and_features(X))

    expected = features @ model.output.weight.detach().numpy().T + model.output.bias.detach().numpy()
    assert np.allclose(logits, expected, atol=1e-6)


def test_features_are_of_every_sample_in_order_whatever_the_size_of_a_batch():
    model, X = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(2500, 2)

    found = features_of(predictor(model), TensorData(X, torch.arange(2500)))

    assert np.allclose(found.features, model[:2](X).detach().numpy(), atol=1e-6)
    assert found.labels.tolist() == list(range(2500))


def test_features_before_a_hidden_layer_of_the_classifier_are_not_the_last():
    class Vgg(nn.Sequential):
        classifier_layer = "2"

    head = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2))
    model = Vgg(nn.Conv2d(1, 2, 2), nn.Flatten(), head).eval()

    assert logits_and_last_features(model, torch.randn(3, 1, 3, 3))[1].shape == (3, 4)


def test_features_of_a_convolution_are_means_over_positions():
    model, X = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.randn(4, 3, 5, 5)

    assert torch.allclose(logits_and_last_features(model, X)[1], X.mean(dim=(2, 3)), atol=1e-6)


def test_a_classifier_without_a_linear_layer_has_what_reaches_it():
    class Prototypes(nn.Module):
        def __init__(self):
            super().__init__()
            self.of_classes = nn.Parameter(torch.randn(2, 4))

        def forward(self, x):
            return -torch.cdist(x, self.of_classes)

    class Model(nn.Sequential):
        classifier_layer = "1"

    model, X = Model(nn.Linear(3, 4), Prototypes()), torch.randn(5, 3)

    assert torch.equal(logits_and_last_features(model, X)[1], model[0](X))


def test_a_model_without_layers_has_no_features():
    with pytest.raises(ModelError, match="LinearRegressionModel has no linear layer"):
        predictor(LinearRegressionModel(), (1,)).logits_and_features(torch.randn(3, 1))


def test_an_ensemble_has_no_features_of_its_own():
    pair = Ensemble([MLP(2, 2), MLP(2, 2)], get_task("multiclass"))

    with pytest.raises(ModelError, match="the ensemble of 2 runs has no features of its own"):
        predictor(pair).logits_and_features(torch.randn(3, 2))


def test_no_hook_is_left_on_the_model():
    model = MLP(2, 2)

    predictor(model).logits_and_features(torch.randn(3, 2))

    assert not any(layer._forward_pre_hooks for layer in model.modules())


def test_features_are_those_of_the_own_thread():
    """Batches of images are predicted on all cores by one model."""
    both_are_here = Barrier(2)

    class Meeting(nn.Module):
        def forward(self, x):
            both_are_here.wait(timeout=10)
            return x

    model, inputs = nn.Sequential(Meeting(), nn.Linear(2, 3), Meeting()), [torch.randn(4, 2), torch.randn(9, 2)]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda X: logits_and_last_features(model, X)[1], inputs))

    assert all(map(torch.equal, found, inputs))
