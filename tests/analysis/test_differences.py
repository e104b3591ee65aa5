"""Runs are tested by their answers to the same samples, or over seeds; others are refused with the way out."""

from __future__ import annotations

from dataclasses import replace
from shutil import copytree

import pytest
import torch

from dlworkflow.analysis.difference_text import pair_rows, sentences
from dlworkflow.analysis.differences import compare_answers, compare_over_seeds
from dlworkflow.analysis.evaluation import report_data
from dlworkflow.analysis.scored_data import Part
from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.engine.tasks import MULTICLASS
from dlworkflow.metrics.report import make_report
from dlworkflow.runs import Run

GOOD, BAD, OTHER = [True] * 60, [True] * 20 + [False] * 40, [True] * 25 + [False] * 35


def test_a_pair_has_the_samples_that_one_alone_got_right_and_the_better_run_is_b(answered):
    first = answered([True] * 9 + [False] * 3)
    second = answered([True] * 4 + [False] * 2 + [True] * 6)

    [pair] = compare_answers([first, second]).pairs

    assert [pair[key] for key in ("a", "b", "only_a", "only_b", "p")] == ["m-d-001", "m-d-002", 2, 3, 1.0]
    assert pair["accuracy"] == pytest.approx(1 / 12)


def test_differences_are_those_of_the_better_less_the_worse(answered):
    [pair] = compare_answers([answered(GOOD), answered(BAD)]).pairs

    assert pair["f1_macro"] > 0 > pair["loss"]
    assert pair["loss_low"] < pair["loss"] < pair["loss_high"] < 0


def test_two_runs_are_compared_in_words_that_need_no_statistics(answered):
    found = compare_answers([answered([True] * 60 + [False] * 15), answered([True] * 46 + [False] * 8 + [True] * 21)])

    assert sentences(found)[0] == (
        "of 75 samples, m-d-002 got 15 right that m-d-001 missed, m-d-001 got 8 that m-d-002 missed: chance alone does "
        "that 1 time in 5 (exact McNemar test, p = 0.2100)"
    )


def test_rows_that_are_told_apart_share_no_letter_and_the_best_has_an_a(answered):
    runs = [answered(right) for right in (BAD, GOOD, OTHER)]

    assert compare_answers(runs).letters == {"m-d-002": "a", "m-d-003": "b", "m-d-001": "b"}


def test_the_same_run_twice_is_one(answered):
    run = answered(GOOD)

    assert compare_answers([run, run]).pairs == []


def test_of_three_runs_the_best_looks_better_than_it_is(answered):
    found = compare_answers([answered([(place * 7 + shift) % 10 > 4 for place in range(60)]) for shift in range(4)])

    assert 0 < found.optimism < 0.2
    assert "looks about" in sentences(found)[-1]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"truth": [2 - index % 3 for index in range(60)]}, "other labels, or another order"),
        ({"files": [f"x/{index}.jpg" for index in range(59, -1, -1)]}, "other files, or in another order"),
        ({"fingerprint": "k:2"}, "their digest differs"),
        ({"data": "elsewhere"}, "of other data"),
    ],
)
def test_runs_on_other_samples_are_refused_by_name_with_the_way_out(other, words, answered):
    own = {"files": [f"y/{index}.jpg" for index in range(60)]} if "files" in other else {"fingerprint": "k:1"}
    runs = [answered(GOOD, **own), answered(BAD, **own), answered(GOOD, **{"name": "odd"} | other)]

    found = compare_answers(runs)

    assert found.names == ("m-d-001", "m-d-002")
    [reason] = found.left_out
    assert reason.startswith("odd-")
    assert words in reason
    assert reason.endswith(f"dlw evaluate {runs[2].path} --data PATH")


def test_runs_of_several_tasks_or_classes_are_refused_by_name(answered):
    [reason] = compare_answers([answered(GOOD), answered(BAD), answered(GOOD, name="odd", classes="abd")]).left_out

    assert reason.startswith(
        "odd-d-001 cannot be tested with m-d-001: its task is multiclass with classes 'a', 'b', 'd'"
    )
    assert reason.endswith("only runs of one task with the same classes can be")


