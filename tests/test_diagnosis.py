"""What curves mean: one curve a rule, the evidence in numbers, and commands that `dlw train` takes."""

from __future__ import annotations

import contextlib
import io
import math
import shlex

import pytest

from dlworkflow import models
from dlworkflow.cli.app import main
from dlworkflow.config import Layer, from_overrides
from dlworkflow.cures import _OTHER_MODELS, cure_commands, reasoned_commands
from dlworkflow.data import find, locate
from dlworkflow.diagnosis import RULES, VERDICTS, Diagnosis, diagnose, measure
from dlworkflow.errors import DlwError
from dlworkflow.tasks import TASKS
from dlworkflow.workflow import fill_defaults, resolve_config


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
        "Training and test agree, and both still get better",
        history(ramp(1, 0.1, 20), ramp(1, 0.1, 20), decay(0.5, 0.97, 20), decay(0.5, 0.96, 20)),
        {"baseline_acc": 0.5},
    ),
    ("Training and test agree at a good level", GOOD, {"baseline_acc": 0.5}),
]


@pytest.mark.parametrize("number", range(len(RULES)), ids=lambda i: f"{i}-{RULES[i].verdict}")
def test_each_rule_is_the_first_that_holds_for_the_curve_it_is_about(number):
    _, curve, known = CURVES[number]
    curves = measure(curve, **known)

    assert [rule.when(curves) for rule in RULES[: number + 1]] == [False] * number + [True]


@pytest.mark.parametrize("number", range(len(RULES)), ids=lambda i: f"{i}-{RULES[i].verdict}")
def test_a_diagnosis_opens_with_the_reason_of_its_rule(number):
    words, curve, known = CURVES[number]

    assert diagnose(curve, **known).evidence[0].startswith(words)


