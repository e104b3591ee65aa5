"""`dlw calibrate`, and answers that are unsure: what is kept in a run changes predictions, and can be left out."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from torch.nn.modules.module import register_module_forward_pre_hook

import dlworkflow
from dlworkflow import BlobModel, data
from dlworkflow.errors import MissingDataError
from dlworkflow.metrics.selective import SHARES
from dlworkflow.runs import Run
from dlworkflow.runs.calibration import CalibrationSummary
from dlworkflow.runs.calibration_text import sentences


@pytest.fixture(scope="module")
def trained_once(train_once):
    """A run of blobs with 200 validation samples, of circles with 160, of a line without any; change nothing."""
    of_blobs = ["blobs", "--val-fraction", "0.25", "--epochs", "30"]
    of_circles = ["circles_v2", "--val-fraction", "0.2", "--epochs", "5"]
    return train_once(of_blobs, of_circles, ["line", "--epochs", "2"])


@pytest.fixture
def blobs(in_tmp, trained_once):
    shutil.copytree(trained_once, in_tmp / "runs")
    return in_tmp / "runs" / "blobs-blobs-001"


@pytest.fixture
def found(dlw, blobs):
    """What `dlw calibrate` finds of the run."""
    answer = dlw("calibrate", "blobs", "--format", "json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


@pytest.fixture
def predict(dlw, blobs):
    """Predict three points, far apart, as JSON."""

    def run(*options):
        answer = dlw("predict", "-", "--run", "blobs", "--format", "json", *options, stdin="-6,-6\n0,1\n40,40\n")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    return run


def change(blobs, name="calibration-val.json", **values):
    file = blobs / name
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def steps(answered, wrong):
    """Steps of which the first answers `answered` samples above the certainty of 2."""
    kept = {"threshold": 2.0, "answered": answered, "wrong": wrong}
    return [kept, *({**kept, "answered": 0, "wrong": 0} for _ in SHARES[1:])]


def test_predictions_are_calibrated_from_then_on_with_the_same_labels(predict, blobs, found):
    change(blobs, temperature=3.0)
    before, after = predict("--uncalibrated"), predict()

    assert [each["label"] for each in before] == [each["label"] for each in after]
    assert all(old["probability"] > new["probability"] for old, new in zip(before, after, strict=True))


def test_a_run_whose_calibration_is_removed_predicts_as_before(dlw, predict, blobs):
    before = predict()
    dlw("calibrate", "blobs")
    answer = dlw("calibrate", "blobs", "--uncalibrated")

    assert predict() == before
    assert "its calibration is removed" in answer.err
    assert "nothing is removed" in dlw("calibrate", "blobs", "--uncalibrated").err


def test_a_calibration_has_what_is_measured_and_where(found):
    assert (found["samples"], found["split"], found["chosen_on_it"]) == (200, "val", True)
    assert found["before"]["nll"][1] < found["before"]["nll"][0] < found["before"]["nll"][2]
    assert len(found["steps"]) == len(SHARES)


def test_an_evaluation_has_the_temperature_and_the_loss_after_it(dlw, blobs, found):
    change(blobs, temperature=3.0)
    calibrated, not_calibrated = (
        json.loads(dlw("evaluate", "blobs", "--no-plots", "--format", "json", *options).out)
        for options in ((), ("--uncalibrated",))
    )

    assert (calibrated["temperature"], not_calibrated["temperature"]) == (3.0, None)
    assert calibrated["loss"] > not_calibrated["loss"]


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("blobs", "has no validation split to calibrate on; train with --val-fraction 0.2, or name labelled data"),
        ("line", "for one class per sample; the task of line-line-001 is regression"),
    ],
)
def test_what_cannot_be_calibrated_is_one_line(dlw, blobs, run, words):
    summary = json.loads((blobs / "summary.json").read_text())
    del summary["samples"]["val"]
    (blobs / "summary.json").write_text(json.dumps(summary))

    answer = dlw("calibrate", run)
    assert (answer.code, len(answer.complaints)) == (2, 1)
    assert words in answer.err


def test_a_validation_split_that_may_hold_training_samples_promises_nothing(dlw, blobs):
    environment = json.loads((blobs / "environment.json").read_text())
    environment["data_fingerprint"]["val"] = "of other samples"
    (blobs / "environment.json").write_text(json.dumps(environment))

    answer = dlw("calibrate", "blobs")

    assert "the validation split is no longer what blobs-blobs-001 was trained with" in answer.complaints[-1]
    assert not (blobs / "calibration-val.json").exists()


def test_other_weights_are_not_calibrated_and_this_is_said(dlw, predict, blobs, found):
    change(blobs, epoch=7, temperature=3.0)
    answer = dlw("predict", "0", "1", "--run", "blobs")

    assert predict() == predict("--uncalibrated")
    assert "calibrated for other weights (epoch 7)" in answer.err


def test_the_best_and_the_last_weights_have_a_calibration_each(dlw, predict, blobs, found):
    summary = json.loads((blobs / "summary.json").read_text())
    summary["last"]["epoch"] += 1
    (blobs / "summary.json").write_text(json.dumps(summary))
    dlw("calibrate", "blobs", "--weights", "last")
    change(blobs, temperature=3.0)
    change(blobs, "calibration-val-last.json", temperature=5.0)

    assert "(best weights, temperature 3)" in dlw("predict", "0", "1", "--run", "blobs").err
    assert "(last weights, temperature 5)" in dlw("predict", "0", "1", "--run", "blobs", "--weights", "last").err
    assert predict("--reject-unknown")
    assert predict("--reject-unknown", "--weights", "last")
    dlw("calibrate", "blobs", "--uncalibrated")
    assert not [*blobs.glob("calibration-*")]


def test_where_the_last_epoch_is_the_best_it_is_calibrated_with_it(dlw, blobs, found):
    summary = json.loads((blobs / "summary.json").read_text())
    (blobs / "summary.json").write_text(json.dumps(summary | {"last": summary["best"]}))

    assert "(last weights, temperature " in dlw("predict", "0", "1", "--run", "blobs", "--weights", "last").err


@pytest.mark.usefixtures("found")
def test_every_sample_goes_through_the_model_once(dlw):
    passed = []
    with register_module_forward_pre_hook(
        lambda module, given: passed.append(len(given[0]) if isinstance(module, BlobModel) else 0)
    ):
        assert dlw("calibrate", "blobs").code == 0

    assert [n for n in passed if n > 1] == [200]  # the model is tried with one sample


def test_other_data_without_a_validation_split_gives_its_test_split(dlw, blobs):
    answer = dlw("calibrate", "blobs", "--data", "blobs", "--format", "json")

    assert "note    data 'blobs' has no split 'val'; it has train, test: its test split is taken" in answer.err
    assert (json.loads(answer.out)["data"], json.loads(answer.out)["samples"]) == ("blobs-test", 200)


def test_a_damaged_calibration_is_named_and_can_be_left_out(dlw, predict, blobs, found):
    change(blobs, temperature=-1)

    assert "calibration-val.json' is damaged: temperature is -1" in dlw("predict", "0", "1", "--run", "blobs").err
    assert predict("--uncalibrated")


def test_a_calibration_of_no_epoch_is_damaged(dlw, blobs, found):
    change(blobs, epoch=None)

    assert "calibration-val.json' is damaged: epoch is None" in dlw("predict", "0", "1", "--run", "blobs").err


def test_answers_below_a_confidence_are_unsure(predict, blobs):
    every = predict()
    answers = predict("--min-confidence", "0.999")

    assert [each["unsure"] for each in answers] == [each["probability"] < 0.999 for each in every]
    assert {each["unsure"] for each in answers} == {True, False}
    assert [each["label"] for each in answers if each["unsure"]] == [None] * sum(each["unsure"] for each in answers)
    assert [each["top"] for each in answers] == [each["top"] for each in every]


def test_a_limit_of_errors_takes_the_threshold_that_was_tested(predict, blobs, found):
    change(blobs, steps=steps(200, 0), temperature=None)
    answers = predict("--max-error", "5%")

    assert [each["unsure"] for each in answers] == [
        each["probability"] <= 1 / (1 + 2.718281828**-2) for each in answers
    ]


def test_the_promise_is_in_words(dlw, blobs, found):
    change(blobs, steps=steps(150, 0))
    answer = dlw("predict", "0", "1", "--run", "blobs", "--max-error", "5%")

    assert "of the most certain 75 % of the 200 validation samples, 0 % are answered wrongly" in answer.err
    assert "at most 5 % are wrong" in answer.err
    assert "the best epoch was chosen on the same samples" in answer.err


def test_too_few_samples_for_a_limit_make_every_answer_unsure(dlw, predict, blobs, found):
    answer = dlw("predict", "0", "1", "--run", "blobs", "--max-error", "0.5%")

    assert "every answer is unsure: 200 validation samples cannot promise at most 0.5 % errors" in answer.err
    assert "it takes 1,058 samples at least" in answer.err
    assert {each["unsure"] for each in predict("--max-error", "0.5%")} == {True}


def test_a_table_and_a_csv_show_what_is_unsure(dlw, predict, blobs):
    options = ("0", "1", "--run", "blobs", "--min-confidence", "0.999999")
    label = predict()[1]["label"]
    [row] = csv.DictReader(io.StringIO(dlw("predict", *options, "--format", "csv").out))

    assert f"unsure ({label})" in dlw("predict", *options).out
    assert (row["label"], row["unsure"], row["likeliest"]) == ("", "True", label)


def test_inputs_that_are_like_no_known_one_are_unsure(predict, found):
    answers = predict("--reject-unknown")

    assert found["distances"] == sorted(found["distances"])
    assert answers[2]["probability"] > 0.999
    assert (answers[2]["unsure"], answers[2]["label"]) == (True, None)
    assert all(0 < each["familiarity"] <= 1 for each in answers)
    assert [each["unsure"] for each in answers] == [each["familiarity"] < 0.05 for each in answers]


def test_about_95_percent_of_what_is_like_the_validation_split_is_known(blobs, found):
    points = data.load("blobs", n_samples=3000).test  # twice as many as the run has seen, of the same four centers
    rows = [points[index][0].tolist() for index in range(len(points))]

    answers = dlworkflow.Predictor.from_run(blobs).cautious(reject_unknown=True).predict(rows)

    assert 0.91 < sum(not each.unsure for each in answers) / len(answers) < 0.99


@pytest.mark.usefixtures("blobs")
def test_a_model_with_one_output_has_unknown_inputs(dlw):
    dlw("calibrate", "circles")

    answer = dlw("predict", "-", "--run", "circles", "--reject-unknown", "--format", "json", stdin="0.1,0.8\n20,-9\n")

    assert [each["unsure"] for each in json.loads(answer.out)] == [False, True]


@pytest.mark.parametrize("n", [19, 200])
def test_inputs_are_unknown_beyond_the_distance_that_is_printed(blobs, found, n):
    change(blobs, distances=[float(distance) for distance in range(n)])
    kept = Run(blobs).found(CalibrationSummary, "val")
    limits = dlworkflow.Predictor.from_run(blobs).cautious(reject_unknown=True).caution
    as_given = replace(limits, distance_of=lambda distances: distances)

    unsure = as_given.is_unsure(np.ones((2, 1)), None, as_given.familiarity(np.array([kept.reach, kept.reach + 0.1])))

    assert unsure.tolist() == [False, True]
    assert f"farther than {kept.reach:.4f} from every training sample" in sentences(kept)[-1]


def test_too_few_samples_say_nothing_about_unknown_inputs(dlw, blobs, found):
    change(blobs, distances=[1.0] * 18)
    answer = dlw("predict", "0", "1", "--run", "blobs", "--reject-unknown")

    assert "--reject-unknown: takes 19 samples at least" in answer.complaints[-1]


def test_training_data_that_is_gone_is_known_by_its_features(dlw, predict, found, monkeypatch):
    monkeypatch.setattr("dlworkflow.analysis.nearest.load_part", None)

    assert json.loads(dlw("calibrate", "blobs", "--format", "json").out)["distances"] == found["distances"]
    assert predict("--reject-unknown")


def test_training_data_that_is_gone_before_is_a_note(dlw, blobs, monkeypatch):
    def gone(*_, **__):
        raise MissingDataError("no folder 'photos'")

    monkeypatch.setattr("dlworkflow.analysis.nearest.load_part", gone)
    answer = dlw("calibrate", "blobs")

    assert answer.code == 0
    assert "note    `dlw predict --reject-unknown` will not work: no folder 'photos'" in answer.err


@pytest.mark.parametrize("lost", ["features", "distances"])
def test_what_unknown_inputs_are_told_by_can_be_found_again(dlw, predict, blobs, found, lost):
    if lost == "features":
        (blobs / "features-train.npz").unlink()
    else:
        change(blobs, distances=None)
    answer = dlw("predict", "0", "1", "--run", "blobs", "--reject-unknown")

    assert (answer.code, len(answer.complaints)) == (1, 1)
    assert "has not kept what its training data is to its best weights; `dlw calibrate" in answer.err
    assert dlw("calibrate", "blobs").code == 0
    assert predict("--reject-unknown")


def test_features_too_large_to_keep_are_not_computed(dlw, blobs, monkeypatch):
    monkeypatch.setattr("dlworkflow.analysis.calibration.MOST_STORED", 1e6 / 1000)
    answer = dlw("calibrate", "blobs")

    assert "features of the training data take more than the 0 MB a run keeps" in answer.err
    assert not (blobs / "features-train.npz").exists()


def test_unknown_inputs_and_neighbours_can_be_asked_for_at_once(predict, found):
    answers = predict("--reject-unknown", "--neighbours", "2")

    assert [len(each["neighbours"]) for each in answers] == [2, 2, 2]
    assert [each["familiarity"] for each in answers] == [each["familiarity"] for each in predict("--reject-unknown")]


def test_an_evaluation_counts_what_is_answered(dlw, blobs, found):
    change(blobs, steps=steps(150, 0))
    answer = dlw("evaluate", "blobs", "--no-plots", "--max-error", "5%")
    data = json.loads((blobs / "evaluation.json").read_text())

    assert data["answered"]["by"] == "--max-error 5%"
    assert 0 < data["answered"]["right"] <= data["answered"]["count"] <= data["samples"]
    assert f"with --max-error 5%, {data['answered']['count']} of {data['samples']} samples are answered" in answer.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--max-error", "5"), "not '5'; did you mean 5%?"),
        (("--max-error", "0"), "must be a share between 0 and 1, as 0.05 or 5%, not '0'"),
        (("--max-error", "100%"), "must be a share between 0 and 1"),
        (("--min-confidence", "sure"), "must be a share between 0 and 1"),
        (("--min-confidence", "0.8", "--max-error", "5%"), "--min-confidence: not with --max-error"),
        (("--max-error", "5%"), "is not calibrated with its best weights; run `dlw calibrate"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_wrong_limit_is_one_line(dlw, blobs, command, options, words):
    inputs = ("0", "1", "--run", "blobs") if command == "predict" else ("blobs", "--no-plots")

    answer = dlw(command, *inputs, *options)
    assert answer.code in (1, 2)
    assert words in answer.complaints[-1]


def test_a_task_without_one_class_is_never_unsure(dlw, blobs):
    answer = dlw("predict", "1", "--run", "line", "--min-confidence", "0.8")

    assert "--min-confidence: for one class per sample; the task of run 'line-line-001' is regression" in answer.err


@pytest.mark.slow
def test_clothes_are_unknown_to_a_model_of_digits_and_digits_are_known(dlw, in_tmp, fashion_images):
    """The table of the guide has 7 % of the clothes taken for known, and 95 % of the digits known."""
    dlw("train", "tinyvgg", "--val-fraction", "0.2", "--epochs", "10", "--threads", "1")
    dlw("calibrate", "tinyvgg")
    known, unknown = (
        json.loads(dlw("predict", folder, "--run", "tinyvgg", "--reject-unknown", "--format", "json").out)
        for folder in ("digits", "clothes")
    )

    assert sum(not each["unsure"] for each in known) / len(known) > 0.88
    assert sum(each["unsure"] for each in unknown) / len(unknown) > 0.8
    assert area_between(known, unknown) > 0.95


def area_between(known, unknown):
    from sklearn.metrics import roc_auc_score

    familiarity = [each["familiarity"] for each in (*known, *unknown)]
    return roc_auc_score([1] * len(known) + [0] * len(unknown), familiarity)


@pytest.fixture
def fashion_images(in_tmp):
    """Folders `digits` and `clothes`, of 150 test images each, of 8x8 and of 28x28 pixels."""
    from dlworkflow import data
    from dlworkflow.data.images.pixels import to_pil
    from dlworkflow.errors import DataError

    try:
        sources = {"digits": data.load("digits"), "clothes": data.load("fashion_mnist", offline=True)}
    except DataError:
        pytest.skip("no FashionMNIST: install Debian's package dataset-fashion-mnist")
    for folder, splits in sources.items():
        (in_tmp / folder).mkdir()
        for index in range(150):
            to_pil(splits.test.images[index]).save(in_tmp / folder / f"{index}.png")
