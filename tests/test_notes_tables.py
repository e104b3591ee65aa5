"""The tables that the notes print come out again from the files in configs/, as exactly as each file says."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch

from dlworkflow import guide
from dlworkflow.analysis.scored_data import load_splits
from dlworkflow.config import Layer, read_file
from dlworkflow.course.training import eval_model
from dlworkflow.data.datasets import fashion_mnist
from dlworkflow.data.loaders import make_loader
from dlworkflow.engine.device import thread_count
from dlworkflow.inference.predictor import load_run_model
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import fill_defaults, resolve_config
from dlworkflow.training.sweep.plan import config_of, plan_sweep

CONFIGS = Path(__file__).parent.parent / "configs"
ALL = {"train_loss": 5, "train_acc": 2, "test_loss": 5, "test_acc": 2}
LOSSES = {"train_loss": 5, "test_loss": 5}
PHOTOS = {"train_loss": 4, "train_acc": 2, "test_loss": 4, "test_acc": 2}


@dataclass(frozen=True)
class Table:
    """A table of the notes, epochs counted from 0 and accuracies in percent, and how exactly a config prints it."""

    text: str
    digits: dict[str, int]
    losses_within: float | None = None
    accuracies_within: float | None = None
    but: str = ""

    @property
    def claim(self):
        """What the config's comment and the guide say."""
        losses = "" if self.losses_within is None else f"losses within {self.losses_within:f}".rstrip("0")
        accuracies = f"within {self.accuracies_within:g} %" if self.accuracies_within else "to the digit"
        if losses and "test_acc" in self.digits:
            losses = f"accuracies {accuracies}, {losses}"
        return (losses or "to the digit") + self.but

    def rows(self):
        """The rows as printed; what has a tolerance is compared as a number."""
        rows = (part.split(":") for part in self.text.split("|"))
        return {int(epoch): tuple(map(self._expected, self.digits, figures.split())) for epoch, figures in rows}

    def _expected(self, column, figure):
        within = self._within(column)
        return figure if within is None else pytest.approx(float(figure), abs=within)

    def _within(self, column):
        return self.losses_within if column.endswith("loss") else self.accuracies_within

    def found(self, history):
        """The same rows of a run's history."""
        return {
            epoch: tuple(self._printed(column, history[epoch][column]) for column in self.digits)
            for epoch in self.rows()
        }

    def _printed(self, column, value):
        value = value if column.endswith("loss") else 100 * value
        return f"{value:.{self.digits[column]}f}" if self._within(column) is None else value


