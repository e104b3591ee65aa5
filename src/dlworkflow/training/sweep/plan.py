"""From what a user typed to a sweep's plan: every combination's settings are checked before anything trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlworkflow.config import Layer, SweepSettings, TrainConfig, Tree, build_sweep_settings, merge
from dlworkflow.errors import ConfigError, unknown
from dlworkflow.runs.comparison import SCORES
from dlworkflow.training.settings import locate_data, resolve_config
from dlworkflow.training.sweep.folder import Plan, Point
from dlworkflow.training.sweep.points import (
    Combination,
    Values,
    choose_combinations,
    extreme_combinations,
    layers_of,
    read_choices,
)

ONE_THREAD = Layer({"threads": 1})
"""A sweep's runs use one thread each by default, so that results do not depend on how many train at once."""


def plan_sweep(layers: Sequence[Layer], *, offline: bool = False) -> tuple[Plan, SweepSettings]:
    """Return the plan of a sweep: layers of settings from weakest to strongest, with the section `sweep` among them.

    Raises ConfigError with all errors at once: of the base, of the sweep, and of every combination.
    """
    merged = merge([ONE_THREAD, *map(locate_data, layers)])
    sweep = Layer({key: merged.values[key] for key in ("sweep",) if key in merged.values}, merged.labels)
    base = Layer({key: value for key, value in merged.values.items() if key != "sweep"}, merged.labels)
    faults: dict[str, None] = {}
    settings = build_sweep_settings(Layer({}))
    combinations: list[Combination] = [{}]
    try:
        settings = build_sweep_settings(sweep)
        faults |= dict.fromkeys(_faults_of(settings, merged.labels))
    except ConfigError as error:  # the grid and the base are looked at all the same
        faults |= dict.fromkeys(error.faults)
        grid = sweep.values["sweep"].get("grid") if isinstance(sweep.values["sweep"], dict) else None
        settings = settings.model_copy(update={"grid": grid if isinstance(grid, dict) else {}, "random": 1})
    label = merged.labels.get("sweep.grid", "sweep.grid")
    ranges = settings.random is not None or settings.sampler == "tpe"
    values, grid_faults = read_choices(settings.grid, settings.variants, label=label, ranges=ranges)
    faults |= dict.fromkeys(grid_faults)
    try:
        combinations = choose_combinations(values, settings)
    except ConfigError as error:
        faults |= dict.fromkeys(error.faults)
    label = label if label == "--grid" else f"{label}:"
    faults |= dict.fromkeys(_setting_faults(base, combinations, values, settings, label))
    if faults:
        raise ConfigError(*faults)
    seed = first_seed(base.values)
    seeds = range(seed, seed + settings.seeds)
    plan = Plan({"recipe": None, **base.values}, settings.model_dump(mode="json"), list(values), offline=offline)
    if settings.sampler != "tpe":
        plan.points = [
            Point(number, chosen, seed)
            for number, (chosen, seed) in enumerate(((c, s) for c in combinations for s in seeds), start=1)
        ]
    return plan, settings


def first_seed(base: Tree) -> Any:
    """Return the seed of a sweep's first run of each combination; the others count up from it."""
    return base.get("seed", TrainConfig.model_fields["seed"].default)


def config_of(plan: Plan, point: Point) -> TrainConfig:
    """Return the settings of one run of a sweep."""
    chosen = layers_of(point.values, plan.sweep.get("variants", {}), "--grid")  # older sweeps know no variants
    base = Layer({"recipe": "notes", **plan.base})  # older sweeps know no other where none is named
    return resolve_config([base, *chosen, Layer({"seed": point.seed})])


def _faults_of(settings: SweepSettings, labels: Any) -> list[str]:
    """Return the contradictions in a sweep's own settings."""
    faults = []
    if settings.by is not None and settings.by not in SCORES:
        faults.append(f"{labels.get('sweep.by', 'sweep.by')}: {unknown('metric', settings.by, SCORES)}")
    if not settings.grid and not settings.variants and settings.seeds == 1:
        faults.append("sweep: nothing varies; give --grid KEY=VALUE,VALUE or --seeds N")
    if settings.sampler == "tpe" and settings.random is None:
        faults.append("--sampler tpe: say how many combinations to try with --random N")
    if settings.random is not None and not settings.grid:
        faults.append("--random: needs values or ranges to choose from, for example --grid optimizer.lr=1e-4..1e-1")
    return faults


def _setting_faults(
    base: Layer, combinations: Sequence[Combination], values: dict[str, Values], settings: SweepSettings, label: str
) -> list[str]:
    """Return each error of any combination's settings once, in the order found; the last seed is checked too."""
    first, seeds = first_seed(base.values), settings.seeds
    last = {"seed": first + seeds - 1} if isinstance(first, int) and seeds > 1 else {}
    found: dict[str, None] = {}
    for chosen in [*extreme_combinations(values), *combinations]:
        try:
            layers = layers_of(chosen, settings.variants, label)
            resolve_config([base, *layers, Layer(last, {"seed": "--seeds"})])
        except ConfigError as error:
            found |= dict.fromkeys(error.faults)
    return list(found)
