"""Predictions of an exported file: those of torch, whatever was given, and the errors of what is no such file."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dlworkflow.data.columns import Columns
from dlworkflow.data.images.transforms import parse
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import ConfigError, DataError, ModelError, RunError
from dlworkflow.inference.onnx_predictor import OnnxPredictor
from dlworkflow.inference.predictor import Predictor

CLASSES = ("a", "b", "c")
SHAPE = (3, 4, 5)
WAY = [{"resize": {"size": [4, 5]}}]
SIZE_AND_AGE = {"target": "price", "inputs": [{"name": name, "mean": 0.0, "scale": 1.0} for name in ("size", "age")]}
GENERATOR = np.random.default_rng(0)
OF_IMAGES, OF_ROWS = (GENERATOR.normal(size=size).astype(np.float32) for size in ((3, 60), (1, 2)))


@pytest.fixture
def exported(tmp_path, write_onnx):
    """Return the predictor of a linear model in a file of its own."""

    def write(slopes=OF_IMAGES, **facts):
        facts = {"classes": CLASSES, "in_shape": SHAPE, "transform": WAY} | facts
        return OnnxPredictor.from_file(write_onnx(tmp_path / "model.onnx", slopes, **facts))

    return write


@pytest.fixture
def for_points(exported):
    return exported(OF_ROWS, task="regression", classes=(), in_shape=(2,), transform=None)


@pytest.fixture
def for_houses(exported):
    return exported(OF_ROWS, task="regression", classes=(), in_shape=(2,), transform=None, columns=SIZE_AND_AGE)


def with_torch(slopes=OF_IMAGES, task="multiclass", classes=CLASSES, in_shape=SHAPE, **known):
    layer = nn.Linear(slopes.shape[1], len(slopes), bias=False)
    layer.load_state_dict({"weight": torch.from_numpy(slopes)})
    way = parse(WAY, channels=3) if len(in_shape) == 3 else None
    model = nn.Sequential(nn.Flatten(), layer)
    return Predictor(model, get_task(task), classes, in_shape, way, torch.device("cpu"), **known)


@pytest.fixture
def photos_here(tmp_path, paint):
    return [paint(tmp_path / f"{seed}.png", seed, size=(20, 30)) for seed in range(3)]


def table_of(predictions):
    return [dict(prediction.top) for prediction in predictions]


# As with torch


@pytest.mark.parametrize("tta", [None, "flip"])
def test_probabilities_are_those_of_torch(tta, exported, photos_here):
    found, expected = (
        table_of(predictor.predict(photos_here, top_k=3, tta=tta)) for predictor in (exported(), with_torch())
    )

    assert found == [pytest.approx(each, abs=1e-6) for each in expected]


def test_several_labels_are_those_of_torch(exported, photos_here):
    thresholds = [0.5, 0.2, 0.9]
    file = exported(task="multilabel", thresholds=thresholds)

    found = [[name for name, _ in each.labels] for each in file.predict(photos_here)]

    expected = with_torch(task="multilabel", thresholds=tuple(thresholds)).predict(photos_here)
    assert found == [[name for name, _ in each.labels] for each in expected]


@pytest.mark.parametrize("given", [[0.5, -2.0], [[0.5, -2.0], [1.0, 3.0]], np.ones((2, 2))])
def test_values_of_rows_are_those_of_torch(given, for_points):
    found, expected = (
        [each.value for each in predictor.predict(iter(np.atleast_2d(given)))]
        for predictor in (for_points, with_torch(OF_ROWS, "regression", (), (2,)))
    )

    assert found == pytest.approx(expected)


def test_a_row_of_a_table_is_given_in_its_units(for_houses):
    expected = with_torch(OF_ROWS, "regression", (), (2,), columns=Columns.from_data(SIZE_AND_AGE))
    row = {"age": "3", "size": 2.5}

    assert for_houses.predict(row).value == pytest.approx(expected.predict(row).value)


def test_a_number_that_is_too_large_for_a_model_is_an_error_of_its_row(for_houses):
    expected = with_torch(OF_ROWS, "regression", (), (2,), columns=Columns.from_data(SIZE_AND_AGE))
    rows = [{"size": 1e300, "age": 1}]

    assert {each.predict(rows)[0].error for each in (for_houses, expected)} == {
        "the model returns no finite number for it"
    }


def test_a_wrong_row_among_several_is_a_prediction_with_the_reason(for_houses):
    good, bad = for_houses.predict([{"size": 1, "age": 2}, {"size": "tall", "age": 2}])

    assert (good.error, bad.error) == (None, "column 'size': 'tall' is no number")


@pytest.mark.parametrize(
    "given",
    [lambda path: path.read_bytes(), Image.open, lambda path: np.asarray(Image.open(path))],
    ids=["bytes", "PIL", "array"],
)
def test_an_image_is_the_same_whatever_holds_it(given, exported, photos_here):
    predictor = exported()

    assert predictor.predict(given(photos_here[0]), top_k=3).top == predictor.predict(photos_here[0], top_k=3).top


def test_a_file_among_several_that_cannot_be_read_is_a_prediction_with_the_reason(exported, photos_here, tmp_path):
    good, bad = exported().predict([photos_here[0], tmp_path / "gone.png"])

    assert (good.error, bad.error) == (None, "no such file")


def test_answers_that_are_not_finite_are_errors(for_points):
    assert for_points.predict([[float("inf"), 1.0]])[0].error == "the model returns no finite number for it"


# Files that are no such model


def test_a_file_that_is_missing():
    with pytest.raises(ModelError, match=r"no file 'gone\.onnx'"):
        OnnxPredictor.from_file("gone.onnx")


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")

    with pytest.raises(ModelError, match=r"text\.onnx' is no ONNX model that can be read: Protobuf parsing failed$"):
        OnnxPredictor.from_file(tmp_path / "text.onnx")


@pytest.fixture
def changed(exported):
    """Return the path of a model file that was changed by a function of what the package onnx reads."""
    import onnx

    def change(by):
        path = exported().path
        model = onnx.load(path)
        by(model)
        onnx.save(model, path)
        return path

    return change


def test_a_model_of_another_program_has_no_labels(changed):
    with pytest.raises(ModelError, match="it was not written by `dlw export`"):
        OnnxPredictor.from_file(changed(lambda model: model.ClearField("metadata_props")))


def test_a_model_of_other_inputs_than_it_describes(changed):
    def rename(model):
        model.graph.input[0].name = model.graph.node[0].input[0] = "x"

    with pytest.raises(ModelError, match="is damaged: it has 'probabilities', 'x', and describes 'images', 'prob"):
        OnnxPredictor.from_file(changed(rename))


def test_a_model_of_a_newer_version(exported):
    with pytest.raises(RunError, match="written by a newer dlworkflow"):
        exported(format=2)


def test_a_model_whose_preprocessing_cannot_be_read(exported):
    with pytest.raises(ModelError, match=r"model\.onnx' is damaged: data\.image_size: must be"):
        exported(transform=[{"resize": {"size": [0, 5]}}])


def test_a_model_of_other_classes_than_it_describes(exported, photos_here):
    with pytest.raises(ModelError, match=r"model\.onnx': the file gives \(1, 3\) and describes \(1, 2\)"):
        exported(classes=("a", "b")).predict(photos_here[0])


def test_a_model_that_fails_while_it_runs_is_an_error_of_one_line(exported):
    with pytest.raises(ModelError, match=r"^model '.*model.onnx': onnxruntime fails: "):
        exported().predict_pixels(np.zeros((1, 2, 2), np.uint8), sources=["x"])


def test_without_onnxruntime_the_error_has_the_line_that_installs_it(exported, monkeypatch):
    path = exported().path
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(ConfigError, match=r"needs onnxruntime, .* pip install 'dlworkflow\[export\]'"):
        OnnxPredictor.from_file(path)


def test_what_is_no_input_is_an_error_that_names_the_file(for_points, exported):
    with pytest.raises(DataError, match=r"^model '.*model.onnx' takes 2 number\(s\) a row, not 3"):
        for_points.predict([1.0, 2.0, 3.0])
    with pytest.raises(ConfigError, match=r"tta: flip mirrors images, and model '.*' takes numbers"):
        for_points.with_tta("flip")
