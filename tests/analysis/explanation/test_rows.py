"""Rows: contributions add up, in the columns and units of the user; importance is that of scikit-learn."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.inspection import permutation_importance

import dlworkflow as dlw
from dlworkflow.analysis.explanation.importance import intervals
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.config import from_flags, from_overrides
from dlworkflow.data.protocol import all_of
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import ConfigError, DataError
from dlworkflow.inference.predictor import Predictor
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """A run on a table: the price follows from the city and the size, and not from the noise."""
    folder = tmp_path_factory.mktemp("table")
    generator = np.random.default_rng(0)
    with (folder / "homes.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["city", "size", "noise", "price"])
        for _ in range(400):
            city, size, noise = generator.choice(["Rom", "Bonn"]), generator.normal(), generator.normal()
            writer.writerow([city, size, noise, 100 + 30 * (city == "Rom") + 50 * size])
    given = [from_overrides(["epochs=60", "optimizer.lr=0.01", f"data.path={folder / 'homes.csv'}"])]
    flags = from_flags({"model.name": ("MODEL", "mlp"), "data.name": ("--data", "csv_table")})
    return Predictor.from_run(run_training(resolve_config([flags, *given]), runs_dir=folder))


def test_contributions_add_up_to_the_difference_from_the_mean_row(predictor):
    pytest.importorskip("captum")
    found = dlw.explain(predictor, {"city": "Rom", "size": 1.5, "noise": 0})

    assert [*found.contributions] == ["city", "size", "noise"]
    assert sum(found.contributions.values()) == pytest.approx(found.answer.value - found.start.value, rel=0.02, abs=0.5)
    assert found.contributions["size"] == pytest.approx(75, abs=20)
    assert found.shown_rows()[0]["column"] == "size"


def test_contributions_of_a_calibrated_model_add_up_to_its_calibrated_logits():
    pytest.importorskip("captum")
    model = torch.nn.Linear(2, 1)
    of = get_task("binary"), ("no", "yes"), (2,), None, torch.device("cpu")
    found = dlw.explain(Predictor(model, *of, temperature=4.0), [3.0, -2.0], label="yes")

    logits = [np.log(each.probability / (1 - each.probability)) for each in (found.start, found.answer)]
    assert sum(found.contributions.values()) == pytest.approx(logits[1] - logits[0], abs=1e-3)


def test_a_row_that_cannot_be_used_has_the_reason(predictor):
    pytest.importorskip("captum")
    rows = [{"city": "Rom", "size": 1, "noise": 0}, {"city": "Paris", "size": 1, "noise": 0}]

    fine, wrong = dlw.explain(predictor, rows)

    assert fine.error is None
    assert "'Paris'" in wrong.error
    with pytest.raises(DataError, match="'Paris'"):
        dlw.explain(predictor, rows[1])


def test_what_counts_is_found_and_what_does_not_is_named(predictor):
    found = dlw.explain(predictor)

    assert [row["column"] for row in found.columns] == ["size", "city", "noise"]
    assert found.columns[1]["low"] > 0
    assert "of no use to the model: 'noise'" in found.sentences()[1]


def test_importance_is_that_of_scikit_learn(predictor):
    inputs, labels = all_of(load_part(predictor.run, "test").dataset)

    class Fitted:
        def fit(self, X, y):
            raise NotImplementedError

    def score(_, X, y):
        values = predictor.logits(torch.from_numpy(X)).numpy().ravel()
        return -np.abs(values - y.ravel()).mean() * predictor.target.std

    names = [row["column"] for row in dlw.explain(predictor).columns]
    theirs = permutation_importance(
        Fitted(), inputs.numpy(), labels.numpy(), scoring=score, n_repeats=10, random_state=0
    )
    ours = {row["column"]: row["worse"] for row in dlw.explain(predictor).columns}

    place = {"size": inputs.shape[1] - 2, "noise": inputs.shape[1] - 1}
    assert set(place) < set(names)
    for name, column in place.items():
        assert ours[name] == pytest.approx(theirs.importances_mean[column], rel=0.15, abs=0.1)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        differences = generator.normal(0.3, 1, size=(2, 1, 50)) + generator.normal(0, 0.3, size=(2, 10, 50))
        lows, highs = intervals(differences, generator)
        held += all(low <= 0.3 <= high for low, high in zip(lows, highs, strict=True))

    assert stats.binomtest(held, 100, 0.95).pvalue > 0.001


def test_a_model_of_images_without_an_image_is_an_error(predictor_of):
    with pytest.raises(ConfigError, match="has no data of its own"):
        dlw.explain(predictor_of(torch.nn.Flatten()))
