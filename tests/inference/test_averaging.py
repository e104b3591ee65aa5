"""Means of several answers: of a mirrored image, and of several models with their disagreement."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dlworkflow.data.images.transforms import parse
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.engine.tasks import get_task
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.inference.averaging import Ensemble, InUnits, disagreement, mean_scores
from dlworkflow.inference.caution import Caution
from dlworkflow.inference.predictor import Predictor
from dlworkflow.training.run import run_training

TASKS = {"multiclass": (3, 4, 5), "binary": (3, 4, 1)}


@pytest.mark.parametrize("name", TASKS)
def test_mean_scores_stand_for_the_mean_probability(name):
    task, scores = get_task(name), torch.randn(TASKS[name], generator=torch.Generator().manual_seed(0)) * 20
    expected = torch.stack([task.probabilities(of_one) for of_one in scores]).mean(dim=0)

    assert torch.allclose(task.probabilities(mean_scores(scores, task)), expected, atol=1e-6)


def test_mean_scores_of_a_regression_are_mean_values():
    assert mean_scores(torch.tensor([[[1.0]], [[3.0]]]), get_task("regression")).tolist() == [[2.0]]


@pytest.mark.parametrize(
    ("name", "scores", "expected"),
    [
        ("multiclass", [[[9.0, 0.0]], [[9.0, 0.0]], [[0.0, 1.0]], [[9.0, 0.0]]], 0.25),
        ("binary", [[[9.0]], [[9.0]], [[-1.0]], [[9.0]]], 0.25),
        ("regression", [[[1.0]], [[3.0]]], 2**0.5),
    ],
)
def test_disagreement_is_the_share_of_other_labels_or_the_standard_deviation(name, scores, expected):
    assert disagreement(torch.tensor(scores), get_task(name)).tolist() == pytest.approx([expected])


class Left(nn.Module):
    """Scores an image by its left half alone."""

    def forward(self, x):
        left = x[..., : x.shape[-1] // 2].mean(dim=(1, 2, 3))
        return torch.stack([left, -left], dim=1) * 5


def half_white():
    image = np.zeros((8, 8), np.uint8)
    image[:, :4] = 255
    return image


def predictor(model=None):
    way = parse(None, image_size=(8, 8), channels=1)
    return Predictor(model or Left(), get_task("multiclass"), ("a", "b"), (1, 8, 8), way, torch.device("cpu"))


def test_models_of_several_labels_disagree_where_one_label_is_on_another_side_of_its_threshold():
    scores = torch.tensor([[[1.0, -9.0]], [[0.5, -9.0]], [[3.0, -9.0]]])  # probabilities 0.73, 0.62, 0.95: mean 0.77

    assert disagreement(scores, get_task("multilabel"), (0.7, 0.5)).tolist() == pytest.approx([1 / 3])


def test_flip_is_the_mean_probability_of_an_image_and_its_mirror_image():
    images = [half_white(), half_white()[:, ::-1]]
    expected = np.mean([dict(found.top)["a"] for found in predictor().predict(images, top_k=2)])

    assert predictor().predict(images[0], tta="flip", top_k=2).probability == pytest.approx(expected)


def test_an_unknown_augmentation_and_one_for_numbers_are_refused():
    with pytest.raises(ConfigError, match=r"tta: unknown test-time augmentation 'flop'; did you mean 'flip'"):
        predictor().predict(half_white(), tta="flop")
    with pytest.raises(ConfigError, match="tta: flip mirrors images, and the model takes numbers"):
        replace(predictor(), transform=None).with_tta("flip")


# Ensembles of runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs of two classes and one of four, and one of a regression on another shape; untrained."""
    folder = tmp_path_factory.mktemp("runs")
    made = [run_training(model="circles_v2", epochs=0, seed=seed, runs_dir=folder) for seed in (1, 2, 3)]
    return [*made, *(run_training(model=name, epochs=0, runs_dir=folder) for name in ("blobs", "line"))]


