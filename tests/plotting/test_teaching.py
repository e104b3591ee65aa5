"""Figures that explain: their curves, maps and shapes are the true ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dlworkflow.errors import DlwError
from dlworkflow.plotting import plot_activations, plot_convolution, plot_feature_maps, plot_loss_surface
from dlworkflow.plotting.teaching import _ACTIVATIONS

FUNCTIONAL = {"identity": lambda x: x} | {
    name: getattr(torch.nn.functional, name) for name in _ACTIVATIONS if name not in ("identity", "sigmoid", "tanh")
}
FUNCTIONAL |= {"sigmoid": torch.sigmoid, "tanh": torch.tanh}


@pytest.mark.parametrize("name", _ACTIVATIONS)
def test_an_activation_is_torchs(name):
    value, slope = plot_activations([name]).axes[0].lines[2:]
    x = torch.tensor(value.get_xdata(), requires_grad=True)
    y = FUNCTIONAL[name](x)
    y.sum().backward()

    assert np.allclose(value.get_ydata(), y.detach(), atol=1e-12)
    assert np.allclose(slope.get_ydata()[x.detach().abs() > 0.1], x.grad[x.detach().abs() > 0.1], atol=1e-2)


def test_each_activation_has_a_panel():
    assert [axis.get_title() for axis in plot_activations().axes if axis.lines] == [
        "relu",
        "sigmoid",
        "tanh",
        "leaky_relu",
        "gelu",
    ]


@pytest.mark.parametrize(("names", "words"), [(["rely"], "did you mean 'relu'"), ([], "no activation")])
def test_an_unknown_activation_and_none_are_an_error(names, words):
    with pytest.raises(DlwError, match=words):
        plot_activations(names)


def test_activations_are_drawn_over_the_range_asked_for():
    figure = plot_activations(list(_ACTIVATIONS), -2000, 1000)

    assert {axis.get_xlim() for axis in figure.axes} == {(-2000.0, 1000.0)}
    assert all(np.isfinite(line.get_ydata()).all() for axis in figure.axes for line in axis.lines)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (-1e9, 0), (0, np.nan)])
def test_a_range_that_cannot_be_drawn_is_an_error(low, high):
    with pytest.raises(DlwError, match="from low to high"):
        plot_activations(["relu"], low, high)


def test_a_layer_is_a_row_of_its_first_eight_maps():
    maps = np.random.default_rng(0).random((10, 5, 4))
    [axis] = plot_feature_maps([("conv", torch.tensor(maps))]).axes
    tiled = axis.images[0].get_array()

    assert np.allclose(tiled[:, :4], maps[0])
    assert np.allclose(tiled[:, 5:9], maps[1])
    assert np.allclose(tiled[:, -4:], maps[7])
    assert np.ma.getmaskarray(np.ma.masked_invalid(tiled))[:, 4].all()
    assert axis.get_title(loc="left") == "conv: 10 × 5 × 4, the first 8 of 10 maps"


def test_a_flat_layer_is_bars_with_its_range_beside():
    [axis] = plot_feature_maps([("linear", np.array([1.0, -2.0, 0.5]))]).axes

    assert [bar.get_height() for bar in axis.containers[0]] == [1, -2, 0.5]
    assert axis.get_title(loc="right") == "−2 to 1"
    assert axis.get_title(loc="left") == "linear: 3"


def test_a_layer_without_channels_is_one_map():
    tokens = np.arange(12.0).reshape(3, 4)
    [axis] = plot_feature_maps([("attention", tokens)]).axes

    assert np.allclose(axis.images[0].get_array()[:, :4], tokens)
    assert axis.get_title(loc="left") == "attention: 3 × 4"


def test_of_many_layers_some_are_drawn_with_the_first_and_the_last():
    figure = plot_feature_maps([(f"layer {i}", np.ones(2)) for i in range(100)])

    names = [axis.get_title(loc="left").partition(":")[0] for axis in figure.axes]
    assert (len(names), names[0], names[-1]) == (32, "layer 0", "layer 99")
    assert figure.get_supxlabel() == "32 of 100 layers, evenly apart"


def test_a_layer_of_nothing_but_nan_is_drawn():
    figure = plot_feature_maps([("conv", np.full((1, 2, 2), np.nan)), ("flat", np.full(3, np.nan))])

    figure.draw_without_rendering()

    assert len(figure.axes) == 2


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "no layers"),
        ([("conv", np.zeros((1, 3, 4, 4)))], r"conv: .* \(1, 3, 4, 4\)"),
        ([("c", np.zeros(0))], "not"),
    ],
)
def test_what_is_no_layer_is_an_error(layers, words):
    with pytest.raises(DlwError, match=words):
        plot_feature_maps(layers)


def test_the_path_of_descent_lies_on_the_map_of_the_loss():
    w, b = np.linspace(0, 2, 9), np.linspace(-1, 1, 7)
    loss = (w[None, :] - 1) ** 2 + b[:, None] ** 2
    path = np.array([[1.5, -0.5], [1.2, -0.2], [1.1, -0.1]])
    axis, bar = plot_loss_surface(w, b, loss, path).axes
    descent, start, end = axis.lines

    assert np.allclose(np.c_[descent.get_xdata(), descent.get_ydata()], path)
    assert (start.get_label(), end.get_label()) == ("start: w 1.5, b −0.5", "after 2 steps: w 1.1, b −0.1")
    assert (axis.get_xlim(), axis.get_ylim()) == ((0, 2), (-1, 1))
    assert (axis.get_xlabel(), axis.get_ylabel(), bar.get_ylabel()) == ("weight w", "bias b", "loss")


def test_the_lowest_loss_is_marked_and_named():
    figure = plot_loss_surface([0, 1, 2], [0, 1], np.ones((2, 3)), [[0, 0]], lowest=(1.5, 0.25))
    *_, lowest = figure.axes[0].lines

    assert (lowest.get_xdata()[0], lowest.get_ydata()[0]) == (1.5, 0.25)
    assert lowest.get_label() == "lowest loss: w 1.5, b 0.25"


@pytest.mark.parametrize(
    ("loss", "path", "words"),
    [
        (np.zeros((3, 2)), [[0, 0]], r"len\(b\), len\(w\)"),
        (np.zeros((2, 3)), np.zeros((0, 2)), r"a path is \(steps, 2\)"),
        (np.zeros((2, 3)), [0, 0], r"a path is \(steps, 2\)"),
        (np.full((2, 3), np.nan), [[0, 0]], "no finite loss"),
    ],
)
def test_what_is_no_surface_or_path_is_an_error(loss, path, words):
    with pytest.raises(DlwError, match=words):
        plot_loss_surface([0, 1, 2], [0, 1], loss, path)


def test_a_flat_surface_is_drawn():
    figure = plot_loss_surface([0, 1, 2], [0, 1], np.ones((2, 3)), [[1, 0.5]])
    figure.draw_without_rendering()

    assert [axis.get_title() for axis in figure.axes]


def test_each_step_of_a_convolution_has_its_shape_below_and_its_maps_in_proportion():
    steps = [("input", np.ones((3, 64, 64))), ("conv", np.zeros((10, 62, 62))), ("pool", np.zeros((10, 31, 31)))]
    axes = plot_convolution(steps).axes

    assert [axis.texts[0].get_text() for axis in axes] == ["(3, 64, 64)", "(10, 62, 62)", "(10, 31, 31)"]
    assert [axis.get_title() for axis in axes] == ["input", "→ conv", "→ pool"]
    assert [len(axis.images) for axis in axes] == [3, 4, 4]
    widths = [axis.images[0].get_extent()[1] - axis.images[0].get_extent()[0] for axis in axes]
    assert widths == pytest.approx([64, 62, 31])


def test_a_long_label_of_a_step_is_in_two_lines_and_whole():
    [axis] = plot_convolution([("convolution 3x3, stride 1, padding 0", np.zeros((10, 62, 62)))]).axes

    assert axis.get_title() == "convolution 3x3, stride 1,\npadding 0"


def test_a_photo_is_drawn_in_its_three_colours_and_maps_in_their_values():
    photo, maps = np.ones((3, 4, 4)), np.arange(8.0).reshape(2, 2, 2)
    first, second = plot_convolution([("photo", photo), ("conv", maps)]).axes

    assert [int(np.argmax(image.get_array()[0, 0])) for image in first.images] == [2, 1, 0]  # the first lies on top
    assert [image.get_array().tolist() for image in second.images] == maps[::-1].tolist()


@pytest.mark.parametrize(("steps", "words"), [([], "no steps"), ([("conv", np.zeros((4, 4)))], r"conv: .* \(4, 4\)")])
def test_what_is_no_step_is_an_error(steps, words):
    with pytest.raises(DlwError, match=words):
        plot_convolution(steps)
