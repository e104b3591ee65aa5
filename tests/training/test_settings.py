"""One validation: the same sentences for the command line, a sweep and settings made by hand."""

from __future__ import annotations

import pytest
import torch

from dlworkflow.config import TrainConfig, from_overrides
from dlworkflow.engine.optimizers import OPTIMIZERS
from dlworkflow.errors import ConfigError
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import complete_config, resolve_config


def by_hand(**settings):
    fixed = {"model": {"name": "line_v2"}, "data": {"name": "line"}, "optimizer": {"name": "adam"}}
    return TrainConfig.model_validate(fixed | settings)


@pytest.mark.parametrize(
    ("settings", "pairs"),
    [
        ({"optimizer": {"name": "adam", "momentum": 0.9}}, ["optimizer={name: adam, momentum: 0.9}"]),
        ({"optimizer": {"name": "adan"}}, ["optimizer.name=adan"]),
        (
            {"schedule": {"name": "step", "step_size": 9}, "epochs": 9},
            ["schedule={name: step, step_size: 9}", "epochs=9"],
        ),
        ({"loss": "cross_entropy"}, ["loss=cross_entropy"]),
        ({"label_smoothing": 0.1}, ["label_smoothing=0.1"]),
        ({"model": {"name": "line_v2", "depth": 3}}, ["model.depth=3"]),
        ({"data": {"name": "line", "step": "x"}}, ["data.step=x"]),
        ({"freeze": "backbone"}, ["freeze=backbone"]),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_settings_made_by_hand_get_the_sentences_of_those_that_are_typed(settings, pairs, tmp_path):
    with pytest.raises(ConfigError) as typed:
        resolve_config([from_overrides(["model.name=line_v2", "data.name=line", "optimizer=adam", *pairs])])
    with pytest.raises(ConfigError) as made:
        run_training(by_hand(**settings), runs_dir=tmp_path)

    assert [fault.removeprefix("--set ").partition(": ")[2] for fault in typed.value.faults] == [
        fault.partition(": ")[2] for fault in made.value.faults
    ]


def test_settings_made_by_hand_are_completed():
    config = complete_config(by_hand(schedule={"name": "step", "step_size": 2}))

    assert config.optimizer.settings == {"lr": 1e-3, "eps": 1e-8, "weight_decay": 0.0}
    assert config.schedule.settings == {"step_size": 2, "gamma": 0.1}
    assert complete_config(config) == config


@pytest.mark.parametrize(
    ("loss", "written"),
    [
        ("huber", "huber"),
        ({"name": "huber"}, "huber"),
        ({"name": "huber", "delta": 0.01}, {"name": "huber", "delta": 0.01}),
    ],
)
def test_a_loss_is_written_as_a_name_where_it_has_no_settings(loss, written):
    assert by_hand(loss=loss).to_tree()["loss"] == written


def test_a_loss_trains_and_scores_with_its_settings(tmp_path):
    rows = [
        run_training(by_hand(loss={"name": "huber", "delta": delta}, epochs=1), runs_dir=tmp_path).history()[0]
        for delta in (1.0, 0.01)
    ]

    assert all(rows[1][key] < 0.1 * rows[0][key] for key in ("train_loss", "test_loss"))


def test_label_smoothing_of_the_loss_is_that_of_the_run(tmp_path):
    base = {"model": {"name": "blobs"}, "data": {"name": "blobs"}, "epochs": 2}
    runs = [
        run_training(by_hand(**base, **more), runs_dir=tmp_path)
        for more in ({"label_smoothing": 0.2}, {"loss": {"name": "cross_entropy", "label_smoothing": 0.2}})
    ]

    one, two = ([(row["train_loss"], row["test_loss"]) for row in run.history()] for run in runs)
    assert one == two


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS.others.names() if name != "muon"])
def test_a_run_with_another_optimizer_of_torch_resumes_to_the_same_weights(name, tmp_path):
    config = by_hand(optimizer={"name": name}, model={"name": "circles_v2"}, data={"name": "circles"}, epochs=4)
    whole = run_training(config, runs_dir=tmp_path)
    half = run_training(config.model_copy(update={"epochs": 2}), runs_dir=tmp_path)

    resume_training(half, epochs=4)

    one, two = (torch.load(run.weights_path("last"), weights_only=True) for run in (whole, half))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("pair", "meant"),
    [("lr=0.1", "optimizer.lr"), ("batch_size=8", "data.batch_size"), ("hidden_units=8", "model.hidden_units")],
)
def test_a_setting_without_its_section_is_answered_with_the_whole_key(pair, meant):
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        resolve_config([from_overrides(["model=tinyvgg", pair])])
