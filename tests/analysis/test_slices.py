"""Slices of samples: cut by what they are, each against the rest, corrected for how many were looked at."""

from __future__ import annotations

import numpy as np
import pytest

from dlworkflow.analysis.found_text import robustness_sentences, slice_sentences
from dlworkflow.analysis.slices.cutting import LEAST, Slice, slices_of
from dlworkflow.analysis.slices.properties import Property
from dlworkflow.analysis.slices.scoring import score_slices
from dlworkflow.runs.robustness import RobustnessScores
from dlworkflow.runs.slices import SliceScores


def cut(values, **options):
    values = np.asarray(values, float)
    return slices_of(Property("x", values), len(values), **options)[0]


def names(values):
    return slices_of(Property("x", names=[[value] for value in values]), len(values))


def scores_of(slices, right, metric="accuracy"):
    rows, comparisons = score_slices(slices, right)
    about = {"run": "r", "weights": "best", "epoch": 1, "split": "test", "samples": len(right), "metric": metric}
    return SliceScores(**about, score=float(right.mean()), comparisons=comparisons, slices=rows, notes=[])


def test_numbers_are_cut_into_quarters_at_the_edges_that_are_named():
    found = cut(np.arange(100))

    assert [(each.name, int(each.mask.sum())) for each in found] == [
        ("below 24.8", 25),
        ("24.8 to 49.5", 25),
        ("49.5 to 74.2", 25),
        ("74.2 or more", 25),
    ]


def test_equal_numbers_are_never_in_two_slices_and_no_slice_is_a_leftover():
    values = [512] * 60 + [300] * 38 + [400] * 2

    assert [int(each.mask.sum()) for each in cut(values)] == [40, 60]


def test_a_number_that_is_not_known_is_in_a_slice_of_its_own():
    values = [*range(20), *[np.nan] * 4]

    assert [(each.name, int(each.mask.sum())) for each in cut(values)][-1] == ("(missing)", 4)


def test_what_is_the_same_for_all_has_no_slice_and_is_named():
    assert slices_of(Property("size", np.full(30, 64.0)), 30) == ([], "size is the same for all samples")


def test_numbers_that_differ_in_their_fifth_digit_are_cut_too():
    found = cut(116.3 + np.arange(100) / 1000)

    assert [each.name for each in found] == ["below 116.32", "116.32 to 116.35", "116.35 to 116.37", "116.37 or more"]


def test_rounded_edges_leave_enough_to_be_tested_where_exact_ones_do():
    assert min(each.mask.sum() for each in cut(20240151 + np.arange(50))) >= LEAST


def test_a_number_that_is_mostly_the_lowest_is_cut_above_it():
    found = cut([0] * 80 + [*range(5, 25)])

    assert [(each.name, int(each.mask.sum())) for each in found] == [("below 5", 80), ("5 or more", 20)]


def test_a_number_that_is_the_same_for_nearly_all_is_not_called_the_same_for_all():
    values = np.array([0.0] * 97 + [1, 2, 3])

    assert slices_of(Property("x", values), 100) == ([], "x is the same for nearly all samples")


def test_known_numbers_that_differ_are_not_named_by_the_first():
    values = [7, *[0] * 90, 1, 2, 3, *[np.nan] * 12]

    assert [(each.name, int(each.mask.sum())) for each in cut(values)] == [("(known)", 94), ("(missing)", 12)]


def test_what_is_not_known_of_any_sample_is_not_called_the_same():
    assert slices_of(Property("size", np.full(30, np.nan)), 30)[1] == "size is not known of these samples"


def test_a_category_that_is_nearly_another_for_each_sample_has_no_slices():
    found, why = names([f"patient {i}" for i in range(1000)])

    assert (found, why) == ([], "x has 1,000 values for 1,000 samples: too many to be slices")


def test_rare_categories_are_one_slice_beside_the_twenty_most_frequent():
    found, _ = names([f"c{i}" for i in range(30) for _ in range(100 - i)])

    assert [each.name for each in found][::19] == ["c0", "(the 11 other values)"]
    assert len(found) == 20
    assert sum(each.mask.sum() for each in found) == sum(100 - i for i in range(30))


