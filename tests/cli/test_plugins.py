"""Metrics, figures and rules from outside the package, registered or of another package, driven through `dlw`."""

from __future__ import annotations

import json

import pytest
from matplotlib.figure import Figure

from dlworkflow.analysis.diagnosis import RULES, Suggestion, rule
from dlworkflow.analysis.run_figures import FIGURES, fits
from dlworkflow.metrics.functions import METRICS

TOYS = '''
from matplotlib.figure import Figure

from dlworkflow.analysis.diagnosis import Suggestion, rule


def f_beta(confusion, beta: float = 1.0) -> float:
    """F-beta, the mean over the classes."""
    right, truth, predicted = confusion.diagonal().double(), confusion.sum(dim=1), confusion.sum(dim=0)
    square = beta * beta
    return float(((1 + square) * right / (square * truth + predicted).clamp(min=1)).mean())


def draw_histogram(report) -> Figure:
    """Draw how sure the model is."""
    figure = Figure()
    figure.subplots().hist([row["probability"] for row in report.samples])
    return figure


@rule("unstable", Suggestion("another seed", ("seed+1",)))
def odd(curves):
    """Two epochs."""
    return "there are two epochs" if len(curves.columns["train_loss"]) == 2 else ""
'''


def test_a_metric_a_figure_and_a_rule_of_another_package_are_used_by_dlw(install, start_dlw, runs):
    install(TOYS, metrics={"f_beta": "f_beta"}, figures={"sureness": "draw_histogram"}, rules={"odd": "odd"})
    commands = {
        "evaluate": ["evaluate", "circles", "--no-plots", "--format", "json", "--set", "f_beta.beta=1"],
        "plot": ["plot", "circles", "sureness"],
        "diagnose": ["diagnose", "circles", "--format", "json"],
    }

    told = {name: start_dlw(*arguments).communicate() for name, arguments in commands.items()}

    metrics = json.loads(told["evaluate"][0])["metrics"]
    assert metrics["f_beta"] == pytest.approx(metrics["f1_macro"])
    assert told["plot"][0].strip().endswith("circles_v2-circles-001/plots/sureness.png"), told["plot"][1]
    diagnosis = json.loads(told["diagnose"][0])
    assert (diagnosis["verdict"], diagnosis["evidence"][0]) == ("unstable", "There are two epochs")
    assert diagnosis["cures"] == [{"why": "another seed", "command": diagnosis["cures"][0]["command"]}]
    assert diagnosis["cures"][0]["command"].endswith("--seed 43")


def test_a_metric_is_reported_with_its_settings(dlw, runs, monkeypatch):
    def answers(y_pred, least: int = 0) -> float:
        """Count the classes that are predicted more than `least` times."""
        return float((y_pred.bincount() > least).sum())

    monkeypatch.setitem(METRICS.registered, "answers", answers)

    table = dlw("evaluate", "circles", "--no-plots", "--set", "answers.least=1000").out
    written = json.loads((runs / "circles_v2-circles-001" / "evaluation.json").read_text())
    wrong = dlw("evaluate", "circles", "--set", "answers.least=x")

    assert ["answers", "0.00000"] in [line.split() for line in table.splitlines()]
    assert (written["metrics"]["answers"], written["metric_settings"]) == (0.0, {"answers": {"least": 1000}})
    assert (wrong.code, "answers.least: must be a whole number" in wrong.err) == (2, True)


def test_a_metric_of_classes_is_none_of_a_regression(dlw, runs, monkeypatch):
    monkeypatch.setitem(METRICS.registered, "answers", lambda y_pred: 1.0)
    monkeypatch.setitem(METRICS.registered, "worst", lambda targets, values: float((targets - values).abs().max()))

    metrics = json.loads(dlw("evaluate", "line", "--no-plots", "--format", "json").out)["metrics"]

    assert list(metrics) == ["mae", "mse", "r2", "worst"]


def test_a_figure_is_drawn_where_it_fits(dlw, runs, monkeypatch):
    @fits(lambda summary: summary.kind == "image")
    def draw(history):
        figure = Figure()
        figure.subplots().plot([row["seconds"] for row in history])
        return figure

    monkeypatch.setitem(FIGURES.registered, "seconds", draw)

    assert dlw("plot", "tinyvgg", "seconds").out.strip().endswith("seconds.png")
    assert "does not fit" in dlw("plot", "circles", "seconds").err


def test_a_rule_is_asked_before_those_of_the_library(dlw, runs, monkeypatch):
    always = rule("good_fit", Suggestion("twice as long", ("epochs*2",)))(lambda curves: "this is a toy")
    monkeypatch.setitem(RULES.registered, "always", always)

    answer = dlw("diagnose", "circles")

    assert answer.out.splitlines()[0] == "good fit: this is a toy"
    assert "--epochs 4" in answer.out
