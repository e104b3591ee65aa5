"""`dlw evaluate`: what it prints, what it writes, what it warns of."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil

import pytest
import torch

from dlworkflow import data
from dlworkflow.analysis.evaluation import evaluate_run
from dlworkflow.inference.predictor import Predictor
from dlworkflow.models.circles import CircleModelV2
from dlworkflow.runs import find_run
from dlworkflow.training.sweep.folder import Plan, Sweep


def evaluated(dlw, *arguments):
    return dlw("evaluate", *arguments, "--no-plots")


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_files_agree_with_what_is_printed(dlw, runs):
    printed = json.loads(evaluated(dlw, "tinyvgg", "--format", "json").out)
    run = runs / "tinyvgg-digits-001"
    predictions, errors = read_csv(run / "predictions.csv"), read_csv(run / "errors.csv")

    wrong = [row for row in predictions if row["truth"] != row["prediction"]]
    assert printed["samples"] == len(predictions) == 360
    assert printed["metrics"]["accuracy"] == pytest.approx(1 - len(wrong) / 360)
    assert sorted(row["index"] for row in errors) == sorted(row["index"] for row in wrong)
    likeliest = [max("0123456789", key=lambda name: float(row[f"probability: {name}"])) for row in predictions]
    assert likeliest == [row["prediction"] for row in predictions]
    losses = [float(row["loss"]) for row in errors]
    assert losses == sorted(losses, reverse=True)
    assert json.loads((run / "evaluation.json").read_text()) == printed
    matrix = read_csv(run / "confusion_matrix.csv")
    assert sum(int(row[name]) for row in matrix for name in row if name != "truth") == 360


def test_another_split_has_files_of_its_own(dlw, runs):
    evaluated(dlw, "circles", "--split", "train")

    assert (runs / "circles_v2-circles-001" / "errors-train.csv").is_file()
    assert not (runs / "circles_v2-circles-001" / "errors.csv").exists()


def test_flipped_scores_are_those_of_flipped_predictions_and_noted(dlw, runs):
    dlw("evaluate", "tinyvgg", "--tta", "flip", "--no-plots")
    run = find_run("tinyvgg", runs)
    found = run.evaluation()

    assert (found.tta, found.loss) == ("flip", pytest.approx(evaluate_run(run, tta="flip").loss))


@pytest.fixture
def sweep(runs):
    """A sweep of a run on circles and one with other weights."""
    made = Sweep.create(runs, "circles", Plan({}, {}, []))
    for name in ("one", "two"):
        shutil.copytree(runs / "circles_v2-circles-001", made.path / name)
    torch.save(CircleModelV2().state_dict(), made.path / "two/best.pth")
    return made


def test_a_sweep_is_scored_by_the_mean_of_its_predictions(dlw, sweep):
    printed = json.loads(evaluated(dlw, "circles-001", "--format", "json").out)

    test = data.load("circles").test
    answers = Predictor.from_runs(sweep.runs()).predict(test.data)
    right = [answer.label == test.classes[label] for answer, label in zip(answers, test.targets.int(), strict=True)]
    assert printed["metrics"]["accuracy"] == pytest.approx(sum(right) / len(right))


def test_each_run_of_a_sweep_is_scored_too_and_nothing_is_written(dlw, sweep, state_of):
    before = state_of(sweep.path)
    alone = sorted(evaluate_run(run).acc for run in sweep.runs())
    answer = dlw("evaluate", "circles-001")

    assert f"each run alone: accuracy {alone[0]:.2%} to".replace("%", " %") in answer.out
    assert state_of(sweep.path) == before


def test_a_sweep_is_scored_on_the_test_split_alone(dlw, sweep):
    answer = dlw("evaluate", "circles-001", "--split", "val")

    assert (answer.code, answer.complaints) == (
        2,
        ["dlw: --split val: several runs were trained on different samples; give --split test"],
    )


def test_figures_are_drawn_unless_refused(dlw, runs):
    dlw("evaluate", "circles")

    assert sorted(path.name for path in (runs / "circles_v2-circles-001" / "plots").iterdir()) == [
        "calibration.png",
        "confusion.png",
        "coverage.png",
    ]


def test_the_interval_and_what_it_means_are_said(dlw, runs):
    out = evaluated(dlw, "tinyvgg").out

    assert "with 360 samples, the 95 % confidence interval of the accuracy is" in out
    assert "`dlw compare RUN OTHER` tests whether another run differs" in out
    assert "always answering '1' scores 10.00 %" in out


def test_a_regression_has_its_errors_and_no_classes(dlw, runs):
    out = evaluated(dlw, "line").out

    assert "mae" in out
    assert "class" not in out


@pytest.fixture
def other(runs, pictures, tmp_path):
    """Pictures in class folders 0 and 1, and the run's name."""
    folder = tmp_path / "other"
    for name in ("0", "1"):
        (folder / name).mkdir(parents=True)
        shutil.copy(pictures / "0.png", folder / name / "a.png")
    return folder


