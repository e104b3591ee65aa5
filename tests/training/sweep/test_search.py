"""Optuna's search through the sweep's own folder."""

from __future__ import annotations

import builtins
import sys

import pytest

from dlworkflow.config import Layer, from_overrides
from dlworkflow.errors import ConfigError
from dlworkflow.training.sweep.folder import Sweep
from dlworkflow.training.sweep.plan import plan_sweep
from dlworkflow.training.sweep.running import run_sweep


@pytest.fixture
def search(tmp_path):
    def make(**sweep):
        layer = from_overrides(["model=circles_v2", "epochs=20"])
        grid = {"optimizer.lr": "1e-5..1e0", "model.hidden_units": "4..12", "optimizer.name": ["sgd", "adam"]}
        plan, settings = plan_sweep(
            [layer, Layer({"sweep": {"grid": grid, "sampler": "tpe", "random": 12, "jobs": 1} | sweep})]
        )
        return Sweep.create(tmp_path, "s", plan), settings

    return make


def test_a_search_makes_as_many_combinations_as_wanted_and_gives_up_the_hopeless(search):
    plan, stop = run_sweep(search()[0])

    assert (stop, len(plan.points)) == ("", 12)
    pruned = [point for point in plan.points if point.status == "pruned"]
    assert pruned
    assert {point.status for point in plan.points} == {"finished", "pruned"}


def test_a_pruned_run_says_so_in_its_own_folder_and_ended_early(search):
    sweep, _ = search()
    plan, _ = run_sweep(sweep)
    pruned = next(point for point in plan.points if point.status == "pruned")

    run = sweep.run(pruned.run)

    assert run.summary().status == "pruned"
    assert 0 < len(run.history()) < 20


def test_no_run_is_given_up_in_the_first_third_of_its_epochs(search):
    sweep, _ = search()
    plan, _ = run_sweep(sweep)

    lengths = [len(sweep.run(point.run).history()) for point in plan.points if point.status == "pruned"]

    assert lengths
    assert min(lengths) > 20 // 3


def test_a_search_chooses_the_same_every_time(search):
    first, second = (run_sweep(search(random=7)[0])[0] for _ in range(2))

    assert [point.values for point in first.points] == [point.values for point in second.points]


def test_a_search_goes_on_with_what_is_left(search):
    sweep, settings = search(random=8, max_runs=3)
    plan, stop = run_sweep(sweep)
    assert (stop, len(plan.points)) == ("runs", 3)
    before = [point.run for point in plan.points]

    plan, stop = run_sweep(sweep, settings.model_copy(update={"max_runs": None}))

    assert (stop, len(plan.points)) == ("", 8)
    assert [point.run for point in plan.points[:3]] == before


def test_every_combination_has_its_seeds_and_the_first_decides_for_all(search):
    plan, _ = run_sweep(search(random=8, seeds=2)[0])

    assert len(plan.points) >= 2
    for first, second in zip(plan.points[::2], plan.points[1::2], strict=True):
        assert (first.values, first.seed, second.seed) == (second.values, 42, 43)
        assert first.status == second.status


def test_without_optuna_the_error_names_the_extra(monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "optuna":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "dlworkflow.training.sweep.search", raising=False)

    with pytest.raises(ConfigError, match=r"pip install 'dlworkflow\[sweep\]'"):
        import dlworkflow.training.sweep.search  # noqa: F401
