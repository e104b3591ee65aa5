from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dlworkflow.metrics.significance import (
    over_seeds,
    permutation_of_pairs,
    permutations_of_runs,
    seed_rule,
    seeds_needed,
    welch,
)


@pytest.mark.parametrize("n", [2, 6, 11])
def test_the_permutation_of_pairs_is_that_of_scipy(n):
    a, b = np.random.default_rng(n).normal(size=(2, n))
    known = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=5_000,
    )

    assert permutation_of_pairs(a, b).p == pytest.approx(known.pvalue)


def test_a_sampled_permutation_is_near_the_t_test_of_many_pairs():
    a, b = np.random.default_rng(1).normal(size=(2, 200))

    assert permutation_of_pairs(a, b + 0.15).p == pytest.approx(stats.ttest_rel(a, b + 0.15).pvalue, abs=0.01)


def test_pairs_that_differ_alike_reach_the_smallest_p():
    found = permutation_of_pairs([0.1] * 6, [0.2] * 6)

    assert found[2:] == (0.03125, 0.03125, True)


def test_pairs_that_do_not_differ_have_a_p_of_one():
    assert permutation_of_pairs([0.3] * 8, [0.3] * 8).p == 1
    assert permutation_of_pairs([0.3] * 80, [0.3] * 80).p == 1


def test_five_pairs_cannot_reach_five_percent():
    assert permutation_of_pairs([0.0] * 5, [1.0] * 5).p > 0.05


@pytest.mark.parametrize("n", [7, 30])
def test_the_permutation_of_pairs_without_a_difference_is_below_every_level_at_most_as_often_as_it_says(n, most_above):
    a, b = np.random.default_rng(0).standard_cauchy(size=(2, 1_000, n))  # no bell curve at all
    p_values = np.array([permutation_of_pairs(*pair, resamples=400).p for pair in zip(a, b, strict=True)])

    assert most_above(p_values) <= 0


def test_the_permutation_of_pairs_without_a_difference_is_near_uniform(furthest_off):
    differences = np.random.default_rng(0).normal(size=(3_000, 10))
    p_values = np.array([permutation_of_pairs(np.zeros(10), each).p for each in differences])

    assert furthest_off(p_values) < 0.02


def test_welch_is_that_of_scipy():
    a, b = [0.61, 0.64, 0.66], [0.7, 0.66, 0.72, 0.71, 0.69]
    known = stats.ttest_ind(b, a, equal_var=False)
    ends = known.confidence_interval()

    assert welch(a, b)[1:] == pytest.approx((ends.low, ends.high, known.pvalue, known.df))


def test_welch_without_a_difference_is_near_uniform_and_its_interval_holds_the_truth(furthest_off):
    rng = np.random.default_rng(0)
    found = [welch(rng.normal(size=4), rng.normal(scale=2, size=6)) for _ in range(3_000)]

    assert furthest_off(np.array([each.p for each in found])) < 0.02
    assert np.mean([each.low <= 0 <= each.high for each in found]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("a", "b"), [([0.5], [0.6, 0.7]), ([0.5, 0.5], [0.6, 0.6])])
def test_welch_is_not_defined_for_one_value_or_where_none_differ(a, b):
    assert welch(a, b) is None


@pytest.mark.parametrize(
    ("n_a", "n_b", "paired", "comparisons", "test"),
    [
        *[
            (6, 6, True, 1, "permutation"),
            (5, 5, True, 1, "welch"),
            (6, 6, True, 2, "welch"),
            (7, 7, True, 3, "permutation"),
            (6, 6, True, 3, "welch"),
        ],
        *[(10, 10, True, 15, "permutation"), (6, 6, False, 1, "welch"), (6, 3, True, 1, "welch")],
        *[(2, 2, True, 1, None), (2, 9, False, 1, None), (0, 0, True, 1, None)],
    ],
)
def test_the_test_over_seeds_follows_from_their_number_alone(n_a, n_b, paired, comparisons, test):
    assert seed_rule(n_a, n_b, paired=paired, comparisons=comparisons) == test


