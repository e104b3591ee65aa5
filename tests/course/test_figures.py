"""The notes' figures in a script: pyplot's where it is loaded, one a call, current, never blank."""

from __future__ import annotations

import io
import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import dlworkflow as dlw
from dlworkflow.errors import DlwError


@pytest.fixture(autouse=True)
def plt(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.close("all")
    yield pyplot
    pyplot.close("all")


class Right(nn.Module):
    """Class 1 to the right of 0, with a weight so that it has a device."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.scale * x[:, :1]


X, Y = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [-0.1, 0.5]]), torch.tensor([0, 1, 0])
RESULTS = {"train_loss": [1.0, 0.5], "test_loss": [1.0, 0.7], "train_acc": [0.5, 0.8], "test_acc": [0.5, 0.7]}
IMAGE = Image.new("RGB", (6, 6), "orange")
FOUR = [torch.rand(3, 4, 4) for _ in range(4)]


def image_model(n=2):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, n))


def files(folder):
    paths = [folder / "pizza" / f"{i}.png" for i in range(4)]
    (folder / "pizza").mkdir()
    for i, path in enumerate(paths):
        Image.new("RGB", (4 + i, 4), "red").save(path)
    return paths


CALLS = {
    "display_random_images": lambda _: dlw.display_random_images([(image, 0) for image in FOUR], ["pizza"], 2),
    "plot_accuracy_bars": lambda _: dlw.plot_accuracy_bars({"V0": 0.8, "V1": 0.9}),
    "plot_confusion_matrix": lambda _: dlw.plot_confusion_matrix(np.eye(2), ["a", "b"]),
    "plot_decision_boundary": lambda _: dlw.plot_decision_boundary(Right(), X, Y),
    "plot_decision_regions": lambda _: dlw.plot_decision_regions(
        {"test": (X, Y)}, lambda x: np.zeros(len(x)), "ab", resolution=4
    ),
    "plot_loss_curves": lambda _: dlw.plot_loss_curves(RESULTS),
    "plot_predicted_images": lambda _: dlw.plot_predicted_images(FOUR, list("abcd")),
    "plot_predictions": lambda _: dlw.plot_predictions([0], [1], [2], [3], [4]),
    "plot_run_curves": lambda _: dlw.plot_run_curves({"a": RESULTS}),
    "plot_transformed_images": lambda folder: dlw.plot_transformed_images(files(folder), np.asarray, n=1)[0],
    "pred_and_plot_image": lambda _: dlw.pred_and_plot_image(image_model(), IMAGE, ["a", "b"]),
}
every_helper = pytest.mark.parametrize("draw", CALLS.values(), ids=CALLS)


def test_every_helper_that_draws_is_tried_here():
    assert [name for name in dlw.__all__ if name.startswith(("plot_", "display_", "pred_"))] == list(CALLS)


@every_helper
def test_a_helper_opens_one_figure_which_is_current(draw, plt, tmp_path):
    assert draw(tmp_path) is plt.gcf()
    assert plt.get_fignums() == [1]


@every_helper
def test_what_pyplot_saves_is_the_figure(draw, plt, tmp_path):
    draw(tmp_path)
    saved = io.BytesIO()

    plt.savefig(saved)

    assert np.asarray(Image.open(saved)).std() > 5


@every_helper
def test_pyplots_tight_layout_breaks_no_figure(draw, plt, tmp_path):
    figure = draw(tmp_path)
    figure.draw_without_rendering()
    before = np.array([axes.get_position().bounds for axes in figure.axes])

    plt.tight_layout()

    figure.draw_without_rendering()
    assert np.allclose([axes.get_position().bounds for axes in figure.axes], before, rtol=1e-3)


@every_helper
def test_without_pyplot_a_helper_returns_a_figure_and_loads_none(draw, plt, monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot")

    assert draw(tmp_path).axes
    assert plt.get_fignums() == []
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("name", sorted({*CALLS} - {"plot_decision_boundary", "pred_and_plot_image"}))
def test_a_helper_leaves_an_open_figure_alone(name, plt, tmp_path):
    opened = plt.figure()
    plt.plot([1, 2])

    assert CALLS[name](tmp_path) is not opened
    assert (len(opened.axes), len(plt.get_fignums())) == (1, 2)


def test_figures_of_a_loop_are_as_many_as_its_turns(plt, tmp_path):
    for _ in range(3):
        CALLS["pred_and_plot_image"](tmp_path)

    assert plt.get_fignums() == [1, 2, 3]


def test_what_pyplot_draws_next_goes_on_the_image(plt):
    figure = dlw.pred_and_plot_image(image_model(), IMAGE)
    plt.title("mine")

    assert figure.axes[0].get_title() == "mine"


def test_a_helper_that_fails_leaves_no_figure(plt):
    with pytest.raises(DlwError):
        dlw.plot_decision_regions({"test": (X, Y)}, lambda x: np.full(len(x), 9), ["a", "b"], resolution=4)
    with pytest.raises(DlwError):
        dlw.plot_confusion_matrix(np.ones((2, 3)), ["a", "b"], figsize=(3, 3))

    assert plt.get_fignums() == []


def test_predictions_without_the_notebooks_variables_are_explained():
    with pytest.raises(
        DlwError, match=r"needs train_data, .*cannot see the variables of a notebook.*train_data=X_train"
    ):
        dlw.plot_predictions(predictions=[1.0])


def test_boundaries_side_by_side_keep_the_notes_titles(plt):
    opened = plt.figure(figsize=(12, 6))
    plt.subplot(1, 2, 1)
    plt.title("Train")
    dlw.plot_decision_boundary(Right(), X, Y)
    plt.subplot(1, 2, 2)
    dlw.plot_decision_boundary(Right(), X, Y)
    plt.title("Test")

    assert [axes.get_title() for axes in opened.axes] == ["Train", "Test"]
    assert plt.get_fignums() == [1]


def test_a_boundary_beside_another_keeps_the_numbers_of_its_own_range(plt):
    plt.subplot(1, 2, 1)
    axes = plt.subplot(1, 2, 2)
    dlw.plot_decision_boundary(Right(), X, Y)
    plt.gcf().draw_without_rendering()

    assert axes.yaxis.get_tick_params()["labelleft"]


def test_a_boundary_takes_arrays_of_float64_too():
    drawn = dlw.plot_decision_boundary(Right(), X.numpy().astype(float), Y.numpy())

    assert "3 of 3 right" in drawn.axes[0].get_title()


def test_a_boundary_is_drawn_over_what_the_user_drew(plt):
    plt.scatter([0], [0])
    opened = plt.gcf()

    assert dlw.plot_decision_boundary(Right(), X, Y) is opened


def test_a_boundary_is_not_drawn_over_another_helpers_figure(plt):
    curves = dlw.plot_loss_curves(RESULTS)

    assert dlw.plot_decision_boundary(Right(), X, Y) is not curves


def test_a_boundary_is_drawn_on_the_axes_it_is_given(plt):
    figure, (left, right) = plt.subplots(1, 2)

    assert dlw.plot_decision_boundary(Right(), X, Y, ax=left) is figure
    assert "3 of 3 right" in left.get_title()
    assert not right.has_data()


@pytest.mark.parametrize("last", [nn.Identity(), nn.Sigmoid(), nn.LogSigmoid(), nn.Flatten(0)])
def test_a_decision_boundary_is_where_a_models_own_outputs_change(last):
    drawn = dlw.plot_decision_boundary(nn.Sequential(Right(), last), X, Y)

    assert "3 of 3 right" in drawn.axes[0].get_title()


def colours_of(figure):
    return [tuple(points.get_facecolor()[0][:3].round(2)) for points in figure.axes[0].collections]


@pytest.mark.parametrize(
    ("palette", "expected"),
    [
        ("notes", [(0.65, 0.0, 0.15), (0.19, 0.21, 0.58)]),
        (["red", "#0000ff", "green"], [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)]),
        ("tab10", [(0.12, 0.47, 0.71), (1.0, 0.5, 0.05)]),
    ],
)
def test_a_palette_colours_the_classes(palette, expected):
    assert colours_of(dlw.plot_decision_boundary(Right(), X, Y, palette=palette)) == expected


def test_the_notes_colormap_may_be_given_as_such(plt):
    by_name = dlw.plot_decision_boundary(Right(), X, Y, palette="notes")

    assert colours_of(dlw.plot_decision_boundary(Right(), X, Y, palette=plt.cm.RdYlBu)) == colours_of(by_name)


@pytest.mark.parametrize(
    ("palette", "message"),
    [
        ("note", "unknown colormap 'note'; did you mean 'notes'"),
        (["red"], "1 colours for 2 classes"),
        (["red", "nocolour"], "'nocolour' is no colour"),
    ],
)
def test_a_palette_that_is_none_is_explained(palette, message):
    with pytest.raises(DlwError, match=message):
        dlw.plot_decision_boundary(Right(), X, Y, palette=palette)


@pytest.mark.parametrize("matrix", [np.array([[5, 1], [2, 7]]), torch.tensor([[5, 1], [2, 7]])])
def test_mlxtends_call_of_a_confusion_matrix_returns_its_pair(matrix, plt):
    figure, axes = dlw.plot_confusion_matrix(conf_mat=matrix, class_names=["a", "b"], figsize=(10, 7))

    assert axes.figure is figure is plt.gcf()
    assert axes is plt.gca()
    assert tuple(figure.get_size_inches()) == (10, 7)


def test_a_confusion_matrix_without_names_has_numbers():
    _, axes = dlw.plot_confusion_matrix(conf_mat=np.eye(2))

    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1"]


def test_more_than_ten_random_images_are_said_to_be_ten(capsys):
    dlw.display_random_images([(FOUR[0], 0)] * 12, n=12, classes=["pizza"], seed=None)

    assert capsys.readouterr().out == "n is 10 at most, not 12: drawing 10 images without shapes.\n"


def test_random_images_are_those_of_the_notes_seed(monkeypatch):
    import random

    seen = []

    class Data(list):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    dlw.display_random_images(Data([(FOUR[0], 0)] * 40), ["pizza"], 5, True, 42)

    random.seed(42)
    assert seen == random.sample(range(40), k=5)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_random_images_of_torchvisions_folder_are_drawn(version, tmp_path):
    transforms = pytest.importorskip("torchvision.transforms")
    from torchvision.datasets import ImageFolder

    files(tmp_path)
    to_tensor = transforms.ToTensor()
    if version == "v2":
        from torchvision.transforms import v2

        to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    figure = dlw.display_random_images(ImageFolder(tmp_path, to_tensor), classes=["pizza"], n=2, seed=1)

    assert figure.axes[0].get_title().startswith("class: pizza\nshape: (4, ")


def test_transformed_images_have_a_figure_each(plt, tmp_path):
    figures = dlw.plot_transformed_images(files(tmp_path), np.asarray, n=3)

    assert [figure.number for figure in figures] == plt.get_fignums() == [1, 2, 3]
    assert {len(figure.axes) for figure in figures} == {2}


def test_transformed_images_without_a_path_are_explained():
    with pytest.raises(DlwError, match="image_paths: no images to draw"):
        dlw.plot_transformed_images([], np.asarray)


def test_transformed_images_are_the_same_for_the_same_seed(tmp_path):
    paths, seen = files(tmp_path), []

    for _ in range(2):
        dlw.plot_transformed_images(paths, lambda image: (seen.append(image.size), torch.zeros(3, 2, 2))[1], 3, 1)

    assert len(seen) == 6
    assert seen[:3] == seen[3:]


def test_a_figure_that_was_drawn_on_can_still_be_pickled(plt):
    figure, axes = plt.subplots()
    dlw.plot_decision_boundary(Right(), X, Y, ax=axes)

    again = pickle.loads(pickle.dumps(figure))

    assert again.axes[0].get_title() == axes.get_title()
