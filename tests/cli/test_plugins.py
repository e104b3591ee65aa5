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


def test_a_metric_a_figure_and_a_rule_of_another_package_are_used_by_dlw(install, dlw, runs):
    install(TOYS, metrics={"f_beta": "f_beta"}, figures={"sureness": "draw_histogram"}, rules={"odd": "odd"})

    evaluated = dlw("evaluate", "circles", "--no-plots", "--format", "json", "--set", "f_beta.beta=1")
    plotted = dlw("plot", "circles", "sureness")
    diagnosed = dlw("diagnose", "circles", "--format", "json")

    metrics = json.loads(evaluated.out)["metrics"]
    assert metrics["f_beta"] == pytest.approx(metrics["f1_macro"])
    assert plotted.out.strip().endswith("circles_v2-circles-001/plots/sureness.png"), plotted.err
    diagnosis = json.loads(diagnosed.out)
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

    assert list(metrics) == ["mae", "mse", "rmse", "r2", "worst"]


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


TOYS_TO_TRAIN = '''
import torch
import typer
from torch import nn

from dlworkflow.data.splits import Splits


class Toy(nn.Module):
    """A line of a toy."""

    def __init__(self, in_features: int, out_features: int, start: float = 0.0):
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)
        nn.init.constant_(self.layer.bias, start)

    def forward(self, x):
        return self.layer(x)


def load_ramp(*, n: int = 8) -> Splits:
    """Numbers and their doubles."""
    X = torch.arange(float(n)).reshape(-1, 1) / n
    part = torch.utils.data.TensorDataset(X, 2 * X)
    return Splits("ramp", "regression", part, part, (1,))


class SignSGD(torch.optim.Optimizer):
    """Steps of one size."""

    def __init__(self, params, lr: float = 0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= group["lr"] * parameter.grad.sign()


def halving(*, every: int = 1):
    """Half the learning rate after every so many epochs."""
    return lambda base, done: base / 2 ** (done // every)


class Quartic(nn.Module):
    """Errors to the fourth power."""

    task = "regression"

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = scale

    def forward(self, outputs, labels):
        return self.scale * ((outputs - labels) ** 4).mean()


def hello(name: str = "you") -> None:
    """Greet."""
    typer.echo(f"hello {name}")


def upside_down():
    """Turn an image upside down."""
    from PIL import ImageOps

    return ImageOps.flip
'''
TOY_GROUPS = {
    "models": {"toy": "Toy"},
    "data": {"ramp": "load_ramp"},
    "optimizers": {"sign_sgd": "SignSGD"},
    "schedules": {"halving": "halving"},
    "losses": {"quartic": "Quartic"},
    "augmentations": {"upside_down": "upside_down"},
    "commands": {"hello": "hello", "broken": "nothing"},
}


def test_a_run_is_made_of_toys_of_another_package(install, dlw, in_tmp):
    install(TOYS_TO_TRAIN, **TOY_GROUPS)
    toys = ["toy", "--data", "ramp", "--optimizer", "sign_sgd", "--schedule", "halving", "--epochs", "4"]
    settings = ["--set", "loss={name: quartic, scale: 2}", "--set", "schedule.every=2", "--set", "model.start=0.5"]

    trained = dlw("train", *toys, *settings)

    assert trained.code == 0, trained.err
    evaluated = dlw("evaluate", "last", "--no-plots", "--format", "json")
    assert (evaluated.code, "metrics" in evaluated.out) == (0, True), evaluated.err
    rows = (in_tmp / "runs" / "toy-ramp-001" / "history.csv").read_text().splitlines()
    assert [float(row.split(",")[1]) for row in rows[1:]] == [0.01, 0.01, 0.005, 0.005]
    resumed = dlw("train", "--resume", "last", "--epochs", "6")
    assert resumed.code == 0, resumed.err


@pytest.mark.slow
def test_a_process_of_its_own_finds_another_package(install, start_dlw):
    install(TOYS_TO_TRAIN, **TOY_GROUPS)
    process = start_dlw("train", "toy", "--data", "ramp", "--epochs", "1")

    assert process.wait() == 0, process.stderr.read()