def test_over_seeds_says_which_test_it_is_and_what_that_can_reach():
    found = over_seeds(np.arange(6) / 10, np.arange(6) / 10 + [0.1, 0.2, 0.1, 0.2, 0.1, 0.2], paired=True)

    assert (found.test, found.p, found.smallest_p) == ("permutation", 0.03125, 0.03125)
    assert found[1:4] == pytest.approx((0.15, 0.1, 0.2))


@pytest.mark.parametrize("n", [6, 9, 25])
def test_the_interval_over_seeds_excludes_zero_exactly_where_the_test_does(n):
    rng = np.random.default_rng(n)
    found = [over_seeds(np.zeros(n), rng.normal(rng.uniform(0, 2), size=n), paired=True) for _ in range(60)]
    clear = [each for each in found if abs(each.p - 0.05) > 0.01 or n < 21]  # beyond 20 both are sampled

    assert 10 < sum(each.p <= 0.05 for each in clear) < 60
    assert all((each.low > 0 or each.high < 0) == (each.p <= 0.05) for each in clear)


def test_the_interval_over_seeds_holds_the_truth_as_often_as_it_says():
    differences = np.random.default_rng(0).standard_t(2, size=(1_500, 8))
    found = [over_seeds(np.zeros(8), each, paired=True) for each in differences]

    assert np.mean([each.low <= 0 <= each.high for each in found]) == pytest.approx(0.953, abs=0.015)


def test_fewer_seeds_are_tested_with_welch():
    assert over_seeds([0.1, 0.2, 0.3], [0.4, 0.5, 0.7], paired=True).test == "welch"


def test_two_seeds_are_not_tested():
    assert over_seeds([0.1, 0.2], [0.8, 0.9], paired=True) is None


def test_pairs_of_different_number_are_an_error():
    with pytest.raises(ValueError, match="no pairs"):
        over_seeds([0.1], [0.1, 0.2], paired=True)
    with pytest.raises(ValueError, match="no pairs"):
        permutation_of_pairs([], [])


@pytest.mark.parametrize(("difference", "paired"), [(0.8, True), (1.5, True), (0.8, False), (1.5, False)])
def test_so_many_seeds_find_the_difference_four_times_in_five(difference, paired):
    one = np.array([-1, 1]) / np.sqrt(2)  # of deviation 1
    seen = (np.zeros(2), one + difference) if paired else (one, one + difference)
    needed, rng = seeds_needed(*seen, paired=paired), np.random.default_rng(0)

    def p_value():
        b = rng.normal(difference, size=needed)
        return permutation_of_pairs(np.zeros(needed), b).p if paired else welch(rng.normal(size=needed), b).p

    assert 0.75 < np.mean([p_value() <= 0.05 for _ in range(300)]) < 0.9  # of so few, one more is much


@pytest.mark.parametrize(("a", "b"), [([0.5, 0.6], [0.6, 0.5]), ([0.5], [0.6]), ([], [])])
def test_no_number_of_seeds_is_known_without_a_difference_or_a_deviation(a, b):
    assert seeds_needed(a, b, paired=False) is None


def test_at_least_as_many_seeds_are_needed_as_the_rule_asks_for():
    assert seeds_needed([0.1, 0.2], [0.9, 1.01], paired=True) == 6
    assert seeds_needed([0.1, 0.2], [0.9, 1.01], paired=True, level=0.05 / 15) == 10


def test_more_seeds_than_have_not_shown_a_difference_are_needed():
    rng = np.random.default_rng(0)
    seen = [(rng.normal(size=3), rng.normal(4, size=3)) for _ in range(300)]
    missed = [pair for pair in seen if welch(*pair).p > 0.05 / 6]

    assert len(missed) > 50
    assert min(seeds_needed(*pair, paired=False, level=0.05 / 6) for pair in missed) > 3


@pytest.mark.parametrize("n", [9, 40])
def test_every_pair_of_runs_is_tested_as_by_itself(n):
    runs = np.random.default_rng(n).normal(scale=[[1], [2], [3]], size=(3, n)) + 1e6

    found = permutations_of_runs(runs)

    assert found == {(i, j): permutation_of_pairs(runs[i], runs[j]) for i, j in found}
    assert len(found) == 3
