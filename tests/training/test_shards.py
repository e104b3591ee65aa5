"""Training on shards: the numbers of a run, going on with it, and what is refused before a run folder is made."""

from __future__ import annotations

import os

import pytest
import torch

from dlworkflow.analysis.evaluation import evaluate_part, evaluate_run
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.config import from_flags, from_overrides
from dlworkflow.data.shards.index import read_index
from dlworkflow.errors import ConfigError, DataError, RunError
from dlworkflow.runs.summary import Baseline
from dlworkflow.training.job import prepare
from dlworkflow.training.lr_finder import search_lr
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config

USUAL = ("recipe=notes", "data.image_size=16", "data.batch_size=4", "model.hidden_units=2", "threads=1", "device=cpu")


@pytest.fixture
def settings(pet_shards):
    """Return the settings of a small run on the shards of pets."""

    def build(*pairs, epochs=2):
        flags = from_flags({"model.name": ("MODEL", "tinyvgg"), "epochs": ("--epochs", epochs)})
        data = ("data.name=image_shards", f"data.path={pet_shards}", *USUAL)
        return resolve_config([flags, from_overrides([*data, *pairs])])

    return build


def content(run):
    history = [{key: value for key, value in row.items() if key != "seconds"} for row in run.history()]
    return history, torch.load(run.weights_path("last"), weights_only=True)


def test_a_run_is_scored_again_to_what_its_history_says(settings, tmp_path):
    run = run_training(settings(), runs_dir=tmp_path / "runs")

    result = evaluate_run(run)

    assert (result.loss, result.acc) == pytest.approx((run.summary().best["test_loss"], run.summary().best["test_acc"]))
    assert len(result.y) == 4


def test_a_run_that_was_trained_on_one_batch_is_scored_on_shards_in_several(pets, pet_shards, tmp_path):
    pairs = ("data.name=image_folder", f"data.path={pets}", *USUAL, "data.batch_size=full")
    run = run_training(
        resolve_config([from_flags({"model.name": ("MODEL", "tinyvgg")}), from_overrides([*pairs, "epochs=1"])]),
        runs_dir=tmp_path / "runs",
    )

    on_shards = evaluate_part(run, load_part(run, other=str(pet_shards)))

    assert (on_shards.loss, on_shards.acc) == pytest.approx((evaluate_run(run).loss, evaluate_run(run).acc))


@pytest.mark.parametrize("more", [(), ("data.num_workers=2",), ("data.transform=flip", "data.val_fraction=0.3")])
def test_one_epoch_and_one_more_equal_two_to_the_bit(more, settings, tmp_path):
    whole = run_training(settings(*more), runs_dir=tmp_path / "runs")
    parted = run_training(settings(*more, epochs=1), runs_dir=tmp_path / "runs")

    resume_training(parted, epochs=2)

    (history, weights), (history2, weights2) = content(whole), content(parted)
    assert history == history2
    assert all(torch.equal(weights[name], weights2[name]) for name in weights)


def test_shards_that_have_changed_are_refused_by_name(settings, pet_shards, tmp_path):
    run = run_training(settings(epochs=1), runs_dir=tmp_path / "runs")
    text = (pet_shards / "shards.json").read_text()
    digest = read_index(pet_shards).shards[0].digest
    (pet_shards / "shards.json").write_text(text.replace(digest, "0" * 32))

    with pytest.raises(RunError, match=r"has changed since .train split"):
        resume_training(run, epochs=2)


def test_a_run_says_what_answering_blindly_scores_from_the_counts_of_the_index(settings, tmp_path):
    run = run_training(settings(epochs=1), runs_dir=tmp_path / "runs")

    assert run.summary().baseline == Baseline(0.5, "accuracy", "cat")


def test_class_weights_follow_from_the_counts_of_the_index(settings):
    weights = prepare(settings("loss_weights=balanced")).training_loss.weight

    assert weights.tolist() == pytest.approx([9 / 10, 9 / 8])


def test_a_learning_rate_is_looked_for_on_shards(settings):
    found = search_lr(settings(), steps=12)

    assert len(found.rates) >= 10


@pytest.mark.parametrize(
    ("pair", "error", "complaint"),
    [
        ("data.batch_size=full", ConfigError, "shards are never in memory as one batch"),
        ("data.sampler=balanced", ConfigError, "loss_weights=balanced gives every class the same weight"),
        ("data.shuffle_buffer=0", ConfigError, "data.shuffle_buffer: must be at least 1"),
        ("data.test=nowhere.tar", DataError, "data.test: no shard 'nowhere.tar'"),
    ],
)
def test_what_cannot_be_done_with_shards_is_refused_before_a_run_is_made(pair, error, complaint, settings, tmp_path):
    with pytest.raises(error, match=complaint):
        run_training(settings("data.shuffle=true", pair), runs_dir=tmp_path / "runs")
    assert not os.path.exists(tmp_path / "runs")  # noqa: PTH110


def test_fewer_shards_than_processes_are_refused(settings):
    from dlworkflow.engine.data_parallel import check_files

    class Five:
        size = 5

    shards = prepare(settings()).splits.train.shards
    with pytest.raises(ConfigError, match="5 processes share out whole shards, and there are 4 for training"):
        check_files(Five, len(shards))