def test_an_ensemble_predicts_the_mean_probability_of_its_runs(runs):
    row = [0.5, -0.2]
    alone = [dict(Predictor.from_run(run).predict(row, top_k=2).top) for run in runs[:3]]

    found = dict(Predictor.from_runs(runs[:3]).predict(row, top_k=2).top)

    assert found["inner"] == pytest.approx(np.mean([each["inner"] for each in alone]), abs=1e-6)


def test_an_ensemble_shows_how_many_of_its_models_disagree(runs):
    row = [0.5, -0.2]
    alone = [Predictor.from_run(run).predict(row).label for run in runs[:3]]
    found = Predictor.from_runs(runs[:3]).predict(row)

    assert found.disagreement == pytest.approx(np.mean([label != found.label for label in alone]))


def test_test_time_augmentation_of_an_ensemble_is_that_of_each_member():
    found = predictor(Ensemble([Left(), Left()], get_task("multiclass"))).predict(half_white(), tta="flip")

    assert found == replace(predictor().predict(half_white(), tta="flip"), disagreement=0.0)


def test_values_of_runs_with_targets_of_other_scales_are_averaged_in_their_unit():
    zero = nn.Linear(1, 1)
    nn.init.zeros_(zero.weight)
    nn.init.zeros_(zero.bias)
    members = [InUnits(zero, TargetScale(mean, std)) for mean, std in ((1.0, 2.0), (3.0, 5.0))]
    both = Ensemble(members, get_task("regression"))

    assert both(torch.ones(1, 1)).item() == 2.0


def test_one_run_alone_is_no_ensemble(runs):
    assert Predictor.from_runs(runs[:1]).predict([0.5, -0.2]).disagreement is None


def test_no_run_is_refused():
    with pytest.raises(RunError, match="at least one run"):
        Predictor.from_runs([])


@pytest.mark.parametrize(("other", "words"), [(3, "tasks differ: binary; multiclass"), (4, "tasks differ")])
def test_runs_of_other_tasks_are_refused(runs, other, words):
    with pytest.raises(RunError, match=f"cannot be averaged, their {words}"):
        Predictor.from_runs([runs[0], runs[other]])


def test_runs_of_other_classes_are_refused(runs, tmp_path):
    other = shutil.copytree(runs[0].path, tmp_path / "other")
    summary = json.loads((other / "summary.json").read_text())
    summary["classes"] = ["outer", "middle"]
    summary["baseline"] = None
    (other / "summary.json").write_text(json.dumps(summary))

    with pytest.raises(RunError, match="classes differ: outer, inner; outer, middle"):
        Predictor.from_runs([runs[0], other])


def test_the_mirrored_answer_of_a_calibrated_model_is_the_mean_of_calibrated_ones(paint, tmp_path):
    way = parse([{"resize": {"size": [4, 4]}}], channels=3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    parts = (model, get_task("multiclass"), ("a", "b", "c"), (3, 4, 4), way, torch.device("cpu"))
    predictor, image = Predictor(*parts, temperature=3.0), paint(tmp_path / "a.png")
    x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = sum(torch.from_numpy(predictor.answers(each).values) for each in (x, x.flip(-1))) / 2

    assert torch.allclose(torch.from_numpy(predictor.with_tta("flip").answers(x).values), expected, atol=1e-6)
    assert predictor.with_tta("flip").predict(image).probability < 1


def test_a_limit_that_was_measured_without_mirroring_does_not_hold_with_it():
    way = parse([{"resize": {"size": [4, 4]}}], channels=3)
    parts = (nn.Flatten(), get_task("multiclass"), ("a", "b", "c"), (3, 4, 4), way, torch.device("cpu"))
    cautious = Predictor(*parts, caution=Caution(threshold=1.0))

    with pytest.raises(ConfigError, match="tta: not with max_error or reject_unknown"):
        cautious.with_tta("flip")
