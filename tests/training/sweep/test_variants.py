"""Named sets of settings, each tried beside the others."""

from __future__ import annotations

import pytest

from dlworkflow.config import Layer, from_overrides
from dlworkflow.errors import ConfigError
from dlworkflow.training.sweep.folder import Sweep
from dlworkflow.training.sweep.plan import config_of, plan_sweep
from dlworkflow.training.sweep.running import run_sweep
from dlworkflow.training.sweep.table import sweep_rows


def planned(variants, *pairs, **sweep):
    base = from_overrides(["model=blobs", "epochs=2", *pairs])
    return plan_sweep([base, Layer({"sweep": {"variants": variants, "vectorize": False, "jobs": 1, **sweep}})])


def test_each_variant_is_the_base_with_its_own_settings():
    plan, _ = planned({"plain": None, "adam": {"optimizer": {"name": "adam", "lr": 0.5}, "epochs": 3}})

    plain, adam = (config_of(plan, point) for point in plan.points)

    assert (plain.optimizer.name, plain.epochs) == ("sgd", 2)
    assert (adam.optimizer.name, adam.optimizer.lr, adam.epochs) == ("adam", 0.5, 3)


def test_keys_may_be_dotted():
    plan, _ = planned({"wide": {"model.hidden_units": 20}, "plain": {}})

    assert config_of(plan, plan.points[0]).model.settings["hidden_units"] == 20


def test_every_variant_meets_every_value_of_the_grid_and_the_grid_wins():
    plan, _ = planned({"a": {}, "b": {"optimizer.lr": 9}}, grid={"optimizer.lr": [0.1, 0.2]}, seeds=2)

    found = [(point.values["variant"], config_of(plan, point).optimizer.lr) for point in plan.points]

    assert found == [(name, lr) for name in "ab" for lr in (0.1, 0.2) for _ in range(2)]


def test_a_recipe_may_be_a_variant():
    variants = Layer({"sweep": {"variants": {"as in the notes": {"recipe": "notes"}, "best": {"recipe": "best"}}}})
    plan, _ = plan_sweep([from_overrides(["model=tinyvgg", "data=pizza_steak_sushi"]), variants])

    notes, best = (config_of(plan, point) for point in plan.points)

    assert notes.epochs != best.epochs


def test_the_table_has_a_row_a_variant(tmp_path):
    plan, settings = planned({"plain": {}, "faster": {"optimizer.lr": 0.5}}, seeds=2)
    sweep = Sweep.create(tmp_path, "s", plan)

    rows, _ = sweep_rows(sweep, run_sweep(sweep, settings)[0])

    assert {(row["variant"], row["n"]) for row in rows} == {("plain", 2), ("faster", 2)}


def test_rows_can_be_of_each_runs_last_epoch(tmp_path):
    plan, settings = planned({"plain": {}}, "model=line", "optimizer.lr=0.3", "epochs=9", seeds=2)
    sweep = Sweep.create(tmp_path, "s", plan)
    plan, _ = run_sweep(sweep, settings)

    [best], [last] = (sweep_rows(sweep, plan, at=at)[0] for at in ("best", "last"))

    ends = [sweep.run(point.run).history()[-1]["test_loss"] for point in plan.points]
    assert last["test_loss"] == pytest.approx(sum(ends) / 2)
    assert best["test_loss"] < last["test_loss"]


@pytest.mark.parametrize(
    ("variants", "fault"),
    [
        ({"wide": {"model.hiden_units": 20}}, "sweep.variants wide: model.hiden_units: model 'blobs': unknown setting"),
        ({"long": {"epochs": -1}}, "sweep.variants long: epochs: must be at least 0"),
        ({"what": 3}, "sweep.variants: "),
    ],
)
def test_a_wrong_setting_is_named_with_its_variant_before_anything_trains(variants, fault):
    with pytest.raises(ConfigError) as caught:
        planned({"plain": {}, **variants})

    assert any(found.startswith(fault) for found in caught.value.faults), caught.value.faults


def test_a_grid_may_not_use_the_variants_column():
    with pytest.raises(ConfigError, match="is the column of"):
        planned({"a": {}}, grid={"variant": [1, 2]})
