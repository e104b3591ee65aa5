"""Images with several labels, or with a number: trained, resumed, evaluated and predicted as any others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dlworkflow.analysis.evaluation import report_run
from dlworkflow.analysis.figures import draw, fitting_kinds
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.analysis.thresholds import set_thresholds
from dlworkflow.config import from_overrides
from dlworkflow.errors import ConfigError, DataError
from dlworkflow.inference.predictor import Predictor
from dlworkflow.runs import Run
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty images of a bright left half, a bright right half, both or none, and three lists of them."""
    root = tmp_path_factory.mktemp("halves")
    lines = []
    for index in range(40):
        left, right = index % 2, index // 2 % 2
        pixels = np.random.default_rng(index).integers(0, 60, (8, 8), dtype=np.uint8)
        pixels[:, :4] += np.uint8(150 * left)
        pixels[:, 4:] += np.uint8(150 * right)
        Image.fromarray(pixels).save(root / f"{index}.png")
        lines.append((f"{index}.png", left, right))
    write = {
        "tags": ["path,labels", *(f"{p},{'|'.join(['left'] * a + ['right'] * b)}" for p, a, b in lines)],
        "halves": ["path,left,right", *(f"{p},{a},{b}" for p, a, b in lines)],
        "sums": ["path,value", *(f"{p},{1000 + 500 * (a + b)}" for p, a, b in lines)],
    }
    for name, text in write.items():
        (root / f"{name}.csv").write_text("\n".join(text) + "\n")
    return root


def train(folder, runs, name, *pairs):
    named = ("model=fashion_mnist_v0", "recipe=notes")
    data = (f"data={folder / name}.csv", "data.image_size=8", "data.channels=1", "data.batch_size=8", "device=cpu")
    return run_training(resolve_config([from_overrides((*named, *data, *pairs))]), runs_dir=runs)


@pytest.fixture(scope="module")
def tagged(folder, tmp_path_factory):
    more = ("epochs=12", "optimizer.lr=0.5", "data.val_fraction=0.25", "metrics=[f1_macro]")
    return train(folder, tmp_path_factory.mktemp("runs"), "halves", *more)


@pytest.fixture(scope="module")
def valued(folder, tmp_path_factory):
    return train(folder, tmp_path_factory.mktemp("runs"), "sums", "epochs=12", "optimizer.lr=0.1")


def test_several_labels_are_learnt(tagged):
    report = report_run(tagged)

    assert report.metrics["subset_accuracy"] == 1
    assert report.metrics["subset_accuracy"] == tagged.summary().best["test_acc"]
    assert report.metrics["f1_macro"] == tagged.summary().best["test_f1_macro"]


def test_the_baseline_is_the_commonest_set_of_labels(tagged):
    summary, report = tagged.summary(), report_run(tagged)

    assert summary.baseline.score == report.baseline == report.baseline_metrics["subset_accuracy"]
    assert summary.baseline.answer in ("left", "right", "left|right", "(none)")


def test_all_labels_from_their_thresholds_on_are_predicted(tagged, folder):
    both, none = Predictor.from_run(tagged).predict([folder / "3.png", folder / "0.png"])

    assert {name for name, _ in both.labels} == {"left", "right"}
    assert (none.labels, none.label in ("left", "right")) == ((), True)


def test_thresholds_are_found_on_the_validation_split_and_kept(tagged, folder):
    found = set_thresholds(tagged, "best")

    assert Run(tagged.path).summary().thresholds == found
    assert Predictor.from_run(tagged).thresholds == tuple(found.values())
    assert report_run(tagged).to_data()["thresholds"] == found
    set_thresholds(tagged, "0.5")


@pytest.mark.parametrize("wanted", ["0", "1.5", "low"])
def test_a_threshold_is_a_probability(wanted, tagged):
    with pytest.raises(ConfigError, match=f"best, or a number between 0 and 1, not '{wanted}'"):
        set_thresholds(tagged, wanted)


def test_thresholds_are_for_several_labels(valued):
    with pytest.raises(ConfigError, match=r"the task of .* is regression"):
        set_thresholds(valued, "0.5")


def test_numbers_are_learnt_scaled_and_given_in_their_unit(valued, folder):
    [prediction] = Predictor.from_run(valued).predict([folder / "3.png"])
    report = report_run(valued)

    assert prediction.value == pytest.approx(2000, abs=150)
    assert {row["truth"] for row in report.samples} <= {1000.0, 1500.0, 2000.0}
    assert report.metrics["mae"] < 150 < report.baseline_metrics["mae"]
    assert report.loss == pytest.approx(report.metrics["mae"] / valued.summary().target["std"], rel=1e-5)


@pytest.mark.parametrize("name", ["halves", "sums"])
def test_a_resumed_run_is_equal_to_the_bit(name, folder, tmp_path):
    whole = train(folder, tmp_path, name, "epochs=3")
    parted = train(folder, tmp_path, name, "epochs=2")

    resume_training(parted, epochs=3)

    theirs = torch.load(parted.weights_path("last"), weights_only=True)
    for key, value in torch.load(whole.weights_path("last"), weights_only=True).items():
        assert torch.equal(value, theirs[key])


def test_each_task_has_its_figures(tagged, valued):
    assert {"labels", "errors", "predictions"} <= {*fitting_kinds(tagged)}
    assert not {"confusion", "calibration", "scatter"} & {*fitting_kinds(tagged)}
    assert {"scatter", "errors"} <= {*fitting_kinds(valued)}
    for run, kind in ((tagged, "labels"), (tagged, "predictions"), (valued, "scatter"), (valued, "errors")):
        assert draw(run, kind).axes


def test_other_images_are_scored_by_the_columns_of_the_run(tagged, valued, folder):
    assert load_part(valued, other=str(folder / "sums.csv")).dataset.labels.std(correction=0) == pytest.approx(
        1, rel=0.2
    )
    assert load_part(tagged, other=str(folder / "halves.csv")).dataset.labels.sum().item() == 40


def test_a_folder_of_classes_has_no_numbers_to_score(valued, pets):
    with pytest.raises(
        DataError, match="is a folder of classes, the model's task is regression; give a CSV of path,value"
    ):
        load_part(valued, other=str(pets))


@pytest.mark.parametrize(
    ("name", "pairs", "said"),
    [
        ("halves", ["data.sampler=balanced"], "data.sampler: is for one class per sample"),
        ("halves", ["metrics=[accuracy]"], "metrics: accuracy takes more than counts"),
        ("halves", ["loss=cross_entropy"], "loss: 'cross_entropy' is not for multilabel; possible: binary_cross"),
        ("sums", ["metrics=[f1_macro]"], "metrics: is for classes"),
        ("sums", ["label_smoothing=0.1"], "label_smoothing: is for classes"),
        ("tags", [], "line 2: no labels"),
    ],
)
def test_settings_that_do_not_fit_the_task_are_named(name, pairs, said, folder, tmp_path):
    with pytest.raises((ConfigError, DataError), match=said):
        train(folder, tmp_path, name, *pairs)


@pytest.mark.parametrize("pairs", [["loss_weights=balanced"], ["mixup=0.2"], ["label_smoothing=0.1"], ["ema=0.9"]])
def test_several_labels_train_with_settings_of_classes(pairs, folder, tmp_path):
    run = train(folder, tmp_path, "tags", "data.empty_labels=none", "epochs=1", *pairs)

    assert np.isfinite(run.summary().best["test_loss"])
