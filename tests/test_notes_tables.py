"""The tables that the notes print come out again, to the last digit, from the files in configs/."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from dlworkflow.analysis.evaluation import load_splits
from dlworkflow.config import read_file
from dlworkflow.course.helpers import eval_model
from dlworkflow.data.datasets import fashion_mnist
from dlworkflow.data.loaders import make_loader
from dlworkflow.engine.device import thread_count
from dlworkflow.inference.predictor import load_run_model
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config
from dlworkflow.training.sweep.plan import config_of, plan_sweep

CONFIGS = Path(__file__).parent.parent / "configs"

needs_fashion_mnist = pytest.mark.skipif(fashion_mnist.find() is None, reason="no FashionMNIST files")


def run_config(name, tmp_path):
    """Train as a file of configs/ says; return the run and {epoch counted from 0: (figures as printed)}."""
    rows = {}

    def print_as_the_notes_do(epoch):
        (loss, acc), (test_loss, test_acc) = epoch.train, epoch.test
        rows[epoch.number - 1] = (f"{loss:.5f}", f"{100 * acc:.2f}", f"{test_loss:.5f}", f"{100 * test_acc:.2f}")

    config = resolve_config([read_file(CONFIGS / f"{name}.yaml")])
    return run_training(config, runs_dir=tmp_path, on_epoch=print_as_the_notes_do), rows


def table(text):
    """Read `epoch: figure figure ... | epoch: ...`."""
    pairs = (part.split(":") for part in text.split("|"))
    return {int(epoch): tuple(figures.split()) for epoch, figures in pairs}


def losses(rows, epochs):
    return {epoch: (rows[epoch][0], rows[epoch][2]) for epoch in epochs}


def test_line_v1_prints_the_notes_table(tmp_path):
    printed = table(
        "0: 0.31288 0.48107 | 10: 0.19767 0.34636 | 20: 0.08909 0.21730 | 30: 0.05315 0.14464 | 40: 0.04544 0.11361 |"
        "50: 0.04168 0.09920 | 60: 0.03819 0.08887 | 70: 0.03476 0.08059 | 80: 0.03132 0.07232 | 90: 0.02789 0.06474"
    )

    _, rows = run_config("line_v1", tmp_path)

    assert losses(rows, printed) == printed


def test_line_v1_ends_at_the_notes_parameters_and_predictions(tmp_path):
    run, _ = run_config("line_v1", tmp_path)
    model = load_run_model(run, "last")

    with torch.inference_mode():
        predictions = model(load_splits(run).test.inputs)

    assert (f"{model.weights.item():.4f}", f"{model.bias.item():.4f}") == ("0.5784", "0.3513")
    assert [f"{value:.4f}" for value in predictions[:, 0]] == [
        *("0.8141", "0.8256", "0.8372", "0.8488", "0.8603", "0.8719", "0.8835", "0.8950", "0.9066", "0.9182")
    ]


def test_line_v2_prints_the_notes_table(tmp_path):
    printed = table("0: 0.55518 0.57398 | 900: 0.00126 0.01380")

    run, rows = run_config("line_v2", tmp_path)

    assert losses(rows, printed) == printed
    with torch.inference_mode():
        predictions = load_run_model(run, "last")(load_splits(run).test.inputs)[:, 0]
    assert [f"{predictions[i]:.4f}" for i in (0, 1, -1)] == ["0.8600", "0.8739", "0.9854"]


def test_line_deep_prints_the_notes_table_within_its_tolerance(tmp_path):
    printed = {0: (0.75986, 0.54143), 100: (0.09309, 0.02901), 300: (0.06745, 0.00615), 900: (0.05571, 0.00603)}

    _, rows = run_config("line_deep", tmp_path)

    found = {epoch: (float(rows[epoch][0]), float(rows[epoch][2])) for epoch in printed}
    for epoch, figures in printed.items():
        assert found[epoch] == pytest.approx(figures, abs=2e-5 if epoch > 700 else 5e-6), epoch


def test_circles_v1_prints_the_notes_table(tmp_path):
    printed = table(
        "0: 0.69396 50.88 0.69261 51.00 | 100: 0.69305 50.38 0.69379 48.00 | 200: 0.69299 51.12 0.69437 46.00 |"
        "900: 0.69298 51.00 0.69468 46.00"
    )

    _, rows = run_config("circles_v1", tmp_path)

    assert {epoch: rows[epoch] for epoch in printed} == printed


def test_circles_v2_prints_the_notes_table(tmp_path):
    printed = table(
        "0: 0.69295 50.00 0.69319 50.00 | 100: 0.69115 52.88 0.69102 52.50 | 500: 0.68102 52.75 0.67941 56.50 |"
        "800: 0.65160 64.00 0.64757 67.50 | 900: 0.62362 74.00 0.62145 79.00"
    )

    _, rows = run_config("circles_v2", tmp_path)

    assert {epoch: rows[epoch] for epoch in printed} == printed


def test_circles_v2_passes_99_percent_in_3000_epochs(tmp_path):
    layer = read_file(CONFIGS / "circles_v2.yaml")
    layer.values["epochs"] = 3000

    run = run_training(resolve_config([layer]), runs_dir=tmp_path)

    assert run.summary().last["test_acc"] > 0.99


def test_blobs_prints_the_notes_table(tmp_path):
    printed = table(
        "0: 1.04324 65.50 0.57861 95.50 | 10: 0.14398 99.12 0.13037 99.00 | 50: 0.04295 99.00 0.03486 99.50 |"
        "90: 0.03300 99.12 0.02423 99.50"
    )

    _, rows = run_config("blobs", tmp_path)

    assert {epoch: rows[epoch] for epoch in printed} == printed


def fashion_table(rows):
    return [(train_loss, test_loss, test_acc) for train_loss, _, test_loss, test_acc in rows.values()]


@needs_fashion_mnist
@pytest.mark.slow
def test_fashion_mnist_v0_prints_the_notes_table(tmp_path):
    run, rows = run_config("fashion_mnist_v0", tmp_path)

    assert fashion_table(rows) == [
        ("0.59039", "0.50954", "82.04"),
        ("0.47633", "0.47989", "83.20"),
        ("0.45503", "0.47664", "83.43"),
    ]
    assert fashion_results(run) == ("FashionMNISTModelV0", "0.476639", "83.426518")


@needs_fashion_mnist
@pytest.mark.slow
def test_fashion_mnist_v1_prints_the_notes_table(tmp_path):
    run, rows = run_config("fashion_mnist_v1", tmp_path)

    assert fashion_table(rows) == [
        ("1.09199", "0.95636", "65.00"),
        ("0.78101", "0.72227", "73.91"),
        ("0.67027", "0.68500", "75.02"),
    ]
    assert fashion_results(run) == ("FashionMNISTModelV1", "0.685001", "75.019968")


def fashion_results(run):
    """Score the last weights with `eval_model` and write its figures as the notes print them."""
    with thread_count(1):
        found = eval_model(
            load_run_model(run, "last"), make_loader(load_splits(run).test, 32), torch.nn.CrossEntropyLoss()
        )
    return found["model_name"], f"{found['model_loss']:.6f}", f"{found['model_acc']:.6f}"


@needs_fashion_mnist
@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two threads need two cores")
def test_fashion_mnist_v2_gives_the_checked_first_epoch_with_two_threads(tmp_path):
    layer = read_file(CONFIGS / "fashion_mnist_v2.yaml")
    layer.values["epochs"] = 1

    run = run_training(resolve_config([layer]), runs_dir=tmp_path)

    row = run.history()[0]
    assert (f"{row['train_loss']:.5f}", f"{row['test_loss']:.5f}", f"{100 * row['test_acc']:.2f}") == (
        "0.59372",
        "0.39120",
        "85.76",
    )


@pytest.mark.parametrize(
    ("always", "by_batch", "truth"), [(0, 0.2604, 25 / 75), (1, 0.1979, 19 / 75), (2, 0.5417, 31 / 75)]
)
def test_a_model_that_answers_one_dish_scores_what_the_notes_print(photos, always, by_batch, truth):
    from dlworkflow import data
    from dlworkflow.engine.loop import test_step

    class Always(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.one_hot(torch.full((len(x),), always), 3).float()

    splits = data.load("image_folder", path=str(photos))
    batches = list(make_loader(splits.test, 32))

    assert round(test_step(Always(), batches, torch.nn.CrossEntropyLoss(), averaging="batch").acc, 4) == by_batch
    assert test_step(Always(), batches, torch.nn.CrossEntropyLoss()).acc == pytest.approx(truth)


SWEEPS = [path for path in sorted(CONFIGS.glob("*.yaml")) if "sweep" in read_file(path).values]


@pytest.mark.parametrize("path", sorted({*CONFIGS.glob("*.yaml")} - {*SWEEPS}), ids=lambda path: path.stem)
def test_every_file_in_configs_is_a_whole_config(path):
    config = resolve_config([read_file(path)])

    assert config.averaging == "batch"
    assert config.seed == 42


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_in_configs_is_a_whole_plan(path):
    plan, settings = plan_sweep([read_file(path)])

    assert len(plan.points) == settings.seeds * len(
        {str(config_of(plan, point).to_tree() | {"seed": 0}) for point in plan.points}
    )


def test_photos_train_plain_and_augmented_from_their_configs(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("DLW_DATA_DIR", str(photos.parent))
    found = {}
    for name in ("tinyvgg", "tinyvgg_trivial_augment"):
        run, _ = run_config(name, tmp_path)
        found[name] = [row["train_loss"] for row in run.history()]

    assert all(len(values) == 5 for values in found.values())
    assert found["tinyvgg"] != found["tinyvgg_trivial_augment"]
