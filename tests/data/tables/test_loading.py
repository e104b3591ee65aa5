"""Tables in CSV files: which column is what, what becomes of it, and every error by line and column."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from dlworkflow import data
from dlworkflow.data.protocol import all_of
from dlworkflow.errors import ConfigError, DataError, DlwError

HOUSES = """\
area,city,rooms,price
50,Berlin,2,100.5
60,Paris,3,120.25
70,Berlin,2,141
80,Rome,4,160
90,Paris,3,181
100,Rome,2,200
"""


@pytest.fixture
def load(tmp_path):
    def load(text, **settings):
        (tmp_path / "houses.csv").write_text(text, encoding="utf-8")
        return data.load("csv_table", path=str(tmp_path / "houses.csv"), **settings)

    return load


def error_of(load, text, **settings):
    with pytest.raises(DlwError) as raised:
        load(text, **settings)
    return str(raised.value)


def test_the_last_column_is_the_target_and_the_others_are_inputs(load):
    splits = load(HOUSES)

    assert (splits.task, splits.columns.target, splits.columns.names) == (
        "regression",
        "price",
        ["area", "city", "rooms"],
    )


def test_a_category_is_one_input_per_category_of_the_training_rows(load):
    splits = load(HOUSES, test_fraction=0.34)
    cities = next(column.categories for column in splits.columns.inputs if column.name == "city")

    assert splits.train.inputs[:, 1 : 1 + len(cities)].sum(dim=1).tolist() == [1.0] * len(splits.train)


def test_numbers_and_the_target_are_standardised_by_the_training_rows_alone(load):
    splits = load(HOUSES, test_fraction=0.34)
    areas = np.array([50, 60, 70, 80, 90, 100.0])[splits.indices["train"]].reshape(-1, 1)

    expected = StandardScaler().fit_transform(areas)[:, 0]

    assert splits.train.inputs[:, 0].numpy() == pytest.approx(expected, abs=1e-6)


def test_a_target_is_undone_to_its_units(load):
    splits = load(HOUSES)

    y = torch.cat([splits.target.undone(all_of(part)[1]) for part in (splits.train, splits.test)])

    assert sorted(y.flatten().tolist()) == pytest.approx([100.5, 120.25, 141, 160, 181, 200], abs=1e-3)


def test_standardize_false_leaves_numbers_as_they_are(load):
    assert sorted(all_of(load(HOUSES, standardize=False).train)[0][:, 0].tolist()) == [60, 70, 80, 90, 100]


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ("yes no yes no yes no", "binary"),
        ("0 1 0 1 0 1", "binary"),
        ("a b c a b c", "multiclass"),
        (" ".join("012" * 5), "multiclass"),
        ("1 2 3 4 5 6", "regression"),
        ("0.5 1.5 2.5 0.5 1.5 2.5", "regression"),
    ],
)
def test_the_task_follows_from_the_values_of_the_target(load, values, task):
    rows = "\n".join(f"{number},{value}" for number, value in enumerate(values.split()))

    assert load(f"x,y\n{rows}\n", stratify=False, test_fraction=0.34).task == task


def test_labels_that_are_numbers_are_ordered_by_size(load):
    rows = "\n".join(f"{number},{10 - number % 2 * 8}" for number in range(20))

    assert load(f"x,y\n{rows}\n").classes == ("2", "10")


def test_a_split_column_decides_the_splits(load):
    splits = load("x,y,split\n1,1.5,train\n2,2.5,test\n3,3.5,train\n4,1.25,val\n")

    assert splits.indices == {"train": [0, 2], "val": [3], "test": [1]}


def test_no_group_is_in_two_splits(load):
    rows = "\n".join(f"p{number // 3},{number},{number * 1.5}" for number in range(30))

    splits = load(f"patient,x,y\n{rows}\n", group="patient")

    assert not {*splits.train.groups} & {*splits.test.groups}


def test_a_missing_value_is_filled_from_the_training_rows(load):
    rows = "\n".join(f"{'' if number == 3 else number},{number * 1.5}" for number in range(20))

    column = load(f"x,y\n{rows}\n", missing="median").columns.inputs[0]

    assert column.fill is not None


def test_columns_survive_json(load):
    columns = load(HOUSES, missing="mean").columns

    assert type(columns).from_data(columns.to_data()) == columns


def test_an_unnamed_column_that_counts_the_rows_is_left_out(load):
    splits = load(",x,y\n0,5,1.5\n1,6,2.5\n2,8,3.5\n3,9,4.5\n4,9.5,5.5\n")

    assert splits.columns.names == ["x"]


def test_a_constant_column_is_left_out_and_named(load):
    splits = load("x,same,y\n" + "".join(f"{number},7,{number * 1.5}\n" for number in range(10)))

    assert splits.notes == ("column 'same' is left out: it has one value in all training rows",)


ID = "name,x,y\n" + "".join(f"n{number},{number},{number * 1.5}\n" for number in range(10))


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        (HOUSES, {"target": "prise"}, "data.target: unknown column 'prise'; did you mean 'price'?"),
        (HOUSES, {"drop": ["city"], "target": "city"}, "data.drop: column 'city' is data.target already"),
        (HOUSES, {"target": "city", "task": "regression"}, "target 'city' has texts such as 'Berlin'"),
        (HOUSES, {"target": "city", "task": "binary"}, "has 3 classes ('Berlin', 'Paris', 'Rome'), not the two"),
        (HOUSES.replace("70", "abc"), {}, "line 4, column 'area': 'abc' is no number"),
        (HOUSES.replace("70", "inf"), {}, "line 4, column 'area': inf is not finite"),
        (HOUSES.replace("70", '"1,5"'), {}, "'1,5' is no number (write 1234.5: a decimal point"),
        (HOUSES.replace("70", ""), {}, "column 'area' has 1 missing value(s): line 4"),
        (HOUSES.replace("141", ""), {}, "target 'price' is missing in line 4"),
        (HOUSES.replace("70", "abc").replace("80", "NA"), {}, "'abc' is no number; column 'area' has 1 missing"),
        (HOUSES.replace("rooms", "area"), {}, "has more than one column named 'area'"),
        (HOUSES.replace(",", ";"), {}, "separates its columns by semicolons"),
        (HOUSES.replace("70,", "70,5,"), {}, "line 4: 5 cells, where line 1 has 4"),
        (HOUSES.partition("\n")[2], {}, "has no header: line 1 has the numbers '50', '2', '100.5'"),
        ("", {}, "is empty; a table has a header and a row per sample, images the columns 'path', 'label'"),
        ("x,y\n", {}, "has a header and no rows"),
        ("x,y\n1,2.5\n", {}, "is '2.5' in every row: there is nothing to learn"),
        ("x,y\n1,a\n2,b\n3,b\n4,b\n", {}, "class 'a' has 1 sample"),
        ("x,y\n5,a\n5,b\n5,a\n5,b\n", {"test_fraction": 0.5}, "every column has one value in all training rows"),
        (ID, {}, "column 'name' has 10 different texts in 10 rows, which say nothing about new rows"),
        (ID, {"target": "name"}, "target 'name' has 10 classes in 10 rows; a class needs several"),
        (
            "x,y,split\n1,2.5,train\n2,4.5,train\n2,3.5,exam\n",
            {"split_column": "split"},
            "none of train, test, val: line 4: 'exam'",
        ),
        ("x,y,split\n1,2.5,train\n2,3.5,train\n3,4.5,train\n", {}, "no row is named 'test'"),
        ("x,y,split\n1,a,train\n2,a,train\n3,b,test\n4,b,test\n", {}, "class 'b' has no row in train"),
        (
            "x,p,y,split\n1,A,2.5,train\n2,B,1.5,train\n2,A,3.5,test\n",
            {"group": "p"},
            "group(s) 'A' are in train and in test",
        ),
    ],
)
def test_a_wrong_table_is_one_line_that_names_the_place(load, text, settings, expected):
    assert expected in error_of(load, text, **settings)


def test_all_wrong_columns_are_named_at_once(load):
    message = error_of(load, HOUSES, target="prise", drop=["town"], group="g")

    assert [name in message for name in ("'prise'", "'town'", "'g'")] == [True] * 3


def test_settings_are_configuration_errors_and_cells_are_data_errors(load):
    with pytest.raises(ConfigError):
        load(HOUSES, target="x")
    with pytest.raises(DataError):
        load(HOUSES.replace("70", "abc"))


@pytest.mark.slow
def test_a_hundred_thousand_rows_of_twenty_columns_are_read_in_seconds(tmp_path):
    values = np.random.default_rng(0).normal(size=(100_000, 20))
    header = ",".join(f"x{number}" for number in range(20))
    np.savetxt(tmp_path / "large.csv", values, delimiter=",", fmt="%.6f", header=header, comments="")
    started = time.process_time()

    data.load("csv_table", path=str(tmp_path / "large.csv"))

    assert time.process_time() - started < 20