def test_answers_of_other_weights_than_the_best_are_named(answered):
    runs = [answered(GOOD), answered(BAD)]
    runs[1].write_found(replace(runs[1].evaluation(), weights="last", tta="flip"))

    assert (
        sentences(compare_answers(runs))[-1] == "the answers of m-d-002 are those with its last weights and --tta flip"
    )


def test_runs_that_prepare_the_same_samples_otherwise_are_compared(answered):
    runs = [answered(GOOD, fingerprint="28x28:1"), answered(BAD, fingerprint="32x32:2")]

    assert compare_answers(runs).left_out == ()


def test_images_of_a_folder_that_was_moved_are_the_same(answered):
    runs = [answered(GOOD, data=there, files=[f"{there}/a/{n}.jpg" for n in range(60)]) for there in ("here", "there")]

    assert compare_answers(runs).left_out == ()


def test_a_run_without_answers_is_left_out_with_its_command_and_the_others_are_tested(answered):
    runs = [answered(GOOD), answered(BAD), answered()]

    found = compare_answers(runs)

    assert len(found.pairs) == 1
    [reason] = found.left_out
    assert reason.endswith(f"store them with: dlw evaluate {runs[2].path} --no-plots")


def numbers(answered, errors, **changes):
    rows = [{"truth": 10.0, "prediction": 10 + error, "loss": abs(error)} for error in errors]
    return answered.of("regression", [], rows, **changes)


def test_numbers_are_compared_by_their_loss_where_all_have_the_same(answered):
    runs = [
        numbers(answered, [1.0 + 0.01 * n for n in range(40)]),
        numbers(answered, [0.5 - 0.01 * n for n in range(40)]),
    ]

    found = compare_answers(runs)

    assert (found.measure, found.names) == ("loss", ("m-d-002", "m-d-001"))
    assert found.pairs[0]["differs"]


def test_numbers_of_several_losses_are_compared_by_their_distance_from_the_truth(answered):
    runs = [numbers(answered, [1.0, 2.0, 3.0]), numbers(answered, [0.5, 1.0, -1.0])]
    runs[1].update_summary(config=runs[1].summary().config | {"loss": "mse"})

    found = compare_answers(runs)

    assert found.measure == "mean absolute error"
    assert "loss" not in found.pairs[0]


def test_a_sample_of_several_labels_counts_with_all_of_them_right(answered):
    rows = [
        [{"truth": "a|b", "prediction": given, "loss": 1.0} for given in several]
        for several in (["a|b", "a"], ["a", ""])
    ]
    found = compare_answers([answered.of("multilabel", ["a", "b"], own) for own in rows])

    assert (found.measure, found.pairs[0]["only_b"]) == ("subset accuracy", 1)


def test_over_six_shared_seeds_the_differences_are_permuted():
    scores = {"a": {seed: 0.5 + 0.01 * seed for seed in range(6)}, "b": {seed: 0.6 + 0.01 * seed for seed in range(6)}}

    [pair] = compare_over_seeds(scores).pairs

    assert (pair["test"], pair["p"], pair["differs"]) == ("permutation", 2 / 2**6, True)


def test_which_test_it_is_over_other_seeds_or_few_of_them_is_named_with_what_it_assumes():
    found = compare_over_seeds({"a": {1: 0.5, 2: 0.6, 3: 0.55}, "b": {4: 0.5, 5: 0.7, 6: 0.8}})

    assert found.pairs[0]["test"] == "welch"
    assert "it assumes that scores of each row are spread like a bell curve" in " ".join(sentences(found))


def test_two_seeds_are_too_few_with_the_way_out():
    found = compare_over_seeds({"a": {1: 0.7, 2: 0.6}, "b": {1: 0.5, 2: 0.7}})

    assert found.pairs == []
    assert found.left_out[0].startswith("'a', 'b': one or two seeds where a test needs six")
    assert found.left_out[0].endswith("train more with: dlw sweep ... --seeds 6")


