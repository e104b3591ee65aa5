"""What curves mean: one curve a rule, and the evidence in numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dlworkflow import models
from dlworkflow.analysis import diagnosis as room
from dlworkflow.analysis.diagnosis import diagnose, measure
from dlworkflow.analysis.diagnosis.suggestions import of_curves_alone
from dlworkflow.errors import DlwError
from dlworkflow.runs import Run


def ramp(start, end, epochs):
    """Numbers from `start` to `end`, evenly apart."""
    return [start + (end - start) * i / (epochs - 1) for i in range(epochs)]


def decay(start, end, epochs):
    """Numbers from `start` towards `end`, each gap half the last: flat at the end."""
    return [end + (start - end) * 0.5**i for i in range(epochs)]


def history(train_loss, test_loss, train_acc=None, test_acc=None):
    """A dictionary of lists; without accuracies it is a regression's."""
    none = [math.nan] * len(train_loss)
    return {
        "train_loss": train_loss,
        "train_acc": train_acc or none,
        "test_loss": test_loss,
        "test_acc": test_acc or none,
    }


def same(value, epochs=20):
    return [value] * epochs


RULES = list(room.RULES.table.values())
GOOD = history(decay(1, 0.1, 20), decay(1, 0.12, 20), decay(0.5, 0.97, 20), decay(0.5, 0.96, 20))
ZIGZAG = [0.9, 0.4] * 10
# What a rule is about: (first words of the evidence, curve, what else is known), in the order of the table.
CURVES = [
    ("The training loss ended at 2.8", history(ramp(1, 3, 20), ramp(1, 3, 20), same(0.5), same(0.5)), {}),
    ("Fewer than 3 epochs", history([1, 0.9], [1, 0.9], [0.6, 0.7], [0.6, 0.7]), {"baseline_acc": 0.5}),
    (
        "The model answers 'pizza' for every test sample; the training loss creeps",
        history(ramp(1.1, 1.09, 20), same(1.1), same(0.35), same(0.33)),
        {"collapsed_to": "pizza"},
    ),
    (
        "The model answers 'pizza' for every test sample; the training loss is higher",
        history(ramp(1.1, 1.2, 20), same(1.1), same(0.35), same(0.33)),
        {"collapsed_to": "pizza"},
    ),
    (
        "The model answers 'pizza' for every test sample",
        history(same(1.1), same(1.1), same(0.35), same(0.33)),
        {"collapsed_to": "pizza"},
    ),
    ("The losses jump up and down", history(ZIGZAG, ZIGZAG, same(0.7), same(0.7)), {"baseline_acc": 0.5}),
    (
        "No better than the baseline after 20 epochs",
        history(ramp(1, 0.8, 20), same(1), same(0.52), same(0.51)),
        {"baseline_acc": 0.5},
    ),
    (
        "No better than the baseline, and",
        history(same(0.693), same(0.694), same(0.51), same(0.46)),
        {"baseline_acc": 0.5},
    ),
    (
        "The model does much better on its training data",
        history(decay(1, 0.01, 20), decay(1, 0.9, 20), decay(0.5, 0.99, 20), decay(0.5, 0.7, 20)),
        {"baseline_acc": 0.5},
    ),
    (
        "After 5 epochs both losses still fall fast",
        history(ramp(1, 0.3, 5), ramp(1, 0.3, 5), ramp(0.5, 0.9, 5), ramp(0.5, 0.9, 5)),
        {"baseline_acc": 0.5},
    ),
    (
        "The training loss is high and still falls",
        history(ramp(1, 0.6, 20), ramp(1, 0.6, 20), ramp(0.5, 0.7, 20), ramp(0.5, 0.7, 20)),
        {"baseline_acc": 0.5},
    ),
    (
        "Both losses stopped falling while they were high",
        history(decay(1, 0.6, 20), decay(1, 0.6, 20), decay(0.5, 0.7, 20), decay(0.5, 0.7, 20)),
        {"baseline_acc": 0.5},
    ),
    (
        "Training and test agree, and both still improve",
        history(ramp(1, 0.1, 20), ramp(1, 0.1, 20), decay(0.5, 0.97, 20), decay(0.5, 0.96, 20)),
        {"baseline_acc": 0.5},
    ),
    ("Training and test agree at a good level", GOOD, {"baseline_acc": 0.5}),
]