def test_the_verdicts_are_those_of_the_notes_and_what_can_go_wrong_beside():
    assert set(VERDICTS) == {
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


def test_the_evidence_holds_the_trend_over_the_last_epochs():
    curve = {**GOOD, "train_loss": [*same(0.8, 12), *same(0.5, 4), *same(0.4, 4)]}

    assert any("against the 4 before: training loss -20.0%" in text.lower() for text in diagnose(curve).evidence)


def test_the_evidence_holds_the_distance_from_the_baseline():
    curve = history(same(0.693), same(0.694), same(0.51), same(0.46))

    assert (
        "Always giving one answer scores 50.00%; the test accuracy is 4.0 points below that"
        in diagnose(curve, baseline_acc=0.5).evidence
    )


@pytest.mark.parametrize(("loss", "side"), [(0.1, "75% below that"), (0.6, "50% above that")])
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
    from dlworkflow.device import thread_count
    from dlworkflow.engine import train

    torch.manual_seed(42)
    splits, model = data.load("circles"), models.build(name, (2,), 1)
    batches = [[(part.inputs, part.labels)] for part in (splits.train, splits.test)]
    with thread_count(1):
        return train(model, *batches, torch.optim.SGD(model.parameters(), lr=0.1), torch.nn.BCEWithLogitsLoss(), epochs)


def test_circles_v1_is_no_better_than_the_baseline_and_needs_a_model_that_bends():
    diagnosis = diagnose(train_circles("circles_v1", 300), baseline_acc=0.5)

    assert diagnosis.verdict == "underfitting"
    assert diagnosis.evidence[0].startswith("No better than the baseline")
    assert cure_commands(diagnosis, tree_of("circles_v1"), tree_of("circles_v1")) == [
        "dlw train circles_v2 --data circles"
    ]


def tree_of(*said, **more):
    """The complete settings of a run, as a summary holds them: of a model's name, or of what was said."""
    config = resolve_config([Layer({"model": {"name": said[0]}}), from_overrides(said[1:]), Layer(more)])
    tree = fill_defaults(config).to_tree()
    tree["loss"] = tree["loss"] or TASKS[task_of(tree)].losses[0]
    return tree


def task_of(tree):
    task = models.entries()[tree["model"]["name"]].task
    return "multiclass" if tree["data"]["name"] == "spirals" else task


def diagnosis_of(rule):
    return Diagnosis(rule.verdict, (), rule.cures)


def commands(*said, verdict, usual=True, **more):
    """What is printed for a verdict (all its rules together) and a run."""
    tree = tree_of(*said, **more)
    cures = tuple(dict.fromkeys(cure for rule in RULES if rule.verdict == verdict for cure in rule.cures))
    return cure_commands(Diagnosis(verdict, (), cures), tree, tree_of(said[0], **more) if usual else None)


RUNS = [
    *((name,) for name in models.names()),
    ("circles_v1", "model.hidden_units=3", "optimizer.lr=0.3", "seed=7"),
    ("blobs", "data=spirals", "model.relu=true", "optimizer.weight_decay=0.01"),
    ("line_deep", "optimizer.momentum=0.9", "loss=mse"),
    ("tinyvgg", "optimizer=sgd", "data.transform=flip", "averaging=batch"),
    ("tinyvgg", "data.transform=[{flip: {p: 0.3}}, {normalize: {}}]", "data.image_size=[16, 8]"),
    ("improved_tinyvgg", "model.dropout=0.1", "optimizer=adamw", "data.transform=trivial_augment"),
]


def printed_for(said):
    """Every command that any rule prints for a run: short ones that know what is usual, and those that say all."""
    tree, usual = tree_of(*said), tree_of(said[0], *(text for text in said[1:] if text.startswith("data=")))
    short = {command for rule in RULES for command in cure_commands(diagnosis_of(rule), tree, usual)}
    return short, {command for rule in RULES for command in cure_commands(diagnosis_of(rule), tree)}


@pytest.fixture(scope="module")
def printed():
    """Short and complete commands of all the runs, each once."""
    short, complete = zip(*map(printed_for, RUNS), strict=True)
    return sorted(set().union(*short)), sorted(set().union(*complete))


def answer(command, *more):
    """What `dlw` says to a command line that was printed: exit code and stderr."""
    program, *arguments = shlex.split(command)
    assert program == "dlw"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([*arguments, *more])
    return ended.value.code, err.getvalue() if ended.value.code else ""


def test_every_printed_command_has_settings_that_fit(printed):
    _, complete = printed
    faults = {command: said for command in complete if (said := answer(command, "--print-config")) != (0, "")}

    assert len(complete) > 50
    assert faults == {}


def test_every_short_command_on_data_that_is_there_runs_dry(printed, in_tmp):
    short, _ = printed
    without_files = [command for command in short if "fashion_mnist" not in command]
    faults = {command: said for command in without_files if (said := answer(command, "--dry-run")) != (0, "")}

    assert len(without_files) > 50
    assert faults == {}


def test_a_short_command_for_fashion_mnist_runs_dry_for_each_model(printed, in_tmp):
    if find("fashion_mnist") is None:
        pytest.skip("no FashionMNIST on this machine")
    of_each = {command.split()[2]: command for command in printed[0] if "fashion_mnist" in command}
    faults = {name: said for name, command in of_each.items() if (said := answer(command, "--dry-run")) != (0, "")}

    assert len(of_each) == 3
    assert faults == {}


@pytest.mark.parametrize("name", models.names())
def test_no_cure_is_the_run_itself_again(name):
    tree = tree_of(name)
    again = f"dlw train {name} --data {tree['data']['name']}"

    assert not any(again in cure_commands(diagnosis_of(rule), tree, tree) for rule in RULES)


def test_a_command_with_an_unusual_path_survives_the_shell(in_tmp):
    from PIL import Image

    for split in ("train", "test"):
        for label in ("a", "b"):
            folder = in_tmp / "it's; $HOME" / split / label
            folder.mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(folder / f"{i}.png")
    located = locate(str(in_tmp / "it's; $HOME"))
    tree = tree_of("tinyvgg", data={**located, "image_size": 8})

    [first, *_] = cure_commands(diagnosis_of(RULES[0]), tree, tree_of("tinyvgg", data=located))

    assert shlex.split(first)[3:5] == ["--data", located["path"]]
    assert answer(first, "--dry-run") == (0, "")


def test_what_agrees_with_the_usual_settings_is_left_out():
    assert commands("blobs", verdict="too_short") == ["dlw train blobs --data blobs --epochs 400"]


def test_what_a_run_did_otherwise_is_kept():
    [command] = commands("blobs", "optimizer.lr=0.3", "data.n_samples=200", "seed=7", verdict="too_short")

    assert command == "dlw train blobs --data blobs --epochs 400 --lr 0.3 --seed 7 --set data.n_samples=200"


def test_the_machine_of_a_run_is_not_repeated():
    tree = {**tree_of("blobs"), "device": "cuda:7", "threads": 64}

    assert not {"cuda:7", "64"} & set(shlex.split(cure_commands(diagnosis_of(RULES[0]), tree)[0]))


def test_a_run_of_another_optimizer_names_it():
    tree, usual = tree_of("blobs", "optimizer=adam"), tree_of("blobs")

    assert cure_commands(diagnosis_of(RULES[0]), tree, usual)[0].startswith(
        "dlw train blobs --data blobs --optimizer adam --lr 0.0001 "
    )


def test_another_model_keeps_the_units_that_a_user_chose():
    told = commands("circles_v1", "model.hidden_units=32", verdict="underfitting")

    assert "dlw train circles_v2 --data circles --set model.hidden_units=32" in told


@pytest.mark.parametrize("name", ["line", "line_v2", "line_deep", "circles_v0", "circles_v1", "fashion_mnist_v0"])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_straight_model_is_never_told_to_change_its_width(name, verdict):
    assert not any("hidden_units" in command for command in commands(name, verdict=verdict))


@pytest.mark.parametrize("name", ["line", "circles_v2", "blobs"])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_numbers_are_never_told_to_be_augmented(name, verdict):
    assert not any("transform" in command for command in commands(name, verdict=verdict))


def test_blobs_that_cannot_bend_get_their_relus():
    assert "dlw train blobs --data blobs --set model.relu=true" in commands("blobs", verdict="underfitting")


def test_an_overfitting_tinyvgg_gets_the_cures_of_the_notes():
    told = commands("tinyvgg", verdict="overfitting")

    assert told == [
        "dlw train tinyvgg --data digits --set data.transform=trivial_augment",
        "dlw train improved_tinyvgg --data digits",
        "dlw train tinyvgg --data digits --set optimizer.weight_decay=0.001",
        "dlw train tinyvgg --data digits --set model.hidden_units=5",
    ]


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("model.dropout=0.6", "--set model.dropout=0.2"),
        ("optimizer.weight_decay=0.1", ""),
        ("data.transform=flip", "--set data.transform=none"),
    ],
)
def test_an_underfitting_run_is_told_to_regularise_less(said, cure):
    told = commands("improved_tinyvgg", said, verdict="underfitting")

    assert f"dlw train improved_tinyvgg --data digits {cure}".strip() in told


