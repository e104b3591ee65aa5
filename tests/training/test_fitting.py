"""`fit`: a model and loaders that are there already become a run."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import dlworkflow as dlw
from dlworkflow import data, models
from dlworkflow.errors import CodeError, ConfigError

X = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
POINTS = TensorDataset(X, (X[:, 0] > 0.5).long())


class Line(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.fc = nn.Linear(in_features, num_classes)

    def forward(self, x):
        return self.fc(x)


def fit(model, train=POINTS, test=POINTS, **settings):
    return dlw.fit(model, train, test, **{"epochs": 1, "device": "cpu", "verbose": False} | settings)


@pytest.fixture
def line(in_tmp):
    return Line(2, 2)


def test_a_model_is_trained_in_place_and_leaves_a_run(line):
    before = line.fc.weight.clone()

    run = fit(line)

    assert (run.name, run.summary().status) == ("Line-given-001", "finished")
    assert not torch.equal(line.fc.weight, before)
    assert torch.equal(torch.load(run.weights_path("last"), weights_only=True)["fc.weight"], line.fc.weight)


def test_batch_size_and_shuffling_are_those_of_the_loader(line):
    served = fit(line, DataLoader(POINTS, batch_size=7), DataLoader(POINTS)).summary().config["data"]

    assert (served["batch_size"], served["shuffle"]) == (7, False)


def test_a_setting_goes_before_the_loaders(line):
    loader = DataLoader(POINTS, batch_size=7, shuffle=True)

    assert fit(line, loader, batch_size=5).summary().config["data"]["batch_size"] == 5


def test_the_run_keeps_the_class_and_its_file(line):
    record, _ = fit(line).summary().code

    assert (record["kind"], record["name"], record["attribute"]) == ("model", "Line", "Line")
    assert record["path"] == __file__


def test_a_run_of_a_model_predicts_with_it(line):
    run = fit(line, epochs=30, lr=0.1)

    assert dlw.Predictor.from_run(run, model=line).predict([0.9, 0.1]).label == "1"


def test_without_the_model_its_file_must_be_named(line, forget):
    run = fit(line)

    with pytest.raises(
        CodeError, match=r"needs the code of model 'Line'.*: dlworkflow\.use_code\('.*test_fitting\.py'\)"
    ):
        dlw.Predictor.from_run(run)


def test_the_file_of_the_class_is_enough_to_predict(line, forget):
    run = fit(line)
    dlw.use_code(__file__)

    assert dlw.Predictor.from_run(run).predict([0.9, 0.1]).label in ("0", "1")


def test_nothing_stays_registered(line):
    fit(line)

    assert "Line" not in models.names()
    assert "given" not in data.names()


@pytest.mark.parametrize(
    ("loss_fn", "stored"),
    [
        (nn.CrossEntropyLoss(), {"name": "cross_entropy", "label_smoothing": 0.0}),
        (nn.CrossEntropyLoss(label_smoothing=0.1), {"name": "cross_entropy", "label_smoothing": 0.1}),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])), "CrossEntropyLoss"),
        (nn.functional.cross_entropy, "cross_entropy_given"),
        ("multi_margin", "multi_margin"),
    ],
)
def test_a_loss_has_the_librarys_name_where_it_is_the_same(line, loss_fn, stored):
    assert fit(line, loss_fn=loss_fn).summary().config["loss"] == stored


@pytest.mark.parametrize(
    ("labels", "outputs", "task"),
    [
        (X[:, :1], 1, "regression"),
        ((X[:, 0] > 0.5).float(), 1, "binary"),
        ((X > 0.5).float(), 2, "multilabel"),
        ((X[:, 0] > 0.5).long(), 5, "multiclass"),
    ],
)
def test_the_task_follows_from_the_labels_and_classes_from_the_outputs(in_tmp, labels, outputs, task):
    part = TensorDataset(X, labels)
    summary = fit(Line(2, outputs), part, part).summary()

    assert (summary.task, summary.n_outputs) == (task, outputs)


def test_names_of_model_and_data_are_enough(in_tmp):
    assert dlw.fit("blobs", data="blobs", epochs=1, verbose=False).summary().data == "blobs"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"test": None}, "test: is missing; fit takes a loader or data set for training and one for testing"),
        ({"data": "blobs"}, "data: contradicts train and test; give either"),
        ({"train": DataLoader(POINTS, collate_fn=list)}, "train: its collate_fn would not be used"),
        (
            {"train": DataLoader(POINTS, sampler=WeightedRandomSampler(torch.ones(60), 60))},
            "train: its sampler would not be used; give the data set",
        ),
        ({"loss_fn": nn.NLLLoss()}, "loss_fn: NLLLoss takes log probabilities; a run's model gives raw scores"),
        ({"lr": -1}, "lr: must be more than 0, not -1"),
    ],
)
def test_what_cannot_be_honoured_is_refused(line, given, words):
    with pytest.raises(ConfigError, match=words):
        fit(line, **given)
