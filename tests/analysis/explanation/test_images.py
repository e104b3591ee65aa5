"""Maps of images: the right place, at the image's own size, whatever was given; and what cannot be had, in one line."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import dlworkflow as dlw
from dlworkflow.analysis.explanation import METHODS, draw_explanations
from dlworkflow.analysis.explanation.images import sample_maps
from dlworkflow.analysis.explanation.methods import last_feature_maps
from dlworkflow.analysis.explanation.results import placed
from dlworkflow.errors import ConfigError, DataError, ModelError
from dlworkflow.inference.averaging import Ensemble
from dlworkflow.models import build

pytest.importorskip("captum")


def bright_square(size=(40, 60), box=(0, 0, 30, 20), colour=255):
    """A grey image (height, width), dark but for a box: left, top, right, bottom."""
    image = Image.new("L", (size[1], size[0]), 20)
    image.paste(colour, box)
    return image


@pytest.mark.parametrize("method", ["occlusion", "integrated_gradients"])
def test_a_map_marks_what_the_model_looks_at(corner, method):
    found = dlw.explain(corner, bright_square(), method=method, label="bright", check=False).map_of("bright")

    assert found.shape == (40, 60)
    assert found[2:18, 2:28].min() > 0
    assert abs(found[25:]).max() < 0.1 * found.max()


def test_gradcam_marks_the_bright_part(corner):
    found = dlw.explain(corner, bright_square(), method="gradcam", label="bright", check=False).map_of()

    assert found[5, 5] > 2 * found[30, 50]


def test_a_map_of_a_crop_is_where_the_crop_was(predictor_of):
    class Everywhere(nn.Module):
        def forward(self, x):
            return torch.stack([x.mean(dim=(1, 2, 3)), -x.mean(dim=(1, 2, 3))], dim=1)

    predictor = predictor_of(Everywhere(), transform=[{"resize": {"shorter": 16}}, {"center_crop": {"size": 16}}])
    found = dlw.explain(predictor, bright_square((40, 80), (30, 0, 50, 40)), label="dark", check=False)

    assert found.seen == (20.0, 0.0, 60.0, 40.0)
    assert not found.map_of()[:, :20].any()
    assert not found.map_of()[:, 60:].any()
    assert found.map_of()[20, 40] > 0


def test_a_photo_that_was_taken_upright_is_explained_upright(corner, in_tmp):
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees when shown
    bright_square((60, 40), (0, 40, 20, 60)).save("turned.png", exif=exif)

    found = dlw.explain(corner, "turned.png", method="occlusion", label="bright", check=False)

    assert found.size == (40, 60)
    assert found.map_of()[5, 5] > 0


@pytest.mark.parametrize("kind", ["file", "bytes", "array", "tensor", "PIL"])
def test_everything_that_can_be_predicted_can_be_explained(corner, in_tmp, kind):
    image = bright_square()
    image.save("x.png")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    array = np.asarray(image)
    given = {
        "file": "x.png",
        "bytes": stream.getvalue(),
        "array": array,
        "tensor": torch.from_numpy(array.copy())[None],
    }

    found = dlw.explain(corner, given.get(kind, image), method="occlusion", check=False)

    assert found.size == (40, 60)
    assert found.answers[0].label == corner.predict(image).label


def test_a_deep_image_is_explained_as_it_is_predicted(corner, in_tmp):
    Image.fromarray(np.full((9, 7), 60000, np.uint16)).save("deep.png")

    [answer, _] = dlw.explain(corner, "deep.png", check=False).answers

    assert answer.probability == pytest.approx(corner.predict("deep.png").probability)


def test_a_broken_image_among_several_is_an_explanation_with_the_reason(corner, in_tmp):
    bright_square().save("a.png")
    (in_tmp / "b.png").write_bytes(b"no image")

    fine, broken = dlw.explain(corner, ["a.png", "b.png"], check=False)

    assert fine.error is None
    assert "no image in a format" in broken.error
    assert draw_explanations([fine, broken]).axes


def test_a_figure_of_very_many_classes_shows_ten(corner):
    found = dlw.explain(corner, bright_square(), check=False)
    many = replace(found, answers=50 * found.answers, grids=np.repeat(found.grids, 50, axis=0))

    assert len(draw_explanations([many]).axes) == 11


def test_one_broken_image_is_an_error(corner, in_tmp):
    with pytest.raises(DataError, match=r"none\.png"):
        dlw.explain(corner, "none.png")


def test_a_broken_image_that_was_opened_already_is_an_error(corner, in_tmp):
    bright_square((200, 200)).save("x.bmp")
    with Path("x.bmp").open("rb+") as stream:
        stream.truncate(30_000)

    with pytest.raises(DataError, match="cannot be decoded"), Image.open("x.bmp") as image:
        dlw.explain(corner, image)


@pytest.mark.parametrize("size", [(1, 1), (30, 20)])
def test_an_image_of_one_colour_has_an_empty_map_and_that_is_said(corner, size):
    found = dlw.explain(corner, Image.new("L", size, 99))

    assert not found.map_of().any()
    assert "the map is empty" in found.sentences()[0]


class Averaged(nn.Module):
    """Averages its one feature map, the brightness: class 1 where it is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        nn.init.constant_(self.conv.weight, 1.0)
        nn.init.constant_(self.conv.bias, 0.0)

    def forward(self, x):
        bright = self.conv(x).mean(dim=(1, 2, 3))
        return torch.stack([-bright, bright], dim=1)


