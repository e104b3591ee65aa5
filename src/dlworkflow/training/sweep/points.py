"""Which combinations of settings a sweep tries: all of a grid, or some at random; knows settings, no run, no torch."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlworkflow.config import Layer, SweepSettings, from_values, read_values
from dlworkflow.errors import ConfigError
from dlworkflow.registry.user_code import use_code_named_in

MOST_RUNS = 10_000
"""A sweep of more runs is an error, as it is hardly intended."""

Combination = dict[str, Any]
"""Values by dotted key."""

VARIANT = "variant"
"""The key of a combination that names a variant."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both among them: whole ones evenly, others log-uniform where `low` is above 0."""

    low: float
    high: float

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def logarithmic(self) -> bool:
        """Whether every order of magnitude is as likely as any other."""
        return not self.whole and self.low > 0

    def draw(self, generator: random.Random) -> float:
        """Return a number of the range."""
        if self.whole:
            return generator.randint(int(self.low), int(self.high))
        if not self.logarithmic:
            return generator.uniform(self.low, self.high)
        drawn = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)


Values = list[Any] | Range


def parse_grid(pairs: Iterable[str]) -> dict[str, Any]:
    """Read `--grid KEY=V1,V2` and `--grid KEY=LOW..HIGH` into {key: list or range as text}; all errors at once."""
    grid: dict[str, Any] = {}
    faults = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            faults.append(f"--grid {pair}: write it as key=value,value, for example --grid optimizer.lr=0.01,0.1")
        elif key in grid:
            faults.append(f"--grid {key}: is given twice; write all its values in one, {key}=value,value")
        elif ".." in text:
            grid[key] = text.strip()
        else:
            try:
                grid[key] = read_values(text, where=f"--grid {key}")
            except ConfigError as error:
                faults.extend(error.faults)
    if faults:
        raise ConfigError(*faults)
    use_code_named_in(grid)
    return grid


def read_grid(grid: Mapping[str, Any], *, label: str, ranges: bool) -> tuple[dict[str, Values], list[str]]:
    """Turn the setting `grid`, whose keys may be dotted or nested, into (values by dotted key, errors).

    A key without values, with a range that is none, or with a range where there are no `ranges`, is an error.
    """
    found: dict[str, Values] = {}
    faults = []
    for key, value in _flat(grid):
        where = f"{label} {key}"
        if key == "seed":
            faults.append(f"{where}: seeds are not compared but averaged over; say how many with --seeds N")
        elif isinstance(value, str) and ".." in value:
            spread = _read_range(value)
            if spread is None:
                faults.append(f"{where}: a range is written LOW..HIGH with LOW below HIGH, not {value!r}")
            elif not ranges:
                faults.append(f"{where}: a range needs --random N, the number of combinations to try")
            else:
                found[key] = spread
        elif not isinstance(value, list):
            faults.append(f"{where}: must be a list of values or a range like 1e-4..1e-1, not {value!r}")
        elif not value:
            faults.append(f"{where}: has no values")
        else:
            found[key] = list({json.dumps(item): item for item in value}.values())
    return found, faults


def read_choices(
    grid: Mapping[str, Any], variants: Mapping[str, Any], *, label: str, ranges: bool
) -> tuple[dict[str, Values], list[str]]:
    """Return `read_grid` with the names of the variants as the values of one more key, VARIANT."""
    found, faults = read_grid(grid, label=label, ranges=ranges)
    if not variants:
        return found, faults
    if found.pop(VARIANT, None) is not None:
        faults.append(f"{label} {VARIANT}: is the column of sweep.variants; leave it out")
    return {VARIANT: list(variants), **found}, faults


def layers_of(combination: Combination, variants: Mapping[str, Any], label: str) -> list[Layer]:
    """Return the settings of a combination: those of its variant where there are any, and over them those of the grid.

    `label` precedes the grid's keys in messages.
    """
    if not variants:
        return [from_values(combination, label)]
    name = str(combination[VARIANT])
    chosen = {key: value for key, value in combination.items() if key != VARIANT}
    return [from_values(dict(_flat(variants[name] or {})), f"sweep.variants {name}:"), from_values(chosen, label)]


def choose_combinations(values: Mapping[str, Values], settings: SweepSettings) -> list[Combination]:
    """Return the combinations to try, always the same for the same settings.

    Raises ConfigError when there are too many to be meant.
    """
    lists = {key: found for key, found in values.items() if isinstance(found, list)}
    size = math.prod(len(found) for found in lists.values())
    n = settings.random if settings.random is not None else size
    if n * settings.seeds > MOST_RUNS:
        raise ConfigError(
            f"sweep: {n:,} combinations with {settings.seeds:,} seeds each are {n * settings.seeds:,} runs; at most "
            f"{MOST_RUNS:,} are made; try fewer values, or some at random with --random N"
        )
    if settings.random is None or (len(lists) == len(values) and size <= n):
        return [dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())]
    return _draw(values, n, random.Random(settings.sampling_seed))


def extreme_combinations(values: Mapping[str, Values]) -> list[Combination]:
    """Return combinations that hold every listed value and both ends of every range at least once."""
    ends = {key: found if isinstance(found, list) else [found.low, found.high] for key, found in values.items()}
    most = max(map(len, ends.values()), default=1)
    return [{key: found[min(i, len(found) - 1)] for key, found in ends.items()} for i in range(most)]


def _draw(values: Mapping[str, Values], n: int, generator: random.Random) -> list[Combination]:
    """Draw `n` different combinations, or fewer where so many are not found."""
    drawn: dict[str, Combination] = {}
    for _ in range(100 * n):
        chosen = {
            key: generator.choice(found) if isinstance(found, list) else found.draw(generator)
            for key, found in values.items()
        }
        drawn.setdefault(json.dumps(chosen), chosen)
        if len(drawn) == n:
            break
    return list(drawn.values())


_RANGE = re.compile(r"\s*(\S+?)\s*\.\.\s*(\S+)\s*")


def _read_range(text: str) -> Range | None:
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    low, high = (_number(part) for part in match.groups())
    if low is None or high is None or not low < high or not math.isfinite(high - low):
        return None
    return Range(low, high) if isinstance(low, int) and isinstance(high, int) else Range(float(low), float(high))


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _flat(grid: Mapping[str, Any], above: Sequence[str] = ()) -> Iterable[tuple[str, Any]]:
    for key, value in grid.items():
        if isinstance(value, Mapping):
            yield from _flat(value, [*above, str(key)])
        else:
            yield ".".join([*above, str(key)]), value
