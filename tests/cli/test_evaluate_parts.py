"""`dlw evaluate --slices` and `--robustness`: what they print, what they keep, and what they refuse."""

from __future__ import annotations

import csv
import json
import random
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from dlworkflow.analysis import robustness
from dlworkflow.analysis.slices import of_run
from dlworkflow.data.images.corruptions import CORRUPTIONS
from dlworkflow.errors import ModelError
from dlworkflow.runs import Run
from dlworkflow.runs.robustness import RobustnessScores
from dlworkflow.runs.slices import SliceScores

DIGITS, CIRCLES, LINE = "tinyvgg-digits-001", "circles_v2-circles-001", "line-line-001"


@pytest.fixture
def two_strengths(monkeypatch):
    """Corrupt in two ways only: the others are as slow in a test as they are in use."""
    monkeypatch.setattr(robustness, "VARIANTS", [("noise", 0.1), ("darker", 0.3)])


def by_property(run):
    found = {}
    for row in Run(run).found(SliceScores).slices:
        found.setdefault(row["property"], []).append(row)
    return found


def write_csv(path, head, rows):
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([head, *rows])
    return path


def test_slices_of_images_are_printed_and_kept(dlw, runs):
    answer = dlw("evaluate", DIGITS, "--slices", "--no-plots")
    found = by_property(runs / DIGITS)

    assert answer.code == 0, answer.err
    assert {*found} == {"class", "brightness", "sharpness", "cluster"}
    assert sum(row["n"] for row in found["brightness"]) == sum(row["n"] for row in found["cluster"]) == 360
    assert "each chance is corrected for all of them (Holm)" in answer.out
    assert "note: size is the same for all samples" in answer.err
    assert "wrote slices.json, slices.csv in" in answer.err


def test_answers_that_are_stored_are_not_predicted_again(dlw, runs, monkeypatch):
    dlw("evaluate", CIRCLES, "--no-plots")
    monkeypatch.delattr(of_run, "evaluate_part")

    assert dlw("evaluate", CIRCLES, "--slices", "--no-plots").code == 0


def test_answers_of_other_weights_are_predicted_again(dlw, runs):
    dlw("evaluate", CIRCLES, "--no-plots")

    assert dlw("evaluate", CIRCLES, "--slices", "--weights", "last", "--no-plots").code == 0
    assert Run(runs / CIRCLES).evaluation().weights == "last"


def test_points_have_slices_of_their_inputs(dlw, runs):
    assert dlw("evaluate", CIRCLES, "--slices", "--no-plots").code == 0
    assert {*by_property(runs / CIRCLES)} == {"class", "input 1", "input 2"}


def test_a_regression_has_slices_by_its_errors(dlw, runs):
    answer = dlw("evaluate", LINE, "--slices", "--no-plots", "--format", "json")

    assert json.loads(answer.out)["metric"] == "mae", answer.err


def test_only_the_properties_that_are_named_are_looked_at(dlw, runs):
    dlw("evaluate", DIGITS, "--slice-by", "class, brightness", "--no-plots")

    assert {*by_property(runs / DIGITS)} == {"class", "brightness"}


def test_every_column_of_a_table_is_sliced_by_those_left_out_of_training_too(dlw, in_tmp):
    draw = random.Random(0)
    rows = [[draw.random(), draw.choice("ab"), draw.choice(["north", "south"]), i % 2] for i in range(150)]
    table = write_csv(in_tmp / "t.csv", ["size", "kind", "site", "y"], rows)
    trained = ("--recipe", "best", "--epochs", "2", "--set", "data.drop=[site]")
    assert dlw("train", "mlp", "--data", table, "--set", "data.target=y", *trained).code == 0
    answer = dlw("evaluate", "last", "--slices", "--no-plots")

    assert answer.code == 0, answer.err
    assert {*by_property(in_tmp / "runs/mlp-t-001")} == {"class", "size", "kind", "site"}


