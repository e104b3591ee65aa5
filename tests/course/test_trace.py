"""Numbers worked out step by step: against a pencil, against autograd, against the modules themselves."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from dlworkflow import models
from dlworkflow.course.convolution import trace_conv, trace_pool
from dlworkflow.course.descent import descent_path, loss_surface, trace_descent
from dlworkflow.course.trace import trace_activations, trace_model
from dlworkflow.errors import ConfigError, DlwError, ModelError

HALF = {"w": 0.5, "b": 2.0, "lr": 0.03}


def test_the_first_step_is_that_of_a_pencil():
    step = trace_descent(steps=1)[0]

    assert (step.step, step.w, step.b) == (1, 1.5, -0.5)
    assert step.predictions == (1.0, 2.5, 4.0)
    assert step.errors == (-1.0, -1.5, -2.0)
    assert step.loss == pytest.approx((1 + 2.25 + 4) / 3)
    assert step.grad_w == pytest.approx(2 / 3 * -10)
    assert step.grad_b == pytest.approx(2 / 3 * -4.5)
    assert step.new_w == pytest.approx(1.5 + 0.01 * 20 / 3)
    assert step.new_b == pytest.approx(-0.5 + 0.01 * 3)


@pytest.mark.parametrize(
    ("x", "y", "settings"),
    [((1, 2, 3), (2, 4, 6), {"w": 1.5, "b": -0.5, "lr": 0.01}), ((-1.5, 0.25, 4, 7), (3, -2, 0.5, 1), HALF)],
)
def test_every_step_agrees_with_autograd(x, y, settings):
    w, b = (torch.tensor(settings[name], dtype=torch.float64, requires_grad=True) for name in ("w", "b"))
    inputs, targets = (torch.tensor(values, dtype=torch.float64) for values in (x, y))
    optimizer = torch.optim.SGD([w, b], lr=settings["lr"])
    steps = trace_descent(x, y, **settings, steps=5)
    assert len(steps) == 5
    for step in steps:
        assert (step.w, step.b) == pytest.approx((w.item(), b.item()))
        optimizer.zero_grad()
        predictions = w * inputs + b
        loss = nn.functional.mse_loss(predictions, targets)
        loss.backward()
        assert step.predictions == pytest.approx(predictions.tolist())
        assert (step.loss, step.grad_w, step.grad_b) == pytest.approx((loss.item(), w.grad.item(), b.grad.item()))
        optimizer.step()
        assert (step.new_w, step.new_b) == pytest.approx((w.item(), b.item()))


def test_the_path_holds_the_start_and_the_end():
    steps = trace_descent(steps=2)

    assert descent_path(steps) == [(1.5, -0.5), (steps[1].w, steps[1].b), (steps[1].new_w, steps[1].new_b)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"x": (1, 2), "y": (1,)}, "2 and 1 numbers"),
        ({"x": (), "y": ()}, "0 and 0 numbers"),
        ({"steps": 0}, "steps: must be between 1 and 10,000, not 0"),
        ({"steps": 10_001}, "steps: must be"),
        ({"lr": 0}, "lr: must be more than 0"),
        ({"lr": -0.1}, "lr: must be more than 0"),
        ({"w": math.nan, "lr": math.inf}, "w: must be a finite number, not nan; lr: must be a finite number, not inf"),
        ({"x": (1, math.inf, 3)}, r"x\[1\]: must be a finite number"),
        ({"x": (10**400, 2, 3)}, r"x\[0\]: must be a finite number"),
    ],
)
def test_descent_on_what_is_none_is_refused_by_name(given, words):
    with pytest.raises(ConfigError, match=words) as caught:
        trace_descent(**given)
    assert "\n" not in str(caught.value)


def test_a_descent_that_outgrows_a_float_says_at_which_step():
    with pytest.raises(DlwError, match=r"step 2 .* learning rate 1e\+200; try a lower lr"):
        trace_descent(lr=1e200)


def test_the_surface_is_the_loss_at_each_point_of_the_grid():
    x, y = (1.0, 2.0), (0.0, 5.0)

    surface = loss_surface(x, y, [(0.0, 0.0), (1.0, 2.0)], points=4)

    assert [len(surface.w), len(surface.b), len(surface.loss), len(surface.loss[0])] == [4, 4, 4, 4]
    for b, row in zip(surface.b, surface.loss, strict=True):
        for w, loss in zip(surface.w, row, strict=True):
            assert loss == pytest.approx(((w + b) ** 2 + (2 * w + b - 5) ** 2) / 2)


def test_the_surface_holds_the_path_and_the_lowest_point():
    path = descent_path(trace_descent(steps=3))

    surface = loss_surface((1, 2, 3), (2, 4, 6), path)

    for w, b in [*path, (2, 0)]:
        assert surface.w[0] < w < surface.w[-1]
        assert surface.b[0] < b < surface.b[-1]


def test_the_lowest_point_is_that_of_least_squares():
    assert loss_surface((1, 2, 3), (2, 4, 6), [(1.5, -0.5)]).lowest == (2.0, 0.0)


def test_a_surface_needs_no_lowest_point():
    surface = loss_surface((1, 1), (2, 3), [(0.0, 0.0)], points=3)

    assert (surface.w, surface.lowest) == ([-1.0, 0.0, 1.0], None)


def test_a_surface_without_a_path_is_refused():
    with pytest.raises(ConfigError, match="a path and 2 points"):
        loss_surface((1,), (2,), [])


def built(name):
    """A model of the table and three samples for it."""
    torch.manual_seed(42)
    entry = models.entry(name)
    model = models.build(name, entry.in_shape, entry.n_outputs)
    inputs = torch.randn(3, *entry.in_shape)
    labels = torch.tensor([0, 1, 0]) if entry.task == "multiclass" else torch.tensor([0.0, 1.0, 0.0])
    return model, inputs, labels, entry.task


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("circles_v0", ["layer_1", "layer_2"]),
        ("circles_v2", ["layer_1", "relu", "layer_2", "relu", "layer_3"]),
        ("blobs", [f"linear_layer_stack.{i}" for i in range(3)]),
    ],
)
def test_layers_stand_in_the_order_in_which_they_run(name, layers):
    assert [layer.name for layer in trace_model(*built(name)).layers] == layers


@pytest.mark.parametrize("name", ["circles_v0", "circles_v2", "blobs", "tinyvgg"])
def test_the_last_layer_gives_the_models_own_scores(name):
    model, inputs, labels, task = built(name)

    traced = trace_model(model, inputs, labels, task)

    scores = model.eval()(inputs)
    assert torch.tensor([output.values for output in traced.layers[-1].outputs]).equal(scores)
    assert torch.tensor([sample.logits for sample in traced.samples]).equal(scores)


def test_a_binary_loss_is_that_of_the_sigmoid():
    traced = trace_model(*built("circles_v0"))
    assert len(traced.samples) > 1
    for sample in traced.samples:
        p = 1 / (1 + math.exp(-sample.logits[0]))
        assert sample.probabilities == pytest.approx((1 - p, p))
        assert sample.answer == (p > 0.5)
        assert sample.loss == pytest.approx(-math.log(p if sample.truth else 1 - p), rel=1e-5)


def test_a_loss_of_many_classes_is_that_of_the_softmax():
    traced = trace_model(*built("blobs"))
    assert len(traced.samples) > 1
    for sample in traced.samples:
        powers = [math.exp(logit) for logit in sample.logits]
        assert sample.probabilities == pytest.approx([power / sum(powers) for power in powers])
        assert sample.answer == max(range(4), key=sample.logits.__getitem__)
        assert sample.loss == pytest.approx(-math.log(sample.probabilities[sample.truth]), rel=1e-5)


def test_the_loss_is_the_mean_of_the_samples():
    model, inputs, labels, task = built("blobs")

    expected = nn.CrossEntropyLoss()(model(inputs), labels).item()
    assert trace_model(model, inputs, labels, task).loss == pytest.approx(expected)


def test_a_worked_sum_is_the_first_number_of_its_layer():
    traced = trace_model(*built("blobs"))
    assert len(traced.layers) > 1
    for layer in traced.layers:
        assert layer.worked.total == pytest.approx(layer.outputs[0].values[0], rel=1e-5)
        summed = sum(weight * value for weight, value in layer.worked.terms) + layer.worked.bias
        assert layer.worked.total == pytest.approx(summed)


def test_a_trace_leaves_the_model_as_it_was():
    model, inputs, labels, task = built("improved_tinyvgg")
    model.train()

    traced = [trace_model(model, inputs, labels, task) for _ in range(2)]

    assert traced[0] == traced[1]
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_that_fails_is_left_as_it_was():
    model, _, labels, task = built("blobs")

    with pytest.raises(ModelError, match="does not fit these samples"):
        trace_model(model, torch.zeros(3, 7), labels, task)

    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(("n", "m"), [(0, 0), (3, 2)])
def test_samples_and_labels_must_pair(n, m):
    model, inputs, labels, task = built("blobs")

    with pytest.raises(ConfigError, match=f"{n} inputs for {m} labels"):
        trace_model(model, inputs[:n], labels[:m], task)


def test_a_regression_is_traced_to_its_answer_and_loss():
    model = models.build("line", (1,), 1)

    [sample] = trace_model(model, torch.tensor([[0.5]]), torch.tensor([[0.65]]), "regression").samples

    answer = model(torch.tensor([[0.5]])).item()
    assert (sample.answer, sample.probabilities) == (answer, ())
    assert sample.loss == pytest.approx(abs(answer - 0.65))


@pytest.mark.parametrize("name", ["circles_v0", "circles_v2", "blobs", "tinyvgg"])
def test_the_step_is_that_of_autograd_and_sgd(name):
    model, inputs, labels, task = built(name)

    traced = trace_model(model, inputs, labels, task, lr=0.05)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    loss_fn = nn.BCEWithLogitsLoss() if task == "binary" else nn.CrossEntropyLoss()
    loss_fn(model.eval()(inputs).reshape(labels.shape if task == "binary" else (3, -1)), labels).backward()
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    optimizer.step()
    assert [step.name for step in traced.parameters] == list(gradients)
    for step in traced.parameters:
        assert step.gradient.max == pytest.approx(gradients[step.name].max().item(), rel=1e-4, abs=1e-8)
        assert step.new.mean == pytest.approx(model.state_dict()[step.name].double().mean().item(), rel=1e-4, abs=1e-8)
    after = trace_model(model, inputs, labels, task)
    assert traced.loss_after == pytest.approx(after.loss, rel=1e-4)


def test_frozen_and_unused_parameters_take_no_step():
    model, inputs, labels, task = built("circles_v0")
    model.layer_1.requires_grad_(False)
    model.spare = nn.Parameter(torch.zeros(2))

    names = [step.name for step in trace_model(model, inputs, labels, task).parameters]

    assert names == ["layer_2.weight", "layer_2.bias"]


def test_a_trace_leaves_the_weights_and_their_gradients_as_they_were():
    model, inputs, labels, task = built("circles_v0")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    trace_model(model, inputs, labels, task)

    assert all(before[name].equal(tensor) for name, tensor in model.state_dict().items())
    assert [parameter.grad for parameter in model.parameters()] == [None] * 4


def test_a_layer_of_many_numbers_is_described_by_its_range():
    [first, *_] = trace_model(*built("tinyvgg")).layers

    assert (first.outputs[0].shape, first.outputs[0].values) == ((10, 64, 64), None)
    assert first.outputs[0].min < first.outputs[0].mean < first.outputs[0].max


@pytest.mark.parametrize("lr", [0, -0.1, math.nan, math.inf])
def test_a_learning_rate_is_above_zero(lr):
    with pytest.raises(ConfigError, match="lr: must be a finite number above 0"):
        trace_model(*built("circles_v0"), lr=lr)


def test_a_step_that_leaves_no_finite_loss_says_so():
    with pytest.raises(DlwError, match=r"learning rate 1e\+38; try a lower lr"):
        trace_model(*built("circles_v0"), lr=1e38)


def test_a_loss_that_is_not_finite_is_not_traced():
    model, inputs, labels, task = built("circles_v0")

    with pytest.raises(ModelError, match="not a finite number"):
        trace_model(model, inputs * math.nan, labels, task)


def test_the_notes_convolution_and_pooling_have_the_notes_shapes():
    assert [step.shape for step in trace_conv().steps] == [(3, 64, 64), (10, 62, 62), (10, 31, 31)]


@pytest.mark.parametrize("settings", [(3, 1, 0, 2), (5, 2, 1, 2), (1, 1, 0, 1), (4, 3, 2, 3), (12, 1, 2, 1)])
def test_shapes_and_counts_are_those_of_torchs_own_layers(settings):
    kernel, stride, padding, pool = settings

    traced = trace_conv((2, 9, 11), 4, kernel, stride, padding, pool)

    layer = nn.Conv2d(2, 4, kernel, stride, padding)
    expected = nn.Sequential(layer, nn.MaxPool2d(pool))(torch.zeros(1, 2, 9, 11))
    assert traced.steps[-1].shape == tuple(expected.shape[1:])
    assert (traced.weights, traced.biases) == (layer.weight.numel(), 4)


@pytest.mark.parametrize("padding", [0, 2])
def test_the_worked_pixel_is_the_first_number_of_the_convolution(padding):
    traced = trace_conv((3, 8, 8), padding=padding)

    assert len(traced.pixel.terms) == 27
    assert traced.pixel.total == pytest.approx(traced.steps[1].values[0, 0, 0].item(), rel=1e-4)


def test_the_pooling_takes_the_largest_of_its_window():
    traced = trace_conv((3, 8, 8), pool=3)

    assert len(traced.pooled) == 9
    assert max(traced.pooled) == traced.steps[2].values[0, 0, 0].item()


def test_average_pooling_takes_the_mean_of_its_window():
    traced = trace_conv((3, 8, 8), pool=3, pooling="average")

    assert (traced.steps[2].label, len(traced.pooled)) == ("average pooling 3x3", 9)
    assert sum(traced.pooled) / 9 == pytest.approx(traced.steps[2].values[0, 0, 0].item(), abs=1e-6)


def test_without_an_image_the_notes_2x2_is_pooled():
    traced = trace_pool()

    torch.manual_seed(42)
    assert traced.image == torch.randn(2, 2).tolist()
    assert traced.max == [[pytest.approx(0.3367, abs=5e-5)]]


@pytest.mark.parametrize(("size", "stride"), [(2, None), (2, 1), (3, 2), (1, 3)])
def test_pooling_is_that_of_torch(size, stride):
    image = torch.randn(6, 7, generator=torch.Generator().manual_seed(1))

    traced = trace_pool(image.tolist(), size=size, stride=stride)

    for layer, made in ((nn.MaxPool2d, traced.max), (nn.AvgPool2d, traced.average)):
        torch.testing.assert_close(torch.tensor(made), layer(size, stride)(image[None])[0])


def test_each_window_names_its_place_and_numbers():
    windows = trace_pool([[1, 2, 3, 4]] * 2).windows

    assert [(window.row, window.column, window.numbers) for window in windows] == [
        (0, 0, (1, 2, 1, 2)),
        (0, 2, (3, 4, 3, 4)),
    ]


@pytest.mark.parametrize(
    ("image", "settings", "words"),
    [
        ([], {}, "image: must be rows of equal length, .* not rows of no"),
        ([[1, 2], [3]], {}, "not rows of 2, 1"),
        ([[1, math.nan], [3, 4]], {}, "image: must be finite numbers"),
        ([[1, 2]], {}, "size: 2x2 is larger than the image of 1x2"),
        ([[1, 2]], {"size": 0, "stride": -1}, "size: must be at least 1, not 0; stride: must be at least 1, not -1"),
    ],
)
def test_what_cannot_be_pooled_is_refused_by_name(image, settings, words):
    with pytest.raises(ConfigError, match=words):
        trace_pool(image, **settings)


def test_an_image_of_ones_own_is_what_goes_in():
    image = torch.arange(27.0).reshape(3, 3, 3)

    traced = trace_conv(image=image, pool=1)

    assert [value for _, value in traced.pixel.terms] == image.reshape(-1).tolist()


def test_a_convolution_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()

    trace_conv((1, 4, 4))

    assert torch.get_rng_state().equal(before)


def test_the_same_seed_gives_the_same_convolution():
    assert [trace_conv((1, 4, 4), seed=seed).pixel == trace_conv((1, 4, 4)).pixel for seed in (42, 43)] == [True, False]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kernel": 65}, "kernel: 65x65 is larger than the image of 64x64 with padding 0"),
        ({"kernel": 0, "stride": 0, "padding": -1}, "kernel: .* not 0; stride: .* not 0; padding: .* not -1"),
        ({"channels": 0}, "channels: must be at least 1"),
        ({"pool": 63}, "pool: 63x63 is larger than the 62x62"),
        ({"pool": 0}, "pool: must be at least 1"),
        ({"pooling": "min"}, "pooling: unknown pooling 'min'; .*'?max"),
        ({"in_shape": (3, 64)}, "in_shape: .* not 3x64"),
        ({"in_shape": (0, 64, 64)}, "in_shape: .* not 0x64x64"),
        ({"in_shape": (3, 99_999, 99_999)}, "in_shape: that makes"),
        ({"padding": 99_999}, "at most 10,000,000"),
    ],
)
def test_a_convolution_that_cannot_be_is_refused_by_name(given, words):
    with pytest.raises(ConfigError, match=words) as caught:
        trace_conv(**given)
    assert "\n" not in str(caught.value)


def test_descent_needs_no_torch():
    code = "from dlworkflow.course.descent import trace_descent\ntrace_descent()\n"
    code += "import sys\nprint('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_activations_are_what_their_formulas_say():
    found = trace_activations([-1.0, 0.0, 2.0])

    assert next(iter(found)) == "identity"
    assert found["identity"] == [-1.0, 0.0, 2.0]
    assert found["relu"] == [0.0, 0.0, 2.0]
    assert found["sigmoid"] == pytest.approx([1 / (1 + math.exp(-x)) for x in (-1, 0, 2)])
    assert found["tanh"] == pytest.approx([math.tanh(x) for x in (-1, 0, 2)])
    assert found["leaky_relu"] == pytest.approx([-0.01, 0.0, 2.0])
    assert found["gelu"] == pytest.approx([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in (-1, 0, 2)])