def test_the_settings_of_toys_are_checked_by_their_signatures(install, dlw, in_tmp):
    install(TOYS_TO_TRAIN, **TOY_GROUPS)
    wrong = ["optimizer.name=sign_sgd", "optimizer.momentum=1", "schedule.name=halving", "schedule.every=x"]
    pairs = [word for pair in (*wrong, "loss={name: quartic, scal: 2}") for word in ("--set", pair)]

    answer = dlw("train", "toy", "--data", "ramp", *pairs)

    assert answer.code == 2
    for fault in (
        "optimizer.momentum: optimizer 'sign_sgd': unknown",
        "every: must be a whole",
        "did you mean 'scale'",
    ):
        assert fault in answer.err


def test_toys_are_listed_and_augment_images(install, dlw, in_tmp):
    install(TOYS_TO_TRAIN, **TOY_GROUPS)

    listed = dlw("list", "optimizers")
    assert (listed.code, "sign_sgd  of the package dlw-toys" in listed.out) == (0, True), listed.err
    images = ["--set", "data.transform=upside_down", "--epochs", "1", "--set", "data.image_size=8"]
    trained = dlw("train", "fashion_mnist_v0", "--data", "digits", *images)
    assert trained.code == 0, trained.err


def test_a_command_of_another_package_is_one_of_dlw_and_a_broken_one_breaks_nothing(install, dlw, in_tmp):
    install(TOYS_TO_TRAIN, **TOY_GROUPS)

    greeted = dlw("hello", "--name", "reader")
    assert (greeted.code, greeted.out) == (0, "hello reader\n")
    helped = dlw("--help")
    assert (helped.code, "hello" in helped.out, "cannot be imported" in helped.out) == (0, True, True), helped.err
    broken = dlw("broken")
    assert (broken.code, "broken: cannot import dlw_toys:nothing" in broken.err) == (2, True)


def test_registered_toys_are_used_in_this_process(dlw, in_tmp, monkeypatch):
    from torch import nn, optim

    from dlworkflow.engine.losses import LOSSES
    from dlworkflow.engine.optimizers import OPTIMIZERS
    from dlworkflow.engine.schedules import SCHEDULES

    monkeypatch.setitem(OPTIMIZERS.registered, "mine", lambda params, *, lr=0.1: optim.SGD(params, lr=lr))
    monkeypatch.setitem(
        SCHEDULES.registered, "falling", lambda *, epochs: lambda base, done: base * (1 - done / epochs)
    )
    monkeypatch.setitem(LOSSES.registered, "double", lambda reduction: nn.MSELoss(reduction=reduction))
    pairs = ["optimizer=mine", "schedule=falling", "loss=double", "epochs=2"]

    answer = dlw("train", "line", *(word for pair in pairs for word in ("--set", pair)))

    assert answer.code == 0, answer.err
    answer = dlw("train", "--resume", "last", "--epochs", "4")
    assert "schedule 'falling' of line-line-001 was drawn for 2 epochs" in answer.err


@pytest.mark.parametrize("code", ["shout = 3", "raise SystemExit(3)"])
def test_a_command_of_another_package_that_is_none_leaves_the_others_listed(install, dlw, code):
    install(code, commands={"shout": "shout"})

    listed, called = dlw("--help"), dlw("shout")

    assert (listed.code, "train " in listed.out, "shout  " in listed.out) == (0, True, True)
    assert (called.code, called.err.startswith("dlw: shout: cannot import dlw_toys:shout: ")) == (2, True)


def test_what_another_package_has_in_place_of_a_tracker_is_an_error_of_one_line(install, dlw):
    install("shout = print", trackers={"shout": "shout"})

    answer = dlw("train", "circles_v2", "--track", "shout", "--print-config")

    assert answer.err == "dlw: --track: tracker 'shout' is no class derived from dlworkflow.Tracker\n"
