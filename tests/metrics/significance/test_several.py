from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from dlworkflow.metrics.significance import holm, letters

few = settings(max_examples=50, derandomize=True, deadline=None)


@st.composite
def tables(draw):
    n_rows = draw(st.integers(1, 9))
    pairs = list(combinations(range(n_rows), 2))
    return n_rows, draw(st.sets(st.sampled_from(pairs))) if pairs else set()


def test_holm_is_that_of_statsmodels():
    for p_values in ([0.3], [0.01, 0.04, 0.03, 0.005], [1.0, 0.5, 0.9], [0.02, 0.02, 0.0, 0.02]):
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_of_nothing_is_nothing():
    assert holm([]) == []


def test_holm_rejects_any_of_ten_true_hypotheses_at_most_as_often_as_the_level():
    p_values = np.random.default_rng(0).random((2_000, 10))
    rejected = np.mean([min(holm(row)) <= 0.05 for row in p_values.tolist()])

    assert rejected == pytest.approx(0.05, abs=0.015)


@given(tables())
@few
def test_rows_share_a_letter_exactly_where_they_do_not_differ(table):
    n_rows, differing = table
    shown = letters(n_rows, differing)

    for pair in combinations(range(n_rows), 2):
        assert bool(set(shown[pair[0]]) & set(shown[pair[1]])) == (pair not in differing)


@given(tables())
@few
def test_every_row_has_a_letter_and_the_first_has_an_a(table):
    shown = letters(*table)

    assert all(shown)
    assert "a" in shown[0]


@given(tables())
@few
def test_no_letter_is_superfluous(table):
    n_rows, differing = table
    shown = letters(n_rows, differing)

    for dropped in set("".join(shown)):
        fewer = [set(row) - {dropped} for row in shown]
        alike = [(i, j) for i, j in combinations(range(n_rows), 2) if (i, j) not in differing]
        assert not all(fewer) or any(not fewer[i] & fewer[j] for i, j in alike)


def test_letters_are_those_of_a_table_in_the_books():
    differing = {(0, 3), (0, 4), (1, 4)}

    assert letters(5, differing) == ["a", "ab", "abc", "bc", "c"]


def test_the_order_of_the_pairs_and_within_them_does_not_matter():
    assert letters(4, [(3, 0), (1, 0)]) == letters(4, [(0, 1), (0, 3)])


def test_sixty_rows_that_all_differ_have_a_letter_of_their_own_each():
    assert len(set(letters(60, combinations(range(60), 2)))) == 60


@pytest.mark.parametrize("pair", [(0, 0), (0, 4)])
def test_a_pair_that_is_none_of_the_table_is_an_error(pair):
    with pytest.raises(ValueError, match="two of the 3 rows"):
        letters(3, [pair])