TABLES = {
    "line_v1": Table(
        "0: 0.31288 0.48107 | 10: 0.19767 0.34636 | 20: 0.08909 0.21730 | 30: 0.05315 0.14464 | 40: 0.04544 0.11361 |"
        "50: 0.04168 0.09920 | 60: 0.03819 0.08887 | 70: 0.03476 0.08059 | 80: 0.03132 0.07232 | 90: 0.02789 0.06474",
        LOSSES,
    ),
    "line_v2": Table("0: 0.55518 0.57398 | 900: 0.00126 0.01380", LOSSES),
    "line_deep": Table(
        "0: 0.75986 0.54143 | 100: 0.09309 0.02901 | 200: 0.07376 0.02850 | 300: 0.06745 0.00615 |"
        "400: 0.06107 0.02004 | 500: 0.05698 0.01061 | 600: 0.04857 0.01326 | 700: 0.06109 0.02127 |"
        "800: 0.05599 0.01426 | 900: 0.05571 0.00603",
        LOSSES,
        losses_within=0.00002,
    ),
    "circles_v1": Table(
        "0: 0.69396 50.88 0.69261 51.00 | 100: 0.69305 50.38 0.69379 48.00 | 200: 0.69299 51.12 0.69437 46.00 |"
        "900: 0.69298 51.00 0.69468 46.00",
        ALL,
    ),
    "circles_v2": Table(
        "0: 0.69295 50.00 0.69319 50.00 | 100: 0.69115 52.88 0.69102 52.50 | 200: 0.68977 53.37 0.68940 55.00 |"
        "300: 0.68795 53.00 0.68723 56.00 | 400: 0.68517 52.75 0.68411 56.50 | 500: 0.68102 52.75 0.67941 56.50 |"
        "600: 0.67515 54.50 0.67285 56.00 | 700: 0.66659 58.38 0.66322 59.00 | 800: 0.65160 64.00 0.64757 67.50 |"
        "900: 0.62362 74.00 0.62145 79.00",
        ALL,
    ),
    "blobs": Table(
        "0: 1.04324 65.50 0.57861 95.50 | 10: 0.14398 99.12 0.13037 99.00 | 20: 0.08062 99.12 0.07216 99.50 |"
        "30: 0.05924 99.12 0.05133 99.50 | 40: 0.04892 99.00 0.04098 99.50 | 50: 0.04295 99.00 0.03486 99.50 |"
        "60: 0.03910 99.00 0.03083 99.50 | 70: 0.03643 99.00 0.02799 99.50 | 80: 0.03448 99.00 0.02587 99.50 |"
        "90: 0.03300 99.12 0.02423 99.50",
        ALL,
    ),
    "fashion_mnist_v0": Table(
        "0: 0.59039 0.50954 82.04 | 1: 0.47633 0.47989 83.20 | 2: 0.45503 0.47664 83.43",
        LOSSES | {"test_acc": 2},
    ),
    "fashion_mnist_v1": Table(
        "0: 1.09199 61.34 0.95636 65.00 | 1: 0.78101 71.93 0.72227 73.91 | 2: 0.67027 75.94 0.68500 75.02", ALL
    ),
    "fashion_mnist_v2": Table(
        "0: 0.593 86.01 | 2: 0.323 88.38",
        {"train_loss": 3, "test_acc": 2},
        losses_within=0.01,
        accuracies_within=1.0,
        but="; its digits depend on device and threads",
    ),
    "tinyvgg": Table(
        "0: 1.1078 25.78 1.1360 26.04 | 1: 1.0847 42.58 1.1620 19.79 | 2: 1.1157 29.30 1.1697 19.79 |"
        "3: 1.0956 41.41 1.1384 19.79 | 4: 1.0985 29.30 1.1426 19.79",
        PHOTOS,
        losses_within=0.005,
    ),
    "tinyvgg_trivial_augment": Table(
        "0: 1.1074 25.00 1.1058 26.04 | 1: 1.0791 42.58 1.1382 26.04 | 2: 1.0803 42.58 1.1685 26.04 |"
        "3: 1.1285 30.47 1.1623 26.04 | 4: 1.0880 42.58 1.1472 26.04",
        PHOTOS,
        losses_within=0.005,
    ),
}
NO_TABLE = {
    "blobs_relu": "none",
    "circles_v0": "none to compare with, as the notes build this model without a seed",
    "tinyvgg_cures": "none",
}
FASHION = [
    pytest.mark.slow,
    pytest.mark.skipif(fashion_mnist.find() is None, reason="no FashionMNIST files"),
]
TWO_CORES = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two threads need two cores")
MARKS = {"fashion_mnist_v0": FASHION, "fashion_mnist_v1": FASHION, "fashion_mnist_v2": [*FASHION, TWO_CORES]}
MARKS |= {name: [pytest.mark.slow, TWO_CORES] for name in TABLES if name.startswith("tinyvgg")}


@pytest.fixture(scope="module")
def trained(request, tmp_path_factory):
    """Train as a file of configs/ says, each once."""

    @cache
    def train(name):
        if name.startswith("tinyvgg"):
            request.getfixturevalue("photos")
        return run_training(
            resolve_config([read_file(CONFIGS / f"{name}.yaml")]), runs_dir=tmp_path_factory.mktemp(name)
        )

    return train


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in TABLES])
def test_a_config_prints_the_notes_table_as_exactly_as_it_says(trained, name):
    table = TABLES[name]

    assert table.found(trained(name).history()) == table.rows()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_and_the_guide_say_how_exactly_the_notes_table_comes_out(path):
    claim = TABLES[path.stem].claim if path.stem in TABLES else NO_TABLE[path.stem]

    assert re.findall(r"^# The notes' table: (.*)\.$", path.read_text(encoding="utf-8"), re.MULTILINE) == [claim]
    assert re.findall(rf"^\| `{path.name}` \|.*\| (.*) \|$", guide.page("settings"), re.MULTILINE) == [claim]