def test_a_run_without_regularisation_is_not_told_to_have_less():
    told = commands("improved_tinyvgg", "model.dropout=0.0", verdict="underfitting")

    assert not any(word in command for command in told for word in ("dropout=0.2", "weight_decay", "transform"))


def test_a_transform_that_does_more_than_augment_is_left_alone():
    spec = "data.transform=[{flip: {p: 0.3}}, {normalize: {}}]"
    own, told = tree_of("tinyvgg", spec)["data"]["transform"], commands("tinyvgg", spec, verdict="overfitting")

    assert own is not None
    assert not any("trivial_augment" in command for command in told)


def test_a_full_batch_cannot_grow():
    assert not any("--batch-size" in command for command in commands("line_deep", verdict="unstable"))


def test_a_model_of_another_package_is_told_what_needs_no_knowledge_of_it():
    tree = {**tree_of("tinyvgg"), "model": {"name": "mine", "width": 3}}

    told = [shlex.split(command)[2] for command in cure_commands(diagnosis_of(RULES[10]), tree)]

    assert set(told) == {"mine"}


def test_a_command_is_printed_once_with_its_reason():
    tree = tree_of("tinyvgg")

    [(why, command)] = reasoned_commands(diagnosis_of(RULES[8]), tree, tree)

    assert (why, command) == ("train longer", "dlw train tinyvgg --data digits --epochs 20")


@pytest.mark.parametrize(("old", "new"), [pair for kind in _OTHER_MODELS.values() for pair in kind.items()])
def test_a_model_is_exchanged_for_one_with_the_same_recipe(old, new):
    assert models.recipe(old) == models.recipe(new)
