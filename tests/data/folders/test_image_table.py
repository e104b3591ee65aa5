"""CSV files of images: which columns are read, as which task, and what is wrong with a line."""

from __future__ import annotations

import pytest

from dlworkflow.data.folders.image_table import Columns, path_column, read_image_table
from dlworkflow.data.folders.tables import read_lines
from dlworkflow.errors import ConfigError, DataError

TAGGED = "path,labels\na.png,cat|dog\nb.png,dog\nc.png, owl | cat \n"
ONE_HOT = "path,dog,cat,split\na.png,1,1,train\nb.png,1,0,train\nc.png,0,0,test\n"
NUMBERS = "path,value\na.png,1.5\nb.png,-2\nc.png,1e3\n"


@pytest.fixture
def read(tmp_path):
    def read_text(text, **columns):
        (tmp_path / "list.csv").write_text(text)
        return read_image_table(tmp_path / "list.csv", Columns(**columns))

    return read_text


def targets(table, split="all"):
    return [target for _, target in table.rows[split]]


def test_a_column_of_labels_has_several_a_row(read):
    table = read(TAGGED)

    assert (table.task, table.classes) == ("multilabel", ("cat", "dog", "owl"))
    assert targets(table) == [("cat", "dog"), ("dog",), ("owl", "cat")]


def test_columns_of_0_and_1_are_classes_in_their_order(read):
    table = read(ONE_HOT)

    assert (table.task, table.classes) == ("multilabel", ("dog", "cat"))
    assert (targets(table, "train"), targets(table, "test")) == ([("dog", "cat"), ("dog",)], [()])


def test_a_column_of_values_has_a_number_a_row(read):
    table = read(NUMBERS)

    assert (table.task, table.classes, targets(table)) == ("regression", (), [1.5, -2.0, 1000.0])


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (("cat", "dog"), "multiclass"),
        (("1", "2"), "multiclass"),
        (("0.5", "2"), "regression"),
        (("cat|dog", "dog"), "multilabel"),
    ],
)
def test_what_a_named_column_holds_follows_from_its_cells(cells, task, read):
    text = "file,tag\n" + "".join(f"{n}.png,{cell}\n" for n, cell in enumerate(cells))

    assert read(text, label="tag").task == task


def test_the_task_may_be_said(read):
    assert targets(read("path,label\na.png,3\nb.png,4\n", task="regression")) == [3.0, 4.0]


def test_named_columns_of_classes_leave_the_others_out(read):
    table = read("file,dog,age,cat\na.png,1,30,0\nb.png,0,41,1\n", label=["dog", "cat"])

    assert table.classes == ("dog", "cat")


def test_images_are_in_the_only_column_with_names_of_images(tmp_path):
    (tmp_path / "list.csv").write_text("name,photo,label\nx,a.jpg,cat\n")

    assert path_column(read_lines(tmp_path / "list.csv")) == "photo"


def test_a_table_of_numbers_names_no_images(tmp_path):
    (tmp_path / "list.csv").write_text("x1,x2,label\n0.5,1,cat\n")

    assert path_column(read_lines(tmp_path / "list.csv")) is None


def test_columns_that_are_not_there_are_named_together_with_the_nearest(read):
    with pytest.raises(ConfigError) as caught:
        read("file,labels\na.png,cat\n", path="fil", label="label")

    assert caught.value.faults == (
        "data.path_column: unknown column 'fil'; did you mean 'file'?",
        "data.label_column: unknown column 'label'; did you mean 'labels'?",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TAGGED + "d.png,\n", "line 5: no labels; data.empty_labels=none reads an empty cell as none of the classes"),
        (TAGGED + "d.png,cat||dog\n", "line 5: labels 'cat||dog' has an empty label"),
        (TAGGED.replace("|", ";"), "line 2: labels 'cat;dog': separate labels by |, as 'cat|dog'"),
        (ONE_HOT + "d.png,yes,2,train\n", "line 5: dog 'yes' is neither 0 nor 1; line 5: cat '2' is neither 0 nor 1"),
        (ONE_HOT + "d.png,,1,train\n", "line 5: no dog"),
        (NUMBERS + "d.png,tall\ne.png,nan\n", "line 5: value 'tall' is no number; line 6: value 'nan' is no number"),
        (NUMBERS + "d.png,\n", "line 5: no value"),
        ("path,a|b,c\na.png,1,0\n", "column(s) 'a|b': the name of a class cannot have a |"),
    ],
)
def test_wrong_cells_are_named_by_their_lines_all_at_once(text, said, read):
    with pytest.raises(DataError) as caught:
        read(text)

    assert said in str(caught.value)


def test_an_empty_cell_may_mean_none_of_the_classes(read):
    assert targets(read(TAGGED + "d.png,\n", empty_labels="none"))[-1] == ()


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("path,label\na.png,cat|dog\nb.png,cat\n", "data.task=multilabel reads them as several"),
        ("path,label\na.png,1.5\nb.png,2.5\n", "data.task=regression predicts numbers"),
        ("path,labels\na.png,cat|dog\nb.png,cat\n", "every training image has label(s) 'cat'"),
    ],
)
def test_labels_that_may_be_meant_otherwise_are_noted(text, note, read):
    assert note in " ".join(read(text).notes)
