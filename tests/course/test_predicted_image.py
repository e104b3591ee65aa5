"""`pred_and_plot_image` in every form of the notes and of the published course."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import dlworkflow as dlw
from dlworkflow import config
from dlworkflow.course.predicted_image import pred_and_plot_image
from dlworkflow.errors import DataError, DlwError

NAMES = ["pizza", "steak"]
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


class Recorder(nn.Module):
    """Keeps what it is given; answers with its first class to any image."""

    def __init__(self, n=2):
        super().__init__()
        self.scores = nn.Parameter(torch.arange(n, 0, -1).float())

    def forward(self, x):
        self.given = x.detach()[0]
        return self.scores.expand(len(x), -1)


@pytest.fixture
def path(tmp_path, paint):
    return paint(tmp_path / "x.png", size=(12, 8))


def floats(path):
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255


def given(*arguments, **named):
    model = Recorder()
    pred_and_plot_image(model, *arguments, **named)
    return model.given


def published(path, size):
    """The published course's preprocessing, by torchvision."""
    transforms = pytest.importorskip("torchvision.transforms")
    steps = [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(MEAN.flatten(), STD.flatten())]
    return transforms.Compose(steps)(Image.open(path))


def test_without_a_transform_the_image_is_used_as_it_is(path):
    assert torch.equal(given(path, NAMES), floats(path))


def test_the_notes_resize_takes_the_float_image(path):
    transforms = pytest.importorskip("torchvision.transforms")
    resize = transforms.Compose([transforms.Resize((4, 4))])

    assert torch.equal(given(path, NAMES, transform=resize), resize(floats(path)))


def test_a_transform_that_ends_with_to_tensor_takes_the_pil_image(path):
    transforms = pytest.importorskip("torchvision.transforms")
    chain = transforms.Compose([transforms.Resize((4, 4)), transforms.ToTensor()])

    assert torch.equal(given(path, NAMES, transform=chain), chain(Image.open(path)))


@pytest.mark.parametrize("as_float", [True, False])
def test_a_v2_transform_is_called_with_what_gives_floats(path, as_float):
    v2 = pytest.importorskip("torchvision.transforms.v2")
    steps = [v2.ToImage(), v2.Resize((4, 4))] + [v2.ToDtype(torch.float32, scale=True)] * as_float
    expected = v2.Compose(steps)(Image.open(path) if as_float else floats(path))

    assert torch.equal(given(path, NAMES, transform=v2.Compose(steps)), expected.as_subclass(torch.Tensor))


def test_the_transform_of_published_weights_takes_the_pil_image(path):
    models = pytest.importorskip("torchvision.models")
    transform = models.EfficientNet_B0_Weights.DEFAULT.transforms()

    assert torch.equal(given(path, NAMES, transform=transform), transform(Image.open(path)))


def test_a_function_of_tensors_and_a_batch_of_one_are_transforms_too(path):
    assert torch.equal(given(path, NAMES, lambda image: image[None, :, :4, :4]), floats(path)[:, :4, :4])


def test_an_image_size_is_resized_and_normalised_as_in_the_published_course(path):
    assert torch.allclose(given(path, NAMES, image_size=(6, 5)), published(path, (6, 5)), atol=1e-6)


def test_names_before_the_path_are_the_published_scripts_call(path):
    assert torch.allclose(given(NAMES, path), published(path, (224, 224)), atol=1e-6)


def test_a_model_of_torchvisions_is_given_imagenets_size_and_statistics(path):
    models = pytest.importorskip("torchvision.models")
    model = models.squeezenet1_1(num_classes=2).eval()
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))

    pred_and_plot_image(model=model, image_path=path, class_names=NAMES)

    assert torch.allclose(seen[0], published(path, (224, 224)), atol=1e-6)


def test_positional_arguments_are_those_of_either_course(path):
    def half(image):
        return image[:, :4, :6]

    expected = floats(path)[:, :4, :6]

    assert torch.equal(given(path, NAMES, half, "cpu"), expected)
    assert torch.equal(given(path, NAMES, (224, 224), half, "cpu"), expected)
    assert torch.equal(given(path, NAMES, None, "cpu"), floats(path))