@pytest.mark.parametrize("number", range(len(RULES)), ids=list(room.RULES.table))
def test_each_rule_is_the_first_that_holds_for_the_curve_it_is_about(number):
    _, curve, known = CURVES[number]
    curves = measure(curve, **known)

    assert [bool(rule(curves)) for rule in RULES[: number + 1]] == [False] * number + [True]


@pytest.mark.parametrize("number", range(len(RULES)), ids=list(room.RULES.table))
def test_a_diagnosis_opens_with_the_reason_of_its_rule(number):
    words, curve, known = CURVES[number]

    assert diagnose(curve, **known).evidence[0].startswith(words)


def test_the_verdicts_are_those_of_the_notes_and_what_can_go_wrong_beside():
    assert {rule.verdict for rule in RULES} == {
        "underfitting",
        "overfitting",
        "good_fit",
        "unstable",
        "diverged",
        "collapsed",
        "too_short",
    }


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("column", ["train_loss", "test_loss", "test_acc"])
def test_a_number_that_is_none_is_divergence_wherever_it_stands(column, bad):
    curve = {**GOOD, column: [*GOOD[column][:6], bad, *GOOD[column][7:]]}

    diagnosis = diagnose(curve, baseline_acc=0.5, collapsed_to="a")

    assert diagnosis.verdict == "diverged"
    assert diagnosis.evidence[0] == f"{column.replace('_', ' ').capitalize()} became {bad} in epoch 7"


def test_one_epoch_that_is_not_finite_is_divergence_rather_than_too_short():
    assert diagnose(history([math.nan], [1.0])).verdict == "diverged"


def test_an_accuracy_that_stays_exactly_at_the_baseline_is_a_collapse():
    curve = history(ramp(1.1, 1.09, 20), same(1.1), same(0.35), same(25 / 75))

    assert diagnose(curve, baseline_acc=25 / 75).verdict == "collapsed"


def test_an_accuracy_that_was_at_the_baseline_and_left_it_is_no_collapse():
    accuracies = [*same(0.5, 10), *ramp(0.5, 0.95, 10)]
    curve = history(ramp(0.7, 0.2, 20), ramp(0.7, 0.2, 20), accuracies, accuracies)

    assert diagnose(curve, baseline_acc=0.5).verdict != "collapsed"


def test_an_accuracy_that_stands_still_beside_the_baseline_is_underfitting():
    curve = history(same(0.693), same(0.694), same(0.51), same(0.46))

    assert diagnose(curve, baseline_acc=0.5).verdict == "underfitting"


def test_a_perfect_score_where_one_answer_is_right_is_no_collapse():
    curve = history(decay(1, 0.01, 20), decay(1, 0.01, 20), same(1.0), same(1.0))

    assert diagnose(curve, baseline_acc=1.0).verdict != "collapsed"


def test_a_spike_that_healed_long_ago_is_not_unstable():
    spiked = [*GOOD["test_loss"][:5], 3.0, *GOOD["test_loss"][6:]]

    assert diagnose({**GOOD, "test_loss": spiked}, baseline_acc=0.5).verdict == "good_fit"


def test_a_loss_that_only_rises_is_not_unstable_but_overfitting():
    curve = {**GOOD, "test_loss": [*ramp(1, 0.3, 5), *ramp(0.3, 4, 15)], "test_acc": GOOD["train_acc"]}

    assert diagnose(curve, baseline_acc=0.5).verdict == "overfitting"


def test_unsteady_training_at_the_level_of_the_baseline_is_unstable():
    curve = history(ZIGZAG, ZIGZAG, same(0.51), [0.51, 0.49] * 10)

    assert diagnose(curve, baseline_acc=0.5).verdict == "unstable"


def test_a_model_that_knows_its_training_data_and_guesses_on_the_rest_overfits():
    curve = history(decay(1, 0.01, 20), decay(1, 1.1, 20), decay(0.5, 1.0, 20), same(0.51))

    assert diagnose(curve, baseline_acc=0.5).verdict == "overfitting"


def test_an_accuracy_inside_its_own_scatter_is_no_better_than_the_baseline():
    curve = history(same(1.09), same(1.09), same(0.38), [0.33, 0.42, 0.37, 0.4] * 5)

    assert diagnose(curve, baseline_acc=0.333).evidence[0].startswith("No better than the baseline")


def test_a_regression_is_judged_by_its_loss():
    fits = history(decay(0.5, 0.002, 20), decay(0.5, 0.003, 20))
    misses = history(decay(0.5, 0.2, 20), decay(0.5, 0.21, 20))

    assert [diagnose(curve, baseline_loss=0.35).verdict for curve in (fits, misses)] == ["good_fit", "underfitting"]


