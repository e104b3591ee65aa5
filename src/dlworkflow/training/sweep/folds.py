"""From settings to a cross-validation's plan: a sweep with a run for each fold, and for each repeat of all folds."""

from __future__ import annotations

from collections.abc import Sequence

from dlworkflow.config import DataSettings, Layer, SweepSettings, merge
from dlworkflow.errors import ConfigError, few
from dlworkflow.runs import Summary
from dlworkflow.training.job import Job, prepare
from dlworkflow.training.sweep.folder import Plan, Point
from dlworkflow.training.sweep.plan import config_of, plan_sweep

_SEED, _FOLD = "data.fold_seed", "data.fold"
_COMPARES = ("grid", "variants", "random", "sampler", "seeds", "by", "at")
"""Settings of a sweep that compare runs; a cross-validation trains one setting."""


def plan_folds(
    layers: Sequence[Layer], *, folds: int, repeats: int = 1, offline: bool = False
) -> tuple[Plan, SweepSettings, Job]:
    """Return the plan of a cross-validation, its settings and the job of its first run.

    `layers` are settings from weakest to strongest, as for one run.
    Each repeat makes other folds, by the next `data.fold_seed`, and trains with the next seed. Raises ConfigError and
    DataError for all that would stop the first run: its data is loaded and its model is built.
    """
    given = merge(layers).values
    of_sweep = given.get("sweep")
    if used := [f"sweep.{key}" for key in _COMPARES if isinstance(of_sweep, dict) and key in of_sweep]:
        raise ConfigError(
            f"{few(used, quoted=False)}: a cross-validation trains one setting; compare some with dlw sweep"
        )
    dataset = given.get("data")
    first = (dataset if isinstance(dataset, dict) else {}).get(
        "fold_seed", DataSettings.model_fields["fold_seed"].default
    )
    grid: dict[str, list[int]] = {_FOLD: [*range(1, folds + 1)]}
    if repeats > 1 and isinstance(first, int):
        grid = {_SEED: [*range(first, first + repeats)], **grid}
    own = Layer({"data": {"folds": folds}, "sweep": {"grid": grid}}, {"data.folds": "--folds"})
    plan, settings = plan_sweep([*layers, own], offline=offline)
    for point in plan.points:
        point.seed += point.values.get(_SEED, first) - first
    config_of(plan, plan.points[-1])
    return plan, settings, prepare(config_of(plan, plan.points[0]), offline=offline)


def is_cross_validation(plan: Plan) -> bool:
    """Return whether the runs of a plan are the folds of a cross-validation."""
    return _FOLD in plan.keys and {*plan.keys} <= {_FOLD, _SEED}


def place_of(point: Point, plan: Plan) -> tuple[int, int]:
    """Return the fold of a run and its repeat, both from 1."""
    seeds = list(dict.fromkeys(each.values.get(_SEED) for each in plan.points))
    return int(point.values[_FOLD]), seeds.index(point.values.get(_SEED)) + 1


def scored_at(summary: Summary) -> str:
    """Return which weights of a fold's run are scored: the best where a validation split chose them, else the last.

    The fold that is scored chooses nothing.
    """
    return "best" if summary.chosen_on == "val" else "last"
