from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as of_statsmodels

from dlworkflow.metrics.significance import difference_interval, mcnemar, samples_needed, two_groups

SPLITS = [(6, 14), (0, 5), (3, 3), (0, 0), (1, 0), (120, 160), (2000, 2100)]


def answers(n: int, only_a: int, only_b: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whether a and b are right on n samples: both on all that none of them has alone."""
    right_a, right_b = np.ones(n, bool), np.ones(n, bool)
    right_b[:only_a] = False
    right_a[only_a : only_a + only_b] = False
    return right_a, right_b


def drawn_counts(n: int, only_a: float, only_b: float, draws: int) -> Counter[tuple[int, int]]:
    """Draw pairs of runs of known truth on n samples: {(only a right, only b right): how often it was drawn}."""
    counts = np.random.default_rng(0).multinomial(n, [only_a, only_b, 1 - only_a - only_b], size=draws)
    return Counter(map(tuple, counts[:, :2].tolist()))


def p_values_of(drawn: Counter[tuple[int, int]], which: str) -> np.ndarray:
    found = [(getattr(mcnemar(*answers(1000, *counts)), which), times) for counts, times in drawn.items()]
    return np.repeat([p for p, _ in found], [times for _, times in found])


@pytest.mark.parametrize(("only_a", "only_b"), SPLITS)
def test_mcnemar_is_the_binomial_test_of_scipy_on_the_samples_that_one_alone_got_right(only_a, only_b):
    n = only_a + only_b
    known = stats.binomtest(only_a, n).pvalue if n else 1.0

    assert mcnemar(*answers(5000, only_a, only_b)).p == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize(("only_a", "only_b"), SPLITS[:-1])
def test_mcnemar_is_that_of_statsmodels(only_a, only_b):
    known = of_statsmodels([[10, only_a], [only_b, 10]], exact=True).pvalue

    assert mcnemar(*answers(5000, only_a, only_b)).p == pytest.approx(known if only_a + only_b else 1.0)


def test_mcnemar_counts_samples_that_one_alone_got_right():
    found = mcnemar([True, True, False, False, True], [True, False, True, True, True])

    assert found[:3] == (5, 1, 2)


def test_the_mid_p_value_counts_the_split_itself_half():
    assert mcnemar(*answers(75, 1, 3)).mid_p == pytest.approx(2 * (1 / 16 + 4 / 16) - 4 / 16)
    assert mcnemar(*answers(75, 2, 2)).mid_p == pytest.approx(1 - 6 / 16 / 2)


def test_runs_without_a_sample_that_they_answer_differently_do_not_differ():
    assert mcnemar(*answers(75, 0, 0))[3:] == (1.0, 0.5)


@pytest.mark.parametrize("given", [([True], [True, False]), ([], [])])
def test_answers_to_other_samples_or_none_are_an_error(given):
    with pytest.raises(ValueError, match="same samples"):
        mcnemar(*given)


ALIKE = [(75, 0.3), (300, 0.04), (1000, 0.2)]  # samples, and the share of them that one of two equal runs has alone


@pytest.mark.parametrize(("n", "share"), ALIKE)
def test_the_exact_p_value_of_equal_runs_is_below_every_level_at_most_as_often_as_it_says(n, share, most_above):
    assert most_above(p_values_of(drawn_counts(n, share / 2, share / 2, 20_000), "p")) <= 0


@pytest.mark.parametrize(("n", "share"), ALIKE)
def test_the_mid_p_value_of_equal_runs_is_near_uniform(n, share, furthest_off):
    assert furthest_off(p_values_of(drawn_counts(n, share / 2, share / 2, 20_000), "mid_p")) < 0.022


def test_the_exact_p_value_sees_runs_that_differ():
    assert (p_values_of(drawn_counts(75, 0.02, 0.25, 2_000), "p") <= 0.05).mean() > 0.95


@pytest.mark.parametrize(
    ("n", "only_a", "only_b"), [(75, 0.1, 0.1), (75, 0.01, 0.05), (300, 0.02, 0.02), (1000, 0.1, 0.2), (75, 0.0, 0.01)]
)
def test_the_interval_of_a_difference_in_accuracy_holds_the_truth_as_often_as_it_says(n, only_a, only_b):
    held = 0
    for counts, times in drawn_counts(n, only_a, only_b, 20_000).items():
        _, low, high = difference_interval(*answers(n, *counts))
        held += times * (low <= only_b - only_a <= high)

    assert held / 20_000 > 0.94


def test_the_interval_of_a_difference_has_a_width_where_no_sample_is_answered_differently():
    value, low, high = difference_interval(*answers(75, 0, 0))

    assert (value, low, high) == pytest.approx((0, -0.036, 0.036), abs=0.001)


@pytest.mark.parametrize("n", [40, 75, 2_000])
def test_the_interval_of_a_difference_excludes_zero_exactly_where_the_exact_test_does(n):
    for only_a in range(12):
        for only_b in range(only_a, 25):
            given = answers(n, only_a, only_b)
            assert (difference_interval(*given).low > 0) == (mcnemar(*given).p <= 0.05)


def test_the_interval_of_a_difference_ends_at_one():
    assert difference_interval([False] * 4, [True] * 4).high <= 1


@pytest.mark.parametrize("counts", [(8, 19, 38, 56), (0, 4, 6, 6), (3, 3, 50, 50), (5, 10, 9000, 10_000)])
def test_two_groups_have_the_p_value_of_scipys_fisher_exact(counts):
    right_1, n_1, right_2, n_2 = counts
    known = stats.fisher_exact([[right_1, n_1 - right_1], [right_2, n_2 - right_2]]).pvalue

    assert two_groups(*counts).p == pytest.approx(known, rel=1e-6)


def test_two_groups_have_newcombes_interval():
    """The example of Newcombe's paper: 56 of 70 against 48 of 80, method 10."""
    found = two_groups(48, 80, 56, 70)

    assert found[:3] == pytest.approx((0.2, 0.0524, 0.3339), abs=0.0001)


def test_groups_that_are_equally_good_have_a_p_value_below_every_level_at_most_as_often_as_it_says(most_above):
    right = np.random.default_rng(0).binomial([19, 56], 0.6, size=(5_000, 2))
    values, times = np.unique(right, axis=0, return_counts=True)
    p_values = np.repeat([two_groups(int(one), 19, int(other), 56).p for one, other in values], times)

    assert most_above(p_values) <= 0


@pytest.mark.parametrize(("n", "only_a", "only_b"), [(75, 6, 14), (300, 10, 25), (1000, 30, 40)])
def test_so_many_samples_find_the_difference_four_times_in_five(n, only_a, only_b):
    needed = samples_needed(n, only_a, only_b)
    drawn = drawn_counts(needed, only_a / n, only_b / n, 1_000)
    found = sum(times for counts, times in drawn.items() if mcnemar(*answers(needed, *counts)).p <= 0.05)

    assert 0.77 < found / 1_000 < 0.87


def test_no_number_of_samples_finds_a_difference_that_was_not_seen():
    assert samples_needed(75, 4, 4) is None
