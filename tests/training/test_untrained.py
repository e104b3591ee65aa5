"""A run of 0 epochs: the model as it was built, evaluated once and saved; trained later, it is a run like any other."""

from __future__ import annotations

import math

import pytest
import torch

from dlworkflow import models
from dlworkflow.analysis import figures
from dlworkflow.analysis.diagnosis.of_run import diagnose_run
from dlworkflow.analysis.evaluation import evaluate_run
from dlworkflow.config import from_overrides
from dlworkflow.engine.random_state import set_seeds
from dlworkflow.errors import DataError, RunError
from dlworkflow.inference.predictor import Predictor
from dlworkflow.runs import Run
from dlworkflow.runs.comparison import compare_runs
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config

FULL = (
    *("schedule.name=cosine", "schedule.warmup_epochs=2", "ema=0.9", "early_stopping.patience=3", "averaging=batch"),
    *("reseed=false", "data.val_fraction=0.25", "data.test_fraction=0.5", "data.transform=flip", "metrics=[f1_macro]"),
)


def trained(tmp_path, model, *pairs, **options):
    config = resolve_config([from_overrides([f"model={model}", *pairs])])
    return run_training(config, runs_dir=tmp_path, **options)


def untrained(tmp_path, model="circles_v2", *pairs):
    return trained(tmp_path, model, "epochs=0", *pairs)


def content(run):
    """What must be equal to the bit: history without seconds, weights, and the summary but for times and name."""
    history = [{key: repr(value) for key, value in row.items() if key != "seconds"} for row in run.history()]
    weights = [torch.load(run.weights_path(which), weights_only=True) for which in ("best", "last")]
    listed = [{name: tensor.tolist() for name, tensor in state.items()} for state in weights]
    summary = run.summary()
    return history, listed, summary.collapsed_to, summary.over_samples, summary.stopped_early


@pytest.mark.parametrize("which", ["best", "last"])
def test_the_weights_are_those_that_the_seed_builds(tmp_path, which):
    saved = torch.load(untrained(tmp_path).weights_path(which), weights_only=True)
    set_seeds(42)
    built = models.build("circles_v2", (2,), 1).state_dict()

    assert all(torch.equal(saved[name], built[name]) for name in built)


def test_the_predictions_are_those_of_the_notes_untrained_line(tmp_path):
    rows = [[0.8 + 0.02 * index] for index in range(10)]
    predicted = Predictor.from_run(untrained(tmp_path, "line")).predict_rows(rows)

    notes = [0.3982, 0.4049, 0.4116, 0.4184, 0.4251, 0.4318, 0.4386, 0.4453, 0.4520, 0.4588]
    assert [round(prediction.value, 4) for prediction in predicted] == notes


def test_the_history_has_epoch_0_without_scores_of_training(tmp_path):
    run = untrained(tmp_path)
    [row] = run.history()

    assert (row["epoch"], row["test_loss"]) == (0, pytest.approx(evaluate_run(run).loss))
    assert math.isnan(row["train_loss"])
    assert math.isnan(row["train_acc"])


@pytest.mark.parametrize(("model", "pairs"), [("circles_v2", ()), ("tinyvgg", FULL)])
def test_trained_later_it_equals_a_run_that_was_trained_from_the_start(tmp_path, model, pairs):
    later = resume_training(untrained(tmp_path, model, *pairs), epochs=4)
    whole = trained(tmp_path, model, "epochs=4", *pairs)

    assert content(later) == content(whole)


def test_stopped_in_its_first_epoch_it_can_still_be_trained(tmp_path):
    def stop(_job, _run):
        raise KeyboardInterrupt

    run = untrained(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        resume_training(run, epochs=3, on_start=stop)

    assert content(resume_training(Run(run.path))) == content(trained(tmp_path, "circles_v2", "epochs=3"))


def test_without_epochs_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(RunError, match=r"has finished its 0 epochs; give more, for example epochs=5"):
        resume_training(untrained(tmp_path))


def test_a_comparison_has_its_scores(tmp_path):
    [row] = compare_runs([untrained(tmp_path)])

    assert (row["best_epoch"], row["epochs_done"], row["train_loss"], row["test_acc"]) == (0, 0, None, 0.5)


def test_of_all_figures_those_of_the_model_are_drawn(tmp_path):
    drawn = [kind for kind, _ in figures.draw_all(untrained(tmp_path))]

    assert drawn == ["boundary", "confusion", "calibration", "coverage"]


@pytest.mark.parametrize("kind", ["curves", "lr"])
def test_a_figure_of_its_epochs_is_an_error(tmp_path, kind):
    with pytest.raises(DataError, match="is not trained"):
        figures.draw(untrained(tmp_path), kind)


def test_a_diagnosis_names_the_command_that_trains_it(tmp_path):
    run = untrained(tmp_path)

    with pytest.raises(RunError, match=f"dlw train --resume {run.name} --epochs 1000"):
        diagnose_run(run)
