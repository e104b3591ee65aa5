"""Resuming: 10 epochs equal 4 + 6, and 4 + killed in the 5th + the rest, to the bit; what has changed is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch

from dlworkflow.config import from_flags, from_overrides
from dlworkflow.data.images.pixels import to_pil
from dlworkflow.engine.signals import Stopped, noted_signals
from dlworkflow.errors import ConfigError, DivergedError, RunError
from dlworkflow.runs import Run
from dlworkflow.training import recorder
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config

FEW = "data.limit=100"  # samples of each split
MODELS = {
    "line": (),
    "line_v2": ("optimizer.name=sgd", "optimizer.momentum=0.9"),
    "line_deep": ("optimizer.name=rmsprop",),
    "circles_v0": (),
    "circles_v1": ("data.batch_size=100", "data.shuffle=true"),
    "circles_v2": ("optimizer.name=adamw",),
    "blobs": ("model.relu=true", "data.batch_size=64", "data.shuffle=true"),
    "fashion_mnist_v0": ("data=digits", FEW),
    "fashion_mnist_v1": ("data=digits", FEW),
    "fashion_mnist_v2": ("data=digits", FEW, "data.transform=flip", "model.hidden_units=3"),
    "tinyvgg": ("data.transform=trivial_augment", "model.hidden_units=3", FEW),
    "improved_tinyvgg": (
        *("data.transform=flip,trivial_augment", "optimizer.weight_decay=0.01"),
        *("model.hidden_units=3", FEW),
    ),
}


def settings(model, *pairs, epochs=10):
    return resolve_config(
        [from_flags({"model.name": ("MODEL", model), "epochs": ("--epochs", epochs)}), from_overrides(pairs)]
    )


def stop_after(number):
    def stop(epoch):
        if epoch.number == number:
            raise KeyboardInterrupt

    return stop


def stopped(tmp_path, model, *pairs, after=4):
    with pytest.raises(KeyboardInterrupt):
        run_training(settings(model, *pairs), runs_dir=tmp_path, name="stopped", on_epoch=stop_after(after))
    return Run(next(tmp_path.glob("stopped-*")))


def content(run):
    """What must be equal to the bit: history without seconds, weights best and last, the best epoch."""
    history = [{key: repr(value) for key, value in row.items() if key != "seconds"} for row in run.history()]
    weights = [torch.load(run.weights_path(which), weights_only=True) for which in ("best", "last")]
    best = {key: value for key, value in run.summary().best.items() if key != "seconds"}
    return history, weights, best


def assert_equal(first, second):
    (history, weights, best), (history2, weights2, best2) = content(first), content(second)
    assert history == history2
    assert best == best2
    for mine, other in zip(weights, weights2, strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize("model", MODELS)
def test_ten_epochs_equal_four_and_six_to_the_bit(tmp_path, model):
    whole = run_training(settings(model, *MODELS[model]), runs_dir=tmp_path)
    run = stopped(tmp_path, model, *MODELS[model])

    resume_training(run)

    assert_equal(run, whole)
    assert run.summary().status == "finished"


LEARNING = {
    "no decay of biases": ("optimizer.weight_decay=0.1", "optimizer.decay_bias_and_norm=false"),
    "one_cycle": ("schedule=one_cycle",),
    "cosine after a warm-up": ("schedule={name: cosine, warmup_epochs: 5}",),
    "plateau": ("schedule={name: plateau, patience: 0, threshold: 0.5}",),
    "early stopping": ("early_stopping={patience: 4, min_delta: 0.05}",),
    "accumulation": ("accumulate=2", "data.batch_size=90"),
    "clipping": ("clip_norm=0.01", "clip_value=0.002"),
    "averaged weights": ("ema=0.9", "optimizer={name: adamw}", "schedule=one_cycle"),
    "balanced draws": ("data.sampler=balanced",),
    "weighed classes": ("loss_weights={outer: 2.0}", "label_smoothing=0.1"),
    "mixup": ("mixup=0.3",),
    "validation": ("data.val_fraction=0.25", "schedule={name: plateau, patience: 1}"),
    "bf16": ("precision=bf16",),
    "fp16 and its scaler": ("precision=fp16", "clip_norm=1.0"),
    "one seed": ("reseed=false",),
}
"""Settings with a state of their own, or that change how others are kept."""


@pytest.mark.parametrize("pairs", LEARNING.values(), ids=LEARNING)
def test_whatever_else_learns_resumes_to_the_bit_too(tmp_path, pairs):
    pairs = ("data.batch_size=300", "data.shuffle=true", *pairs)
    whole = run_training(settings("circles_v2", *pairs), runs_dir=tmp_path)
    run = stopped(tmp_path, "circles_v2", *pairs, after=3)

    resume_training(run)

    assert_equal(run, whole)
    assert run.summary().status == "finished"
    assert run.summary().stopped_early == whole.summary().stopped_early


NEWER = ("schedule", "early_stopping", "accumulate", "clip_norm", "clip_value", "ema", "mixup", "cutmix", "precision")
NEWER += ("reseed",)


def test_a_run_of_a_version_without_these_settings_goes_on_to_the_same_bits(tmp_path):
    whole = run_training(settings("circles_v2"), runs_dir=tmp_path)
    run = stopped(tmp_path, "circles_v2")
    config = {key: value for key, value in run.summary().config.items() if key not in NEWER}
    config["data"] = {key: value for key, value in config["data"].items() if key not in ("sampler", "val_fraction")}
    del config["optimizer"]["decay_bias_and_norm"]
    run.update_summary(config=config)
    state = torch.load(run.state_path, weights_only=True)
    torch.save({key: value for key, value in state.items() if key != "parts"}, run.state_path)

    resume_training(run)

    assert_equal(run, whole)


def test_cut_pictures_and_batch_norms_under_an_average_resume_to_the_bit_too(tmp_path):
    pairs = ("cutmix=1.0", "channels_last=true", "model.batch_norm=true", "model.dropout=0.2", "ema=0.9")
    pairs = (*pairs, "data.transform=random_erasing,rotation", "data.sampler=balanced", "precision=bf16", FEW)
    whole = run_training(settings("tinyvgg", *pairs, epochs=3), runs_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_training(settings("tinyvgg", *pairs, epochs=3), runs_dir=tmp_path, name="stopped", on_epoch=stop_after(2))
    run = Run(tmp_path / "stopped-001")

    resume_training(run)

    assert_equal(run, whole)


@pytest.mark.parametrize("how", [["data.num_workers=2"], ["data.fast_augment=true"]], ids=str)
def test_augmentations_by_workers_or_of_whole_batches_resume_to_the_bit_too(tmp_path, how):
    pairs = (*how, "data.transform=trivial_augment,random_crop", FEW)
    config = settings("tinyvgg", *pairs, epochs=3)
    whole = run_training(config, runs_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_training(config, runs_dir=tmp_path, name="stopped", on_epoch=stop_after(2))
    run = Run(tmp_path / "stopped-001")

    resume_training(run)

    assert_equal(run, whole)


def test_a_validation_split_resumes_to_the_bit(tmp_path):
    from dlworkflow import data

    digits = data.load("digits")
    for split, part in digits.parts().items():
        for index in range(0, len(part), 12):
            folder = tmp_path / "own" / split / str(int(part.labels[index]))
            folder.mkdir(parents=True, exist_ok=True)
            to_pil(part.images[index]).save(folder / f"{index}.png")
    (tmp_path / "own" / "test").rename(tmp_path / "own" / "val")
    import shutil

    shutil.copytree(tmp_path / "own" / "val", tmp_path / "own" / "test")
    pairs = (f"data={{name: image_folder, path: {tmp_path / 'own'}, image_size: 8}}",)
    whole = run_training(settings("tinyvgg", *pairs, epochs=4), runs_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_training(settings("tinyvgg", *pairs, epochs=4), runs_dir=tmp_path, name="stopped", on_epoch=stop_after(2))
    run = Run(tmp_path / "stopped-001")

    resume_training(run)

    assert "val_loss" in run.history()[0]
    assert_equal(run, whole)


def test_a_finished_run_can_be_extended(tmp_path):
    whole = run_training(settings("circles_v2"), runs_dir=tmp_path)
    run = run_training(settings("circles_v2", epochs=4), runs_dir=tmp_path)

    resume_training(run, epochs=10)

    assert_equal(run, whole)
    assert (run.path / "config.yaml").read_text() == (whole.path / "config.yaml").read_text()


def test_the_clock_of_training_goes_on_where_it_stopped(tmp_path):
    run = run_training(settings("line", epochs=4), runs_dir=tmp_path)
    before = run.summary().seconds

    resume_training(run, epochs=5)

    assert before < run.summary().seconds < before + 60


def test_epochs_that_no_state_was_written_for_are_trained_again_to_the_same_bits(tmp_path, monkeypatch):
    whole = run_training(settings("circles_v2"), runs_dir=tmp_path)
    run = stopped(tmp_path, "circles_v2")
    early = run.state_path.read_bytes()
    resume_training(run, epochs=7)
    run.state_path.write_bytes(early)  # as a kill leaves it: history of 7 epochs, state of 4
    (run.path / "history.csv").write_text((run.path / "history.csv").read_text() + "8,0.1,0.2")

    resume_training(run, epochs=10)

    assert_equal(run, whole)


def test_a_run_stopped_before_its_first_state_starts_anew_in_its_folder(tmp_path):
    whole = run_training(settings("circles_v2"), runs_dir=tmp_path)
    run = stopped(tmp_path, "circles_v2", after=1)
    for path in (run.state_path, run.weights_path("best"), run.weights_path("last")):
        path.unlink()

    resume_training(run)

    assert_equal(run, whole)


def test_the_state_loads_with_tensors_alone(tmp_path):
    run = run_training(settings("improved_tinyvgg", epochs=1), runs_dir=tmp_path)

    state = torch.load(run.state_path, weights_only=True)

    assert {"last", "best", "optimizer", "generators", "epochs_done", "best_row"} <= state.keys()


def test_a_run_that_has_all_its_epochs_says_how_to_give_it_more(tmp_path):
    run = run_training(settings("line", epochs=3), runs_dir=tmp_path)

    with pytest.raises(RunError, match=r"finished its 3 epochs; give more, for example epochs=6"):
        resume_training(run)


def test_fewer_epochs_than_there_are_is_refused(tmp_path):
    run = stopped(tmp_path, "line")

    with pytest.raises(ConfigError, match=r"epochs: stopped-001 has 4 epochs already"):
        resume_training(run, epochs=2)


def test_changed_data_is_refused_by_name_and_taken_by_force(tmp_path):
    run = stopped(tmp_path, "circles_v2")
    environment = run.environment()
    environment["data_fingerprint"]["train"] = "another"
    (run.path / "environment.json").write_text(__import__("json").dumps(environment))

    with pytest.raises(RunError, match=r"data of stopped-001 has changed since .train split"):
        resume_training(run)
    assert resume_training(run, force=True).summary().status == "finished"


def test_a_run_that_is_being_trained_cannot_be_trained_twice(tmp_path):
    run = stopped(tmp_path, "line")

    with run.locked():
        assert run.is_being_trained()
        with pytest.raises(RunError, match="is being trained by another process"):
            resume_training(run)
    assert not run.is_being_trained()


def test_a_damaged_state_is_named(tmp_path):
    run = stopped(tmp_path, "line")
    run.state_path.write_bytes(run.state_path.read_bytes()[:100])

    with pytest.raises(Exception, match=r"resume\.pth.*no whole file"):
        resume_training(run)
    assert run.summary().status in ("interrupted", "failed")


def test_a_state_that_lacks_something_is_named(tmp_path):
    run = stopped(tmp_path, "line")
    state = torch.load(run.state_path, weights_only=True)
    torch.save({key: value for key, value in state.items() if key != "generators"}, run.state_path)

    with pytest.raises(RunError, match=r"resume\.pth' is damaged"):
        resume_training(run)


def test_a_full_disk_ends_training_in_one_error_and_keeps_the_last_whole_state(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 0.0)
    original = recorder.save_state
    states = []

    def save(state, path):
        if state["epochs_done"] > 3:
            raise RunError(f"cannot write {str(path)!r}: No space left on device")
        states.append(state["epochs_done"])
        return original(state, path)

    monkeypatch.setattr(recorder, "save_state", save)

    with pytest.raises(RunError, match="No space left"):
        run_training(settings("circles_v2"), runs_dir=tmp_path)
    monkeypatch.undo()
    [run] = [Run(path) for path in tmp_path.iterdir()]
    resume_training(run)

    assert states == [1, 2, 3]
    assert_equal(run, run_training(settings("circles_v2"), runs_dir=tmp_path / "whole"))


@pytest.mark.usefixtures("on_cpu")
def test_a_loss_that_is_no_number_names_epoch_batch_learning_rate_and_gradient(tmp_path):
    with pytest.raises(DivergedError) as caught:
        run_training(
            settings("line_v2", "optimizer.lr=1e30", "loss=mse", "data.batch_size=10"), runs_dir=tmp_path, name="wild"
        )

    error = caught.value
    assert (error.epoch, error.batch, error.lr) == (1, 2, 1e30)
    assert error.largest_gradient is not None
    assert "batch 2 of epoch 1 at learning rate 1e+30; the largest gradient before it was" in str(error)
    assert Run(tmp_path / "wild-001").summary().status == "failed"


def test_a_signal_is_noted_and_the_second_stops_at_once():
    with noted_signals() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            request.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(SystemExit) as caught:
        request.raise_as_asked()
    assert caught.value.code == 143


LONG = ["train", "circles_v2", "--set", "data.batch_size=8", "--epochs", "400"]


def start(tmp_path, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "dlworkflow", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_epoch(process, number=3):
    for line in process.stdout:
        if line.startswith("epoch") and int(line.split()[1].partition("/")[0]) >= number:
            return


@pytest.mark.slow
def test_sigterm_ends_the_process_with_its_code_and_the_command_that_resumes(
    tmp_path,
):  # Ctrl-C: tests/cli/test_train.py
    process = start(tmp_path, *LONG)
    wait_for_epoch(process)

    process.send_signal(signal.SIGTERM)
    _, complaints = process.communicate(timeout=60)

    assert process.returncode == 143
    assert "resume with: dlw train --resume runs/circles_v2-circles-001" in complaints
    assert "Traceback" not in complaints
    run = Run(tmp_path / "runs" / "circles_v2-circles-001")
    assert run.summary().status == "interrupted"
    assert torch.load(run.state_path, weights_only=True)["epochs_done"] == len(run.history()) >= 3


@pytest.mark.slow
def test_a_killed_process_leaves_a_run_that_resumes_to_the_same_bits(tmp_path):
    pairs = ("data.batch_size=400", "data.shuffle=true")
    run_training(settings("circles_v2", *pairs, epochs=1000), runs_dir=tmp_path / "runs")
    killed = start(tmp_path, "train", "circles_v2", "--set", pairs[0], "--set", pairs[1], "--epochs", "1000")
    for _ in killed.stdout:
        if (tmp_path / "runs" / "circles_v2-circles-002" / "resume.pth").exists():
            break
    killed.kill()
    killed.communicate()

    resume_training(Run(tmp_path / "runs" / "circles_v2-circles-002"))

    assert_equal(*(Run(tmp_path / "runs" / f"circles_v2-circles-00{i}") for i in (1, 2)))


def test_a_trained_run_without_its_state_is_refused_and_keeps_its_weights(tmp_path):
    run = run_training(settings("line", epochs=3), runs_dir=tmp_path)
    run.state_path.unlink()
    before = run.weights_path().read_bytes()

    with pytest.raises(RunError, match=r"has no resume\.pth to resume from"):
        resume_training(run, epochs=6)
    assert run.weights_path().read_bytes() == before
    assert len(run.history()) == 3


def test_no_state_is_written_before_the_history_that_it_counts_on_is_on_disk(tmp_path, monkeypatch):
    done = []
    save = recorder.save_state
    monkeypatch.setattr(Run, "sync_history", lambda run: done.append(f"{len(run.history())} epochs"))
    monkeypatch.setattr(
        recorder, "save_state", lambda state, path: (done.append(state["epochs_done"]), save(state, path))
    )

    run_training(settings("line", epochs=3), runs_dir=tmp_path)

    assert done == ["3 epochs", 3]


def test_a_resume_that_is_interrupted_before_it_trains_keeps_the_best_epoch(tmp_path):
    def interrupt(_job, _run):
        raise KeyboardInterrupt

    run = stopped(tmp_path, "line")
    before = run.summary().best
    with pytest.raises(KeyboardInterrupt):
        resume_training(run, on_start=interrupt)

    assert run.summary().best == before
