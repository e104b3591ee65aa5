"""One training run from settings to folder: what it writes, that it repeats, and what an early end leaves."""

from __future__ import annotations

import multiprocessing
import time
from threading import Thread

import pytest
import torch
from torch.utils.data import DataLoader

from dlworkflow import data, models
from dlworkflow.analysis.evaluation import evaluate_run
from dlworkflow.config import from_flags, from_overrides, read_file
from dlworkflow.engine.loop import train_step
from dlworkflow.engine.random_state import set_seeds
from dlworkflow.errors import ConfigError, DataError, DlwError, RunError
from dlworkflow.inference.predictor import load_run_model
from dlworkflow.runs import list_runs
from dlworkflow.training import assembly, recorder
from dlworkflow.training import run as workflow
from dlworkflow.training.job import prepare
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config


def settings(model, *pairs):
    return resolve_config([from_flags({"model.name": ("MODEL", model)}), from_overrides(pairs)])


def quick(tmp_path, model="circles_v2", *pairs, **options):
    return run_training(settings(model, "epochs=3", *pairs), runs_dir=tmp_path, **options)


def without_seconds(run):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.history()]


def weights(run, which="last"):
    return torch.load(run.weights_path(which), weights_only=True)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_folder_holds_what_the_design_names(tmp_path):
    run = quick(tmp_path)

    assert sorted(path.name for path in run.path.iterdir()) == [
        ".lock",
        "best.pth",
        "config.yaml",
        "environment.json",
        "history.csv",
        "last.pth",
        "resume.pth",
        "summary.json",
    ]


@pytest.mark.parametrize("model", ["line", "circles_v2", "blobs", "tinyvgg", "improved_tinyvgg"])
def test_the_same_settings_give_the_same_run_to_the_bit(tmp_path, model):
    first, second = quick(tmp_path, model), quick(tmp_path, model)

    assert without_seconds(first) == without_seconds(second)
    assert same(weights(first), weights(second))


def test_another_seed_gives_another_run(tmp_path):
    first, second = quick(tmp_path), quick(tmp_path, "circles_v2", "seed=1")

    assert not same(weights(first), weights(second))


