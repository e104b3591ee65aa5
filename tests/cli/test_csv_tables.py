"""A table from its CSV file to a prediction: train, evaluate, predict by column names, compare."""

from __future__ import annotations

import csv
import json
import math
import random

import pytest

import dlworkflow as dlw_package
from dlworkflow import data
from dlworkflow.inference.predictor import Predictor
from dlworkflow.metrics.report import boosting_warnings

QUICK = ("--recipe", "best", "--device", "cpu", "--epochs", "8")


def write(path, columns, rows):
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


@pytest.fixture(scope="session")
def houses(tmp_path_factory):
    """A CSV file of flats: area, city, rooms and the price."""
    draw = random.Random(0)
    rows = [
        [
            area := draw.randint(30, 120),
            city := draw.choice(["Berlin", "Rome"]),
            draw.randint(1, 5),
            area * 10 + (city == "Rome") * 300,
        ]
        for _ in range(60)
    ]
    return write(tmp_path_factory.mktemp("houses") / "houses.csv", ["area", "city", "rooms", "price"], rows)


@pytest.fixture(scope="session")
def trained_on_houses(houses, tmp_path_factory):
    """A run on the flats."""
    settings = {"model": "mlp", "data": str(houses), "recipe": "best", "device": "cpu", "epochs": 30}
    return dlw_package.run_training(settings, runs_dir=tmp_path_factory.mktemp("runs"))


def test_a_csv_file_with_a_header_trains_evaluates_and_predicts(dlw, houses, in_tmp):
    assert dlw("train", "mlp", "--data", houses, *QUICK).code == 0
    assert dlw("evaluate", "last", "--no-plots").code == 0
    assert dlw("predict", houses).code == 0


def test_predictions_are_in_the_units_of_the_target(trained_on_houses):
    prediction = Predictor.from_run(trained_on_houses).predict({"area": 75, "city": "Rome", "rooms": 3})

    assert 500 < prediction.value < 1700


def test_columns_are_taken_by_name_in_any_order(trained_on_houses, tmp_path):
    predictor = Predictor.from_run(trained_on_houses)
    shuffled = write(tmp_path / "new.csv", ["rooms", "id", "city", "area"], [[3, "x1", "Rome", 75]])

    [prediction] = predictor.predict(str(shuffled))

    assert prediction.value == predictor.predict({"area": 75, "city": "Rome", "rooms": 3}).value


def test_a_mapping_of_lists_is_several_rows(trained_on_houses):
    given = {"area": [75, 40], "city": ["Rome", "Berlin"], "rooms": [3, 1]}

    assert len(Predictor.from_run(trained_on_houses).predict(given)) == 2


def test_all_missing_columns_are_named(dlw, trained_on_houses, in_tmp):
    write(in_tmp / "new.csv", ["rooms", "id"], [[3, "x1"]])

    answer = dlw("predict", "new.csv", "--run", trained_on_houses.path)

    assert "lacks the column(s) 'area', 'city'" in answer.err


def test_a_row_that_cannot_be_predicted_has_the_reason_and_the_others_a_value(dlw, trained_on_houses, in_tmp):
    write(in_tmp / "new.csv", ["area", "city", "rooms"], [["big", "Paris", ""], [75, "Rome", 3]])

    answer = dlw("predict", "new.csv", "--run", trained_on_houses.path, "--format", "json")

    rows = json.loads(answer.out)
    assert rows[0]["error"] == (
        "column 'area': 'big' is no number; column 'city': 'Paris' is none of the training data's categories "
        "'Berlin', 'Rome'; column 'rooms': the value is missing"
    )
    assert "value" in rows[1]


def test_columns_that_are_not_used_are_named(dlw, trained_on_houses, houses):
    assert "column(s) not used: price" in dlw("predict", houses, "--run", trained_on_houses.path).err


def test_numbers_alone_are_refused_where_a_column_is_a_category(trained_on_houses):
    with pytest.raises(dlw_package.DlwError, match="takes categories \\('city'\\)"):
        Predictor.from_run(trained_on_houses).predict([75, 3, 1])


def test_numbers_are_the_columns_of_a_table_in_their_units(dlw, in_tmp):
    write(in_tmp / "line.csv", ["x", "y"], [[number, number * 2.5 + 7] for number in range(100, 160)])
    dlw("train", "mlp", "--data", "line.csv", "--recipe", "best", "--device", "cpu")

    answer = dlw("predict", "130", "--format", "json")

    assert json.loads(answer.out)[0]["value"] == pytest.approx(332, rel=0.1)


