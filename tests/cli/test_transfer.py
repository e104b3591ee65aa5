"""`dlw train resnet18 --weights ... --freeze backbone`, and the commands that read such a run."""

from __future__ import annotations

import json

import pytest
import torch
import torchvision

SMALL = "shufflenet_v2_x0_5"
QUICK = ("--epochs", "1", "--batch-size", "5", "--set", "data.image_size=32")


@pytest.fixture
def weights(in_tmp):
    torch.manual_seed(1)
    torch.save(torchvision.models.get_model(SMALL, weights=None).state_dict(), in_tmp / "small.pth")
    return "small.pth"


@pytest.fixture
def transferred(dlw, pets, weights):
    answer = dlw("train", SMALL, "--data", pets, "--weights", weights, "--freeze", "backbone", *QUICK)
    assert answer.code == 0, answer.err
    return answer


def test_it_is_said_what_is_frozen_and_which_weights_are_new(transferred):
    assert "backbone frozen, 2,050 trained)" in transferred.err
    assert "small.pth; not: fc.weight (new), fc.bias (new)" in transferred.err


@pytest.mark.parametrize("command", ["show", "evaluate --no-plots", "plot"])
def test_commands_on_runs_take_a_run_with_a_backbone(dlw, transferred, command):
    assert dlw(*command.split(), "last").code == 0


def test_a_picture_is_predicted_with_the_preprocessing_of_the_run(dlw, transferred, pets):
    answer = dlw("predict", pets / "test" / "cat", "--format", "json")

    assert answer.code == 0
    assert {row["label"] for row in json.loads(answer.out)} <= {"cat", "dog"}


def test_a_run_goes_on_where_it_stopped_with_the_file_gone(dlw, transferred, in_tmp):
    (in_tmp / "small.pth").unlink()

    assert dlw("train", "--resume", "last", "--epochs", "2").code == 0


def test_another_run_begins_with_its_weights(dlw, transferred, pets):
    answer = dlw("train", SMALL, "--data", pets, "--init-from", "last", "--freeze", "backbone", *QUICK)

    assert answer.code == 0
    assert "not:" not in answer.err


def test_a_scripts_weights_are_predicted_with_as_torchvision_publishes_them(dlw, in_tmp, pets):
    torch.save(torchvision.models.get_model(SMALL, weights=None, num_classes=2).state_dict(), in_tmp / "script.pth")

    answer = dlw("predict", pets / "test", "--model", SMALL, "--weights", "script.pth", "--classes", "cat,dog")

    assert answer.code == 0
    assert f"in {SMALL} for inputs of 3x224x224" in answer.err


def test_offline_the_file_and_its_folder_are_named_before_anything_is_written(dlw, pets, in_tmp, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(in_tmp / "torch"))

    answer = dlw("train", SMALL, "--data", pets, "--weights", "default", "--offline", *QUICK)

    assert answer.code == 1
    [line] = answer.complaints
    assert "shufflenetv2_x0.5-f707e7126e.pth is not in" in line
    assert str(in_tmp / "torch" / "hub" / "checkpoints") in line
    assert not (in_tmp / "runs").exists()


def test_flags_are_named_as_they_were_typed(dlw, pets):
    answer = dlw("train", "tinyvgg", "--data", pets, "--freeze", "backbone", "--freeze-epochs", "2")

    assert answer.code == 2
    assert "--freeze: model 'tinyvgg' has no backbone" in answer.err
    assert "--freeze-epochs: model 'tinyvgg' has no backbone" in answer.err


def test_a_summary_is_of_any_model_of_torchvision(dlw):
    assert "ShuffleNetV2" in dlw("summary", SMALL, "--batch-size", "1").out


def test_listing_models_names_torchvision(dlw):
    assert "the classification models of torchvision and timm" in dlw("models").err
