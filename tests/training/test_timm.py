"""A model of timm trained from random weights: resumed and used to predict from its run folder alone."""

from __future__ import annotations

import pytest
import torch

from dlworkflow.errors import ConfigError
from dlworkflow.inference.predictor import Predictor
from dlworkflow.runs import Run
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config


def settings(**more):
    data = {"name": "digits", "image_size": 8, "channels": 1, "limit": 200}
    return resolve_config({"model": "timm/test_resnet", "data": data, "epochs": 2, "optimizer.lr": 0.003, **more})


def stop(epoch):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_training(settings(), runs_dir=tmp_path_factory.mktemp("runs"))


def test_it_learns_the_digits(run):
    first, last = run.history()

    assert last["train_loss"] < first["train_loss"]


def test_its_run_is_a_single_folder(run):
    assert run.name == "timm_test_resnet-digits-001"


def test_it_predicts_from_its_run(run):
    predictor = Predictor.from_run(run)

    assert predictor.logits(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert predictor.transform.mean == (0.5,)


def test_it_resumes_to_the_same_bits(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_training(settings(), runs_dir=tmp_path, on_epoch=stop)
    stopped = Run(tmp_path / "timm_test_resnet-digits-001")

    resume_training(stopped)

    ends = [torch.load(each.weights_path("last"), weights_only=True) for each in (run, stopped)]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_its_weights_take_rgb_images_alone():
    with pytest.raises(ConfigError, match=r"data.channels: the weights take RGB images"):
        settings(weights="default")