def test_a_pil_image_of_any_mode_is_an_image():
    grey = Image.new("L", (4, 4), 51)

    assert torch.allclose(given(grey, NAMES), torch.full((3, 4, 4), 0.2))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 8x8 images with its path."""
    runs = tmp_path_factory.mktemp("runs")
    given = config.from_overrides(["model=tinyvgg", "data=digits", "epochs=1"])
    return dlw.run_training(dlw.resolve_config([given]), runs_dir=runs)


def model_of(run):
    return dlw.Predictor.from_run(run).model


def test_a_model_of_a_run_is_given_what_the_run_was_trained_on(trained, path):
    predictor = dlw.Predictor.from_run(trained)
    [expected] = predictor.predict_images([path])

    figure = pred_and_plot_image(predictor.model, path, predictor.classes)

    assert figure.axes[0].get_title() == f"Pred: {expected.label} | Prob: {expected.probability:.3f}"
    assert figure.get_supxlabel() == f"prepared as in run {trained.name}"


def test_weights_loaded_from_a_run_bring_its_preprocessing(trained, path):
    model = dlw.load_model(model_of(trained), trained.path / "best.pth")

    assert pred_and_plot_image(model, path).get_supxlabel() == f"prepared as in run {trained.name}"


def test_an_image_size_other_than_that_of_the_run_is_refused(trained, path):
    with pytest.raises(DlwError, match=r"was trained on 8 × 8, not 224 × 224; leave it out"):
        pred_and_plot_image(model_of(trained), path, image_size=(224, 224))


def test_what_was_done_without_a_transform_is_below_the_figure(path):
    figure = pred_and_plot_image(Recorder(), path, NAMES, image_size=(6, 5))

    assert figure.get_supxlabel() == "resized to 6 × 5, normalised with ImageNet's mean and std"


def test_an_image_that_does_not_fit_the_model_says_what_to_pass(path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))

    with pytest.raises(DataError, match=r"\(3x8x12, as it is, in \[0, 1\]\): pass the transform of its training"):
        pred_and_plot_image(model, path, NAMES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a"], ["b"]), "image_path: must be a path or a PIL image, not list"),
        (("PATH", ["a"]), "class_names: 1 names, and the model has 2 classes"),
        (("PATH", NAMES, "big"), "image_size: must be \\(height, width\\) in pixels, not 'big'"),
        (("PATH", NAMES, (28,)), "image_size: must be \\(height, width\\) in pixels, not \\(28,\\)"),
        (("PATH", NAMES, lambda image: 3), "transform: must return a tensor of floats, not int"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message, path):
    with pytest.raises(DlwError, match=message):
        pred_and_plot_image(Recorder(), *(path if argument == "PATH" else argument for argument in arguments))


def test_a_predicted_image_bears_the_notes_title(path):
    model = Recorder()
    model.scores.data = torch.tensor([0.0, 0.515])

    assert pred_and_plot_image(model, path, NAMES).axes[0].get_title() == "Pred: steak | Prob: 0.626"


def test_one_number_a_sample_is_drawn_as_two_classes(path):
    figure = pred_and_plot_image(Recorder(1), path, ["cat", "dog"])

    assert figure.axes[0].get_title() == "Pred: dog | Prob: 0.731"


def test_empty_axes_of_pyplots_are_drawn_on_as_in_the_notes(path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    opened, (left, _) = plt.subplots(1, 2)
    plt.sca(left)

    drawn = pred_and_plot_image(Recorder(), path, NAMES)

    assert drawn is opened
    assert left.get_title() == "Pred: pizza | Prob: 0.731"
    plt.close("all")


@pytest.mark.usefixtures("chinese_font")
@pytest.mark.slow
def test_chinese_names_on_the_users_axes_have_their_glyphs(path, tmp_path):
    code = f"""
import warnings
warnings.simplefilter("error")
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch
import dlworkflow as dlw
plt.subplot(1, 2, 1)
model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
dlw.pred_and_plot_image(model, {str(path)!r}, ["比萨", "牛排"])
plt.savefig({str(tmp_path / "figure.png")!r})
print(plt.gca().get_title()[:7])
"""

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (ran.stdout.strip(), ran.stderr) in [("Pred: 比", ""), ("Pred: 牛", "")]
