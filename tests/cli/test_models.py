from __future__ import annotations

import csv
import io
import json
import sys

import pytest
from torch import nn

from dlworkflow import models


@pytest.fixture
def registered(monkeypatch):
    """A model of the user's own, `mine`, known for this test."""
    monkeypatch.setattr(models.REGISTRY, "registered", {})

    class Mine(nn.Sequential):
        def __init__(self, in_features: int, n_outputs: int) -> None:
            super().__init__(nn.Flatten(), nn.Linear(in_features, n_outputs))

    models.register("mine", Mine)
    return "mine"


def test_models_lists_every_model(dlw):
    rows = json.loads(dlw("models", "--format", "json").out)

    assert [row["model"] for row in rows] == models.names()


def test_models_shows_parameters_as_people_read_them(dlw):
    [line] = [line for line in dlw("models").out.splitlines() if line.startswith("tinyvgg ")]

    assert line.split() == ["tinyvgg", "multiclass", "digits", "3x64x64", "3", "10,693", "notes,", "best"]


def test_models_gives_programs_the_same_rows_in_csv_and_json(dlw):
    from_csv = list(csv.DictReader(io.StringIO(dlw("models", "--format", "csv").out)))
    from_json = json.loads(dlw("models", "--format", "json").out)

    assert from_csv == [{key: str(value) for key, value in row.items()} for row in from_json]


def test_models_in_markdown_is_one_table(dlw):
    lines = dlw("models", "--format", "md").out.splitlines()

    assert {line.count("|") for line in lines} == {8}
    assert len(lines) == 2 + len(models.names())


@pytest.mark.parametrize(
    ("text", "model", "weights"),
    [
        ("ResNet18", "timm/resnet18", "a1_in1k, a2_in1k"),
        ("resnet18", "resnet18", "IMAGENET1K_V1"),
        ("vgg", "tinyvgg", ""),
    ],
)
def test_a_search_lists_models_of_other_libraries_with_their_weights(dlw, text, model, weights):
    rows = json.loads(dlw("models", "--search", text, "--format", "json").out)

    assert {row["model"]: row["weights"] for row in rows}[model].startswith(weights)


def test_a_search_without_timm_names_the_command_that_installs_it(dlw, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)

    assert "pip install 'dlworkflow[timm]'" in dlw("models", "--search", "vgg16").err


def test_a_search_that_finds_nothing_is_one_line(dlw):
    answer = dlw("models", "--search", "resnext0")

    assert (answer.code, answer.err) == (2, "dlw: --search: no name of a model contains 'resnext0'\n")


def test_models_lists_a_registered_model(dlw, registered):
    assert "mine" in dlw("models").out.split()


def test_summary_of_tinyvgg_counts_the_parameters_of_the_notes(dlw):
    assert "Total params: 10,693\n" in dlw("summary", "tinyvgg").out


@pytest.mark.parametrize(
    ("model", "line"), [("tinyvgg", "Total mult-adds (M): 6.75"), ("circles_v0", "Total mult-adds: 21")]
)
def test_summary_counts_multiplications_of_one_sample_in_units_that_can_be_read(model, line, dlw):
    assert line in dlw("summary", model).out.splitlines()


@pytest.mark.parametrize(("more", "shape"), [([], "[1, 1, 8, 8]"), (["--batch-size", "32"], "[32, 1, 8, 8]")])
def test_summary_for_other_data_takes_its_shape_and_the_batch_size(more, shape, dlw):
    assert shape in dlw("summary", "tinyvgg", "--data", "digits", *more).out


def test_summary_takes_settings_of_the_model(dlw):
    assert "Total params: 33\n" in dlw("summary", "circles_v0", "--set", "model.hidden_units=8").out


@pytest.mark.parametrize("name", [name for name, entry in models.entries().items() if entry.parameters])
def test_summary_of_every_model_agrees_with_the_list(name, dlw):
    parameters = models.entries()[name].parameters

    assert f"Total params: {parameters:,}\n" in dlw("summary", name).out


def test_summary_of_a_registered_model_works_with_data(dlw, registered):
    assert "Total params: 650\n" in dlw("summary", "mine", "--data", "digits").out


@pytest.mark.parametrize(
    ("arguments", "given", "way_out"),
    [
        (["tinyvg"], "'tinyvg'", "'tinyvgg'"),
        (["mine"], "'mine'", "--data"),
        (["tinyvgg", "--set", "model.hiden_units=3"], "hiden_units", "hidden_units"),
        (["tinyvgg", "--set", "model.hidden_units=0"], "0", "at least 1"),
        (["tinyvgg", "--set", "model.name=blobs"], "--set model.name", "leave it out"),
        (["tinyvgg", "--out", "maps.png"], "--out", "--trace IMAGE"),
        (["tinyvgg", "--set", "model=3"], "--set model", "a name or settings of it, not 3"),
        (["tinyvgg", "--set", "optimizer.lr=0.1"], "optimizer", "model.*"),
        (["tinyvgg", "--data", "digit"], "'digit'", "'digits'"),
        (["tinyvgg", "--data", "no/such"], "'no/such'", "--data"),
        (["tinyvgg", "--data", "circles"], "tinyvgg", "images"),
    ],
)
def test_bad_input_of_summary_is_one_line_with_the_way_out(arguments, given, way_out, dlw, registered):
    answer = dlw("summary", *arguments)

    [line] = answer.err.splitlines()
    assert answer.code in (1, 2)
    assert line.startswith("dlw: ")
    assert given in line
    assert way_out in line
