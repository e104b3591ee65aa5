"""The first samples of a data set, as the notes look at them with pandas."""

from __future__ import annotations

import pytest

from dlworkflow import data
from dlworkflow.data.first_rows import first_rows
from dlworkflow.errors import DataError


def test_circles_begin_as_in_the_notes():
    rows = first_rows(data.load("circles"), 10)

    assert [(round(row["X1"], 6), round(row["X2"], 6), row["label"]) for row in rows] == [
        (0.754246, 0.231481, 1),
        (-0.756159, 0.153259, 1),
        (-0.815392, 0.173282, 1),
        (-0.393731, 0.692883, 1),
        (0.442208, -0.896723, 0),
        (-0.479646, 0.676435, 1),
        (-0.013648, 0.803349, 1),
        (0.771513, 0.147760, 1),
        (-0.169322, -0.793456, 1),
        (-0.121486, 1.021509, 0),
    ]


def test_a_line_has_its_value_in_the_digits_that_it_is_made_of():
    assert first_rows(data.load("line"), 2)[1] == {"index": 1, "split": "train", "X1": 0.02, "y": 0.314}


def test_the_last_samples_of_a_line_are_those_of_its_test_split():
    rows = first_rows(data.load("line"), 50)

    assert [row["split"] for row in rows] == ["train"] * 40 + ["test"] * 10


def test_one_split_is_shown_in_its_own_order():
    splits = data.load("circles")
    [row] = first_rows(splits, 1, "test")

    assert (row["index"], row["X1"]) == (0, pytest.approx(float(splits.test.inputs[0, 0])))


def test_more_than_there_is_is_all():
    assert len(first_rows(data.load("line"), 1000)) == 50


def test_images_in_memory_have_a_shape_and_a_class():
    row = {"index": 1, "split": "train", "shape": "1x8x8", "label": 1, "class": "1"}

    assert first_rows(data.load("digits"), 2)[1] == row


def test_image_files_have_a_path_and_the_size_of_the_file(pets):
    [row] = first_rows(data.load("image_folder", path=str(pets)), 1)

    assert (row["file"], row["class"]) == (str(pets / "train" / "cat" / "0.png"), "cat")
    assert row["shape"].startswith("3x")


def test_a_split_that_is_not_there_is_an_error():
    with pytest.raises(DataError, match="no split 'val'; it has train, test"):
        first_rows(data.load("line"), 1, "val")
