"""Runs that show means over batches: what they are compared with is compared with means over samples."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

OLD = Path(__file__).parents[1] / "old_runs" / "v0.1" / "runs" / "tinyvgg-pets-001"
MARK = "a mean over batches, which overweights a short last batch"


def train(dlw, pets, *more, epochs=2):
    settings = ["averaging=batch", "optimizer.lr=1e-10", "data.transform=none"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    arguments += ["--recipe", "notes", "--epochs", epochs, "--batch-size", "3"]
    return dlw("train", "tinyvgg", "--data", pets, *arguments, *more)


def columns(name="tinyvgg-pets-001"):
    with Path("runs", name, "history.csv").open(encoding="utf-8") as file:
        return [{key: float(cell) for key, cell in row.items()} for row in csv.DictReader(file)][-1]


@pytest.fixture
def answer(dlw, in_tmp, pets):
    """Train on nine images and test on four, in batches of three: the last one tested is a batch of its own."""
    return train(dlw, pets)


def test_a_run_keeps_both_means(answer):
    row = columns()

    assert (row["test_acc"], row["test_acc_over_samples"]) == (0.5, 0.25)  # one of four, alone in its batch, is right
    assert row["train_loss"] == pytest.approx(row["train_loss_over_samples"], rel=1e-6)


def test_training_says_which_lines_show_which(answer):
    assert "the lines below show means over batches" in answer.err
    assert "accuracy 25.00 %, over samples" in answer.out


@pytest.mark.parametrize("more", [(), ("--by", "test_loss"), ("--at", "last")])
def test_runs_are_compared_over_samples(dlw, answer, more):
    [row] = json.loads(dlw("compare", "--format", "json", *more).out)

    assert (row["test_acc"], row["test_loss"]) == (0.25, columns()["test_loss_over_samples"])
    assert MARK not in dlw("compare", *more).out


def test_a_diagnosis_is_of_means_over_samples(dlw, in_tmp, pets):
    train(dlw, pets, epochs=4)

    answer = dlw("diagnose")

    assert "giving one answer scores 50.00 %; the test accuracy is 25.0 points below that" in answer.out
    assert "over samples the best weights score 25.00 %" in answer.err


def test_evaluate_says_why_its_figures_are_others(dlw, answer):
    shown = columns()

    assert f"the run showed test loss {shown['test_loss']:.5f}, accuracy" in dlw("evaluate", "--no-plots").err


def test_a_sweep_ranks_by_means_over_samples(dlw, in_tmp, pets):
    settings = ["averaging=batch", "data.transform=none", "data.batch_size=3"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    grid = ("--grid", "optimizer.lr=1e-10,1e-9", "--epochs", "1", "--jobs", "1", "--format", "json")

    answer = dlw("sweep", "tinyvgg", "--data", pets, "--recipe", "notes", *grid, *arguments)

    assert [row["test_acc"] for row in json.loads(answer.out)] == [0.25, 0.25]


def test_batches_of_one_size_need_no_word(dlw, in_tmp):
    answer = dlw("train", "circles_v2", "--set", "averaging=batch", "--epochs", "2")

    assert "over batches" not in answer.err + answer.out + dlw("compare").out


@pytest.fixture
def old_run(in_tmp):
    shutil.copytree(OLD, in_tmp / "runs" / OLD.name)
    return in_tmp / "runs" / OLD.name


def test_what_an_old_run_kept_over_samples_is_compared_and_the_rest_is_marked(dlw, old_run):
    [best] = json.loads(dlw("compare", "--format", "json").out)
    [last] = json.loads(dlw("compare", "--at", "last", "--format", "json").out)

    assert (best["test_acc"], best.get("over_batches", "")) == (0.5, "")
    assert last["over_batches"] == "test_loss test_acc"
    table = dlw("compare", "--at", "last").out
    assert MARK in table
    assert "33.33 % *" in table


def test_an_old_run_is_not_measured_against_a_baseline_over_samples(dlw, old_run):
    answer = dlw("diagnose")

    assert "points below" not in answer.out
    assert "the run kept only means over batches" in answer.err
    assert "score 50.00 % on the test split" in answer.err


@pytest.mark.parametrize("at", ["best", "last"])
def test_an_interval_is_drawn_only_round_a_mean_over_samples(dlw, old_run, monkeypatch, at):
    from dlworkflow import plotting

    drawn = []
    original = plotting.plot_accuracy_bars
    monkeypatch.setattr(plotting, "plot_accuracy_bars", lambda *given: drawn.append(given) or original(*given))

    assert dlw("compare", "--at", at, "--plot", "bars.png", "--plot-kind", "bars").code == 0
    [(accuracies, intervals, _)] = drawn
    assert (list(accuracies.values()), len(intervals)) == (([0.5], 1) if at == "best" else ([pytest.approx(1 / 3)], 0))


def test_a_history_keeps_the_columns_of_the_version_that_began_it(old_run):
    from dlworkflow.runs import Run

    run = Run(old_run)
    before = run.history()

    run.log_epochs([{**before[-1], "epoch": 3, "test_acc_over_samples": 0.5}])

    assert [list(row) for row in run.history()] == [list(before[0])] * 3
