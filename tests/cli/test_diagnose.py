from __future__ import annotations

import json
import shlex

import pytest

from dlworkflow import evaluate_run, find_run
from dlworkflow.config import Layer
from dlworkflow.runs.summary import Baseline
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config

FLAT = {"train_loss": 0.693, "train_acc": 0.51, "test_loss": 0.694, "test_acc": 0.46}
PERFECT = {"train_loss": 0.01, "train_acc": 1.0, "test_loss": 0.01, "test_acc": 1.0}


def make_run(folder, model="circles_v1", *, scores=FLAT, epochs=20, config=None, status="finished", **summary):
    """A run of one epoch whose history is then that of a model which scores the same in every epoch."""
    run = run_training(resolve_config([Layer({"model": {"name": model}, "epochs": 1})]), runs_dir=folder)
    settings = run.summary().config | {"epochs": max(epochs, 1)} | (config or {})
    known = {
        "baseline": Baseline(0.5, "accuracy", (run.summary().classes or [None])[0]),
        "collapsed_to": None,
    }
    run.update_summary(status=status, config=settings, **(known | summary))
    (run.path / "history.csv").unlink()
    for number in range(1, epochs + 1):
        run.log_epochs([{"epoch": number, "lr": 0.1, "seconds": 0.1, **scores}])
    return run


def cures_of(answer):
    return [line.strip() for line in answer.out.splitlines() if line.startswith("    dlw ")]


def test_a_straight_model_on_circles_is_told_to_bend(dlw, in_tmp):
    make_run(in_tmp / "runs", epochs=1000)

    answer = dlw("diagnose")

    assert answer.out.splitlines()[0] == "underfitting: no better than the baseline, and the losses no longer fall"
    assert cures_of(answer) == ["dlw train circles_v2 --data circles"]


def test_the_verdict_comes_first_then_the_evidence_then_the_commands(dlw, in_tmp):
    make_run(in_tmp / "runs")

    lines = dlw("diagnose").out.splitlines()

    marks = [next(i for i, line in enumerate(lines) if line.startswith(start)) for start in ("under", "  - ", "to try")]
    assert marks == sorted(marks)
    assert lines[-1].startswith("    dlw train ")


def test_which_run_is_read_is_said_on_stderr(dlw, in_tmp):
    run = make_run(in_tmp / "runs")

    assert dlw("diagnose", "circles").err == f"run runs/{run.name}\n"


def test_json_is_the_same_diagnosis_for_programs(dlw, in_tmp):
    make_run(in_tmp / "runs", epochs=1000)

    data = json.loads(dlw("diagnose", "--format", "json").out)

    assert data["verdict"] == "underfitting"
    assert "the test accuracy is 4.0 points below that" in data["evidence"][3]
    assert [cure["command"] for cure in data["cures"]] == cures_of(dlw("diagnose"))
    assert all(cure["why"] for cure in data["cures"])


def test_a_good_fit_has_nothing_to_cure(dlw, in_tmp):
    make_run(in_tmp / "runs", scores=PERFECT)

    answer = dlw("diagnose")

    assert answer.out.startswith("good fit: ")
    assert cures_of(answer) == []
    assert "to try" not in answer.out


def test_a_run_that_answers_one_class_is_called_collapsed_with_the_true_accuracy(dlw, in_tmp):
    make_run(in_tmp / "runs", "blobs", scores={**FLAT, "test_acc": 1 / 3}, collapsed_to="pizza")

    out = dlw("diagnose").out

    assert out.startswith("collapsed: the model answers 'pizza' for every test sample")
    assert "test loss 0.69400 and accuracy 33.33 %" in out


def test_a_regression_is_held_against_the_loss_of_the_mean(dlw, in_tmp):
    scores = {"train_loss": 0.3, "train_acc": None, "test_loss": 0.36, "test_acc": None}
    make_run(in_tmp / "runs", "line", scores=scores, baseline=Baseline(0.35, "loss", 0.57))

    assert dlw("diagnose").out.startswith("underfitting: no better than the baseline")


@pytest.mark.parametrize("name", ["line", "tinyvgg", "circles_v2"])
def test_what_is_printed_for_a_real_run_runs_dry(name, dlw, runs):
    answer = dlw("diagnose", name)
    commands = cures_of(answer)

    assert answer.code == 0
    assert commands
    for command in commands:
        assert dlw(*shlex.split(command)[1:], "--dry-run").code == 0, command


def test_a_real_run_of_usual_settings_gives_short_commands(dlw, runs):
    assert cures_of(dlw("diagnose", "line")) == ["dlw train line --data line --epochs 800"]


def test_an_optimizer_of_ones_own_stays_in_the_commands(dlw, in_tmp):
    optimizer = {"name": "adam", "lr": 0.001, "weight_decay": 0.0, "eps": 1e-08}
    make_run(in_tmp / "runs", "circles_v2", scores=FLAT, config={"optimizer": optimizer})

    assert all("--optimizer adam" in command for command in cures_of(dlw("diagnose")))


