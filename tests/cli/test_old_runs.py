"""Runs, a sweep and a settings file that an earlier version wrote: every later one reads, resumes and repeats them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

OLD_RUNS = Path(__file__).parents[1] / "old_runs"
VERSIONS = sorted(path.name for path in OLD_RUNS.iterdir() if path.is_dir())
THEIR_TORCHES = {json.loads(path.read_text())["packages"]["torch"] for path in OLD_RUNS.rglob("environment.json")}


@pytest.fixture(params=VERSIONS)
def expected(request, in_tmp):
    """Work in a folder with what that version wrote, as if it had been made here; return what it answered then."""
    shutil.copytree(OLD_RUNS / request.param, in_tmp, dirs_exist_ok=True)
    for file in [*in_tmp.rglob("*.json"), *in_tmp.rglob("*.yaml"), *in_tmp.rglob("*.csv")]:
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("@HERE@", str(in_tmp)), encoding="utf-8")
    return json.loads(Path("expected.json").read_text(encoding="utf-8"))


def history(folder):
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return [{key: float(cell) if cell else None for key, cell in row.items()} for row in csv.DictReader(file)]


def assert_same_epochs(found, wanted):
    """Equal to five digits with the torch that wrote them; another one's convolutions round otherwise."""
    assert len(found) == len(wanted)
    rel, abs_ = (1e-5, 1e-6) if torch.__version__.split("+")[0] in THEIR_TORCHES else (0.15, 0.1)
    for ours, theirs in zip(found, wanted, strict=True):
        known = {key: value for key, value in theirs.items() if value is not None}
        assert {key: ours[key] for key in known} == pytest.approx(known, rel=rel, abs=abs_)


def test_an_old_run_predicts_as_it_did(dlw, expected):
    images = expected["predict"]["tinyvgg-pets-001"]

    answer = dlw("predict", *images, "--run", "tinyvgg-pets-001", "--format", "json")

    assert answer.code == 0, answer.err
    for row in json.loads(answer.out):
        label, probability = images[row["input"]]
        assert (row["label"], row["probability"]) == (label, pytest.approx(probability, abs=1e-5))


def test_an_old_run_predicts_points_as_it_did(dlw, expected):
    [wanted] = expected["predict"]["circles_v2-circles-001"]

    answer = dlw("predict", "0.5", "-0.2", "--run", "circles_v2-circles-001", "--format", "json")

    [row] = json.loads(answer.out)
    assert (row["label"], row["probability"]) == (wanted["label"], pytest.approx(wanted["probability"], abs=1e-5))


@pytest.mark.parametrize("run", ["tinyvgg-digits-001", "tinyvgg-pets-001"])
def test_an_old_run_is_evaluated_as_it_was(dlw, expected, run):
    answer = dlw("evaluate", run, "--format", "json", "--no-plots")

    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    found = {"loss": report["loss"]} | {key: report["metrics"][key] for key in ("accuracy", "f1_macro")}
    assert found == pytest.approx(expected["evaluate"][run], rel=1e-5)


def test_an_old_evaluation_is_read(dlw, expected):
    assert dlw("show", "tinyvgg-digits-001").code == 0
    assert dlw("diagnose", "tinyvgg-digits-001").code == 0


@pytest.mark.parametrize("run", ["circles_v2-circles-001", "tinyvgg-digits-001", "tinyvgg-pets-001"])
def test_an_old_run_is_resumed_as_if_it_had_never_stopped(dlw, expected, run):
    answer = dlw("train", "--resume", run, "--epochs", "6")

    assert answer.code == 0, answer.err
    assert_same_epochs(history(Path("runs", run)), expected["resumed"][run])


def test_an_old_run_is_resumed_where_its_data_is_now(dlw, expected):
    Path("pets").rename("moved")
    gone = dlw("train", "--resume", "tinyvgg-pets-001", "--epochs", "6")
    answer = dlw("train", "--resume", "tinyvgg-pets-001", "--data", "moved", "--epochs", "6")

    assert (gone.code, "--resume tinyvgg-pets-001 --data NEWPATH" in gone.err) == (1, True)
    assert answer.code == 0, answer.err
    assert_same_epochs(history(Path("runs", "tinyvgg-pets-001")), expected["resumed"]["tinyvgg-pets-001"])


def test_an_old_run_whose_pictures_have_other_sizes_now_is_not_resumed(dlw, expected):
    with Path("pets/train/cat/0.png").open("ab") as file:
        file.write(b"more")

    assert "has changed since (train split" in dlw("train", "--resume", "tinyvgg-pets-001", "--epochs", "6").err


def test_names_and_sizes_are_said_to_be_all_that_is_compared_of_an_old_run(dlw, expected):
    resumed = dlw("train", "--resume", "tinyvgg-pets-001", "--epochs", "6").err
    scored, made = (dlw("evaluate", f"tinyvgg-{data}-001", "--no-plots").err for data in ("pets", "digits"))

    assert all(
        "is of an older version: its files have the names and sizes that they had" in e for e in (resumed, scored)
    )
    assert "older version" not in made


def test_old_runs_are_compared(dlw, expected):
    rows = {row["run"]: row for row in json.loads(dlw("compare", "--format", "json").out)}

    assert rows.keys() == expected["compared"].keys()
    assert rows["circles_v2-circles-001"]["best_epoch"] == expected["compared"]["circles_v2-circles-001"][0]
    assert rows["tinyvgg-digits-001"]["test_loss"] == expected["compared"]["tinyvgg-digits-001"][1]


def test_an_old_sweep_is_compared_and_has_nothing_left_to_do(dlw, expected):
    rows = json.loads(dlw("compare", "circles_v2-sweep-001", "--format", "json").out)

    assert [(row["run"], row["test_loss"]) for row in rows] == [
        (row["run"], row["test_loss"]) for row in expected["sweep"]
    ]
    before = sorted(Path("runs", "circles_v2-sweep-001").glob("[!.]*"))
    assert dlw("sweep", "--resume", "circles_v2-sweep-001").code == 0
    assert sorted(Path("runs", "circles_v2-sweep-001").glob("[!.]*")) == before


def test_old_settings_train_as_they_did(dlw, expected):
    answer = dlw("train", "--config", "config.yaml", "--runs-dir", "new")

    assert answer.code == 0, answer.err
    assert_same_epochs(history(Path("new", "line-line-001")), expected["trained"])
