"""What a setting does to the training it is set for, seen in the run that comes out."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from dlworkflow import data, models
from dlworkflow.analysis.evaluation import evaluate_run
from dlworkflow.config import from_flags, from_overrides
from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.splits import Splits
from dlworkflow.engine.ema import WeightAverage
from dlworkflow.engine.optimizers import build_optimizer, spare_bias_and_norm
from dlworkflow.engine.update import Update
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.runs.comparison import compare_runs
from dlworkflow.training.job import prepare
from dlworkflow.training.optimization import build_state
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config


def settings(model, *pairs):
    return resolve_config([from_flags({"model.name": ("MODEL", model)}), from_overrides(pairs)])


def trained(tmp_path, model, *pairs):
    return run_training(settings(model, *pairs), runs_dir=tmp_path)


def rates(run):
    return [row["lr"] for row in run.history()]


def faults(model, *pairs):
    with pytest.raises(ConfigError) as caught:
        settings(model, *pairs)
    return list(caught.value.faults)


# Weight decay


def test_weight_decay_can_spare_biases_and_norms():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    optimizer = build_optimizer("sgd", spare_bias_and_norm(model), lr=0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)

    optimizer.step()

    assert {name: parameter.max().item() for name, parameter in model.named_parameters()} == {
        "0.weight": pytest.approx(0.95),
        "0.bias": 1.0,
        "1.weight": 1.0,
        "1.bias": 1.0,
        "2.weight": pytest.approx(0.95),
        "2.bias": 1.0,
    }


def test_sparing_keeps_the_rate_of_a_group():
    model = nn.Linear(2, 2)
    groups = spare_bias_and_norm(model, [{"params": list(model.parameters()), "lr": 0.3}])

    assert [(group["lr"], group.get("weight_decay")) for group in groups] == [(0.3, None), (0.3, 0.0)]


@pytest.mark.parametrize("spare", [True, False])
def test_a_setting_says_whether_a_run_decays_biases(spare):
    pairs = ("optimizer.weight_decay=0.1", f"optimizer.decay_bias_and_norm={str(not spare).lower()}")

    groups = build_state(settings("blobs", *pairs), nn.Linear(2, 4), 1).optimizer.param_groups

    assert [group["weight_decay"] for group in groups] == ([0.1, 0.0] if spare else [0.1])


# Schedules


def test_the_history_shows_the_rate_of_a_schedule(tmp_path):
    run = trained(tmp_path, "blobs", "epochs=6", "schedule={name: step, step_size: 2, gamma: 0.5}")

    assert rates(run) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])


def test_a_schedule_by_updates_counts_those_of_every_batch(tmp_path):
    pairs = ("epochs=2", "data.batch_size=100", "schedule=one_cycle")
    run = trained(tmp_path, "blobs", *pairs)

    assert rates(run)[0] == pytest.approx(0.1 / 25)
    optimizer = torch.load(run.state_path, weights_only=True)["optimizer"]
    assert optimizer["param_groups"][0]["lr"] == pytest.approx(0.1 / 25 / 1e4)


def test_a_warm_up_alone_leads_to_a_constant_rate(tmp_path):
    run = trained(tmp_path, "blobs", "epochs=4", "schedule.warmup_epochs=2")

    assert rates(run) == pytest.approx([0.05, 0.1, 0.1, 0.1])


def test_a_plateau_lowers_the_rate_when_the_loss_stops_falling(tmp_path):
    run = trained(tmp_path, "circles_v0", "epochs=40", "optimizer.lr=1.0", "schedule={name: plateau, patience: 2}")

    assert rates(run)[0] == 1.0
    assert rates(run)[-1] < 1.0


def test_more_epochs_for_a_schedule_that_knows_its_length_need_force(tmp_path):
    run = trained(tmp_path, "blobs", "epochs=3", "schedule=cosine")

    with pytest.raises(
        RunError, match=r"schedule 'cosine' of blobs-blobs-001 was drawn for 3 epochs; force=True redraws"
    ):
        resume_training(run, epochs=6)
    assert len(resume_training(run, epochs=6, force=True).history()) == 6


def test_more_epochs_for_a_schedule_without_an_end_need_none(tmp_path):
    run = trained(tmp_path, "blobs", "epochs=3", "schedule=exponential")

    assert rates(resume_training(run, epochs=5)) == pytest.approx([0.1 * 0.95**epoch for epoch in range(5)])


# Early stopping

FLAT = ("optimizer.lr=1e-30", "early_stopping.patience=3")
"""Nothing is learnt: after the first epoch, which is better than none, nothing improves."""


def test_training_stops_after_so_many_epochs_without_improvement(tmp_path):
    run = trained(tmp_path, "blobs", "epochs=50", *FLAT)

    assert (len(run.history()), run.summary().status, run.summary().stopped_early) == (4, "finished", True)


def test_a_run_that_improves_all_along_is_not_stopped(tmp_path):
    run = trained(tmp_path, "blobs", "epochs=8", "early_stopping.patience=1")

    assert (len(run.history()), run.summary().stopped_early) == (8, False)


def test_less_than_min_delta_is_no_improvement(tmp_path):
    run = trained(tmp_path, "blobs", "epochs=8", "early_stopping={patience: 2, min_delta: 100}")

    assert len(run.history()) == 3


def test_the_best_weights_of_a_stopped_run_are_those_of_its_best_epoch(tmp_path):
    run = trained(tmp_path, "line_deep", "epochs=400", "optimizer.lr=0.2", "early_stopping.patience=20")
    losses = [row["test_loss"] for row in run.history()]

    assert run.summary().best["epoch"] == losses.index(min(losses)) + 1 == len(losses) - 20


def test_a_stopped_run_goes_on_only_by_force(tmp_path):
    run = trained(tmp_path, "blobs", "epochs=50", *FLAT)

    with pytest.raises(RunError, match=r"has stopped early, after 4 of 50 epochs; force=True"):
        resume_training(run)
    assert len(resume_training(run, force=True).history()) == 7


# Updates


def batches_of(sizes):
    draws = torch.Generator().manual_seed(1)
    return [(torch.randn(n, 3, generator=draws), torch.randint(4, (n,), generator=draws)) for n in sizes]


def weights_after(batches, *, loss_fn=nn.CrossEntropyLoss(), **settings):  # noqa: B008 - it has no state
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    optimizer = build_optimizer("sgd", model.parameters(), lr=0.5, momentum=0.9)
    update = Update(optimizer, **settings)
    for X, y in batches:
        update(loss_fn(model(X), y), y, loss_fn)
    update.finish()
    return model.weight.detach()


def joined(batches):
    return tuple(map(torch.cat, zip(*batches, strict=True)))


def test_accumulated_batches_equal_one_of_all_their_samples():
    small = batches_of([8] * 8)

    assert torch.allclose(
        weights_after(small, accumulate=4), weights_after([joined(small[:4]), joined(small[4:])]), atol=1e-6
    )


def test_a_short_last_group_weighs_its_samples():
    small = batches_of([8, 8, 8, 3])

    assert torch.allclose(weights_after(small, accumulate=3), weights_after([joined(small[:3]), small[3]]), atol=1e-6)
    assert torch.allclose(weights_after(small[2:], accumulate=4), weights_after([joined(small[2:])]), atol=1e-6)


WEIGHTS = torch.tensor([5.0, 1.0, 0.5, 2.0])


@pytest.mark.parametrize(
    "loss_fn",
    [
        nn.CrossEntropyLoss(WEIGHTS),
        nn.CrossEntropyLoss(WEIGHTS, label_smoothing=0.1),
        nn.CrossEntropyLoss(WEIGHTS, ignore_index=2),
        nn.CrossEntropyLoss(ignore_index=1, label_smoothing=0.1),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.CrossEntropyLoss(WEIGHTS, reduction="sum"),
        nn.MultiMarginLoss(weight=WEIGHTS),
        partial(nn.functional.cross_entropy, weight=WEIGHTS, ignore_index=2),
    ],
    ids=lambda loss_fn: type(loss_fn).__name__,
)
def test_accumulated_batches_of_uneven_classes_equal_one_of_all_their_samples(loss_fn):
    small = batches_of([6, 6, 5])

    assert torch.allclose(
        weights_after(small, accumulate=3, loss_fn=loss_fn),
        weights_after([joined(small)], loss_fn=loss_fn),
        atol=1e-6,
    )


@pytest.mark.parametrize(("model", "weights"), [("circles_v2", "{inner: 5.0}"), ("blobs", "{'0': 5.0}")])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_run_that_accumulates_weighed_classes_is_one_of_larger_batches(tmp_path, model, weights, smoothing):
    pairs = ("epochs=3", f"loss_weights={weights}", f"label_smoothing={smoothing}", "optimizer.lr=0.1")
    large = trained(tmp_path, model, *pairs, "data.batch_size=12")

    small = trained(tmp_path, model, *pairs, "data.batch_size=6", "accumulate=2")

    assert len(small.history()) == 3
    for row, expected in zip(small.history(), large.history(), strict=True):
        columns = ("train_loss", "test_loss")
        assert [row[name] for name in columns] == pytest.approx([expected[name] for name in columns], rel=1e-5)


def test_a_run_that_accumulates_is_one_of_larger_batches(tmp_path):
    pairs = ("epochs=3", "data.shuffle=true")
    large = trained(tmp_path, "blobs", *pairs, "data.batch_size=32")

    small = trained(tmp_path, "blobs", *pairs, "data.batch_size=8", "accumulate=4")

    assert [row["test_loss"] for row in small.history()] == pytest.approx(
        [row["test_loss"] for row in large.history()], rel=1e-4
    )


def gradient_after(**settings):
    model = nn.Linear(3, 1, bias=False)
    update = Update(build_optimizer("sgd", model.parameters(), lr=0.1), **settings)
    update((model.weight * torch.tensor([3.0, -4.0, 12.0])).sum(), torch.zeros(1), nn.MSELoss())
    return model.weight.grad[0].tolist()


def test_clipping_by_norm_keeps_the_direction():
    assert gradient_after(clip_norm=1.3) == pytest.approx([0.3, -0.4, 1.2], rel=1e-4)


def test_a_short_gradient_is_not_clipped():
    assert gradient_after(clip_norm=14.0) == [3.0, -4.0, 12.0]


def test_clipping_by_value_bounds_each_number():
    assert gradient_after(clip_value=3.5) == [3.0, -3.5, 3.5]


# Averaged weights


def test_averaged_weights_follow_their_formula():
    model = nn.Linear(1, 1)
    average = WeightAverage(model, decay=0.25)
    expected = model.weight.item()
    for update, value in enumerate([1.0, -2.0, 5.0], start=1):
        model.weight.data.fill_(value)
        average.after_update()
        d = min(0.25, (1 + update) / (10 + update))
        expected = d * expected + (1 - d) * value

    assert average.averaged.weight.item() == pytest.approx(expected)
    assert [average.decay_at(update) for update in (1, 2, 3)] == [2 / 11, 0.25, 0.25]


def test_averaged_weights_keep_the_statistics_of_batch_norms():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, decay=0.9)
    model(torch.randn(8, 2))

    average.after_update()

    assert torch.equal(average.averaged.running_mean, model.running_mean)


def test_the_weights_of_a_run_are_the_averaged_ones_that_its_history_scores(tmp_path):
    run = trained(tmp_path, "blobs", "epochs=5", "ema=0.5")

    assert evaluate_run(run, "test", weights="last").loss == pytest.approx(run.history()[-1]["test_loss"], rel=1e-5)
    assert run.summary().scored == "averaged weights"
    state = torch.load(run.state_path, weights_only=True)
    assert not torch.equal(
        state["last"]["linear_layer_stack.0.weight"],
        state["parts"]["average"]["weights"]["linear_layer_stack.0.weight"],
    )


def test_averaging_does_not_change_what_is_learnt(tmp_path):
    plain, averaged = (trained(tmp_path, "blobs", "epochs=5", *more) for more in ((), ("ema=0.9",)))

    assert [row["train_loss"] for row in plain.history()] == [row["train_loss"] for row in averaged.history()]


class Frozen(nn.Module):
    """Two layers, of which the first can be frozen."""

    classifier_layer = "fc"

    def __init__(self, in_features, n_outputs):
        super().__init__()
        self.seen = nn.Sequential(nn.Flatten(), nn.Linear(in_features, 16), nn.ReLU())
        self.fc = nn.Linear(16, n_outputs)

    def forward(self, x):
        return self.fc(self.seen(x))


@pytest.mark.parametrize("more", [(), ("freeze_epochs=1", "schedule=cosine"), ("mixup=0.2",)])
def test_a_frozen_backbone_may_be_averaged_too(tmp_path, monkeypatch, more):
    monkeypatch.setitem(models.REGISTRY.registered, "frozen", Frozen)
    pairs = ("data=digits", "freeze=backbone", "epochs=3", "ema=0.5", *more)

    run = trained(tmp_path, "frozen", *pairs)

    assert evaluate_run(run, "test", weights="last").loss == pytest.approx(run.history()[-1]["test_loss"], rel=1e-5)


# Losses and samplers


@pytest.fixture
def unequal(tmp_path):
    """Register two overlapping clouds of points, 380 of a common class and 20 of a rare one, in either split."""
    draws = torch.Generator().manual_seed(0)

    def part():
        labels = torch.tensor([0] * 380 + [1] * 20)
        return TensorData(torch.randn(400, 2, generator=draws) + 1.5 * labels[:, None], labels.float())

    splits = Splits("unequal", "binary", part(), part(), in_shape=(2,), classes=("common", "rare"))
    data.register("unequal", lambda: splits)
    yield
    data.REGISTRY.registered.pop("unequal")


def recall_of_the_rare(tmp_path, *pairs):
    pairs = ("data=unequal", "data.batch_size=40", "data.shuffle=true", "epochs=20", *pairs)
    result = evaluate_run(trained(tmp_path, "circles_v0", *pairs), "test", weights="last")
    rare = result.y.reshape(-1) == 1
    return (result.logits.reshape(-1)[rare] > 0).double().mean().item()


@pytest.mark.parametrize("pair", ["loss_weights=balanced", "loss_weights={rare: 19}", "data.sampler=balanced"])
def test_a_rare_class_is_found_more_often_when_it_is_given_more_say(tmp_path, unequal, pair):
    assert recall_of_the_rare(tmp_path, pair) > recall_of_the_rare(tmp_path) + 0.3


def test_an_unknown_class_is_refused_before_a_run_is_made(tmp_path):
    with pytest.raises(ConfigError, match="loss_weights: unknown class 'outter'; did you mean 'outer'"):
        trained(tmp_path, "circles_v2", "loss_weights={outter: 2}")
    assert list(tmp_path.iterdir()) == []


def test_smoothed_labels_keep_a_model_from_being_too_sure(tmp_path):
    plain, smooth = (
        evaluate_run(
            trained(tmp_path, "blobs", "epochs=200", "model.relu=true", "optimizer={name: adam, lr: 0.05}", *pairs),
            "test",
            weights="last",
        )
        for pairs in ((), ("label_smoothing=0.2",))
    )

    sure = [result.logits.softmax(1).amax(1).mean() for result in (plain, smooth)]
    assert sure[1] < 0.9 < sure[0]


def test_the_test_loss_is_the_plain_one_whatever_is_minimised(tmp_path):
    run = trained(tmp_path, "blobs", "epochs=3", "label_smoothing=0.2", "loss_weights=balanced")
    last = run.history()[-1]

    result = evaluate_run(run, "test", weights="last")

    expected = nn.functional.cross_entropy(result.logits, result.y).item()
    assert last["test_loss"] == pytest.approx(expected, rel=1e-5)
    assert last["train_loss"] > last["test_loss"] + 0.1


@pytest.mark.parametrize("loss", ["huber", "smooth_l1", "mse"])
def test_a_line_is_learnt_by_any_loss_of_a_regression(tmp_path, loss):
    run = trained(tmp_path, "line_v2", "epochs=300", f"loss={loss}", "optimizer.lr=0.1")

    assert run.history()[-1]["test_loss"] < 0.1 * run.history()[0]["test_loss"]


def test_settings_for_classes_are_refused_for_numbers():
    found = faults(
        "line",
        "label_smoothing=0.1",
        "loss_weights=balanced",
        "data={sampler: balanced, shuffle: true}",
        "mixup=1",
        "cutmix=1",
    )

    assert [fault.split(" is for classes")[0] for fault in found] == [
        "label_smoothing:",
        "loss_weights:",
        "data.sampler:",
        "mixup:",
        "cutmix:",
    ]


# Blends


def test_a_run_on_blends_is_another_and_learns(tmp_path):
    pairs = ("epochs=4", "data=digits")
    plain, mixed = (trained(tmp_path, "tinyvgg", *pairs, *more) for more in ((), ("mixup=0.4", "cutmix=1.0")))

    assert mixed.history()[-1]["train_loss"] > plain.history()[-1]["train_loss"]
    assert mixed.history()[-1]["test_loss"] < 0.99 * mixed.history()[0]["test_loss"]


def test_a_cut_out_of_numbers_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"cutmix: cuts pieces out of images; data 'circles' has numbers"):
        trained(tmp_path, "circles_v2", "cutmix=1")


# Validation


def test_every_choice_is_made_on_the_validation_split_where_there_is_one(tmp_path):
    run = trained(tmp_path, "line_deep", "epochs=120", "optimizer.lr=0.2", "data.val_fraction=0.2")
    losses = [row["val_loss"] for row in run.history()]

    assert run.summary().chosen_on == "val"
    assert run.summary().best["epoch"] == losses.index(min(losses)) + 1
    assert evaluate_run(run, "val").loss == pytest.approx(min(losses), rel=1e-5)


def test_comparing_says_on_which_split_a_run_was_chosen(tmp_path):
    runs = [trained(tmp_path, "blobs", "epochs=1", *more) for more in ((), ("data.val_fraction=0.2",))]

    assert [row["chosen_on"] for row in compare_runs(runs)] == ["test", "val"]


# What contradicts itself


@pytest.mark.parametrize(
    ("pairs", "fault"),
    [
        (("optimizer.nesterov=true",), "optimizer.nesterov: needs momentum"),
        (("optimizer.decay_bias_and_norm=false",), "optimizer.decay_bias_and_norm: there is no weight decay"),
        (("schedule=cosine", "epochs=1"), "schedule.name: 'cosine' has no second epoch"),
        (("schedule.warmup_epochs=5", "epochs=5"), "schedule.warmup_epochs: a warm-up of 5 of 5 epochs"),
        (
            ("schedule=step", "epochs=10"),
            "step_size: the learning rate would first change after epoch 10 of 10",
        ),
        (
            ("schedule={name: multi_step, milestones: [2, 9]}", "epochs=9"),
            "milestones: the learning rate would",
        ),
        (
            ("schedule={name: cosine, min_lr: 0.1}",),
            "schedule.min_lr: must be less than the learning rate, which is 0.1",
        ),
        (("accumulate=4",), "accumulate: a full batch is all samples already"),
        (("data.val_seed=1",), "data.val_seed: nothing is cut off with it"),
        (("data.val_seed=seed",), "data.val_seed: nothing is cut off with it"),
        (("data.val_fraction=0.2", "data.val_seed=sed"), "must be a whole number or 'seed', not 'sed'"),
        (("data.sampler=balanced",), "data.sampler: draws at random, and data.shuffle is false"),
        (("loss_weights={0: -1}",), "loss_weights: the weight of class '0' must be a number above 0"),
        (("loss_weights=balance",), "loss_weights: must be 'balanced' or a weight a class"),
        (("early_stopping.patience=3", "epochs=3"), "early_stopping.patience: 3 epochs without improvement"),
    ],
)
def test_a_contradiction_is_refused_before_training(pairs, fault):
    [found] = faults("blobs", *pairs)

    assert fault in found


def test_contradictions_are_told_together_with_what_is_wrong_by_itself():
    found = faults("blobs", "optimizer.nesterov=true", "early_stopping.patience=500", "seed=x", "schedul=cosine")

    assert [fault.split(":")[0] for fault in found] == [
        "optimizer.nesterov",
        "early_stopping.patience",
        "seed",
        "schedul",
    ]


def test_nothing_is_derived_from_a_setting_that_is_wrong():
    assert faults("blobs", "epochs=x", "schedule.warmup_epochs=200") == ["epochs: must be a whole number, not 'x'"]


@pytest.mark.parametrize(
    ("pair", "fault"),
    [
        ("schedule=cosin", "unknown schedule 'cosin'; did you mean 'cosine'?"),
        ("schedule={name: step, step: 3}", "unknown setting 'step'; did you mean 'step_size'?"),
        ("schedule={name: multi_step}", "schedule.milestones: schedule 'multi_step' needs it"),
        ("early_stopping.patienc=3", "unknown setting 'patienc'; did you mean 'patience'?"),
        ("early_stopping=3", "must be a mapping of settings, not 3"),
    ],
)
def test_a_wrong_name_or_value_is_answered(pair, fault):
    assert any(fault in found for found in faults("blobs", pair))


@pytest.mark.parametrize(
    ("pairs", "fault"),
    [
        (
            ["epochs=1", "schedule=one_cycle"],
            "over 1 update never comes near the learning rate of 0.1, its highest",
        ),
        (["epochs=2", "schedule=one_cycle", "schedule.pct_start=0.9"], "one_cycle over 2 updates never comes near"),
        (["epochs=2", "schedule.warmup_epochs=0.4"], "0.4 epochs are less than one update, as an epoch has 1"),
        (["epochs=2", "schedule=cosine", "schedule.warmup_epochs=1.6"], "1.6 epochs are all 2 updates"),
    ],
)
def test_a_schedule_that_the_updates_are_too_few_for_is_refused_before_a_run_is_made(pairs, fault):
    with pytest.raises(ConfigError, match=fault):
        prepare(resolve_config([from_overrides(["model=circles_v2", *pairs])]))


def test_a_cycle_whose_first_phase_is_one_update_trains(tmp_path):
    pairs = ["model=circles_v2", "epochs=2", "schedule=one_cycle", "schedule.pct_start=0.5"]

    run = run_training(resolve_config([from_overrides(pairs)]), runs_dir=tmp_path)

    assert [row["lr"] for row in run.history()] == pytest.approx([0.1, 4e-7])