def test_a_regression_with_a_wide_gap_overfits():
    curve = history(decay(0.5, 0.002, 20), decay(0.5, 0.1, 20))

    assert diagnose(curve, baseline_loss=0.35).verdict == "overfitting"


def test_a_regression_that_does_as_well_as_the_mean_is_no_better_than_its_baseline():
    curve = history(same(0.34), same(0.35))

    assert diagnose(curve, baseline_loss=0.35).evidence[0].startswith("No better than the baseline")


def test_curves_without_a_baseline_are_judged_by_the_accuracy_itself():
    half = history(same(0.69), same(0.69), same(0.5), same(0.5))

    assert [diagnose(curve).verdict for curve in (GOOD, half)] == ["good_fit", "underfitting"]


@pytest.mark.parametrize("baseline", [None, math.nan])
def test_a_baseline_that_is_not_known_is_not_spoken_of(baseline):
    assert not any("one answer" in sentence for sentence in diagnose(GOOD, baseline_acc=baseline).evidence)


def test_rows_and_columns_of_the_same_history_get_the_same_diagnosis():
    rows = [
        {"epoch": i + 1.0, "lr": 0.1, "seconds": 1.0, **{name: values[i] for name, values in GOOD.items()}}
        for i in range(20)
    ]

    assert diagnose(rows, baseline_acc=0.5) == diagnose(GOOD, baseline_acc=0.5)


def test_validation_is_looked_at_instead_of_test_where_there_is_one():
    curve = {**GOOD, "val_loss": decay(1, 0.9, 20), "val_acc": decay(0.5, 0.6, 20)}

    diagnosis = diagnose(curve, baseline_acc=0.5)

    assert diagnosis.verdict == "overfitting"
    assert "val accuracy" in " ".join(diagnosis.evidence)


def test_the_evidence_holds_the_gap_between_training_and_test():
    curve = history(same(0.1), same(0.9), same(0.95), same(0.70))

    assert any(sentence.endswith("the gap is 25.0 points") for sentence in diagnose(curve).evidence)


GAP_OF_15 = history(decay(1, 0.1, 20), decay(1, 0.2, 20), same(0.95), same(0.8))


@pytest.mark.parametrize(("n", "verdict"), [(10, "good_fit"), (2000, "overfitting")])
def test_a_gap_that_so_few_samples_may_have_by_chance_is_no_overfitting(n, verdict):
    assert diagnose(GAP_OF_15, baseline_acc=0.5, samples={"train": 100, "test": n}).verdict == verdict


def test_the_gap_is_printed_with_how_often_chance_alone_makes_it():
    levels = diagnose(GAP_OF_15, samples={"train": 100, "test": 10}).evidence[1]

    assert levels.endswith("the gap is 15.0 points (by chance alone: 1 time in 8)")


@pytest.mark.parametrize(("n", "is_named"), [(20, True), (2000, False)])
def test_a_distance_to_the_baseline_that_may_be_chance_is_named(n, is_named):
    curve = history(same(0.5), same(0.5), same(0.6), same(0.55))

    sentences = diagnose(curve, baseline_acc=0.5, samples={"train": 100, "test": n}).evidence

    assert any("cannot tell from chance" in sentence for sentence in sentences) is is_named


def test_the_evidence_holds_the_trend_over_the_last_epochs():
    curve = {**GOOD, "train_loss": [*same(0.8, 12), *same(0.5, 4), *same(0.4, 4)]}

    assert any("against the 4 before: training loss -20.0 %" in text.lower() for text in diagnose(curve).evidence)


def test_the_evidence_holds_the_distance_from_the_baseline():
    curve = history(same(0.693), same(0.694), same(0.51), same(0.46))

    assert (
        "Always giving one answer scores 50.00 %; the test accuracy is 4.0 points below that"
        in diagnose(curve, baseline_acc=0.5).evidence
    )


@pytest.mark.parametrize(("loss", "side"), [(0.1, "75 % below that"), (0.6, "50 % above that")])
def test_the_evidence_of_a_regression_holds_the_distance_from_the_loss_of_the_mean(loss, side):
    told = diagnose(history(same(loss), same(loss)), baseline_loss=0.4).evidence

    assert f"Always answering the training mean has a test loss of 0.40000; the model is {side}" in told


def test_the_evidence_names_the_best_epoch_when_it_is_past():
    curve = {**GOOD, "test_loss": [*ramp(1, 0.2, 10), *same(0.6, 10)]}

    assert any("lowest in epoch 10 of 20: 0.20000" in sentence for sentence in diagnose(curve).evidence)