def test_images_in_a_csv_file_are_sliced_by_its_other_columns(dlw, in_tmp, paint):
    rows = []
    for i in range(24):
        paint(in_tmp / f"{i}.png", seed=i)
        rows.append([f"{i}.png", "cat" if i % 2 else "dog", f"camera {i % 3}", "test" if i > 11 else "train"])
    file = write_csv(in_tmp / "pets.csv", ["path", "label", "camera", "split"], rows)
    assert (
        dlw(
            "train", "tinyvgg", "--data", file, "--recipe", "notes", "--epochs", "1", "--set", "data.image_size=32"
        ).code
        == 0
    )
    answer = dlw("evaluate", "last", "--slice-by", "camera", "--no-plots")

    assert answer.code == 0, answer.err
    assert [row["n"] for row in by_property(in_tmp / "runs/tinyvgg-pets-001")["camera"]] == [4, 4, 4]


def test_folders_of_absolute_and_relative_paths_are_told_apart(dlw, in_tmp, paint):
    folders = [in_tmp.resolve() / "a", "b"]
    rows = []
    for i in range(24):
        paint(in_tmp / "ab"[i % 2] / f"{i}.png", seed=i)
        rows.append([f"{folders[i % 2]}/{i}.png", "cat" if i % 3 else "dog", "test" if i > 11 else "train"])
    write_csv(in_tmp / "pets.csv", ["path", "label", "split"], rows)
    small = ("--recipe", "notes", "--epochs", "1", "--set", "data.image_size=32")
    assert dlw("train", "tinyvgg", "--data", "pets.csv", *small).code == 0
    answer = dlw("evaluate", "last", "--data", "pets.csv", "--slice-by", "folder", "--no-plots", "--format", "json")

    assert answer.code == 0, answer.err
    assert [row["slice"] for row in json.loads(answer.out)["slices"]] == ["a", "b"]


def features_that_are(monkeypatch, value):
    """Let the model make the same features of all samples."""
    monkeypatch.setattr(
        of_run, "features_of", lambda _, part: SimpleNamespace(features=np.full((len(part), 3), value, np.float32))
    )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1.0, "note: cluster: the model makes the same features of all samples"),
        (np.nan, "note: cluster: some features are not finite numbers, the model has diverged"),
    ],
)
def test_features_that_make_no_clusters_are_a_note(dlw, runs, monkeypatch, value, says):
    features_that_are(monkeypatch, value)
    answer = dlw("evaluate", DIGITS, "--slice-by", "class,cluster", "--no-plots")

    assert (answer.code, says in answer.err) == (0, True), answer.err


def test_a_model_without_features_still_has_its_other_slices(dlw, runs, monkeypatch):
    def none(*_):
        raise ModelError("it has no layer")

    monkeypatch.setattr(of_run, "features_of", none)
    answer = dlw("evaluate", DIGITS, "--slice-by", "class,cluster", "--no-plots")

    assert (answer.code, "note: cluster: it has no layer" in answer.err) == (0, True), answer.err


