from __future__ import annotations

import math

import pytest

from dlworkflow.config import SweepSettings
from dlworkflow.errors import ConfigError
from dlworkflow.training.sweep.points import Range, choose_combinations, extreme_combinations, parse_grid, read_grid


def values_of(*pairs):
    values, faults = read_grid(parse_grid(pairs), label="--grid", ranges=True)
    assert faults == []
    return values


def chosen(*pairs, **settings):
    return choose_combinations(values_of(*pairs), SweepSettings(**settings))


def test_a_grid_is_every_value_with_every_other():
    assert chosen("a=1,2", "b=x,[3, 4]") == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": [3, 4]},
        {"a": 2, "b": "x"},
        {"a": 2, "b": [3, 4]},
    ]


def test_a_value_that_stands_twice_is_tried_once():
    assert chosen("a=1,1") == [{"a": 1}]


def test_no_grid_is_one_combination():
    assert chosen() == [{}]


def test_random_combinations_are_the_same_every_time():
    assert chosen("a=1e-4..1e-1", random=5) == chosen("a=1e-4..1e-1", random=5)


def test_another_sampling_seed_draws_others():
    assert chosen("a=1e-4..1e-1", random=5) != chosen("a=1e-4..1e-1", random=5, sampling_seed=1)


def test_random_combinations_differ_from_each_other():
    drawn = chosen("a=1..4", "b=x,y", random=8)

    assert len({str(values) for values in drawn}) == 8


def test_random_never_tries_more_than_there_are():
    assert len(chosen("a=1..3", random=50)) == 3
    assert len(chosen("a=1,2", random=50)) == 2


def test_a_range_of_floats_gives_every_order_of_magnitude_its_share():
    drawn = [values["a"] for values in chosen("a=1e-4..1e-1", random=600)]

    for low in (1e-4, 1e-3, 1e-2):
        assert 150 < sum(low <= value < 10 * low for value in drawn) < 250
    assert math.isclose(min(drawn), 1e-4, rel_tol=0.1)


def test_a_range_of_whole_numbers_has_both_its_ends():
    assert {values["a"] for values in chosen("a=8..11", random=4)} == {8, 9, 10, 11}


def test_a_range_from_zero_is_drawn_evenly():
    drawn = [values["a"] for values in chosen("a=0.0..0.5", random=400)]

    assert 150 < sum(value < 0.25 for value in drawn) < 250


@pytest.mark.parametrize("text", ["1..1", "2..1", "a..b", "1..", "..", "1e-3..inf", "nan..1"])
def test_a_range_that_is_none_is_refused(text):
    _, [fault] = read_grid({"a": text}, label="--grid", ranges=True)

    assert fault == f"--grid a: a range is written LOW..HIGH with LOW below HIGH, not {text!r}"


def test_all_faults_of_a_grid_are_told_at_once():
    _, faults = read_grid({"a": [], "b": 3, "c": "1..2", "seed": [1]}, label="--grid", ranges=False)

    assert [fault.partition(":")[0] for fault in faults] == ["--grid a", "--grid b", "--grid c", "--grid seed"]


def test_a_nested_grid_is_the_dotted_one():
    values, _ = read_grid({"optimizer": {"lr": [1, 2]}}, label="grid", ranges=False)

    assert values == {"optimizer.lr": [1, 2]}


def test_an_absurd_number_of_runs_is_told():
    with pytest.raises(ConfigError, match="10,000 combinations with 2 seeds each are 20,000 runs"):
        choose_combinations({"a": list(range(100)), "b": list(range(100))}, SweepSettings(seeds=2))


def test_extreme_combinations_hold_every_value_and_both_ends():
    extremes = extreme_combinations({"a": [1, 2, 3], "b": Range(4, 9)})

    assert {values["a"] for values in extremes} == {1, 2, 3}
    assert {values["b"] for values in extremes} == {4, 9}


@pytest.mark.parametrize("pair", ["a", "=1", "a..b=1", "a=[1"])
def test_a_grid_that_is_no_pair_is_refused(pair):
    with pytest.raises(ConfigError, match="grid "):
        parse_grid([pair])


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(ConfigError, match="is given twice"):
        parse_grid(["a=1", "a=2"])
