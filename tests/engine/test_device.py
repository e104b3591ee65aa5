"""Devices, threads and seeds."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from dlworkflow import models
from dlworkflow.engine.device import (
    available_devices,
    choose_channels_last,
    choose_device,
    choose_threads,
    thread_count,
)
from dlworkflow.engine.random_state import set_seeds
from dlworkflow.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "shape", "device", "chosen"),
    [
        ("tinyvgg", (3, 64, 64), "cpu", True),
        ("tinyvgg", (3, 28, 28), "cpu", True),
        ("tinyvgg", (3, 20, 20), "cpu", False),
        ("tinyvgg", (1, 64, 64), "cpu", False),
        ("tinyvgg", (3, 64, 64), "cuda", False),
        ("fashion_mnist_v0", (3, 64, 64), "cpu", False),
    ],
)
def test_channels_last_is_chosen_for_convolutions_over_colour_images_on_a_cpu(name, shape, device, chosen):
    model = models.build(name, shape, 10)

    assert choose_channels_last("auto", model, shape, torch.device(device)) is chosen


@pytest.mark.parametrize("given", [True, False])
def test_a_given_memory_format_is_taken(given):
    assert choose_channels_last(given, torch.nn.Linear(1, 1), (1,), torch.device("cpu")) is given


def test_auto_is_the_first_device_there_is():
    assert choose_device("auto") == torch.device(available_devices()[0])


def test_a_device_that_is_not_there_names_those_that_are():
    with pytest.raises(ConfigError, match=r"'cuda:99' is not on this machine; possible: auto, .*cpu"):
        choose_device("cuda:99")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_cuda_is_the_first_cuda_device():
    assert choose_device("cuda") == torch.device("cuda:0")


def test_a_seed_repeats_every_generator():
    def draw():
        set_seeds(7)
        return torch.rand(1).item(), float(np.random.rand()), random.random()

    assert draw() == draw()


def test_models_without_convolutions_train_on_one_thread():
    assert choose_threads("auto", models.build("fashion_mnist_v0", (1, 28, 28), 10), (1, 28, 28)) == 1


@pytest.mark.parametrize(("size", "threads"), [(8, 1), (27, 1), (28, 7), (64, 7)])
def test_convolutions_use_torchs_own_thread_count_over_pictures_that_are_not_tiny(size, threads):
    with thread_count(7):
        assert choose_threads("auto", models.build("tinyvgg", (1, size, size), 10), (1, size, size)) == threads


def test_a_given_thread_count_is_kept_and_put_back():
    before = torch.get_num_threads()

    with thread_count(choose_threads(1, torch.nn.Linear(1, 1), (1,))):
        within = torch.get_num_threads()

    assert (within, torch.get_num_threads()) == (1, before)


@pytest.mark.parametrize(
    ("name", "process", "device"), [("auto", 1, "cuda:1"), ("cuda", 0, "cuda:0"), ("cpu", 1, "cpu")]
)
def test_each_of_several_processes_has_a_device_of_its_own(monkeypatch, name, process, device):
    monkeypatch.setattr("dlworkflow.engine.device.available_devices", lambda: ["cuda:0", "cuda:1", "cpu"])

    assert str(choose_device(name, process=process)) == device


@pytest.mark.parametrize(
    ("name", "process", "complaint"),
    [("cuda:1", 0, "'cuda:1' is one device"), ("auto", 2, "this machine has 2 cuda devices")],
)
def test_several_processes_cannot_share_a_device(monkeypatch, name, process, complaint):
    monkeypatch.setattr("dlworkflow.engine.device.available_devices", lambda: ["cuda:0", "cuda:1", "cpu"])

    with pytest.raises(ConfigError, match=complaint):
        choose_device(name, process=process)