def test_another_file_with_the_target_is_evaluated(dlw, trained_on_houses, houses):
    answer = dlw("evaluate", trained_on_houses.path, "--data", houses, "--no-plots", "--format", "json")

    assert json.loads(answer.out)["samples"] == 60


def test_an_evaluation_has_the_score_of_gradient_boosting(dlw, trained_on_houses):
    answer = dlw("evaluate", trained_on_houses.path, "--no-plots", "--format", "json")

    assert math.isfinite(json.loads(answer.out)["boosting"])


def test_runs_on_tables_are_compared_with_gradient_boosting(dlw, trained_on_houses):
    answer = dlw("compare", trained_on_houses.path, "--format", "json")

    assert json.loads(answer.out)[0]["boosting"] == trained_on_houses.summary().boosting


@pytest.mark.parametrize("name", ["circles", "moons", "blobs"])
@pytest.mark.parametrize("by", ["column", "seed"])
def test_points_in_a_csv_file_train_as_the_built_in_ones(dlw, in_tmp, name, by):
    splits = data.load(name, n_samples=100)
    rows = [[*X.tolist(), int(y), split] for split, part in splits.parts().items() for X, y in part]
    if by == "seed":
        places = [index for split in splits.parts() for index in splits.indices[split]]
        rows = [row[:3] for _, row in sorted(zip(places, rows, strict=True))]
    write(in_tmp / f"{name}.csv", ["X1", "X2", "label", "split"][: len(rows[0])], rows)
    model = {"blobs": "blobs"}.get(name, "circles_v2")
    options = ("--epochs", "30", "--device", "cpu", "--recipe", "notes")

    own = dlw("train", model, "--data", f"{name}.csv", *options, "--set", "data.stratify=false").out
    built_in = dlw("train", model, "--data", name, "--set", "data.n_samples=100", *options).out

    assert [line.rpartition("  ")[0] for line in own.splitlines()[:30]] == [
        line.rpartition("  ")[0] for line in built_in.splitlines()[:30]
    ]


def test_figures_of_two_columns_are_in_their_units_and_bear_their_names(in_tmp):
    from dlworkflow.analysis.figures import draw

    rows = [[100 + number, 5 * number, number % 2] for number in range(40)]
    path = write(in_tmp / "points.csv", ["width", "height", "kind"], rows)
    run = dlw_package.run_training({"model": "mlp", "data": str(path), "device": "cpu", "epochs": 1})

    axis = draw(run, "boundary").axes[0]

    assert (axis.get_xlabel(), axis.get_ylabel()) == ("width", "height")
    assert axis.get_xlim()[0] < 100 < 139 < axis.get_xlim()[1]


def test_the_columns_of_a_table_are_shown(dlw, houses):
    answer = dlw("data", "info", houses, "--format", "json")

    assert [(row["column"], row["use"], row["kind"]) for row in json.loads(answer.out)] == [
        ("area", "input", "number"),
        ("city", "input", "category"),
        ("rooms", "input", "number"),
        ("price", "target", "number"),
    ]


def test_a_wrong_cell_is_one_line_and_leaves_no_run(dlw, houses, in_tmp):
    (in_tmp / "bad.csv").write_text(houses.read_text(encoding="utf-8").replace("Rome", "", 1), encoding="utf-8")

    answer = dlw("train", "mlp", "--data", "bad.csv")

    assert "column 'city' has 1 missing value(s)" in answer.err
    assert not (in_tmp / "runs").exists()


def test_the_option_of_a_wrong_column_is_named(dlw, houses):
    answer = dlw("train", "mlp", "--data", houses, "--set", "data.target=prise")

    assert "--set data.target: unknown column 'prise'; did you mean 'price'?" in answer.err


@pytest.mark.parametrize(("boosting", "warned"), [(0.95, False), (0.99, True)])
def test_boosting_is_better_where_the_interval_of_the_network_excludes_it(boosting, warned):
    assert bool(boosting_warnings(0.9, boosting, (0.8, 0.97))) == warned


def test_a_table_is_cross_validated(dlw, houses, in_tmp):
    answer = dlw("crossval", "mlp", "--data", houses, "--folds", "2", "--epochs", "1", "--device", "cpu", "--jobs", "1")

    assert answer.code == 0, answer.err


def test_a_class_too_small_for_validation_names_how_to_do_without(dlw, in_tmp):
    write(in_tmp / "few.csv", ["x", "kind"], [[number, "ab"[number >= 20]] for number in range(22)])

    answer = dlw("train", "mlp", "--data", "few.csv", "--recipe", "best", "--set", "data.test_fraction=0.25")

    assert "class 'b' has 1 sample" in answer.err
    assert "--set data.val_fraction=null" in answer.err