def test_gradcam_is_taken_where_feature_maps_are_averaged_and_it_marks_something(corner, predictor_of):
    averaged = predictor_of(Averaged())
    methods = [
        dlw.explain(predictor, bright_square(), label=label, check=False).method
        for predictor, label in ((averaged, "bright"), (averaged, "dark"), (corner, "bright"))
    ]

    assert methods == ["gradcam", "occlusion", "occlusion"]


def test_an_error_has_a_map_where_gradcam_marks_nothing(predictor_of):
    averaged = predictor_of(Averaged())
    sample = torch.from_numpy(np.asarray(bright_square((16, 16), (0, 0, 8, 8)), np.float32) / 255)[None]

    assert np.ptp(sample_maps(averaged, sample, None, [0])[0]) > 0


def test_a_value_is_explained_where_there_are_no_classes(predictor_of):
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(dim=(1, 2, 3))[:, None]

    found = dlw.explain(predictor_of(Mean(), task="regression", classes=()), bright_square(), check=False)

    assert found.answers[0].value == pytest.approx((20 * 1800 + 255 * 600) / 2400 / 255, abs=0.02)
    assert found.map_of()[5, 5] > 0 > found.map_of()[35, 50]


def test_two_classes_with_one_output_speak_against_each_other(predictor_of):
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(dim=(1, 2, 3))[:, None]

    predictor = predictor_of(Mean(), task="binary")
    maps = {
        name: dlw.explain(predictor, bright_square(), label=name, check=False).map_of() for name in ("dark", "bright")
    }

    assert np.allclose(maps["dark"], -maps["bright"], atol=1e-5)


def test_of_hundred_classes_in_chinese_the_likeliest_are_shown(predictor_of, chinese_font):
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 101))
    found = dlw.explain(predictor_of(model, classes=[f"菜{n}" for n in range(101)]), bright_square(), check=False)

    assert [answer.label[0] for answer in found.answers] == ["菜"] * 3
    assert found.figure().axes


@pytest.mark.parametrize(
    ("name", "shape", "layer"),
    [
        ("tinyvgg", (3, 64, 64), "conv_block_2"),
        ("fashion_mnist_v2", (1, 28, 28), "block_2"),
        pytest.param("resnet18", (3, 64, 64), "layer4", marks=pytest.mark.slow),
    ],
)
def test_gradcam_looks_at_the_last_maps_of_a_network(name, shape, layer):
    model = build(name, shape, 3).eval()

    assert last_feature_maps(model, torch.rand(1, *shape))[0] == layer


@pytest.mark.slow
def test_gradcam_looks_at_the_last_maps_of_a_network_of_timm():
    pytest.importorskip("timm")
    model = build("efficientnet_lite0", (3, 64, 64), 3).eval()

    assert last_feature_maps(model, torch.rand(1, 3, 64, 64))[0] == "bn2"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), "needs convolutions.*use method.*occlusion"),
        (Ensemble([nn.Conv2d(1, 2, 3)], None), "an ensemble has no one layer"),
    ],
)
def test_gradcam_of_a_model_that_cannot_have_it_is_an_error_with_what_can_be_had(model, words):
    with pytest.raises(ModelError, match=words):
        last_feature_maps(model.eval(), torch.rand(1, 1, 16, 16))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "gradcm"}, "method: unknown method 'gradcm'; did you mean 'gradcam'"),
        ({"label": "brigt"}, "unknown class 'brigt'; did you mean 'bright'"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest(corner, options, words):
    with pytest.raises(ConfigError, match=words):
        dlw.explain(corner, bright_square(), **options)


def test_without_captum_the_error_names_the_package(corner, monkeypatch):
    monkeypatch.setattr("dlworkflow.analysis.explanation.methods.find_spec", lambda name: None)

    with pytest.raises(
        ConfigError, match=r"captum, which is not installed; get it with: pip install 'dlworkflow\[explain\]'"
    ):
        dlw.explain(corner, bright_square())


def test_an_exported_file_is_an_error_that_names_the_way_out(write_onnx, tmp_path):
    path = write_onnx(tmp_path / "m.onnx", np.eye(2), classes=("a", "b"), in_shape=(2,))

    with pytest.raises(ConfigError, match="is an exported file, which only predicts; give its run"):
        dlw.explain(dlw.OnnxPredictor.from_file(path), [1.0, 2.0])


def test_an_ensemble_is_explained_by_hiding(corner, predictor_of):
    ensemble = predictor_of(Ensemble([corner.model, corner.model], corner.task))

    found = dlw.explain(ensemble, bright_square(), label="bright")

    assert found.method == "occlusion"
    assert found.map_of()[5, 5] > 0
    assert found.curves.deletion_beats == found.curves.places


def test_a_method_of_your_own_is_used_by_its_name(corner, monkeypatch):
    monkeypatch.setitem(METHODS.registered, "ink", lambda model, x, baseline, targets: x.repeat(len(targets), 1, 1, 1))

    found = dlw.explain(corner, bright_square(), method="ink", check=False)

    assert found.map_of()[5, 5] == pytest.approx(1, abs=0.01)


def test_occlusion_of_several_classes_is_that_of_each(corner):
    both = dlw.explain(corner, bright_square(), method="occlusion", top_k=2, check=False)
    alone = dlw.explain(corner, bright_square(), method="occlusion", label="dark", check=False)

    assert np.allclose(both.map_of("dark"), alone.map_of())


def test_a_map_is_put_where_it_belongs():
    found = placed(np.ones((4, 4)), (2.0, 1.0, 6.0, 3.0), (5, 8))

    assert found.sum() == 8
    assert found[1:3, 2:6].all()