def test_a_model_that_is_gone_is_still_diagnosed_and_named(dlw, in_tmp):
    make_run(in_tmp / "runs", config={"model": {"name": "of_another_package", "hidden_units": 4}})

    answer = dlw("diagnose")

    assert {tuple(shlex.split(command)[2:5]) for command in cures_of(answer)} == {
        ("of_another_package", "--data", "circles")
    }
    assert "the commands do not run here as they are: model.name: unknown model 'of_another_package'" in answer.err


def test_a_run_that_was_interrupted_is_told_to_go_on_rather_than_to_begin_anew(dlw, in_tmp):
    run = make_run(in_tmp / "runs", "circles_v2", epochs=5, status="interrupted", config={"epochs": 100})

    commands = cures_of(dlw("diagnose"))

    assert commands[0] == f"dlw train --resume runs/{run.name}"
    assert dlw(*shlex.split(commands[0])[1:], "--dry-run").code == 0
    assert not any("--epochs 400" in command for command in commands)


def test_a_run_that_stopped_early_is_told_to_train_on_without_stopping(dlw, in_tmp):
    stopping = {"early_stopping": {"patience": 2, "min_delta": 0.0}, "epochs": 100}
    make_run(in_tmp / "runs", "circles_v2", epochs=5, config=stopping, stopped_early=True)

    answer = dlw("diagnose")

    assert cures_of(answer)[0] == "dlw train circles_v2 --data circles --epochs 100 --set early_stopping=null"
    assert "train longer, without stopping early" in answer.out


def test_an_interrupted_run_is_judged_by_what_is_there_and_said_so(dlw, in_tmp):
    make_run(in_tmp / "runs", status="interrupted", config={"epochs": 100})

    answer = dlw("diagnose")

    assert "the run is interrupted, 20 of 100 epochs are there" in answer.err
    assert answer.out.startswith("underfitting")


def test_a_run_whose_process_is_gone_is_called_killed(dlw, in_tmp):
    make_run(in_tmp / "runs", status="running", config={"epochs": 100})

    assert "the run is killed, 20 of 100 epochs are there" in dlw("diagnose").err


def test_the_true_accuracy_of_a_run_averaged_by_batch_is_said(dlw, in_tmp):
    dlw("train", "tinyvgg", "--set", "averaging=batch", "--epochs", "1")

    true = evaluate_run(find_run()).acc
    assert f"over samples the best weights score {100 * true:.2f} % on the test split" in dlw("diagnose").err


def test_no_run_is_one_line(dlw, in_tmp):
    answer = dlw("diagnose")

    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "dlw: no run in 'runs' yet; make one with `dlw train MODEL`\n"


def test_a_run_without_an_epoch_is_one_line(dlw, in_tmp):
    make_run(in_tmp / "runs", epochs=0, status="failed")

    answer = dlw("diagnose")

    assert (answer.code, answer.out) == (1, "")
    assert answer.complaints == [
        "dlw: circles_v1-circles-001 (failed) has not ended an epoch: there is nothing to diagnose"
    ]


def test_a_history_with_nan_is_divergence_not_a_fault(dlw, in_tmp):
    run = make_run(in_tmp / "runs", epochs=3)
    run.log_epochs([{"epoch": 4, "lr": 0.1, "seconds": 0.1, **FLAT, "test_loss": None}])

    answer = dlw("diagnose")

    assert answer.code == 0
    assert answer.out.startswith("diverged: test loss became nan in epoch 4")


@pytest.mark.parametrize(
    "summary", ['{"config": {}}', '{"config": 3}', '{"config": {"model": 3, "data": [], "epochs": 2}}', "{", "[]"]
)
def test_a_damaged_summary_is_one_line(summary, dlw, in_tmp):
    run = make_run(in_tmp / "runs")
    (run.path / "summary.json").write_text(summary)

    answer = dlw("diagnose", str(run.path))

    assert (answer.code, answer.out) == (1, "")
    assert len(answer.complaints) == 1
    assert "damaged" in answer.complaints[0]


@pytest.mark.parametrize("broken", [{"baseline": 3}, {"config": {"model": {"name": "blobs"}, "data": {}}}])
def test_a_summary_that_lacks_what_is_read_is_one_line(broken, dlw, in_tmp):
    run = make_run(in_tmp / "runs")
    file = run.path / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | broken))

    answer = dlw("diagnose", str(run.path))

    assert (answer.code, answer.out) == (1, "")
    assert len(answer.complaints) == 1
    assert "damaged" in answer.complaints[0]


def test_a_history_without_a_column_is_one_line(dlw, in_tmp):
    run = make_run(in_tmp / "runs")
    (run.path / "history.csv").write_text("epoch,train_loss\n1,0.5\n")

    answer = dlw("diagnose")

    assert (answer.code, answer.out) == (1, "")
    [line] = answer.complaints
    assert "history.csv' is damaged: it lacks lr" in line


def test_names_cannot_send_codes_to_the_terminal(dlw, in_tmp):
    make_run(in_tmp / "runs", config={"model": {"name": "evil\x1b[2J", "hidden_units": 4}}, collapsed_to="\x1b[31m")

    answer = dlw("diagnose")

    assert "\x1b" not in answer.out + answer.err


def test_an_unknown_format_is_one_line(dlw, in_tmp):
    answer = dlw("diagnose", "--format", "xml")

    assert answer.code == 2
    assert "'xml'" in answer.err