@pytest.mark.parametrize("empty", [[], {}, {"train_loss": [], "test_loss": []}])
def test_an_empty_history_is_an_error_of_one_line(empty):
    with pytest.raises(DlwError, match=r"^the history is empty.*$"):
        diagnose(empty)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"train_loss": [1.0]}, "lacks test_loss"),
        ({"train_loss": [1.0, 2.0], "test_loss": [1.0]}, "unequal length: train_loss 2, test_loss 1"),
        ({"train_loss": ["x"], "test_loss": [1.0]}, "'x', which is no number"),
    ],
)
def test_a_history_that_is_none_is_an_error_that_says_why(broken, words):
    with pytest.raises(DlwError, match=words):
        diagnose(broken)


def train_circles(name, epochs):
    """The history of the notes' circles, from the engine itself."""
    import torch

    from dlworkflow import data
    from dlworkflow.engine.device import thread_count
    from dlworkflow.engine.loop import train

    torch.manual_seed(42)
    splits, model = data.load("circles"), models.build(name, (2,), 1)
    batches = [[(part.inputs, part.labels)] for part in (splits.train, splits.test)]
    with thread_count(1):
        return train(model, *batches, torch.optim.SGD(model.parameters(), lr=0.1), torch.nn.BCEWithLogitsLoss(), epochs)


def test_circles_v1_is_no_better_than_the_baseline():
    diagnosis = diagnose(train_circles("circles_v1", 300), baseline_acc=0.5)

    assert diagnosis.verdict == "underfitting"
    assert diagnosis.evidence[0].startswith("No better than the baseline")


# A history alone

TINY_VGG = {  # five epochs on the photos
    "train_loss": [1.1063, 1.0998, 1.0869, 1.0842, 1.0663],
    "train_acc": [0.3047, 0.3281, 0.4883, 0.3984, 0.4141],
    "test_loss": [1.0983, 1.0697, 1.0803, 1.0604, 1.0655],
    "test_acc": [0.3116, 0.5417, 0.5047, 0.5833, 0.5634],
}


def test_the_repr_is_a_report_with_evidence_and_what_to_try():
    first, *others = repr(diagnose(TINY_VGG)).splitlines()

    assert first == "underfitting: both losses stopped falling while they were high"
    assert "to try, one at a time, most promising first:" in others


def test_a_history_alone_gets_no_suggestion_that_takes_a_model_for_granted():
    given = [each.why for rule in RULES for each in of_curves_alone(rule.suggestions)]
    taken = (
        "this one",
        "this model",
        "not linear",
        "pretrained layers",
        "half precision",
        "convolutions",
        "batch norm",
    )

    assert not [why for why in given if any(words in why for words in taken)]


def test_every_verdict_that_asks_for_a_change_has_one_for_any_model():
    assert all(of_curves_alone(rule.suggestions) for rule in RULES if rule.suggestions)


def test_what_suits_some_models_alone_is_a_condition():
    [relu] = [each.why for each in diagnose(TINY_VGG).suggestions if "ReLU" in each.why]

    assert "if there are none" in relu


@pytest.mark.parametrize(
    "column",
    [lambda values: torch.tensor(values, requires_grad=True), np.array, lambda values: [np.array(v) for v in values]],
    ids=["tensor", "array", "list of arrays"],
)
def test_columns_may_be_tensors_and_arrays(column):
    given = {name: column(values) for name, values in TINY_VGG.items()}

    assert diagnose(given).verdict == diagnose(TINY_VGG).verdict


def test_accuracies_in_percent_are_those_in_fractions():
    percent = {name: [100 * v if "acc" in name else v for v in values] for name, values in TINY_VGG.items()}

    assert repr(diagnose(percent)) == repr(diagnose(TINY_VGG))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"train_loss": [1.0]}, "the history lacks test_loss, one number per epoch; it has 'train_loss'"),
        ({"model_name": "V0", "model_loss": 0.5, "model_acc": 80.0}, "the history lacks train_loss and test_loss"),
        (None, "a history is a dictionary of lists, .* not NoneType"),
        ("train_loss", "a history is a dictionary of lists, .* not str"),
        ([1, 2], "a history is a dictionary of lists, .* not list"),
        (Run(Path("r")), r"not Run; run.history\(\) of a run is one"),
    ],
)
def test_what_is_no_history_is_named(given, sentence):
    with pytest.raises(DlwError, match=sentence):
        diagnose(given)
