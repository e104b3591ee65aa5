"""`dlw predict --neighbours`: the training samples that are nearest, kept with the run, and what has none."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import dlworkflow as dlw_library
from dlworkflow import data
from dlworkflow.analysis.nearest import images_of
from dlworkflow.errors import DataError
from dlworkflow.inference.prediction import Neighbour


def row_of(part, index):
    return [f"{value:.9g}" for value in part[index][0].tolist()]


def neighbours_of(answer):
    assert answer.code == 0, answer.err
    return json.loads(answer.out)[0]["neighbours"]


def near(dlw, *arguments):
    return neighbours_of(dlw("predict", *arguments, "--format", "json"))


@pytest.mark.usefixtures("runs")
def test_a_training_sample_is_nearest_to_itself(dlw):
    splits = data.load("circles")

    first = near(dlw, *row_of(splits.train, 7), "--run", "circles", "--neighbours", "3")[0]

    assert (first["sample"], first["truth"]) == (7, splits.classes[int(splits.train[7][1])])
    assert first["distance"] == pytest.approx(0, abs=1e-4)


@pytest.mark.usefixtures("runs")
def test_features_that_are_kept_need_no_data(dlw, monkeypatch):
    given = ("0.2", "0.5", "--run", "circles", "--neighbours", "2")
    first = near(dlw, *given)
    monkeypatch.setattr("dlworkflow.analysis.nearest.load_part", None)

    assert near(dlw, *given) == first


def test_features_of_other_weights_are_computed_again(dlw, runs):
    given, run = ("0.2", "0.5", "--run", "circles", "--neighbours", "2"), runs / "circles_v2-circles-001"
    near(dlw, *given)
    kept = (run / "features-train.npz").read_bytes()
    torch.save({name: 2 * weight for name, weight in torch.load(run / "best.pth").items()}, run / "best.pth")

    near(dlw, *given)

    assert (run / "features-train.npz").read_bytes() != kept


@pytest.mark.parametrize("damage", [lambda kept: b"PK no zip file", lambda kept: kept[:-30]])
def test_kept_features_that_are_damaged_are_computed_again(dlw, runs, damage):
    given = ("0.2", "0.5", "--run", "circles", "--neighbours", "2")
    found, file = near(dlw, *given), runs / "circles_v2-circles-001" / "features-train.npz"
    file.write_bytes(damage(file.read_bytes()))

    assert near(dlw, *given) == found


def of_files(*names):
    """Training data of these files, whose images are their names."""
    files = [Path("photos", name) for name in names]
    return SimpleNamespace(files=files, dataset=SimpleNamespace(original=lambda index, longest: files[index].name))


@pytest.mark.parametrize("now", [("a.jpg", "b.jpg"), ("new.jpg", "a.jpg", "b.jpg"), ("b.jpg",)])
def test_the_image_of_a_neighbour_is_that_of_its_file_whatever_came_or_went(monkeypatch, now):
    monkeypatch.setattr("dlworkflow.analysis.nearest.load_part", lambda *_, **__: of_files(*now))

    assert images_of(None, [Neighbour(0.5, "a", 1, "photos/b.jpg")]) == ["b.jpg"]


def test_a_neighbour_whose_file_has_gone_is_not_drawn_as_another(monkeypatch):
    monkeypatch.setattr("dlworkflow.analysis.nearest.load_part", lambda *_, **__: of_files("a.jpg", "c.jpg"))

    with pytest.raises(DataError, match="is no longer in the training data; leave out"):
        images_of(None, [Neighbour(0.5, "a", 1, "photos/b.jpg")])


def test_an_image_is_drawn_beside_its_neighbours(dlw, runs, pictures):
    answer = dlw("predict", pictures / "0.png", pictures / "1.png", "--neighbours", "3", "--plot", "near.png")

    assert answer.code == 0, answer.err
    assert (runs.parent / "near.png").stat().st_size > 1000
    assert answer.out.splitlines()[0].split() == ["input", "label", "probability", "alike"]
    assert sum("sample " in line for line in answer.out.splitlines()) == 6


def test_neighbours_in_python_are_those_of_the_command(dlw, runs):
    found = dlw_library.neighbours(runs / "circles_v2-circles-001", [0.2, 0.5], k=2)

    assert [each._asdict() for each in found] == near(dlw, "0.2", "0.5", "--run", "circles", "--neighbours", "2")


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("0.2 0.5 --run circles --neighbours 9999", "--neighbours: must be 1 to 800, the number of training samples"),
        ("0.2 --run line --neighbours 2", "LinearRegressionModel has no linear layer or convolution"),
        ("0.2 0.5 --run circles --neighbours 0", "must be at least 1"),
    ],
)
def test_what_has_no_neighbours_is_one_line(arguments, words, dlw):
    answer = dlw("predict", *arguments.split())

    assert answer.code != 0
    assert words in answer.complaints[-1]