def test_a_column_named_as_what_is_measured_in_images_is_beside_it(dlw, in_tmp, paint):
    rows = [[paint(in_tmp / f"{i}.png", seed=i).name, "ab"[i % 2], i // 2 % 2] for i in range(24)]
    file = write_csv(in_tmp / "pets.csv", ["path", "label", "class"], rows)
    small = ("--recipe", "notes", "--epochs", "1", "--set", "data.image_size=32", "--set", "data.test_fraction=0.5")
    assert dlw("train", "tinyvgg", "--data", file, *small).code == 0
    answer = dlw("evaluate", "last", "--slice-by", "class,column class", "--no-plots")

    assert answer.code == 0, answer.err
    found = by_property(in_tmp / "runs/tinyvgg-pets-001")
    assert {name: {row["slice"] for row in rows} for name, rows in found.items()} == {
        "class": {"a", "b"},
        "column class": {"0", "1"},
    }


def test_corrupted_images_are_scored_printed_and_kept(dlw, runs, two_strengths):
    answer = dlw("evaluate", DIGITS, "--robustness")
    found = Run(runs / DIGITS).found(RobustnessScores)

    assert answer.code == 0, answer.err
    assert [row["corruption"] for row in found.corruptions] == ["noise", "darker"]
    assert found.score == pytest.approx(Run(runs / DIGITS).summary().best["test_acc"])
    assert "Most is lost by" in answer.out
    assert "without a correction for all 2: the worst of 2 looks a little worse than it is" in answer.out


def test_a_corruption_that_does_nothing_changes_no_answer(dlw, runs, monkeypatch):
    monkeypatch.setitem(CORRUPTIONS, "darker", CORRUPTIONS["darker"].__class__(lambda x, *_: x, (1, 2, 3), "{}"))
    monkeypatch.setattr(robustness, "VARIANTS", [("darker", 2)])
    answer = dlw("evaluate", DIGITS, "--robustness", "--no-plots")
    [row] = Run(runs / DIGITS).found(RobustnessScores).corruptions

    assert (row["difference"], row["changed"], row["strength"]) == (0, 0, 2)
    assert "No corruption scores worse" in answer.out


@pytest.mark.parametrize("kind", ["slices", "robustness"])
def test_samples_that_have_changed_are_a_note(dlw, in_tmp, pets, two_strengths, kind):
    small = ("--recipe", "notes", "--epochs", "1", "--set", "data.image_size=16")
    assert dlw("train", "tinyvgg", "--data", pets, *small).code == 0
    (pets / "test" / "cat" / "0.png").unlink()
    answer = dlw("evaluate", "last", f"--{kind}", "--no-plots")

    assert "note: the test split is no longer what tinyvgg-pets-001 was trained with" in answer.err, answer.err


@pytest.mark.parametrize("kind", ["slices", "robustness"])
def test_what_was_found_is_printed_though_it_cannot_be_stored(dlw, runs, two_strengths, kind):
    (runs / DIGITS / f"{kind}.json").mkdir()
    answer = dlw("evaluate", DIGITS, f"--{kind}", "--no-plots")

    assert (answer.code, "cannot write" in answer.err, "95 % interval" in answer.out) == (1, True, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([CIRCLES, "--robustness"], "takes numbers: what phones do to images cannot be done to them; see --slices"),
        ([DIGITS, "--slices", "--robustness"], "give one of them at a time"),
        ([DIGITS, "--slice-by", "brightnes"], "did you mean 'brightness'?"),
        ([DIGITS, "--slices", "--thresholds", "0.3"], "--thresholds: not with --slices"),
        ([DIGITS, "--slices", "--slice-by", "size", "--no-plots"], "has no slices: size is the same for all samples"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(dlw, runs, arguments, says):
    answer = dlw("evaluate", *arguments)

    assert (answer.code, len(answer.complaints)) != (0, 1)
    assert says in answer.complaints[-1]


def test_a_figure_of_slices_that_are_not_there_names_the_command(dlw, runs):
    answer = dlw("plot", DIGITS, "slices")

    assert answer.code == 1
    assert f"`dlw evaluate {DIGITS} --slices` first" in answer.err


@pytest.mark.slow
def test_figures_of_what_was_found_are_drawn(dlw, runs, two_strengths):
    dlw("evaluate", DIGITS, "--slices")
    dlw("evaluate", DIGITS, "--robustness")

    assert dlw("plot", DIGITS, "clusters").code == 0
    assert {"slices.png", "clusters.png", "robustness.png"} <= {p.name for p in (runs / DIGITS / "plots").iterdir()}


def test_a_report_shows_where_a_run_is_weak_once_it_is_known(dlw, runs, two_strengths):
    dlw("evaluate", CIRCLES, "--slices", "--no-plots")

    assert dlw("report", CIRCLES, "--out", "r.html").code == 0
    assert "Where it is weak" in (runs.parent / "r.html").read_text(encoding="utf-8")


def test_two_runs_on_the_same_corrupted_images_are_drawn_together(dlw, runs, two_strengths):
    dlw("evaluate", DIGITS, "--robustness", "--no-plots")
    shutil.copytree(runs / DIGITS, runs / "tinyvgg-digits-002")
    both = (DIGITS, "tinyvgg-digits-002", "--plot", "r.png", "--plot-kind", "robustness")

    assert dlw("compare", *both).code == 0

    (runs / DIGITS / "robustness.json").unlink()
    answer = dlw("compare", *both, "--overwrite")
    assert answer.code == 1
    assert f"store those of each run with: dlw evaluate {DIGITS} --robustness" in answer.err
