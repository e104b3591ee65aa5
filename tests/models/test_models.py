"""Every model of the table: built for its data, named as in the notes, able to learn, refused where it cannot fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dlworkflow import models
from dlworkflow.engine.losses import build_loss
from dlworkflow.engine.random_state import set_seeds
from dlworkflow.engine.tasks import TASKS
from dlworkflow.errors import ConfigError, ModelError
from dlworkflow.models.tiny_vgg import TinyVGG
from dlworkflow.models.weights.checkpoint import count_parameters

ALL = [name for name in models.library_names() if not models.is_published(name)]  # others are in test_libraries


def build_usual(name, **settings):
    entry = models.entry(name)
    return models.build(name, entry.in_shape, entry.n_outputs, **settings)


@pytest.mark.parametrize("name", ALL)
def test_a_model_maps_a_batch_to_outputs(name):
    entry = models.entry(name)

    assert build_usual(name)(torch.rand(5, *entry.in_shape)).shape == (5, entry.n_outputs)


@pytest.mark.parametrize("name", ALL)
def test_the_listed_parameters_are_those_of_the_built_model(name):
    assert count_parameters(build_usual(name)) == models.entry(name).parameters


@pytest.mark.parametrize("name", ALL)
def test_a_model_overfits_eight_samples(name):
    set_seeds(0)
    entry = models.entry(name)
    task = TASKS.get(entry.task, TASKS["regression"])
    X = torch.randn(8, *entry.in_shape)
    y = torch.arange(8) % max(2, entry.n_outputs)
    labels = {"regression": 0.7 * X.reshape(8, -1)[:, :1] + 0.3, "binary": (X.reshape(8, -1)[:, :1] > 0).float()}
    y = labels.get(task.name, y)
    settings = {"hidden_units": 32} if name.startswith("fashion") else {}
    model = build_usual(name, **settings, **({"dropout": 0.0} if "improved" in name else {}))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003 if len(entry.in_shape) == 3 else 0.03)
    loss_fn = build_loss(task)
    first = loss_fn(model(X), y).item()

    for _ in range(300):
        optimizer.zero_grad()
        loss = loss_fn(model(X), y)
        loss.backward()
        optimizer.step()
        if loss.item() < 0.1 * first:
            break

    assert loss.item() < 0.2 * first


@pytest.mark.parametrize("name", [name for name in ALL if models.entry(name).data])
def test_a_recipe_names_the_usual_data_of_the_table(name):
    assert models.recipe(name)["data"]["name"] == models.entry(name).data


def test_tinyvgg_on_64x64_photos_of_three_classes_has_10693_parameters():
    assert count_parameters(TinyVGG(input_shape=3, hidden_units=10, output_shape=3)) == 10_693


def test_tinyvgg_without_padding_has_the_other_published_classifier():
    model = TinyVGG(input_shape=3, hidden_units=10, output_shape=3, padding=0)

    assert model.classifier[1].in_features == 10 * 13 * 13


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("size", [(64, 64), (28, 28), (33, 47), (17, 90)])
def test_tinyvgg_takes_any_image_size(size, padding):
    assert models.build("tinyvgg", (3, *size), 4, padding=padding)(torch.rand(2, 3, *size)).shape == (2, 4)


@pytest.mark.parametrize(("padding", "least"), [(0, 16), (1, 4)])
def test_tinyvgg_names_the_smallest_image_that_it_takes(padding, least):
    models.build("tinyvgg", (3, least, least), 3, padding=padding)

    with pytest.raises(ModelError, match=f"at least {least}x{least}"):
        models.build("tinyvgg", (3, least - 1, least), 3, padding=padding)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("line", ["weights", "bias"]),
        ("line_v2", ["linear_layer.weight", "linear_layer.bias"]),
        ("circles_v0", ["layer_1.weight", "layer_1.bias", "layer_2.weight", "layer_2.bias"]),
        ("circles_v2", [f"layer_{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")]),
        ("blobs", [f"linear_layer_stack.{i}.{kind}" for i in (0, 1, 2) for kind in ("weight", "bias")]),
        ("fashion_mnist_v0", [f"layer_stack.{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")]),
        ("fashion_mnist_v1", [f"layer_stack.{i}.{kind}" for i in (1, 3) for kind in ("weight", "bias")]),
        (
            "fashion_mnist_v2",
            [f"block_{b}.{i}.{kind}" for b in (1, 2) for i in (0, 2) for kind in ("weight", "bias")]
            + ["classifier.1.weight", "classifier.1.bias"],
        ),
        (
            "tinyvgg",
            [f"conv_block_{b}.{i}.{kind}" for b in (1, 2) for i in (0, 2) for kind in ("weight", "bias")]
            + ["classifier.1.weight", "classifier.1.bias"],
        ),
        ("improved_tinyvgg", [f"{n}.{kind}" for n in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")]),
    ],
)
def test_parameters_bear_the_notes_names(name, parameters):
    assert list(build_usual(name).state_dict()) == parameters


@pytest.mark.parametrize(("name", "first", "second"), [("line", 0.3367, 0.1288), ("line_v2", 0.7645, 0.8300)])
def test_seed_42_draws_the_notes_first_numbers(name, first, second):
    torch.manual_seed(42)

    drawn = [round(parameter.item(), 4) for parameter in build_usual(name).parameters()]

    assert drawn == [first, second]


def test_circles_v1_is_one_straight_map_and_v2_is_not():
    v1, v2 = build_usual("circles_v1"), build_usual("circles_v2")
    v2.load_state_dict(v1.state_dict())
    a, b = torch.randn(50, 2), torch.randn(50, 2)

    def is_affine(model):
        return torch.allclose(model((a + b) / 2), (model(a) + model(b)) / 2, atol=1e-5)

    assert (is_affine(v1), is_affine(v2)) == (True, False)


def test_relu_in_blobs_is_a_setting():
    assert not any(isinstance(module, nn.ReLU) for module in build_usual("blobs").modules())
    assert [type(m).__name__ for m in build_usual("blobs", relu=True).linear_layer_stack] == (
        ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    )


def test_fashion_mnist_v1_ends_in_a_relu_as_in_the_notes():
    assert (build_usual("fashion_mnist_v1")(torch.randn(64, 1, 28, 28)) >= 0).all()


def test_dropout_acts_in_training_only():
    model = build_usual("improved_tinyvgg", dropout=0.5)
    x = torch.rand(4, 3, 64, 64)

    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_an_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown model 'tinyvg'; did you mean 'tinyvgg'\?"):
        models.build("tinyvg", (3, 64, 64), 3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hiden_units": 3}, "did you mean 'hidden_units'"),
        ({"hidden_units": 0}, "at least 1, not 0"),
        ({"hidden_units": 2.5}, "whole number, not 2.5"),
        ({"padding": 2}, "unknown value '2'"),
        ({"input_shape": 3}, "unknown setting 'input_shape'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings, words):
    with pytest.raises(ConfigError, match=words):
        models.build("tinyvgg", (3, 64, 64), 3, **settings)


def test_pictures_are_refused_by_a_model_of_rows_and_rows_by_one_of_pictures():
    with pytest.raises(ModelError, match="takes rows of numbers"):
        models.build("circles_v2", (1, 8, 8), 10)
    with pytest.raises(ModelError, match="takes images"):
        models.build("tinyvgg", (2,), 1)


def test_a_model_whose_outputs_do_not_fit_the_classes_is_refused():
    with pytest.raises(ModelError, match="1 outputs a sample where the data needs 4"):
        models.build("line", (1,), 4)


def test_building_draws_nothing_but_the_initial_weights():
    torch.manual_seed(3)
    TinyVGG(input_shape=3, hidden_units=10, output_shape=3)
    after_the_class = torch.rand(1)
    torch.manual_seed(3)
    models.build("tinyvgg", (3, 64, 64), 3)

    assert torch.equal(torch.rand(1), after_the_class)


@pytest.fixture
def own_model():
    class Own(nn.Module):
        def __init__(self, in_features: int, num_classes: int, width: int = 4):
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.Linear(width, num_classes))

        def forward(self, x):
            return self.net(x)

    models.register("own", Own)
    yield Own
    del models.REGISTRY.registered["own"]


def test_a_registered_model_is_filled_from_the_data_by_its_parameters_names(own_model):
    model = models.build("own", (1, 8, 8), 10, width=6)

    assert isinstance(model, own_model)
    assert [layer.in_features for layer in model.net[1:]] == [64, 6]


def test_a_registered_model_is_listed(own_model):
    assert "own" in models.entries()
    assert models.settings("own") == {"width": 4}


def test_a_lazy_layer_can_be_trained_after_it_was_built():
    class Lazy(nn.Module):
        def __init__(self, num_classes: int):
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

        def forward(self, x):
            return self.net(x)

    models.register("lazy", Lazy)
    try:
        model = models.build("lazy", (1, 8, 8), 3)
    finally:
        del models.REGISTRY.registered["lazy"]

    model(torch.rand(2, 1, 8, 8)).sum().backward()


def test_a_name_of_the_library_cannot_be_registered():
    with pytest.raises(ConfigError, match="'tinyvgg' is the library's own"):
        models.register("tinyvgg", TinyVGG)


BENT = ("circles_v2", "blobs", "fashion_mnist_v2", "tinyvgg")
"""Models whose depth, activation, norms and dropout are settings."""


def parts_of(model, kind):
    return sum(isinstance(part, kind) for part in model.modules())


@pytest.mark.parametrize("name", BENT)
def test_settings_of_the_layers_do_not_touch_the_defaults(name):
    set_seeds(0)
    usual = build_usual(name).state_dict()
    set_seeds(0)
    said = build_usual(name, batch_norm=False, dropout=0.0, **({} if name == "blobs" else {"activation": "relu"}))

    assert usual.keys() == said.state_dict().keys()
    assert all(torch.equal(usual[key], tensor) for key, tensor in said.state_dict().items())


@pytest.mark.parametrize("name", BENT)
def test_dropout_is_random_in_training_alone(name):
    model = build_usual(name, dropout=0.5, hidden_units=64)
    X = torch.rand(4, *models.entry(name).in_shape)

    assert not torch.equal(model(X), model(X))
    model.eval()
    assert torch.equal(model(X), model(X))


@pytest.mark.parametrize("name", BENT)
def test_batch_norm_stands_after_every_hidden_layer(name):
    model = build_usual(name, batch_norm=True)

    n_hidden = parts_of(model, (nn.Linear, nn.Conv2d)) - 1
    assert parts_of(model, (nn.BatchNorm1d, nn.BatchNorm2d)) == n_hidden


@pytest.mark.parametrize(
    ("activation", "bent"),
    [
        ("relu", [0.0, 2.0]),
        ("leaky_relu", [-0.02, 2.0]),
        ("tanh", [-0.9640, 0.9640]),
        ("sigmoid", [0.1192, 0.8808]),
        ("elu", [-0.8647, 2.0]),
        ("gelu", [-0.0455, 1.9545]),
        ("silu", [-0.2384, 1.7616]),
    ],
)
def test_an_activation_is_the_function_of_its_name(activation, bent):
    layer = build_usual("blobs", activation=activation).linear_layer_stack[1]

    assert layer(torch.tensor([-2.0, 2.0])).tolist() == pytest.approx(bent, abs=1e-4)


@pytest.mark.parametrize("name", BENT)
def test_an_activation_changes_what_a_model_says(name):
    X = torch.rand(4, *models.entry(name).in_shape)
    set_seeds(0)
    usual = build_usual(name)(X)
    set_seeds(0)

    assert not torch.allclose(build_usual(name, activation="tanh")(X), usual, atol=1e-4)


@pytest.mark.parametrize(("name", "setting"), [("circles_v2", "hidden_layers"), ("blobs", "hidden_layers")])
def test_the_depth_of_a_model_of_numbers_is_a_setting(name, setting):
    assert parts_of(build_usual(name, hidden_layers=4), nn.Linear) == 5


@pytest.mark.parametrize(("name", "last"), [("tinyvgg", "conv_block_3"), ("fashion_mnist_v2", "block_3")])
def test_the_depth_of_a_convolutional_model_is_a_setting(name, last):
    model = build_usual(name, blocks=3)

    assert parts_of(model, nn.MaxPool2d) == 3
    assert hasattr(model, last)


@pytest.mark.parametrize("name", ["tinyvgg", "fashion_mnist_v2"])
def test_blocks_may_grow_wider_one_after_the_other(name):
    model = build_usual(name, hidden_units=4, blocks=3, growth=2)

    widths = [layer.out_channels for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]

    assert widths == [4, 4, 8, 8, 16, 16]
    assert model(torch.rand(2, *models.entry(name).in_shape)).shape == (2, models.entry(name).n_outputs)


def test_an_image_too_small_for_its_blocks_is_refused_with_the_least_that_fits():
    with pytest.raises(ModelError, match=r"too small for 4 blocks with padding 1; give at least 16x16"):
        models.build("tinyvgg", (1, 8, 8), 10, blocks=4)


def test_an_unknown_activation_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"model\.activation: unknown value 'rellu'; did you mean 'relu'"):
        build_usual("tinyvgg", activation="rellu")


def test_two_functions_for_one_place_are_refused():
    with pytest.raises(ModelError, match="relu and activation=tanh are two functions for one place"):
        build_usual("blobs", relu=True, activation="tanh")


@pytest.mark.parametrize(
    ("name", "shape", "setting", "error", "words"),
    [
        ("circles_v2", (2,), {"hidden_units": 2_000_000}, ModelError, "GB for weights and gradients"),
        ("circles_v2", (2,), {"hidden_units": 2**31 - 1}, ModelError, "overflow"),
        ("circles_v2", (2,), {"hidden_layers": 10**9}, ConfigError, "between 1 and 1,000, not 1,000,000,000"),
        ("tinyvgg", (3, 64, 64), {"blocks": 10**9}, ConfigError, "between 1 and 1,000"),
        ("line_deep", (1,), {"hidden_units": 10**12}, ConfigError, "at most 2,147,483,647"),
    ],
)
def test_a_model_that_no_machine_holds_is_refused_before_it_is_built(name, shape, setting, error, words):
    with pytest.raises(error) as caught:
        models.build(name, shape, 1, **setting)
    assert words in str(caught.value)