def test_other_pictures_are_scored_by_their_classes_names(dlw, other):
    printed = json.loads(evaluated(dlw, "tinyvgg", "--data", str(other), "--format", "json").out)

    assert printed["samples"] == 2
    assert {row["label"]: row["support"] for row in printed["classes"] if row["support"]} == {"0": 1, "1": 1}


def test_a_class_that_the_model_does_not_know_is_refused_with_both_lists(dlw, other):
    (other / "1").rename(other / "zebra")

    [line] = evaluated(dlw, "tinyvgg", "--data", str(other)).complaints[-1:]

    assert "'zebra'" in line
    assert "it has '0', 'zebra'" in line
    assert "the model '0', '1', '2'" in line


def test_unknown_classes_are_left_out_when_asked(dlw, other):
    (other / "1").rename(other / "zebra")

    printed = json.loads(evaluated(dlw, "tinyvgg", "--data", str(other), "--ignore-extra", "--format", "json").out)

    assert printed["samples"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("tinyvgg --ignore-extra", 2, "--ignore-extra: only with --data"),
        ("tinyvgg --data nowhere/at/all", 1, "no such folder or file: 'nowhere/at/all'"),
        ("tinyvgg --data circles", 1, "not of the kind"),
        ("circles --data nowhere", 1, "takes numbers"),
        ("tinyvgg --set accuray.x=1", 2, "dlw: --set: unknown metric 'accuray'; did you mean 'accuracy'?"),
        ("tinyvgg --split val", 1, "no split 'val'; it has train, test"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, code, words, dlw, runs):
    answer = evaluated(dlw, *arguments.split())

    assert (answer.code, answer.out) == (code, "")
    assert words in answer.complaints[-1]
    assert not list(runs.glob("*/evaluation*"))


def test_data_that_is_gone_is_named_and_nothing_is_written(dlw, other, in_tmp):
    dlw("train", "tinyvgg", "--data", str(other), "--set", "data.test_fraction=0.5", "--epochs", "1", "--name", "own")
    run = next((in_tmp / "runs").glob("own-*"), None)
    if run is None:  # two images cannot be split: make them four
        for name in ("0", "1"):
            shutil.copy(other / name / "a.png", other / name / "b.png")
        dlw(
            "train",
            "tinyvgg",
            "--data",
            str(other),
            "--set",
            "data.test_fraction=0.5",
            "--epochs",
            "1",
            "--name",
            "own",
        )
    shutil.rmtree(other)

    said = evaluated(dlw, "own").complaints[-1]
    assert f"no folder '{other}'" in said
    assert "`dlw evaluate own-001 --data FOLDER`" in said
    assert "every image, those of training included" in said


def test_training_warns_of_a_model_that_answers_one_class(dlw, in_tmp):
    answer = dlw("train", "tinyvgg", "--data", "digits", "--recipe", "notes", "--epochs", "1", "--lr", "1e-9")

    assert "no better than always answering" in answer.err or "distinguished from always answering" in answer.err
    assert "it has collapsed to one class" in answer.err


def test_training_that_works_warns_of_nothing(dlw, in_tmp):
    assert "warning" not in dlw("train", "blobs", "--epochs", "30").err


def test_a_run_averaged_by_batch_is_warned_of_by_its_true_accuracy(dlw, in_tmp):
    answer = dlw("train", "tinyvgg", "--data", "digits", "--epochs", "1", "--lr", "1e-9", "--set", "averaging=batch")

    [run] = (in_tmp / "runs").iterdir()
    true = json.loads((run / "summary.json").read_text())["over_samples"]["test_acc"]
    assert f"an accuracy of {100 * true:.2f} %" in answer.err


@pytest.fixture
def broken(other):
    """The other pictures, with one more in class 1 that is cut short."""
    (other / "1" / "b.png").write_bytes((other / "1" / "a.png").read_bytes()[:60])
    return other


def test_pictures_that_cannot_be_read_are_left_out_when_asked_and_named_and_counted(dlw, broken, runs):
    answer = evaluated(dlw, "tinyvgg", "--data", broken, "--on-bad", "skip")

    assert (answer.code, "1/b.png" in answer.err) == (0, True)
    written = json.loads((runs / "tinyvgg-digits-001" / "evaluation-other-test.json").read_text())
    assert (written["samples"], written["skipped"]) == (2, 1)


@pytest.mark.parametrize("asked", [[], ["--on-bad", "error"]])
def test_pictures_that_cannot_be_read_are_an_error_otherwise(asked, dlw, broken):
    answer = evaluated(dlw, "tinyvgg", "--data", broken, *asked)

    assert (answer.code, "1/b.png" in answer.complaints[-1]) == (1, True)


def test_pictures_none_of_which_can_be_read_are_an_error(dlw, other):
    for path in other.rglob("*.png"):
        path.write_bytes(b"")
    answer = evaluated(dlw, "tinyvgg", "--data", other, "--on-bad", "skip")

    assert (answer.code, "no test image" in answer.complaints[-1]) == (1, True)


def test_a_runs_own_pictures_that_broke_since_are_left_out_when_asked(dlw, pets, in_tmp):
    dlw("train", "tinyvgg", "--data", pets, "--epochs", "1", "--set", "data.image_size=16", "--name", "own")
    (pets / "test" / "cat" / "0.png").write_bytes(b"")
    printed = json.loads(evaluated(dlw, "own", "--on-bad", "skip", "--format", "json").out)

    assert (printed["samples"], printed["skipped"]) == (3, 1)


def test_data_without_picture_files_has_none_to_leave_out(dlw, runs):
    answer = evaluated(dlw, "tinyvgg", "--on-bad", "skip")

    assert (answer.code, "--on-bad: data 'digits' has no image files" in answer.err) == (2, True)


def test_a_split_that_other_pictures_lack_is_named(dlw, other):
    (other / "train").mkdir()
    for name in ("0", "1"):
        (other / name).rename(other / "train" / name)

    assert "no split 'test'; it has train" in evaluated(dlw, "tinyvgg", "--data", str(other)).complaints[-1]


def test_an_evaluation_says_which_weights_it_is_of(dlw, runs):
    evaluated(dlw, "tinyvgg", "--weights", "last")

    report = json.loads((runs / "tinyvgg-digits-001" / "evaluation.json").read_text())
    assert (report["weights"], report["epoch"], report["data_changed"]) == ("last", 3, False)


def test_data_that_has_changed_since_training_is_said_and_noted(dlw, runs):
    file = runs / "tinyvgg-digits-001" / "environment.json"
    then = json.loads(file.read_text())
    then["data_fingerprint"]["test"] = "0" * 32
    file.write_text(json.dumps(then))

    answer = evaluated(dlw, "tinyvgg")

    assert "note: the test split is no longer what tinyvgg-digits-001 was trained with" in answer.err
    assert json.loads((runs / "tinyvgg-digits-001" / "evaluation.json").read_text())["data_changed"] is True


def test_the_files_of_other_pictures_bear_the_name_of_their_folder_not_of_the_split_twice(dlw, other):
    other.rename(other.with_name("test"))

    evaluated(dlw, "tinyvgg", "--data", str(other.with_name("test")))

    assert (other.parent / "runs/tinyvgg-digits-001" / f"evaluation-{other.parent.name}-test.json").is_file()


def test_a_reader_that_has_gone_leaves_the_files_whole(dlw, runs, monkeypatch):
    import typer

    def gone(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(typer, "echo", gone)
    with contextlib.suppress(BrokenPipeError, io.UnsupportedOperation):
        evaluated(dlw, "tinyvgg")

    assert json.loads((runs / "tinyvgg-digits-001" / "evaluation.json").read_text())["samples"] == 360


def test_class_names_and_columns_of_ours_are_kept_apart_in_the_confusion_matrix(dlw, in_tmp, paint):
    names = ["truth", "=HYPERLINK(1)", "predicted"]
    for number, name in enumerate(names):
        for split in ("train", "test"):
            paint(in_tmp / "odd" / split / name / "0.png", number)
    dlw("train", "tinyvgg", "--data", "odd", "--epochs", "1", "--set", "data.image_size=16")
    dlw("evaluate")
    rows = read_csv(in_tmp / "runs" / "tinyvgg-odd-001" / "confusion_matrix.csv")

    assert list(rows[0]) == ["truth", *(f"predicted: {name}" for name in sorted(names))]
    assert [row["truth"].lstrip("'") for row in rows] == sorted(names)


def test_each_run_of_a_sweep_is_evaluated_and_stored_as_alone(dlw, sweep):
    rows = json.loads(evaluated(dlw, "circles-001", "--each", "--format", "json").out)
    stored = [run.evaluation().loss for run in sweep.runs()]
    for name in ("one", "two"):
        evaluated(dlw, sweep.path / name)

    assert [row["loss"] for row in rows] == stored == [run.evaluation().loss for run in sweep.runs()]


def test_a_run_that_cannot_be_evaluated_is_a_row_with_its_reason(dlw, sweep):
    (sweep.path / "one" / "best.pth").unlink()

    answer = evaluated(dlw, "circles-001", "--each")

    assert answer.code == 1
    assert answer.complaints[-1].startswith("dlw: 1 of 2 evaluations failed; the first: one: ")
    assert " % to " in answer.out


def test_a_run_that_is_named_twice_is_evaluated_once(dlw, sweep):
    assert len(json.loads(evaluated(dlw, "circles-001", sweep.path / "one", "--each", "--format", "json").out)) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("circles", "line"), "RUN: 2 runs were given; add --each to evaluate each of them"),
        (("circles", "--each", "--slices"), "--each: not with --slices; give one of them at a time"),
        (("circles", "--cluster", "tcp://a:1"), "--cluster: only with --each; one run is evaluated on this machine"),
        (("circles", "--each", "--task-gpu"), "--task-gpu: only with --cluster ADDRESS"),
    ],
)
def test_what_does_not_go_with_several_runs_is_named(dlw, runs, arguments, complaint):
    assert evaluated(dlw, *arguments).complaints == [f"dlw: {complaint}"]


def test_a_worker_gets_the_options_as_they_were_typed(dlw, runs, monkeypatch):
    given = []
    monkeypatch.setattr("dlworkflow.cli.evaluate.evaluate_each", lambda *arguments: given.extend(arguments[-1]))
    options = ["--limit", "10", "--weights", "last", "--set", "a.b=1", "--set", "a.c=2", "--uncalibrated", "--no-plots"]
    monkeypatch.setattr("dlworkflow.metrics.functions.check_settings", lambda values: values)

    dlw("evaluate", "circles", "--each", "--runs-dir", runs, *options)

    assert sorted(given) == sorted(options)