def test_a_low_loss_is_the_good_one_over_seeds():
    scores = {name: {seed: value + 0.01 * seed for seed in range(6)} for name, value in (("a", 1.0), ("b", 0.2))}

    assert compare_over_seeds(scores, measure="test_loss", lowest=True).names == ("b", "a")


def scored(run, inputs):
    """The evaluation of a run on inputs (6, 2)."""
    part = Part("test", TensorData(inputs, torch.arange(6) % 3))
    return report_data(run, part, make_report(torch.zeros(6, 3), torch.arange(6) % 3, MULTICLASS, classes="abc"))


def test_the_fingerprint_of_samples_is_theirs_whatever_the_settings_of_the_model(answered):
    X = torch.arange(12.0).reshape(6, 2)
    one, two = (scored(answered(name=name), X).samples_fingerprint for name in ("m", "n"))

    assert one == two != scored(answered(), X + 1).samples_fingerprint


def test_samples_that_were_prepared_otherwise_have_a_fingerprint_of_another_kind(answered):
    X = torch.arange(12.0).reshape(6, 2)
    runs = answered(), answered(columns={"target": "y", "inputs": [{"name": "x", "mean": 1.0}]})

    one, two = (scored(run, X).samples_fingerprint.partition(":")[0] for run in runs)
    assert one != two


def test_runs_of_many_classes_that_differ_in_a_late_one_are_refused(answered):
    names = [f"c{number:02d}" for number in range(30)]
    runs = [answered(GOOD, classes=names), answered(BAD, classes=[*names[:25], "x", *names[26:]])]

    [reason] = compare_answers(runs).left_out

    assert "its class 26 of 30 is 'x', the other's 'c25'; only runs of one task" in reason


def test_a_run_that_answered_with_no_number_is_left_out(answered):
    runs = [numbers(answered, errors) for errors in ([1.0] * 9, [2.0] * 9, [1.0] * 8 + [float("nan")])]

    found = compare_answers(runs)

    assert found.names == ("m-d-001", "m-d-002")
    assert found.left_out == ("m-d-003 answered 1 of 9 samples of the test split with no number",)


def test_a_run_whose_namesake_has_no_answers_is_called_by_its_path(answered, tmp_path):
    runs = [answered(GOOD), answered(BAD, name="n"), answered(OTHER, name="o")]
    copytree(runs[0].path, tmp_path / "elsewhere" / "m-d-001")
    (tmp_path / "elsewhere" / "m-d-001" / "evaluation.json").unlink()

    assert compare_answers([*runs, Run(tmp_path / "elsewhere" / "m-d-001")]).names[0] == str(runs[0].path)


def test_rows_whose_scores_do_not_change_with_the_seed_are_not_tested_and_so_it_is_printed():
    scores = {"a": dict.fromkeys(range(3), 1.0), "b": dict.fromkeys(range(3), 0.5), "c": {0: 0.1, 1: 0.2, 2: 0.3}}
    found = compare_over_seeds(scores)

    assert "(Welch's t test of each pair" in sentences(found)[0]
    assert "1 of the pairs is not tested, as their test accuracy does not change with the seed" in sentences(found)[0]
    assert pair_rows(found)[0]["differs"] == "not tested"


def test_no_number_of_seeds_is_printed_that_has_not_shown_the_difference():
    differences = [0.1, 0.1, 0.1, 0.1, 0.1, -0.001]
    found = compare_over_seeds(
        {"a": dict.fromkeys(range(6), 0.5), "b": {n: 0.5 + d for n, d in enumerate(differences)}}
    )

    assert found.pairs[0]["seeds_needed"] == 6
    assert sentences(found)[-1] == "so the difference in test accuracy may be chance, at the 5 % level"


def test_the_best_are_those_that_no_other_is_shown_to_beat():
    scores = {
        "first, of all values": {0: 0.5, 1: 0.9, 2: 1.0},
        "second": {3: 0.70, 4: 0.71, 5: 0.72},
        "third": {6: 0.60, 7: 0.61, 8: 0.62},
    }
    found = compare_over_seeds(scores)

    assert [pair["differs"] for pair in found.pairs] == [False, False, True]
    assert found.best == ["first, of all values", "second"]