def test_a_slice_of_four_samples_is_shown_and_not_tested():
    mask = np.arange(40) < 4
    [row], comparisons = score_slices([Slice("class", "a", mask)], ~mask)

    assert (row["n"], row["score"], row["rest"], row["p"], comparisons) == (4, 0.0, 1.0, None, 0)


def test_two_slices_that_are_each_others_rest_are_one_comparison():
    mask = np.arange(40) < 20
    right = np.arange(40) % 3 > 0
    rows, comparisons = score_slices([Slice("x", "a", mask), Slice("x", "b", ~mask)], right)

    assert comparisons == 1
    assert rows[0]["p"] == rows[0]["p_holm"] == pytest.approx(rows[1]["p_holm"])


def test_where_nothing_differs_a_slice_is_seldom_called_worse_however_many_are_looked_at():
    rng = np.random.default_rng(0)
    slices = [Slice("x", str(i), rng.random(120) < 0.3) for i in range(8)]
    tries = [score_slices(slices, rng.random(120) < 0.7)[0] for _ in range(150)]
    wrong = sum(min(row["p_holm"] for row in rows) < 0.05 for rows in tries)

    assert wrong <= 150 * 0.05 + 3 * np.sqrt(150 * 0.05 * 0.95)


def test_a_sentence_names_the_weak_slice_its_scores_and_the_correction():
    mask = np.arange(200) < 40
    right = np.where(mask, np.arange(200) % 5 == 0, np.arange(200) % 5 > 0)
    others = [Slice("size", str(i), np.arange(200) % 5 == i) for i in range(3)]

    lines = slice_sentences(scores_of([Slice("brightness", "below 0.21", mask), *others], right))

    assert lines[0] == (
        "With brightness below 0.21 (40 of 200 samples) it is right 20.0 % (95 % interval 10.5 % to 34.8 %) against "
        "80.0 % on the rest: of 4 comparisons, chance alone gives such a difference less than 1 time in 1,000."
    )
    assert lines[-1].startswith("Looked at 4 slices of 200 samples, 4 comparisons with the rest")


def test_without_a_weak_slice_the_sentence_says_so_first():
    mask = np.arange(100) < 50
    right = (np.arange(100) % 2 == 0) & (np.arange(100) != 0)

    lines = slice_sentences(scores_of([Slice("class", "a", mask)], right))

    assert lines[0].startswith("No slice is worse than the rest by more than chance. With class a (50 of 100 samples)")
    assert lines[-1] == "Looked at 1 slice of 100 samples, 1 comparison with the rest."


def test_errors_of_numbers_are_compared_by_their_means():
    mask = np.arange(60) < 20
    errors = np.where(mask, 5.0, 1.0) + np.random.default_rng(0).random(60)
    [row], _ = score_slices([Slice("area", "below 50", mask)], errors)

    assert row["difference"] == pytest.approx(4, abs=0.3)
    assert row["low"] < row["score"] < row["high"]
    assert row["p"] < 1e-6
    assert (
        "its mean absolute error is" in slice_sentences(scores_of([Slice("area", "below 50", mask)], errors, "mae"))[0]
    )


def test_the_least_slice_that_is_tested_has_ten_samples():
    for n, tested in ((LEAST - 1, False), (LEAST, True)):
        [row], _ = score_slices([Slice("x", "a", np.arange(40) < n)], np.arange(40) % 2 == 0)
        assert (row["p"] is not None) == tested


@pytest.mark.parametrize(("metric", "scores"), [("accuracy", (0.7, 0.72)), ("mae", (0.7, 0.68))])
def test_where_every_corruption_scores_better_nothing_is_said_to_be_lost(metric, scores):
    row = {"corruption": "blur", "strength": 1, "setting": "radius 1 %", "low": 0.0, "high": 0.1, "changed": 2}
    about = {"run": "r", "weights": "best", "epoch": 1, "split": "test", "samples": 100, "metric": metric}
    rows = [row | {"score": scores[1], "difference": scores[1] - scores[0]}]

    lines = [*robustness_sentences(RobustnessScores(**about, score=scores[0], corruptions=rows))]

    assert lines[-1] == "No corruption scores worse than the images as they are."
