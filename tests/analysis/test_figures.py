"""The figures of runs and data sets: each is of the right data, and refused where it does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dlworkflow import data
from dlworkflow.analysis import evaluation, figures
from dlworkflow.analysis.comparison_figures import draw_runs
from dlworkflow.analysis.data_figures import draw_data
from dlworkflow.analysis.evaluation import evaluate_part, report_part
from dlworkflow.analysis.figures import draw, draw_evaluation, fitting_kinds
from dlworkflow.analysis.run_figures import FIGURES, by_name
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.config import from_flags, from_overrides
from dlworkflow.errors import ConfigError, DataError, RunError
from dlworkflow.plotting import plot_learning_rate, save_figure
from dlworkflow.runs import Run
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    wanted = {"line": 3, "circles_v2": 4, "blobs": 3, "tinyvgg": 2}
    return {
        model: run_training(
            resolve_config([from_flags({"model.name": ("MODEL", model)}), from_overrides([f"epochs={epochs}"])]),
            runs_dir=folder,
        )
        for model, epochs in wanted.items()
    }


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        ("line", ["curves", "lr", "fit", "scatter"]),
        ("circles_v2", ["curves", "lr", "boundary", "confusion", "calibration", "coverage"]),
        ("blobs", ["curves", "lr", "boundary", "confusion", "calibration", "coverage"]),
        ("tinyvgg", ["curves", "lr", "confusion", "calibration", "coverage", "predictions", "errors"]),
    ],
)
def test_every_figure_that_fits_a_run_can_be_drawn(runs, model, kinds):
    assert fitting_kinds(runs[model]) == kinds
    for kind in kinds:
        assert draw(runs[model], kind).axes, kind


def test_a_figure_that_takes_long_is_drawn_where_it_is_named_alone(runs, monkeypatch):
    monkeypatch.setitem(FIGURES.registered, "slow", by_name(lambda history: plot_learning_rate([len(history)])))

    assert "slow" not in fitting_kinds(runs["line"])
    assert draw(runs["line"], "slow").axes


def test_the_worst_errors_are_drawn_with_what_made_them(runs):
    pytest.importorskip("captum")
    axes = draw(runs["tinyvgg"], "why").axes

    assert [axis.get_title()[:6] for axis in axes[:3]] == ["sample", "✗ Pred", "Truth:"]
    assert [len(axis.get_images()) for axis in axes[:3]] == [1, 2, 2]


def test_the_curves_are_those_of_the_history(runs):
    lines = [line.get_ydata() for axis in draw(runs["circles_v2"], "curves").axes for line in axis.get_lines()]
    losses = [row["train_loss"] for row in runs["circles_v2"].history()]

    assert any(len(line) == len(losses) and np.allclose(line, losses) for line in lines)


def test_a_figure_that_does_not_fit_rows_names_how_many_numbers_they_are(runs):
    with pytest.raises(DataError, match=r"whose samples are 2 numbers; possible: curves"):
        draw(runs["circles_v2"], "why")


def test_a_figure_that_does_not_fit_names_those_that_do(runs):
    with pytest.raises(DataError, match=r"'boundary' does not fit tinyvgg-digits-001.*possible: curves"):
        draw(runs["tinyvgg"], "boundary")


def test_an_unknown_figure_is_refused_with_the_nearest_name(runs):
    with pytest.raises(ConfigError, match=r"^unknown figure 'curvs'; did you mean 'curves'"):
        draw(runs["line"], "curvs")


def test_a_run_without_an_epoch_has_nothing_to_draw(runs, tmp_path):
    summary = runs["line"].summary().to_data() | {"best": None, "last": None}
    run = Run.create(tmp_path, "new", summary=summary, config="", environment={})

    with pytest.raises(RunError, match="has not finished an epoch yet"):
        draw(run, "curves")


def test_the_fit_shows_the_models_own_predictions(runs):
    [axis] = draw(runs["line"], "fit").axes
    offsets = [collection.get_offsets() for collection in axis.collections]

    assert sorted(map(len, offsets)) == [10, 10, 40]


def test_an_evaluation_leaves_its_figures_in_the_run(runs):
    part = load_part(runs["tinyvgg"], "test")
    result = evaluate_part(runs["tinyvgg"], part)

    paths = draw_evaluation(runs["tinyvgg"], part, result, report_part(runs["tinyvgg"], part, result))

    assert [path.name for path in paths] == [
        f"{kind}.png" for kind in ("confusion", "calibration", "coverage", "predictions", "errors")
    ]
    assert all(path.parent == runs["tinyvgg"].path / "plots" for path in paths)


def test_runs_are_drawn_together(runs, tmp_path):
    several = [runs["circles_v2"], runs["blobs"]]

    for kind in ("curves", "bars"):
        assert save_figure(draw_runs(several, kind=kind), tmp_path / f"{kind}.png").stat().st_size > 1000


def test_bars_of_runs_without_accuracy_are_refused(runs, tmp_path):
    with pytest.raises(RunError, match="accuracy to draw"):
        draw_runs([runs["line"]], kind="bars")


@pytest.mark.parametrize("name", ["line", "circles", "blobs", "spirals", "digits"])
def test_every_small_data_set_can_be_drawn(name):
    assert draw_data(data.load(name)).axes


def test_the_balance_counts_every_class_of_every_split():
    figure = draw_data(data.load("digits"), what="balance")

    widths = sorted(round(patch.get_width()) for patch in figure.axes[0].patches)
    assert sum(widths) == 1797


def test_transforms_are_drawn_without_touching_the_global_generator():
    splits = data.load("digits", transform="trivial_augment")
    before = torch.random.get_rng_state()

    draw_data(splits, what="transforms")

    assert torch.equal(torch.random.get_rng_state(), before)


def test_points_of_more_than_two_numbers_are_refused():
    with pytest.raises(DataError, match="3 numbers per sample"):
        draw_data(data.load("blobs", n_features=3))


def test_classes_of_a_regression_and_transforms_of_points_are_refused():
    with pytest.raises(DataError, match="no classes"):
        draw_data(data.load("line"), what="balance")
    with pytest.raises(DataError, match="no images"):
        draw_data(data.load("circles"), what="transforms")


def test_bars_of_calibration_stand_where_the_confidence_is(runs):
    [top, _] = draw(runs["circles_v2"], "calibration").axes
    [dots] = [line for line in top.get_lines() if line.get_linestyle() == "None"]
    tall = [patch for patch in top.patches if patch.get_height() > 0 and patch.get_fill()]

    assert len(dots.get_xdata()) > 0
    for x in dots.get_xdata():
        assert any(patch.get_x() - 1 <= x <= patch.get_x() + patch.get_width() + 1 for patch in tall), x


def test_a_perfect_run_is_drawn_without_a_grid_of_errors_that_nobody_named(runs, monkeypatch):
    from dlworkflow.metrics.report import EvaluationReport

    monkeypatch.setattr(EvaluationReport, "errors", lambda self: [])

    assert [kind for kind, _ in figures.draw_all(runs["tinyvgg"])] == [
        *("curves", "lr", "confusion", "calibration", "coverage", "predictions")
    ]


def test_several_figures_score_the_run_once(runs, monkeypatch):
    calls = []
    original = evaluation.evaluate_part
    monkeypatch.setattr(evaluation, "evaluate_part", lambda *a, **k: (calls.append(1), original(*a, **k))[1])

    list(figures.draw_all(runs["tinyvgg"]))

    assert len(calls) == 1
