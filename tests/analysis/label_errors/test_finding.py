"""The labels of a data set that are probably wrong: which are found, and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dlworkflow as dlw
from dlworkflow.analysis.label_errors.correcting import csv_rows, write_corrected
from dlworkflow.errors import ConfigError, DataError, DlwError, RunError
from dlworkflow.runs.labels import COPY, DOUBTFUL, OUTLIER, PREDICTED, is_for


@pytest.fixture
def pets_with_labels(tmp_path, paint):
    """Four images with several labels each."""
    from dlworkflow.data.datasets.image_csv import load_image_csv

    names = [paint(tmp_path / f"{n}.png", n).name for n in range(4)]
    lines = [f"{name},{labels}" for name, labels in zip(names, ("cat", "dog", "cat|dog", "dog"), strict=True)]
    splits = "train", "train", "train", "test"
    lines = ["path,labels,split", *(f"{line},{split}" for line, split in zip(lines, splits, strict=True))]
    (tmp_path / "pets.csv").write_text("\n".join(lines), encoding="utf-8")
    return load_image_csv(path=str(tmp_path / "pets.csv"), image_size=8)


def test_files_in_the_folder_of_another_class_come_first(mislabelled):
    assert {Path(row["file"]).name for row in mislabelled.found.suspects[:2]} == {*mislabelled.wrong}


def test_the_class_that_is_predicted_is_suggested(mislabelled):
    found = {Path(row["file"]).name: (row["label"], row["suggested"]) for row in mislabelled.found.suspects}

    assert found[mislabelled.wrong[0]] == (mislabelled.bright, mislabelled.dark)


def test_a_copy_with_another_label_is_named(mislabelled):
    [row] = [row for row in mislabelled.found.suspects if Path(row["file"]).name == mislabelled.again]

    assert row["reason"] == f"copy of {mislabelled.wrong[0]} ({mislabelled.bright})"


def test_a_label_that_is_right_is_not_changed(mislabelled):
    [row] = [row for row in mislabelled.found.suspects if Path(row["file"]).name == mislabelled.again]

    assert row["suggested"] is None


def test_the_estimate_and_the_agreement_are_those_of_the_predictions(mislabelled):
    assert (mislabelled.found.found.samples, mislabelled.found.found.estimated) == (25, 2)
    assert mislabelled.found.found.agreement == pytest.approx(23 / 25)


def test_what_was_found_is_stored_with_the_cross_validation(mislabelled):
    from dlworkflow.runs import Run
    from dlworkflow.runs.labels import Labels

    assert Run(mislabelled.found.sweep.path).found(Labels, "train") == mislabelled.found.found


def test_nothing_is_predicted_twice(mislabelled, monkeypatch):
    from dlworkflow.analysis.label_errors import out_of_fold

    monkeypatch.delattr(out_of_fold, "read_cross_validation")

    assert dlw.find_label_errors(mislabelled.found.sweep).suspects == mislabelled.found.suspects


def test_the_test_split_is_checked_where_that_is_asked_for(mislabelled):
    found = dlw.find_label_errors(mislabelled.found.sweep, all_splits=True)

    assert found.found.samples == 25 + 6


def test_a_run_keeps_what_was_found_for_its_report(mislabelled, tmp_path):
    from dlworkflow.analysis.report.of_labels import labels_of_run

    data = mislabelled.found.data_files()[0]
    run = dlw.run_training({"data": data, **mislabelled.settings}, runs_dir=tmp_path)
    dlw.find_label_errors(run, folds=2, runs_dir=tmp_path, epochs=10)

    gallery = labels_of_run(run, []).blocks[-1]
    assert {mislabelled.wrong[0], mislabelled.wrong[1]} <= {
        picture.caption.split("\n")[-1] for picture in gallery.pictures
    }


def test_the_report_of_a_cross_validation_shows_the_suspects(mislabelled):
    from dlworkflow.analysis.report.of_labels import labels_of_runs

    gallery = labels_of_runs(mislabelled.found.sweep.runs(), []).blocks[-1]

    assert len(gallery.pictures) == len(mislabelled.found.suspects)


def test_a_sweep_of_settings_is_no_subject(tmp_path):
    from dlworkflow.training.sweep.folder import Plan, Point, Sweep

    sweep = Sweep.create(
        tmp_path, "circles-sweep", Plan({}, {}, ["optimizer.lr"], [Point(1, {"optimizer.lr": 0.1}, 42)])
    )

    with pytest.raises(RunError, match="circles-sweep-001 is a sweep that compares settings; name one of its runs"):
        dlw.find_label_errors(str(sweep.path))


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such folder, file or run: 'nosuch/folder'"):
        dlw.find_label_errors("nosuch/folder", runs_dir=tmp_path)


def test_the_run_of_a_fold_stands_for_its_cross_validation(mislabelled):
    from dlworkflow.analysis.label_errors import subject_of

    run = mislabelled.found.sweep.runs()[1]

    assert subject_of(run) == mislabelled.found.sweep


def test_data_that_has_changed_since_is_an_error(mislabelled, tmp_path):
    import shutil

    from dlworkflow.training.sweep.folder import Sweep

    shutil.copytree(mislabelled.found.sweep.path, tmp_path / "changed")
    table = tmp_path / "changed" / "predictions.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("dark-01.png", "dark-77.png"), encoding="utf-8")

    with pytest.raises(RunError, match="the data has changed since"):
        dlw.find_label_errors(Sweep(tmp_path / "changed"))


def test_models_that_have_learned_nothing_are_a_warning():
    from dlworkflow.analysis.label_errors.finding import too_little_learned

    [warning] = too_little_learned(["a"] * 60 + ["b"] * 40, np.arange(100) < 62)

    assert "always answering 'a' 60.00%: they have learned too little" in warning
    assert not too_little_learned(["a"] * 60 + ["b"] * 40, np.arange(100) < 80)


@pytest.mark.parametrize(("agreement", "warned"), [(4, True), (49, True), (50, False)])
def test_models_that_predict_fewer_than_half_of_many_classes_are_a_warning(agreement, warned):
    from dlworkflow.analysis.label_errors.finding import too_little_learned

    labels = [f"class {n % 101}" for n in range(10_100)]
    warnings = too_little_learned(labels, np.arange(10_100) < 101 * agreement)

    assert [f"predict {agreement}.00% of the labels: they have learned too little" in each for each in warnings] == (
        [True] * warned
    )


def test_a_backbone_without_published_weights_is_an_error(mislabelled):
    with pytest.raises(ConfigError, match="backbone: no weights are published of model 'tinyvgg'"):
        dlw.find_label_errors(mislabelled.found.sweep, backbone="tinyvgg")


def test_numbers_are_no_labels(tmp_path):
    with pytest.raises(DataError, match=r"'line' has numbers, not classes: its largest errors are in errors.csv of"):
        dlw.find_label_errors("line", runs_dir=tmp_path)


def test_a_name_that_is_neither_data_nor_a_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="'digit' is neither a data set, a path nor a run; did you mean 'digits'"):
        dlw.find_label_errors("digit", runs_dir=tmp_path)


def test_a_missing_extra_is_named_before_anything_is_trained(tmp_path, monkeypatch):
    from dlworkflow.analysis.label_errors import planning

    monkeypatch.setattr(planning, "find_spec", lambda _: None)

    with pytest.raises(DlwError, match=r"needs cleanlab, which is not installed; get it with: pip install 'dlworkflow"):
        dlw.find_label_errors("digits", runs_dir=tmp_path)


def swapped_digits(share, *, seed):
    """Return the digits with another label for `share` of the training samples, and the indices of these."""
    import torch

    splits = dlw.data.load("digits")
    draws = np.random.default_rng(seed)
    labels, n = splits.train.labels, len(splits.train)
    chosen = np.sort(draws.choice(n, round(share * n), replace=False))
    labels[chosen] = (labels[chosen] + torch.as_tensor(draws.integers(1, 10, len(chosen)))) % 10
    return splits, chosen


@pytest.mark.slow
def test_swapped_labels_of_digits_are_found(tmp_path):
    splits, swapped = swapped_digits(0.02, seed=0)
    dlw.data.register("swapped_digits", lambda: splits)
    found = dlw.find_label_errors("swapped_digits", model="tinyvgg", epochs=10, threads=1, runs_dir=tmp_path)

    listed = [row["index"] for row in found.suspects if row["reason"].startswith("predicted")]
    right = np.isin(listed, swapped)
    assert right.mean() > 0.8
    assert right.sum() / len(swapped) > 0.7


def suspect(reason, **others):
    return {
        "index": 0,
        "split": "train",
        "file": None,
        "label": "a",
        "suggested": "b",
        "score": 0.1,
        "reason": reason,
    } | others


def test_a_reason_is_never_a_part_of_the_name_of_a_copy():
    row = suspect("doubtful; copy of predicted-1.png (outlier)")

    assert [each for each in (PREDICTED, DOUBTFUL, COPY, OUTLIER) if is_for(row, each)] == [DOUBTFUL, COPY]


def test_every_reason_of_a_suspect_counts():
    row = suspect("predicted; copy of 1.png (b); outlier")

    assert [each for each in (PREDICTED, DOUBTFUL, COPY, OUTLIER) if is_for(row, each)] == [PREDICTED, COPY, OUTLIER]


@pytest.mark.parametrize(("cell", "left"), [("(none)", [""]), ("", []), ("cat|dog", ["cat|dog"])])
def test_none_of_several_labels_is_no_sample_that_is_left_out(tmp_path, pets_with_labels, cell, left):
    (tmp_path / "agreed.csv").write_text(f"suggested,split,index\n{cell},train,0\n", encoding="utf-8")
    first = suspect("predicted", label="cat", suggested="", file=str(pets_with_labels.train.paths[0]))

    write_corrected(pets_with_labels, [first], tmp_path / "corrected.csv", config={}, accept=tmp_path / "agreed.csv")

    rows = [line.split(",") for line in (tmp_path / "corrected.csv").read_text(encoding="utf-8").splitlines()]
    assert [label for path, label, _ in rows if path == str(pets_with_labels.train.paths[0])] == left


def test_none_of_several_labels_is_shown_as_such_in_the_csv_file():
    assert csv_rows([suspect("predicted", suggested="")])[0]["suggested"] == "(none)"


def test_one_suspect_is_not_several():
    from dlworkflow.analysis.report.of_labels import about
    from dlworkflow.runs.labels import Labels

    given = {"run": "r", "weights": "best", "epoch": None, "split": "train", "estimated": 1, "folds": 2, "notes": []}
    rows = [suspect("predicted; outlier"), suspect("doubtful")]

    assert about(Labels(**given, samples=9, agreement=0.8, suspects=rows))[0] == (
        "1 of 9 labels is probably wrong: another one is predicted. The estimate of confident learning is 1 (11.11 %). "
        "1 more is doubtful: another one is predicted with less certainty. 1 is of an outlier, unlike the others of "
        "its label."
    )
