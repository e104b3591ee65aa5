"""Several labels per image, or a number, on the command line."""

from __future__ import annotations

import pytest

TRAIN = ("train", "fashion_mnist_v0", "--image-size", "8", "--epochs", "1", "--recipe", "notes")


@pytest.fixture
def lists(in_tmp, paint):
    """Eight images and two lists of them."""
    names = [paint(in_tmp / f"{number}.png", number).name for number in range(8)]
    tags = [f"{name},{number % 2},{number // 2 % 2}" for number, name in enumerate(names)]
    (in_tmp / "tags.csv").write_text("\n".join(["file,cat,dog", *tags]))
    (in_tmp / "ages.csv").write_text("\n".join(["file,age", *(f"{name},{n}.5" for n, name in enumerate(names))]))
    return in_tmp


def test_several_labels_from_training_to_prediction(dlw, lists):
    assert "acc counts the samples with every label right" in dlw(*TRAIN, "--data", "tags.csv").err

    found = dlw("evaluate", "--thresholds", "0.001", "--no-plots")

    assert "thresholds cat 0.001, dog 0.001: kept in the run" in found.err
    assert "subset accuracy (every label right)" in found.out
    assert dlw("predict", "0.png", "--format", "csv").out.splitlines()[0] == "input,labels,label,probability,error"
    assert {*dlw("predict", "0.png", "--format", "csv").out.splitlines()[1].split(",")[1].split("|")} == {"cat", "dog"}
    assert "these samples have several" in dlw("trace", "--run", "last").err


def test_several_labels_are_cross_validated(dlw, lists):
    found = dlw("crossval", *TRAIN[1:], "--data", "tags.csv", "--folds", "2", "--jobs", "1")

    assert "subset accuracy (every label right)" in found.out


def test_a_number_from_training_to_prediction(dlw, lists):
    columns = ("--path-column", "file", "--label-column", "age")

    assert "losses are of values divided by" in dlw(*TRAIN, "--data", "ages.csv", *columns).err
    assert "mae" in dlw("evaluate", "--no-plots").out
    assert dlw("predict", "0.png", "--format", "csv").out.splitlines()[0] == "input,value,error"
    assert "the task of" in dlw("evaluate", "--thresholds", "best").err


def test_columns_that_are_not_there_are_named_with_the_nearest(dlw, lists):
    found = dlw(*TRAIN, "--data", "ages.csv", "--path-column", "fille", "--label-column", "agee")

    assert found.code == 2
    assert "unknown column 'fille'; did you mean 'file'?" in found.err
    assert "unknown column 'agee'; did you mean 'age'?" in found.err


def test_shards_hold_one_class(dlw, lists):
    assert "shards hold one class per image" in dlw("data", "shard", "tags.csv", "--out", "shards").err
