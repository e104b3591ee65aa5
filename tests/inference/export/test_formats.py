"""Every format holds every model: a file predicts what the predictor predicts that it was made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dlworkflow import models
from dlworkflow.data.columns import Column, Columns
from dlworkflow.data.images.transforms import parse
from dlworkflow.engine.random_state import set_seeds
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.engine.tasks import get_task
from dlworkflow.inference.export.description import Description
from dlworkflow.inference.export.formats import FORMATS
from dlworkflow.inference.export.network import Network
from dlworkflow.inference.export.parity import TOLERANCE, answers_of_file, answers_of_run, compare
from dlworkflow.inference.export.samples import random_samples, samples_of
from dlworkflow.inference.predictor import Predictor

ABOUT = Description(
    **{"run": "m-d-001", "model": "m", "weights": "best", "digest": "0", "weights_size": 3, "weights_mtime_ns": 1},
    **{"task": "regression", "classes": [], "in_shape": [1]},
)
OF_LIBRARIES = {"resnet18": (3, 64, 64), "mobilenet_v3_small": (3, 64, 64), "timm/resnet10t": (3, 64, 64)}
TABLE = Columns(
    (
        Column("sex", categories=("f", "m")),
        Column("income", mean=1e6, scale=1e5),
        Column("city", categories=("北京", "Zürich", "New York"), fill="Zürich"),
        Column("age", mean=40.0, scale=10.0, fill=38.0),
    ),
    target="y",
)


def predictor_of(model, in_shape, task, n_classes=0, **more):
    classes = tuple(f"class {number}" for number in range(n_classes))
    transform = parse("normalize", image_size=in_shape[1:], channels=in_shape[0]) if len(in_shape) == 3 else None
    found = {"task": get_task(task), "transform": transform, "device": torch.device("cpu"), "model_name": "m"}
    return Predictor(model.eval(), classes=classes, in_shape=tuple(in_shape), **found, **more)


def named(name):
    """Return a predictor of a model with random weights, whose normalization has statistics of its own."""
    set_seeds(0)
    in_shape, n_outputs, task = OF_LIBRARIES.get(name), 3, "multiclass"
    if in_shape is None:
        entry = models.entry(name)
        in_shape, n_outputs = entry.in_shape, entry.n_outputs
        task = "regression" if entry.task == "any" else entry.task
    model = models.build(name, in_shape, n_outputs)
    with torch.no_grad():
        model.train()(torch.randn(8, *in_shape))
    return predictor_of(model, in_shape, task, {"binary": 2, "regression": 0}.get(task, n_outputs))


def parity_of(predictor, name, samples=None):
    samples = samples or random_samples(predictor, 40)
    converted = FORMATS[name](Network(predictor), random_samples(predictor, 2).raw)
    content = converted.content(ABOUT)
    found = answers_of_file(lambda raw: converted.answers(content, raw), samples)
    return compare(answers_of_run(predictor, samples), found, predictor, samples)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*models.library_names(), *OF_LIBRARIES])
@pytest.mark.parametrize("format_", FORMATS.names())
def test_a_file_of_every_model_predicts_what_the_model_predicts(name, format_):
    if name.startswith(("timm", "efficientnet_lite")):
        pytest.importorskip("timm")

    found = parity_of(named(name), format_)

    assert (found.difference <= TOLERANCE, found.changed) == (True, 0)


@pytest.mark.parametrize("format_", ["torch", pytest.param("onnx", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("task", "n_classes", "more"),
    [
        ("multilabel", 3, {"thresholds": (0.5, 0.2, 0.9)}),
        ("binary", 2, {}),
        ("regression", 0, {"target": TargetScale(300.0, 25.0)}),
    ],
)
def test_a_file_of_a_table_holds_every_task(task, n_classes, more, format_):
    set_seeds(0)
    model = models.build("mlp", (TABLE.width,), n_classes if task == "multilabel" else 1)

    found = parity_of(predictor_of(model, (TABLE.width,), task, n_classes, columns=TABLE, **more), format_)

    assert (found.difference <= TOLERANCE, found.changed) == (True, 0)


@pytest.mark.parametrize("format_", ["torch", pytest.param("onnx", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("task", "n_outputs"), [("binary", 1), ("multiclass", 2)])
def test_an_infinite_score_is_no_probability(task, n_outputs, format_):
    predictor = predictor_of(torch.nn.Linear(2, n_outputs), (2,), task, 2)
    converted = FORMATS[format_](Network(predictor), random_samples(predictor, 2).raw)
    rows = torch.tensor([[torch.inf, 0.0], [1.0, 2.0]])

    found = converted.answers(converted.content(ABOUT), {"rows": rows.numpy()})

    assert np.isnan(found).tolist() == np.isnan(predictor.answers(rows).values).tolist() == [[True] * 2, [False] * 2]


def test_images_of_a_data_set_are_compared_as_the_pixels_that_they_were():
    predictor = predictor_of(torch.nn.Identity(), (3, 4, 4), "multiclass", 3)
    images = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)

    samples = samples_of(predictor, predictor.transform.to_float(images), "test split")

    assert (samples.raw["images"] == images.numpy()).all()


@pytest.mark.parametrize("unknown", [1, 2])
def test_rows_with_an_unknown_category_are_no_samples(unknown):
    predictor = predictor_of(torch.nn.Identity(), (TABLE.width,), "regression", columns=TABLE)
    inputs, _ = TABLE.encode([{"sex": "f", "income": 1e6, "city": "北京", "age": 30}] * 2)
    inputs[:unknown, :2] = 0

    assert len(samples_of(predictor, torch.from_numpy(inputs), "test split")) == 2 - unknown


def test_a_changed_label_is_counted_by_the_thresholds_of_its_class():
    predictor = predictor_of(torch.nn.Identity(), (2,), "multilabel", 2, thresholds=(0.5, 0.2))
    samples = random_samples(predictor, 2)
    run, file = torch.tensor([[0.6, 0.6], [0.4, 0.21]]).numpy(), torch.tensor([[0.6, 0.5], [0.4, 0.19]]).numpy()

    assert compare(run, file, predictor, samples).changed == 1


def test_the_network_of_a_calibrated_model_has_its_temperature_within():
    predictor = replace(predictor_of(nn.Linear(2, 3), (2,), "multiclass", 3), temperature=2.5)
    rows = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))

    assert Network(predictor)(rows).tolist() == predictor.answers(rows).values.tolist()
    assert torch.allclose(Network(predictor)(rows), (predictor.logits(rows) / 2.5).softmax(dim=1))