def test_line_v1_ends_at_the_notes_parameters_and_predictions(trained):
    run = trained("line_v1")
    model = load_run_model(run, "last")

    with torch.inference_mode():
        predictions = model(load_splits(run).test.inputs)

    assert (f"{model.weights.item():.4f}", f"{model.bias.item():.4f}") == ("0.5784", "0.3513")
    assert [f"{value:.4f}" for value in predictions[:, 0]] == [
        *("0.8141", "0.8256", "0.8372", "0.8488", "0.8603", "0.8719", "0.8835", "0.8950", "0.9066", "0.9182")
    ]


def test_line_v2_ends_at_the_notes_predictions(trained):
    run = trained("line_v2")

    with torch.inference_mode():
        predictions = load_run_model(run, "last")(load_splits(run).test.inputs)[:, 0]

    assert [f"{predictions[i]:.4f}" for i in (0, 1, -1)] == ["0.8600", "0.8739", "0.9854"]


def test_circles_v0_is_at_chance_after_the_notes_100_epochs(trained):
    history = trained("circles_v0").history()

    assert len(history) == 100
    assert history[-1]["test_acc"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_circles_v2_passes_99_percent_in_3000_epochs(tmp_path):
    layer = read_file(CONFIGS / "circles_v2.yaml")
    layer.values["epochs"] = 3000

    run = run_training(resolve_config([layer]), runs_dir=tmp_path)

    assert run.summary().last["test_acc"] > 0.99


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        pytest.param("fashion_mnist_v0", ("FashionMNISTModelV0", "0.476639", "83.426518"), marks=FASHION),
        pytest.param("fashion_mnist_v1", ("FashionMNISTModelV1", "0.685001", "75.019968"), marks=FASHION),
    ],
)
def test_eval_model_of_the_last_weights_gives_the_notes_figures(trained, name, printed):
    run = trained(name)

    with thread_count(1):
        found = eval_model(
            load_run_model(run, "last"), make_loader(load_splits(run).test, 32), torch.nn.CrossEntropyLoss()
        )

    assert (found["model_name"], f"{found['model_loss']:.6f}", f"{found['model_acc']:.6f}") == printed


@pytest.mark.parametrize("name", [pytest.param("fashion_mnist_v2", marks=[*FASHION, TWO_CORES])])
def test_fashion_mnist_v2_gives_the_checked_first_epoch_with_two_threads(trained, name):
    row = trained(name).history()[0]

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


@pytest.mark.parametrize("path", sorted({*CONFIGS.glob("*.yaml")} - {*SWEEPS}), ids=lambda path: path.stem)
def test_a_config_trains_as_the_recipe_of_its_model_does(path):
    config = resolve_config([read_file(path)])
    named = {"recipe": "notes", "model": {"name": config.model.name}, "data": {"name": config.data.name}}
    recipe = resolve_config([Layer(named)])

    for key in ("epochs", "optimizer", "schedule", "seed"):
        assert getattr(config, key) == getattr(recipe, key), key
    assert (config.data.batch_size, config.data.shuffle) == (recipe.data.batch_size, recipe.data.shuffle)


def settings_of(path):
    """Return the settings of a file of configs/ that are stored as JSON: of a sweep, those of each variant."""
    layer = read_file(path)
    if "sweep" not in layer.values:
        return fill_defaults(resolve_config([layer])).to_tree()
    plan, _ = plan_sweep([layer])
    points = [point for point in plan.points if point.seed == 42]
    return {point.values["variant"]: fill_defaults(config_of(plan, point)).to_tree() for point in points}


def stays(stored, now):
    """Return `now` without the settings that were not there when it was stored, which have their defaults."""
    return {key: stays(value, now[key]) for key, value in stored.items()} if isinstance(stored, dict) else now


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_settings_of_a_config_stay_the_notes_own(path):
    stored = json.loads((Path(__file__).parent / "resolved_configs.json").read_text())[path.name]

    assert stays(stored, settings_of(path)) == stored


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_names_the_recipe_of_the_notes(path):
    assert read_file(path).values["recipe"] == "notes"


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_in_configs_is_a_whole_plan(path):
    plan, settings = plan_sweep([read_file(path)])

    assert len(plan.points) == settings.seeds * len(
        {str(config_of(plan, point).to_tree() | {"seed": 0}) for point in plan.points}
    )
