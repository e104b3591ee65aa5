"""`dlw data shard`, and the commands that take shards where they take a folder."""

from __future__ import annotations

import csv
import json
import os

import pytest

pytest.importorskip("webdataset")

SMALL = ("--set", "data.image_size=16", "--set", "model.hidden_units=2", "--epochs", "1")


@pytest.fixture
def sharded(dlw, in_tmp, pets):
    answer = dlw("data", "shard", pets, "--out", "shards", "--shards", "3")
    assert answer.code == 0, answer.err
    return answer


def test_sharding_says_what_was_written_and_how_to_train_on_it(sharded):
    assert [line.split(", ")[:2] for line in sharded.out.splitlines()] == [
        ["train: 3 shards", "9 samples"],
        ["test: 1 shard", "4 samples"],
    ]
    assert sharded.err.splitlines()[-1] == "train on them with: dlw train MODEL --data shards"


def test_info_counts_what_the_folder_holds(dlw, sharded, pets):
    counts = [json.loads(dlw("data", "info", name, "--format", "json").out) for name in ("shards", pets)]

    assert counts[0] == counts[1]


def test_shards_train_predict_and_are_scored(dlw, sharded, pets):
    trained = dlw("train", "tinyvgg", "--data", "shards", *SMALL)
    assert "shards  3 train, 1 test, decoded as they are read\n" in trained.err
    assert dlw("predict", pets / "test").code == 0
    assert dlw("diagnose").code == 0
    scored = dlw("evaluate", "--format", "json", "--no-plots")

    assert json.loads(scored.out)["samples"] == 4
    assert dlw("evaluate", "--data", "shards/train-{00..02}.tar", "--no-plots").code == 0
    with open("runs/tinyvgg-shards-001/predictions-shards-shards.csv") as file:  # noqa: PTH123
        assert len(list(csv.DictReader(file))) == 9


def test_a_sweep_takes_shards(dlw, sharded):
    swept = dlw("sweep", "tinyvgg", "--data", "shards", *SMALL, "--grid", "optimizer.lr=1e-3,1e-2", "--jobs", "1")

    assert swept.code == 0, swept.err
    assert "0.01" in swept.out


@pytest.mark.parametrize("what", ["samples", "balance", "transforms"])
def test_shards_are_drawn(dlw, sharded, what, in_tmp):
    assert dlw("data", "show", "shards", "--what", what, "--out", "figure.png").code == 0
    assert (in_tmp / "figure.png").stat().st_size > 1000


def test_one_shard_alone_is_not_cut(dlw, sharded, in_tmp):
    answer = dlw("train", "tinyvgg", "--data", "shards/train-00.tar", "--val-fraction", "0.5")

    assert answer.code == 1
    assert "shards are cut whole" in answer.complaints[0]
    assert not (in_tmp / "runs").exists()


def test_a_check_of_a_damaged_shard_ends_with_1_and_names_it(dlw, sharded, in_tmp):
    assert dlw("data", "check", "shards").code == 0
    os.truncate(in_tmp / "shards" / "train-01.tar", 1000)

    answer = dlw("data", "check", "shards")

    assert answer.code == 1
    assert "  train-01.tar: its bytes are not those of its index" in answer.out


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["train", "tinyvgg", "--data", "shards/train-00.tar", "shards/train-01.tar"], 2, "put it in quotes"),
        (["train", "tinyvgg", "--data", "pipe:echo x.tar"], 2, "is no local path"),
        (["train", "tinyvgg", "--data", "shards/{00..02}.tar"], 1, "3 of 3 shards are not there"),
        (["train", "tinyvgg", "--data", "shards/test-00.tar"], 1, "is of split 'test'; name training shards"),
        (["train", "tinyvgg", "--data", "shards", "--batch-size", "full"], 2, "give a number of samples"),
        (["data", "shard", "shards", "--out", "other"], 1, "is no folder or CSV of image files"),
        (["data", "shard", "pets", "--out", "shards"], 2, "exists already"),
        (["data", "shard", "pets", "--out", "o", "--shards", "2", "--shard-size", "1"], 2, "leave one out"),
        (["data", "shard", "pets", "--out", "o", "--shards", "0"], 2, "must be at least 1"),
        (["data", "shard", "pets", "--out", "o", "--shard-size", "-1"], 2, "must be from 0.001"),
        (["data", "shard", "nowhere", "--out", "o"], 2, "unknown data set 'nowhere'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, code, complaint, dlw, sharded, in_tmp):
    answer = dlw(*arguments)

    assert answer.code == code
    assert len(answer.complaints) == 1
    assert complaint in answer.complaints[0]
    assert not (in_tmp / "runs").exists()
    assert not (in_tmp / "o").exists()
