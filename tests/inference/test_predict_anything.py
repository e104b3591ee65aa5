"""`Predictor.predict`: one input or many, of every kind, by the preprocessing of a file."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
import torch
from PIL import Image

from dlworkflow.data.images.transforms import parse
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import ConfigError, DataError, DlwError
from dlworkflow.inference.predictor import Prediction, Predictor
from dlworkflow.models.circles import CircleModelV2
from dlworkflow.models.linear import LinearRegressionModel
from dlworkflow.models.tiny_vgg import TinyVGG

CPU = torch.device("cpu")


def for_images(channels=3):
    torch.manual_seed(0)
    model = TinyVGG(channels, 4, 3, image_size=(16, 16)).eval()
    way = parse("normalize", image_size=(16, 16), channels=channels)
    return Predictor(model, get_task("multiclass"), ("a", "b", "c"), (channels, 16, 16), way, CPU)


def for_points():
    torch.manual_seed(0)
    return Predictor(CircleModelV2().eval(), get_task("binary"), ("outer", "inner"), (2,), None, CPU)


@pytest.fixture
def photo(tmp_path, paint):
    return paint(tmp_path / "photo.png", size=(20, 30))


# One image


def as_array(path):
    return np.asarray(Image.open(path))


def as_tensor(path):
    return torch.from_numpy(as_array(path).copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    "given",
    [
        str,
        lambda path: path,
        lambda path: path.read_bytes(),
        lambda path: bytearray(path.read_bytes()),
        Image.open,
        as_array,
        lambda path: as_array(path).astype(np.float64) / 255,
        as_tensor,
        lambda path: as_tensor(path).float() / 255,
        lambda path: (as_tensor(path) / 255).requires_grad_(),
    ],
    ids=["str", "path", "bytes", "bytearray", "PIL", "array", "floats", "tensor", "unit-tensor", "with-gradient"],
)
def test_one_image_is_one_prediction_equal_to_the_bit_whatever_holds_it(given, photo):
    expected = next(for_images().predict_images([photo], top_k=3))

    found = for_images().predict(given(photo), top_k=3)

    assert found.top == expected.top


@pytest.mark.parametrize("mode", ["L", "RGBA", "1", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_of_every_mode_are_taken_as_from_a_file(mode, channels, tmp_path, photo):
    image = Image.open(photo).convert("L" if mode == "I;16" else mode).convert(mode)
    image.save(tmp_path / "other.png")
    predictor = for_images(channels)

    assert predictor.predict(image).top == predictor.predict(tmp_path / "other.png").top


def test_an_image_in_memory_is_turned_upright_as_a_file_is_and_left_as_it_was(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photo).save(tmp_path / "turned.png", exif=exif)
    image = Image.open(tmp_path / "turned.png")

    assert for_images().predict(image).top == for_images().predict(tmp_path / "turned.png").top
    assert image.size == (20, 30)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((30, 20), None), ((30, 20, 1), None), ((1, 30, 20), None), ((3, 4, 3), "hwc"), ((3, 4, 3), "chw")],
)
def test_the_layout_is_read_off_the_shape_or_given(shape, layout):
    assert isinstance(for_images().predict(np.zeros(shape, np.uint8), layout=layout), Prediction)


def test_a_tensor_of_two_possible_layouts_has_its_channels_first():
    values = torch.rand(3, 4, 3, generator=torch.Generator().manual_seed(0))

    assert for_images().predict(values).top == for_images().predict(values, layout="chw").top


def test_a_model_of_grey_images_asks_whether_three_images_or_one_in_colour_are_meant():
    with pytest.raises(DataError, match="may be chw or nhw; give layout='chw' or 'nhw'"):
        for_images(channels=1).predict(torch.zeros(3, 8, 8))
    assert len(for_images(channels=1).predict(torch.zeros(3, 8, 8), layout="nhw")) == 3


# Several


@pytest.mark.parametrize("shape", [(2, 3, 30, 20), (2, 30, 20, 3), (2, 30, 20)])
@pytest.mark.parametrize("kind", [np.zeros, torch.zeros])
def test_a_batch_is_a_list(kind, shape):
    assert [found.source for found in for_images().predict(kind(shape))] == ["image 0", "image 1"]


def test_a_folder_is_a_list_of_its_images(photo, paint):
    paint(photo.parent / "second.png")

    assert [found.source for found in for_images().predict(photo.parent)] == [
        str(photo.parent / "photo.png"),
        str(photo.parent / "second.png"),
    ]


def test_a_list_may_mix_what_holds_images(photo):
    found = for_images().predict([photo, photo.read_bytes(), Image.open(photo), as_array(photo), as_tensor(photo)])

    assert len({each.top for each in found}) == 1
    assert [each.source for each in found] == [str(photo), "image 1", str(photo), "image 3", "image 4"]


def test_an_empty_list_has_no_predictions():
    assert for_images().predict([]) == []


def test_a_file_among_several_that_cannot_be_read_is_a_prediction_with_the_reason(photo):
    good, bad = for_images().predict([photo, photo.parent / "gone.png"])

    assert (good.error, bad.error) == (None, "no such file")


def test_a_generator_of_frames_is_read_as_far_as_is_needed():
    taken = []

    def frames():
        for number in count():
            taken.append(number)
            yield np.full((30, 20, 3), number % 256, np.uint8)

    found = for_images().predict(frames(), batch_size=2)

    first = [next(found).source for _ in range(3)]

    assert first == ["image 0", "image 1", "image 2"]
    assert len(taken) < 100


def test_frames_in_one_buffer_are_kept_apart():
    buffer = np.zeros((30, 20, 3), np.uint8)

    def frames():
        for level in (0, 255):
            buffer[:] = level
            yield buffer

    black, white = for_images().predict(frames())

    assert black.top != white.top


# Numbers


@pytest.mark.parametrize("given", [[0.5, -0.2], (0.5, -0.2), np.array([0.5, -0.2]), torch.tensor([0.5, -0.2])])
def test_one_row_of_numbers_is_one_prediction(given):
    assert for_points().predict(given) == next(for_points().predict_rows([[0.5, -0.2]]))


@pytest.mark.parametrize("given", [[[0.5, -0.2], [1, 2]], np.array([[0.5, -0.2], [1, 2]])])
def test_rows_of_numbers_are_a_list(given):
    assert [found.source for found in for_points().predict(given)] == ["0.5 -0.2", "1 2"]


def test_rows_of_a_generator_are_an_iterator():
    assert next(for_points().predict([number, 0.0] for number in count())).source == "0 0"


def test_a_csv_of_rows_is_a_list(tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")

    assert [found.source for found in for_points().predict(tmp_path / "rows.csv")] == ["1 2"]


def test_a_single_number_is_a_row_of_one():
    line = Predictor(LinearRegressionModel().eval(), get_task("regression"), (), (1,), None, CPU)

    assert line.predict(0.5).value == line.predict([0.5]).value


# Bad input


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("http://x/y.png", "is an address; only files of this machine are read"),
        ("gone.png", "'gone.png': no such file"),
        ("gone*.png", r"no file fits 'gone\*.png'"),
        (b"", "'image 0': is empty"),
        (b"no image", "'image 0': is no image"),
        (np.zeros((0, 20, 3), np.uint8), r"an image of shape \(0, 20, 3\) is empty"),
        (np.zeros(20, np.uint8), r"shape \(20,\) is no image"),
        (np.zeros((2, 5, 30, 20)), "with 1, 3 or 4 channels"),
        (np.zeros((3, 4, 3), np.uint8), "may be chw or hwc; give layout='chw' or 'hwc'"),
        (np.full((30, 20, 3), np.nan), "nan or infinite"),
        (np.full((30, 20, 3), 200.0), r"go from 200 to 200; floats are in \[0, 1\]: divide by 255"),
        (torch.full((3, 30, 20), -2.0), r"go from -2 to -2; .*logits\(\) takes preprocessed images"),
        (np.zeros((30, 20, 3), np.int64), "uint8 .* or floats in .*, not int64"),
        ([np.zeros((30, 20)), 0.5], "input 1: the model takes images: .*, not float"),
        ([np.zeros((2, 30, 20))], "input 0: a batch of 2 images"),
        ({"x": 1}, "takes images: .*, not dict"),
        (None, "takes images: .*, not NoneType"),
    ],
)
def test_what_is_no_image_is_one_line(given, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises((DataError, ConfigError), match=words):
        for_images().predict(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1, 2, 3], r"takes 2 number\(s\) a row, not 3"),
        ([[1, 2], [1]], r"takes 2 number\(s\) a row, not 1"),
        ([1, "a"], "not all of a row are numbers"),
        ([1, 10**400], "not all of a row are numbers"),
        ([[1, None]], "not all of a row are numbers"),
        ("photo.png", r"takes 2 number\(s\) a row, or a CSV of them, not 'photo.png'"),
        (b"12", "takes numbers, 2 a row, not bytes"),
        (np.zeros((1, 2, 2)), "not all of a row are numbers"),
    ],
)
def test_what_is_no_row_is_one_line(given, words):
    with pytest.raises(DlwError, match=words):
        for_points().predict(given)


@pytest.mark.parametrize(
    ("layout", "error", "words"),
    [
        ("hcw", ConfigError, "unknown layout 'hcw'; did you mean"),
        ("chw", DataError, "'chw' has 3 dimensions, the image 2"),
        ("nhw", DataError, "'nhw' has 3 dimensions, the image 2"),
    ],
)
def test_a_layout_that_cannot_be_is_one_line(layout, error, words):
    with pytest.raises(error, match=words):
        for_images().predict(np.zeros((30, 20)), layout=layout)


def test_a_given_layout_counts_the_channels_where_it_puts_them():
    with pytest.raises(DataError, match=r"1 channel \(grey\), 3 \(RGB\) or 4 \(RGBA\), not 30"):
        for_images().predict(np.zeros((30, 20, 3)), layout="chw")
