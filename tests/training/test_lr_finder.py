"""The range test: what it suggests, and that it leaves nothing behind."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dlworkflow import models
from dlworkflow.config import from_flags, from_overrides
from dlworkflow.errors import ConfigError
from dlworkflow.training.lr_finder import search_lr, suggest
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config

RATES = [10.0**power for power in range(-5, 3)]


def settings(model, *pairs):
    return resolve_config([from_flags({"model.name": ("MODEL", model)}), from_overrides(pairs)])


def test_a_tenth_of_where_the_loss_is_lowest_is_suggested():
    rate, reason = suggest(RATES, [1.0, 0.99, 0.97, 0.95, 0.9, 0.39, 0.8, 1.5])

    assert rate == pytest.approx(1e-1)
    assert reason == "the loss falls fastest at 1 and is lowest at 1; a tenth of that is a safe start"


def test_where_the_loss_falls_fastest_is_suggested_when_that_is_lower():
    rate, _ = suggest(RATES, [1.0, 0.9, 0.4, 0.39, 0.38, 0.37, 0.8, 1.5])

    assert rate == pytest.approx(1e-3)


def test_a_fall_after_the_lowest_loss_does_not_count():
    rate, _ = suggest(RATES, [1.0, 0.9, 0.7, 0.6, 5.0, 2.0, 3.0, 3.0])

    assert rate == pytest.approx(1e-3)


def test_where_the_loss_never_falls_nothing_is_suggested():
    rate, reason = suggest(RATES, [1.0, 1.0, 1.1, 1.2, 1.3, 2.0, 3.0, 4.0])

    assert rate is None
    assert reason == "the loss does not fall at any learning rate from 1e-05 to 1e+02"


def test_the_suggested_rate_learns_where_the_first_would_not(tmp_path):
    found = search_lr(settings("tinyvgg"))
    losses = [
        run_training(settings("tinyvgg", "epochs=2", f"optimizer.lr={rate}"), runs_dir=tmp_path).history()[-1]
        for rate in (found.suggestion, found.rates[0])
    ]

    assert losses[0]["test_loss"] < 0.8 * losses[1]["test_loss"]


def test_rates_rise_by_the_same_factor_and_end_where_the_loss_diverges():
    found = search_lr(settings("line_v2", "loss=mse"), low=1e-3, high=1e3, steps=60)

    factors = [after / before for before, after in zip(found.rates, found.rates[1:], strict=False)]
    assert factors == pytest.approx([1e6 ** (1 / 59)] * len(factors))
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 60
    assert all(map(math.isfinite, found.losses))


def test_a_search_leaves_no_file_and_no_draw(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    before = torch.get_rng_state()

    search_lr(settings("improved_tinyvgg"), steps=10)

    assert list(tmp_path.iterdir()) == []
    assert torch.equal(torch.get_rng_state(), before)


def test_a_frozen_backbone_stays_frozen(monkeypatch):
    class Net(nn.Sequential):
        classifier_layer = "2"

        def __init__(self, in_features, n_outputs):
            super().__init__(nn.Flatten(), nn.Linear(in_features, 4), nn.Linear(4, n_outputs))
            made.append(self)

    made = []
    monkeypatch.setitem(models.REGISTRY.registered, "net", Net)

    search_lr(settings("net", "data=digits", "freeze=backbone"), steps=20)

    assert [parameter.grad is None for parameter in made[-1].parameters()] == [True, True, False, False]


def test_the_same_settings_suggest_the_same_rate():
    first, second = (search_lr(settings("circles_v2", "optimizer=adam"), steps=30) for _ in range(2))

    assert first == second


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"low": 1.0, "high": 0.1}, "low, high: learning rates above 0"),
        ({"steps": 3}, "steps: must be at"),
    ],
)
def test_a_range_that_is_none_is_refused(options, fault):
    with pytest.raises(ConfigError, match=fault):
        search_lr(settings("line"), **options)
