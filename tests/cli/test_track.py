"""`dlw train --track`, and what `dlw evaluate` reports to the trackers of a run."""

from __future__ import annotations

import pytest

from dlworkflow.runs import find_run

OWN = """
from pathlib import Path

import dlworkflow as dlw


class Lines(dlw.Tracker):
    \"\"\"Write a line for each call into a file of the run folder.\"\"\"

    def __init__(self, file: str = "lines.txt") -> None:
        self.file = file

    def start(self, run):
        self.path = run.folder / self.file
        return "a" + (run.id or "")

    def log_epochs(self, rows):
        self._write("".join(f"epoch {row['epoch']}\\n" for row in rows))

    def log_scores(self, scores, *, epoch, figures=()):
        self._write(f"{len(figures)} figures, {', '.join(key for key in scores if key.endswith('_low'))}\\n")

    def end(self, status, model):
        self._write(f"{status}\\n")

    def _write(self, text):
        with self.path.open("a") as file:
            file.write(text)
"""
TRAIN = ("train", "circles_v2", "--epochs", "2")


def lines(name="lines.txt"):
    return (find_run("last").path / name).read_text().splitlines()


@pytest.fixture
def own(in_tmp, forget):
    (in_tmp / "own.py").write_text(OWN)


@pytest.mark.usefixtures("own")
def test_a_tracker_of_ones_own_file_gets_training_evaluation_and_the_resumed_run(dlw, forget):
    assert dlw(*TRAIN, "--track", "own.py").code == 0
    assert dlw("evaluate", "last").code == 0
    forget()
    refused = dlw("train", "--resume", "last", "--epochs", "3")
    assert dlw("train", "--resume", "last", "--epochs", "3", "--code", "own.py").code == 0

    assert (refused.code, "--code" in refused.err) == (1, True)
    trained = ["epoch 1", "epoch 2", "0 figures, best/test_acc_low", "finished"]
    evaluated = ["3 figures, evaluation_test/accuracy_low", "None"]
    assert lines() == [*trained, *evaluated, "epoch 3", *trained[2:]]


@pytest.mark.usefixtures("own")
def test_a_tracker_takes_settings(dlw):
    answer = dlw(*TRAIN, "--set", "track={own.py:Lines: {file: x.txt}}")

    assert (answer.code, lines("x.txt")[-1]) == (0, "finished"), answer.err


def test_several_trackers_are_named_one_by_one(dlw, in_tmp):
    pytest.importorskip("tensorboard")
    answer = dlw(*TRAIN, "--print-config", "--track", "tensorboard", "--track", "mlflow")

    assert "track:\n- tensorboard\n- mlflow\n" in answer.out
    assert not (in_tmp / "runs").exists()


def test_a_setting_of_a_tracker_that_is_not_named_is_an_error(dlw):
    answer = dlw(*TRAIN, "--track", "tensorboard", "--set", "track.mlflow.log_model=true")

    assert answer.code == 2
    assert answer.err == (
        "dlw: --set track.mlflow: 'mlflow' is not among the names of --track; add it, or leave this out\n"
    )


def test_an_unknown_tracker_is_an_error_of_one_line(dlw):
    answer = dlw(*TRAIN, "--track", "tensorbaord")

    assert (answer.code, answer.err) == (
        2,
        "dlw: --track: unknown tracker 'tensorbaord'; did you mean 'tensorboard'?\n",
    )


def test_a_logger_of_another_tool_is_answered_with_track(dlw):
    assert "did you mean --track?" in dlw(*TRAIN, "--logger", "tensorboard").err