@pytest.mark.usefixtures("on_cpu")
def test_without_reseed_the_loop_draws_on_where_the_initial_weights_ended(tmp_path):
    pairs = ("data.batch_size=100", "data.shuffle=true")
    splits = data.load("circles")
    set_seeds(42)
    model = models.build("circles_v2", splits.in_shape, splits.n_outputs)
    loader = DataLoader(splits.train, 100, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    by_hand = [train_step(model, loader, torch.nn.BCEWithLogitsLoss(), optimizer).loss]

    run = quick(tmp_path, "circles_v2", "reseed=false", "epochs=1", *pairs)

    assert [row["train_loss"] for row in run.history()] == by_hand


def test_a_callback_that_draws_changes_no_run_without_reseed(tmp_path):
    config = settings("circles_v2", "epochs=3", "reseed=false", "data.batch_size=100", "data.shuffle=true")

    runs = [run_training(config, runs_dir=tmp_path, on_start=lambda *_, n=n: torch.rand(n)) for n in (0, 5)]

    assert same(weights(runs[0]), weights(runs[1]))


def test_the_written_settings_repeat_the_run(tmp_path):
    first = quick(tmp_path, "tinyvgg", "data.transform=flip", "model.hidden_units=4")

    second = run_training(resolve_config([read_file(first.path / "config.yaml")]), runs_dir=tmp_path)

    assert without_seconds(first) == without_seconds(second)
    assert (first.path / "config.yaml").read_text() == (second.path / "config.yaml").read_text()


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.slow
def test_workers_change_nothing_for_data_without_augmentation(tmp_path):
    first, second = quick(tmp_path, "tinyvgg"), quick(tmp_path, "tinyvgg", "data.num_workers=2")

    assert without_seconds(first) == without_seconds(second)


def test_a_callback_or_a_peek_at_the_data_does_not_change_the_run(tmp_path):
    first = quick(tmp_path, "tinyvgg")
    second = quick(tmp_path, "tinyvgg", on_epoch=lambda epoch: None, on_start=lambda job, run: job.splits.train[0])

    assert without_seconds(first) == without_seconds(second)


def test_best_weights_are_those_of_the_lowest_test_loss(tmp_path):
    run = run_training(settings("line_deep", "epochs=120", "optimizer.lr=0.2"), runs_dir=tmp_path)
    losses = [row["test_loss"] for row in run.history()]

    best = run.summary().best

    assert best["epoch"] == losses.index(min(losses)) + 1 < 120
    assert evaluate_run(run, "test").loss == pytest.approx(min(losses), rel=1e-6)
    assert evaluate_run(run, "test", weights="last").loss == pytest.approx(losses[-1], rel=1e-6)


def test_the_summary_holds_what_a_prediction_needs(tmp_path):
    run = quick(tmp_path, "tinyvgg", "recipe=notes")
    summary = run.summary()

    assert (summary.status, summary.in_shape, summary.n_outputs, summary.classes) == (
        "finished",
        [1, 8, 8],
        10,
        list("0123456789"),
    )
    assert summary.transform == [{"resize": {"size": [8, 8]}}]
    assert len(run.split_indices()["test"]) == 360


def test_the_environment_names_versions_machine_and_data(tmp_path):
    environment = quick(tmp_path).environment()

    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert set(environment["data_fingerprint"]) == {"train", "test"}


def test_the_baseline_of_a_regression_is_the_loss_of_the_training_mean(tmp_path):
    baseline = quick(tmp_path, "line").summary().baseline

    assert baseline.metric == "loss"
    assert baseline.score == pytest.approx(0.7 * (0.89 - 0.39), abs=1e-6)


def test_an_interrupted_run_keeps_its_last_whole_epoch(tmp_path):
    def stop(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(tmp_path, on_epoch=stop)
    [folder] = tmp_path.iterdir()
    run = workflow.Run(folder)

    assert (run.summary().status, run.summary().last["epoch"], len(run.history())) == ("interrupted", 2, 2)
    assert same(weights(run), weights(quick(tmp_path, "circles_v2", "epochs=2")))


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_epoch_before(tmp_path):
    with pytest.raises(
        DlwError, match=r"the test loss became (nan|inf) in epoch 1 at learning rate 1e\+30; try a lower lr"
    ):
        quick(tmp_path, "line_v2", "optimizer.lr=1e30", "loss=mse")
    [folder] = tmp_path.iterdir()
    run = workflow.Run(folder)

    assert run.summary().status == "failed"
    assert all(torch.isfinite(row) for row in map(torch.tensor, (r["train_loss"] for r in run.history())))


def test_preparing_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    prepare(settings("tinyvgg"))

    assert list(tmp_path.iterdir()) == []


def test_threads_of_the_process_are_put_back(tmp_path):
    before = torch.get_num_threads()

    quick(tmp_path, "circles_v2", "threads=1")

    assert torch.get_num_threads() == before


def test_weights_are_written_seldom_while_training_is_fast(tmp_path, monkeypatch):
    written = []
    original = recorder.save_weights
    monkeypatch.setattr(recorder, "save_weights", lambda w, path: (written.append(path.name), original(w, path)))

    run_training(settings("line", "epochs=200"), runs_dir=tmp_path)

    assert len(written) <= 4


def test_training_augmentation_does_not_touch_evaluation_of_the_training_split(tmp_path):
    run = quick(tmp_path, "tinyvgg", "data.transform=trivial_augment")

    assert evaluate_run(run, "train").loss == evaluate_run(run, "train").loss


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(DlwError, match="no split 'val'; it has train, test"):
        evaluate_run(quick(tmp_path), "val")


def test_a_run_without_weights_is_named(tmp_path):
    run = quick(tmp_path)
    run.weights_path().unlink()

    with pytest.raises(RunError, match=r"circles_v2-circles-001 has no weights 'best\.pth'"):
        load_run_model(run)


def test_a_data_set_whose_classes_changed_is_refused(tmp_path):
    run = quick(tmp_path)
    run.update_summary(classes=["in", "out"], baseline=None)

    with pytest.raises(RunError, match="now 'outer', 'inner'; then 'in', 'out'"):
        evaluate_run(run)


@pytest.mark.parametrize("averaging", ["sample", "batch"])
def test_evaluation_is_over_samples_whatever_training_printed(tmp_path, averaging):
    run = quick(tmp_path, "tinyvgg", f"averaging={averaging}")

    result = evaluate_run(run)

    assert result.acc == pytest.approx((result.logits.argmax(1) == result.y).double().mean().item())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_a_run_on_cuda_predicts_on_the_cpu(tmp_path):
    run = quick(tmp_path, "tinyvgg", "device=cuda")

    assert evaluate_run(run, device="cpu").loss == pytest.approx(run.summary().best["test_loss"], rel=1e-3)


def test_pictures_that_were_left_out_are_counted_in_the_summary(tmp_path, paint):
    for name in ("cat", "dog"):
        for index in range(6):
            paint(tmp_path / "own" / name / f"{index}.png", seed=index)
    (tmp_path / "own" / "cat" / "bad.png").write_text("no image")
    pairs = (f"data={{name: image_folder, path: {tmp_path / 'own'}, image_size: 8, on_bad: skip}}", "epochs=1")

    run = run_training(settings("tinyvgg", *pairs), runs_dir=tmp_path / "runs")

    assert sum(run.summary().skipped.values()) == 1


def test_a_failure_before_the_first_epoch_is_in_the_summary_and_gone_when_the_run_goes_on(tmp_path):
    def fail(*_):
        raise ValueError("no such thing\nin detail")

    with pytest.raises(ValueError, match="no such thing"):
        run_training(settings("line", "epochs=2"), runs_dir=tmp_path, on_start=fail)
    (run,) = list_runs(tmp_path)
    failed = run.summary()
    resumed = resume_training(run).summary()

    assert (failed.status, failed.reason) == ("failed", "ValueError: no such thing")
    assert (resumed.status, resumed.reason) == ("finished", None)


def test_whatever_fails_as_training_is_put_together_leaves_no_folder(tmp_path, monkeypatch):
    job = prepare(settings("line"))
    monkeypatch.setattr(assembly, "build_state", lambda *_, **__: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        workflow.train_job(job, runs_dir=tmp_path / "runs")

    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("pairs", "fault"),
    [
        (
            ["data.batch_size=1"],
            "one sample, and the model's BatchNorm1d '.+' cannot .* batch_size, 2 for",
        ),
        (["data.batch_size=1", "accumulate=4"], "batches of one sample"),
        (["data.batch_size=17"], "800 samples in batches of 17 leave a batch of one.*batch_size, 16 for one"),
        (["data.batch_size=799"], "800 samples in batches of 799 leave a batch of one.*batch_size, 798 for one"),
    ],
)
def test_a_norm_that_cannot_train_on_one_sample_is_named_before_a_run_is_made(pairs, fault):
    chosen = settings("circles_v2", "model.batch_norm=true", *pairs)

    with pytest.raises(ConfigError, match=fault):
        prepare(chosen)


def test_a_norm_over_many_places_takes_one_sample_and_asking_draws_nothing():
    pairs = ["model.batch_norm=true", "data.name=digits", "data.batch_size={}", "model.dropout=0.5"]
    states = []
    for size in (1, 2):
        prepare(settings("tinyvgg", *(pair.format(size) for pair in pairs)))
        states.append(torch.get_rng_state())

    assert torch.equal(*states)


def test_a_worker_that_was_killed_ends_the_run_as_failed_with_a_plain_reason(tmp_path):
    def kill_one():
        while not (workers := multiprocessing.active_children()):
            time.sleep(0.1)
        workers[0].kill()

    def soon(*_):
        Thread(target=kill_one).start()

    pairs = ["data.name=digits", "data.num_workers=1", "data.batch_size=1", "epochs=9", "threads=1"]
    with pytest.raises(DataError, match=r"a worker process that reads the data has died .*data\.num_workers=0"):
        run_training(settings("fashion_mnist_v0", *pairs), runs_dir=tmp_path, on_start=soon)

    assert list_runs(tmp_path)[0].summary().status == "failed"


def test_on_batch_is_called_after_each_batch_of_each_split(tmp_path):
    seen = []
    job = prepare(settings("circles_v2", "epochs=1", "data.batch_size=400", "data.val_fraction=0.1"))
    workflow.train_job(job, runs_dir=tmp_path, on_batch=lambda *batch: seen.append((*batch[:3], batch[3]())))

    assert [batch[:3] for batch in seen] == [("train", 1, 2), ("train", 2, 2), ("test", 1, 1), ("val", 1, 1)]
    [row] = list_runs(tmp_path)[0].history()
    by_split = {split: loss for split, _, _, loss in seen}  # of the last batch, the mean over the pass
    assert by_split == pytest.approx({split: row[f"{split}_loss"] for split in by_split}, rel=1e-2)
