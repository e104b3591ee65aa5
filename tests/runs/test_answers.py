"""Stored answers: read back as they were given, and never where they are not those of the run's weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dlworkflow.engine.tasks import BINARY, MULTICLASS, MULTILABEL, REGRESSION
from dlworkflow.errors import RunError
from dlworkflow.metrics.report import make_report
from dlworkflow.runs import EvaluationSummary, Run

CLASSES = ("=1+1", "pizza, thin", "寿司")
Y = {
    BINARY: torch.tensor([0.0, 1, 1, 0]),
    MULTICLASS: torch.tensor([0, 1, 2, 0]),
    MULTILABEL: torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]]),
    REGRESSION: torch.tensor([[0.5], [-2.0], [3.0], [1e9]]),
}
SUMMARY = {
    **{"data": "d", "kind": "tabular", "chosen_on": "test", "baseline": None, "in_shape": [2], "transform": None},
    **{"samples": {"train": 8, "test": 4}, "source": "nowhere", "parameters": 3, "device": "cpu", "threads": 1},
    "best": {"epoch": 2, "test_loss": 0.5},
}


def evaluated(runs_dir, task=MULTICLASS, files=None):
    """A run of the task with stored answers, and the report that was stored."""
    y = Y[task]
    logits = torch.randn(4, 3 if task in (MULTICLASS, MULTILABEL) else 1, generator=torch.Generator().manual_seed(3))
    names = {BINARY: CLASSES[:2], REGRESSION: ()}.get(task, CLASSES)
    report = make_report(logits, y, task, classes=names, files=files)
    data = {"name": "d", "batch_size": 32, "data_dir": None}
    config = {"model": {"name": "m"}, "data": data, "optimizer": {"name": "sgd"}, "loss": "l", "epochs": 5, "seed": 1}
    known = {"config": config, "task": task.name, "classes": list(names), "n_outputs": logits.shape[1]}
    run = Run.create(runs_dir, "m-d", summary=SUMMARY | known, config="", environment={})
    about = {"weights": "best", "epoch": 2, "split": "test", "data_changed": False, "skipped": 0}
    evaluation = EvaluationSummary(run=run.name, **about, **report.to_data())
    run.write_found(evaluation, {"predictions": report.predictions()})
    return run, report


@pytest.mark.parametrize("task", [BINARY, MULTICLASS, MULTILABEL])
def test_stored_answers_are_right_where_the_evaluation_said_so(task, tmp_path):
    run, report = evaluated(tmp_path, task)

    assert run.answers().right.tolist() == [row["truth"] == row["prediction"] for row in report.samples]


@pytest.mark.parametrize("task", [BINARY, MULTICLASS, MULTILABEL])
def test_truth_and_probabilities_are_read_as_they_were(task, tmp_path):
    run, report = evaluated(tmp_path, task)
    answers = run.answers()

    np.testing.assert_array_equal(answers.truth, Y[task].numpy())
    np.testing.assert_allclose(answers.probabilities, report.probabilities, rtol=1e-5)


def test_numbers_of_a_regression_are_read_in_full(tmp_path):
    run, report = evaluated(tmp_path, REGRESSION)
    answers = run.answers()

    assert answers.prediction.tolist() == [row["prediction"] for row in report.samples]
    assert (answers.right, answers.classes) == (None, ())


def test_a_file_name_like_a_formula_is_read_as_it_was(tmp_path):
    files = ["=a.jpg", "+b.jpg", "-1", "寿司/ c\n.jpg"]

    assert evaluated(tmp_path, files=files)[0].answers().files == files


def test_a_run_without_answers_is_an_error_with_the_command_that_stores_them(tmp_path):
    run, _ = evaluated(tmp_path)
    (run.path / "evaluation.json").unlink()

    with pytest.raises(RunError, match=rf"store them with: dlw evaluate {run.path} --no-plots$"):
        run.answers()


def test_answers_of_weights_that_a_resumed_run_no_longer_has_are_refused(tmp_path):
    run, _ = evaluated(tmp_path)
    run.update_summary(best={"epoch": 7, "test_loss": 0.1})

    with pytest.raises(
        RunError, match=r"are of epoch 2, not of its best weights of today; store new ones with: dlw eval"
    ):
        run.answers()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("\n3,", "\n3,,", "a line has fewer or more cells"),
        ("loss", "lass", "'loss'"),
        ("寿司,", "tuna,", "'tuna'"),
        ("\n0,", "\n0,\x00", ""),
        ("index", '"index', ""),
        (",0.", ",nan0.", "nan0"),
    ],
)
def test_damaged_answers_are_one_line_with_the_way_out(before, after, words, tmp_path):
    run, _ = evaluated(tmp_path)
    file = run.path / "predictions.csv"
    file.write_text(file.read_text().replace(before, after))

    with pytest.raises(RunError, match=r"^[^\n]*is damaged: .*store new answers with: dlw evaluate [^\n]*$") as found:
        run.answers()
    assert words in str(found.value)


@pytest.mark.parametrize("changes", [{"samples": 5}, {"loss": 0.123}])
def test_answers_that_are_not_those_of_the_evaluation_are_damage(changes, tmp_path):
    run, _ = evaluated(tmp_path)
    run.write_found(replace(run.evaluation(), **changes))

    with pytest.raises(RunError, match=r"evaluation\.json"):
        run.answers()
