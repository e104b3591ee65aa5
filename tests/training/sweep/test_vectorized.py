"""Models that train together leave what each leaves alone."""

from __future__ import annotations

import pytest
import torch

from dlworkflow import models
from dlworkflow.config import from_overrides
from dlworkflow.errors import DivergedError
from dlworkflow.runs import Run
from dlworkflow.training.job import prepare
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config
from dlworkflow.training.sweep.folder import Plan, Point, Sweep
from dlworkflow.training.sweep.recording import StackedRun
from dlworkflow.training.sweep.vectorized import _Stack, group_of, obstacle, train_stacked

CASES = {  # rates at which training is stable: elsewhere it makes much of the last digit of a float
    "sgd": ("circles_v2", "optimizer.lr=0.3"),
    "momentum": ("circles_v2", "optimizer.momentum=0.9", "optimizer.weight_decay=1e-3"),
    "nesterov": ("blobs", "optimizer.lr=0.02", "optimizer.momentum=0.9", "optimizer.nesterov=true"),
    "adam": ("circles_v2", "optimizer.name=adam", "optimizer.lr=0.01", "optimizer.weight_decay=1e-3"),
    "regression": ("line", "averaging=batch"),
}


def config(model, *pairs):
    return resolve_config([from_overrides([f"model={model}", "epochs=40", *pairs])])


def jobs_of(model, *pairs, seeds=(42, 43, 44)):
    return [prepare(config(model, *pairs, f"seed={seed}")) for seed in seeds]


def columns(rows):
    return [[value for key, value in row.items() if key not in ("seconds", "epoch")] for row in rows]


def recorded(job, trained, status, folder):
    point = Point(1, {}, job.config.seed)
    record = StackedRun(Sweep(folder / "together"), Plan({}, {}, []), point, job, 2)
    record.write(trained, status)
    record.close()
    return Run(folder / "together" / point.run)


@pytest.fixture(params=CASES.values(), ids=CASES)
def both(request, tmp_path):
    """The second of three runs that trained together, and the same run alone."""
    together = jobs_of(*request.param)
    trained = [left for left, _ in train_stacked(together)]
    vectorized = recorded(together[1], trained[1], "finished", tmp_path)
    alone = run_training(config(*request.param, "seed=43"), runs_dir=tmp_path, name="alone")
    return vectorized, alone


def test_the_history_is_that_of_the_run_alone(both):
    vectorized, alone = (columns(run.history()) for run in both)

    assert len(vectorized) == 40
    for row, expected in zip(vectorized, alone, strict=True):
        assert row == pytest.approx(expected, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("which", ["best", "last"])
def test_the_weights_are_those_of_the_run_alone(both, which):
    vectorized, alone = (torch.load(run.weights_path(which), weights_only=True) for run in both)

    assert vectorized.keys() == alone.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(vectorized[name], tensor, rtol=1e-4, atol=1e-6)


def test_the_folder_and_the_summary_hold_the_same(both):
    vectorized, alone = both

    assert {path.name for path in vectorized.path.iterdir()} == {path.name for path in alone.path.iterdir()}
    first, second = vectorized.summary().to_data(), alone.summary().to_data()
    for key in first.keys() - {"started", "finished", "seconds", "best", "last", "sweep", "vectorized"}:
        assert first[key] == second[key]


def test_it_goes_on_as_the_run_alone_does(both):
    histories = [columns(resume_training(run, epochs=50).history()) for run in both]

    assert len(histories[0]) == 50
    for row, expected in zip(*histories, strict=True):
        assert row == pytest.approx(expected, rel=1e-5, nan_ok=True)


@pytest.mark.usefixtures("on_cpu")
def test_initial_weights_and_data_are_those_of_the_runs_alone_to_the_bit():
    jobs = jobs_of("circles_v2")
    stack = _Stack(jobs)

    for i, job in enumerate(jobs_of("circles_v2")):
        assert job.splits.train.fingerprint() == jobs[0].splits.train.fingerprint()
        for name, parameter in job.model.named_parameters():
            assert torch.equal(stack._params[name][i], parameter)


def test_a_model_that_diverges_says_what_it_says_alone_and_leaves_the_others_as_they_are(tmp_path):
    rates = [f"optimizer.lr={lr}" for lr in (0.1, 1e9)]
    jobs = [prepare(config("circles_v2", rate)) for rate in rates]

    (fine, nothing), (left, error) = train_stacked(jobs)
    with pytest.raises(DivergedError) as alone:
        run_training(config("circles_v2", rates[1]), runs_dir=tmp_path, name="alone")

    assert nothing is None
    assert str(error).split(";")[0] == str(alone.value).split(";")[0]
    assert columns(fine.rows) == columns(train_stacked(jobs_of("circles_v2", seeds=(42,) * 2))[0][0].rows)
    vectorized = recorded(jobs[1], left, "failed", tmp_path)
    assert len(vectorized.history()) == error.epoch - 1


def test_training_ends_after_a_whole_epoch_when_asked(tmp_path):
    answers = iter([False, False, True])

    results = train_stacked(jobs_of("circles_v2"), stop=lambda: next(answers))

    assert [len(left.rows) for left, _ in results] == [3, 3, 3]


def test_only_seed_and_rate_may_differ_in_a_group():
    base = group_of(config("circles_v2"))

    assert group_of(config("circles_v2", "seed=7", "optimizer.lr=0.5")) == base
    assert group_of(config("circles_v2", "model.hidden_units=11")) != base
    assert group_of(config("circles_v2", "data.noise=0.1")) != base


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (("circles_v2", "data.batch_size=32"), "batches"),
        (("circles_v2", "data.shuffle=true"), "batches"),
        (("circles_v2", "optimizer.name=rmsprop"), "rmsprop"),
        (("circles_v2", "model.hidden_units=200"), "parameters"),
    ],
)
def test_what_cannot_train_together_says_why(pairs, reason):
    assert reason in obstacle(prepare(config(*pairs)))


class Noisy(torch.nn.Linear):
    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features)

    def forward(self, x):
        return super().forward(x) + torch.rand(1)


def test_a_model_that_draws_random_numbers_trains_alone(monkeypatch):
    monkeypatch.setitem(models.REGISTRY.registered, "noisy", Noisy)
    job = prepare(config("noisy", "data=circles", "data.batch_size=full", "data.shuffle=false", "optimizer=sgd"))

    assert "torch.vmap" in obstacle(job)


def test_the_smallest_model_has_no_obstacle():
    assert obstacle(prepare(config("line"))) is None
