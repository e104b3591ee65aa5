"""One validation: the same sentences for the command line, a sweep and settings made by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dlworkflow.config import TrainConfig, from_overrides
from dlworkflow.engine.optimizers import OPTIMIZERS
from dlworkflow.errors import ConfigError
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config


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


TYPED = ["model=tinyvgg", "data=digits", "epochs=3", "optimizer.lr=0.1", "data.batch_size=16", "model.hidden_units=4"]


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "tinyvgg", "data": "digits", "lr": 0.1, "batch_size": 16, "model.hidden_units": 4},
        {
            "model": {"name": "tinyvgg", "hidden_units": 4},
            "data": {"name": "digits", "batch_size": 16},
            "optimizer": {"lr": 0.1},
        },
        {"model": "tinyvgg", "data": "digits", "optimizer.lr": 0.1, "data.batch_size": 16, "model.hidden_units": 4},
        {"model": "tinyvgg", "data": "digits", "lr": np.float64(0.1), "batch_size": np.int64(16)}
        | {"model.hidden_units": 4},
    ],
    ids=["short", "nested", "dotted", "of numpy"],
)
def test_a_dictionary_has_the_settings_of_the_command_line(settings):
    assert resolve_config(settings | {"epochs": 3}) == resolve_config([from_overrides(["recipe=notes", *TYPED])])


def test_keywords_are_laid_over_a_dictionary_and_over_complete_settings():
    settings = {"model": "line_v2", "epochs": 3}

    assert [resolve_config(given, epochs=7).epochs for given in (settings, resolve_config(settings))] == [7, 7]


def test_another_optimizer_by_keyword_leaves_the_old_ones_settings():
    settings = resolve_config(by_hand(), optimizer="sgd").optimizer.settings

    assert settings == OPTIMIZERS.settings("sgd")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "tinyvg"}, "model: unknown model 'tinyvg'; did you mean 'tinyvgg'?"),
        ({"model": "line", "epohcs": 3}, "epohcs: unknown setting 'epohcs'; did you mean 'epochs'?"),
        ({"model": "line", "lr": "x"}, "lr: must be a number, not 'x'"),
        ({"model": "line", "optimizer": {"lr": -1}}, "optimizer.lr: must be more than 0, not -1"),
        ({"model": "line", "learning_rate": 1}, "unknown setting 'learning_rate'; did you mean 'optimizer.lr'?"),
        ({"model": "line", "batchsize": 1}, "unknown setting 'batchsize'; did you mean 'data.batch_size'?"),
        ({"model": "line", "lr": 1, "optimizer.lr": 2}, "optimizer.lr: 2 contradicts lr 1; leave one out"),
        ({"model": "line", "epochs": 1, "epochs.x": 2}, "epochs.x: 'epochs' was set to 1 and has no settings below it"),
        ({"model": "resnet18"}, "data.name: model 'resnet18' has no usual data; give data=NAME or a path"),
        ({"model": int}, "model: must be a name or a mapping of settings, not <class 'int'>"),
        ({}, "model.name: no model was named; possible: line, "),
        ("tinyvgg", "settings must be a dictionary, as {'model': 'tinyvgg', 'epochs': 3}, not str"),
    ],
)
def test_a_wrong_setting_of_a_dictionary_is_named_as_it_was_written(settings, sentence):
    with pytest.raises(ConfigError) as wrong:
        resolve_config(settings)

    assert sentence in str(wrong.value)


def test_a_path_is_a_folder_of_images_even_where_a_data_set_has_its_name(pets, in_tmp):
    shutil.copytree(pets, "digits")

    assert resolve_config(model="tinyvgg", data=Path("digits")).data.name == "image_folder"


def test_a_run_is_trained_from_keywords(tmp_path):
    run = run_training(model="line_v2", epochs=2, device=torch.device("cpu"), runs_dir=tmp_path)

    assert run.summary().config["epochs"] == 2


def test_settings_made_by_hand_are_completed():
    config = resolve_config(by_hand(schedule={"name": "step", "step_size": 2}))

    assert config.optimizer.settings == {"lr": 1e-3, "eps": 1e-8, "weight_decay": 0.0}
    assert config.schedule.settings == {"step_size": 2, "gamma": 0.1}
    assert resolve_config(config) == config


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


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS.others.names("") if name != "muon"])
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
