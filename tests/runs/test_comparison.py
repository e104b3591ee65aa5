"""Runs side by side: the right epoch, the settings that matter, means over seeds."""

from __future__ import annotations

import statistics

import pytest

from dlworkflow.errors import ConfigError
from dlworkflow.runs import Run, best_epoch
from dlworkflow.runs.comparison import all_columns, are_alike, compare_runs, compare_seeds, seed_scores, sort_rows


def make_run(tmp_path, tests=(1.0,), accs=None, *, model="m", data="d", seed=1, status="finished", **settings):
    config = {"model": {"name": model, **settings}, "data": {"name": data, "batch_size": 32, "data_dir": None}}
    config |= {"optimizer": {"name": "adam"}, "loss": "binary_cross_entropy", "epochs": 5, "seed": seed}
    summary = {"config": config, "data": data, "kind": "tabular", "chosen_on": "test", "baseline": {}}
    summary |= {"task": "binary", "classes": ["a", "b"], "in_shape": [2], "n_outputs": 1, "transform": None}
    summary |= {"samples": {"train": 8, "test": 2}, "source": "", "parameters": 3, "device": "cpu", "threads": 1}
    run = Run.create(tmp_path, f"{model}-{data}", summary=summary, config="", environment={})
    for number, loss in enumerate(tests, start=1):
        row = {"epoch": number, "lr": 0.1, "seconds": 0.5, "train_loss": loss / 2, "train_acc": 0.5}
        run.log_epochs([row | {"test_loss": loss, "test_acc": accs[number - 1] if accs else 0.5}])
    run.update_summary(best=dict(best_epoch(run.history())), status=status, seconds=1.0)
    return run


def test_the_best_epoch_is_chosen_by_the_named_metric(tmp_path):
    run = make_run(tmp_path, tests=[1.0, 0.5, 0.7], accs=[0.2, 0.3, 0.9])

    assert [compare_runs([run], by=by)[0]["best_epoch"] for by in (None, "test_acc", "train_loss")] == [2, 3, 2]


def test_the_last_epoch_is_compared_where_none_shall_be_chosen(tmp_path):
    runs = [
        make_run(tmp_path, tests=[1.0, 0.5, 0.7], accs=[0.2, 0.3, last], seed=seed)
        for seed, last in enumerate((0.8, 0.9))
    ]

    rows, [mean] = compare_runs(runs, at="last"), compare_seeds(runs, at="last")

    assert [(row["best_epoch"], row["test_acc"], row["chosen_on"]) for row in rows] == [(3, 0.8, None), (3, 0.9, None)]
    assert mean["test_acc"] == pytest.approx(0.85)


def test_of_equal_epochs_the_first_is_the_best(tmp_path):
    run = make_run(tmp_path, tests=[1.0, 0.9, 0.8], accs=[0.7, 0.9, 0.9])

    assert compare_runs([run], by="test_acc")[0]["best_epoch"] == 2


def test_an_unknown_metric_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'test_acc'"):
        compare_runs([make_run(tmp_path)], by="tst_acc")


def test_a_setting_that_one_model_only_has_is_no_difference(tmp_path):
    rows = compare_runs([make_run(tmp_path, model="a", width=1), make_run(tmp_path, model="b", dropout=0.1)])

    assert "model.width" not in rows[0]


def test_a_setting_that_tells_runs_of_one_model_apart_is_a_difference(tmp_path):
    runs = [
        make_run(tmp_path, model="a", width=1),
        make_run(tmp_path, model="a", width=2),
        make_run(tmp_path, model="b"),
    ]

    assert [row["model.width"] for row in compare_runs(runs)] == [1, 2, None]


def test_runs_that_differ_in_their_seed_alone_become_mean_and_deviation(tmp_path):
    losses = [1.0, 2.0, 4.0]
    runs = [make_run(tmp_path, tests=[loss], seed=seed) for seed, loss in enumerate(losses)]

    [row] = compare_seeds([*runs, make_run(tmp_path, tests=[9.0], status="interrupted")])

    assert (row["seeds"], row["test_loss"], row["test_loss_sd"]) == (
        3,
        pytest.approx(statistics.mean(losses)),
        pytest.approx(statistics.stdev(losses)),
    )


def test_a_run_that_repeats_a_seed_does_not_count_twice(tmp_path):
    runs = [make_run(tmp_path, tests=[1.0]), make_run(tmp_path, tests=[1.0])]

    [row] = compare_seeds(runs)

    assert (row["seeds"], row["test_loss_sd"]) == (1, None)


def test_other_settings_make_another_group(tmp_path):
    runs = [make_run(tmp_path, width=width, seed=seed) for width in (1, 2) for seed in (1, 2)]

    assert [(row["model.width"], row["seeds"]) for row in compare_seeds(runs)] == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"model": "a"}, ["a-d-001", "a-d-002"]),
        ({"model.width": "2"}, ["a-d-002"]),
        ({"model.width": "2.0", "model": "a"}, ["a-d-002"]),
        ({"status": "interrupted"}, ["b-d-001"]),
    ],
)
def test_runs_are_filtered_by_columns_and_settings(tmp_path, where, kept):
    runs = [
        make_run(tmp_path, model="a", width=1),
        make_run(tmp_path, model="a", width=2),
        make_run(tmp_path, model="b", status="interrupted"),
    ]

    assert [row["run"] for row in compare_runs(runs, where=where)] == kept


def test_a_filter_by_an_unknown_key_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        compare_runs([make_run(tmp_path)], where={"modl": "m"})


def test_all_columns_hold_every_setting(tmp_path):
    assert all_columns([make_run(tmp_path, width=3)])[0]["model.width"] == 3


def test_rows_are_sorted_best_first_and_those_without_a_value_last():
    rows = [{"test_acc": None}, {"test_acc": 0.1}, {"test_acc": 0.9}]

    assert [row["test_acc"] for row in sort_rows(rows, "test_acc")] == [0.9, 0.1, None]
    assert [row["loss"] for row in sort_rows([{"loss": 2.0}, {"loss": 1.0}], "loss")] == [1.0, 2.0]


def test_equal_rows_keep_their_order():
    rows = [{"test_acc": 0.5, "run": name} for name in "abc"]

    assert [row["run"] for row in sort_rows(rows, "test_acc")] == ["a", "b", "c"]


def test_rows_of_several_folds_or_data_sets_are_not_alike():
    rows = [{"data": "circles", "data.fold": fold} for fold in (1, 2)]

    assert not are_alike(rows)
    assert not are_alike([{"data": "circles"}, {"data": "moons"}])
    assert are_alike([row | {"data.fold": 1} for row in rows])


def test_seed_scores_are_those_of_the_rows_over_seeds(tmp_path):
    runs = [make_run(tmp_path, (loss,), seed=seed, width=3) for seed, loss in ((1, 0.5), (2, 0.7))]

    assert seed_scores(runs, "test_loss") == [{1: 0.5, 2: 0.7}]


def with_settings(run, **settings):
    run.update_summary(config=run.summary().config | settings)
    return run


def test_a_loss_with_settings_and_one_without_differ_in_their_names(tmp_path):
    runs = [with_settings(make_run(tmp_path), loss=loss) for loss in ("l1", {"name": "huber", "delta": 0.5})]

    assert [row["loss"] for row in compare_runs(runs)] == ["l1", "huber"]


def test_runs_with_and_without_trackers_are_no_different(tmp_path):
    runs = [with_settings(make_run(tmp_path, seed=seed), track=t) for seed, t in ((1, None), (2, ["tensorboard"]))]

    assert ("track" in compare_runs(runs)[0], [row["seeds"] for row in compare_seeds(runs)]) == (False, [2])
