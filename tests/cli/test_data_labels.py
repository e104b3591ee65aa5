"""`dlw data labels`: the labels that are probably wrong, as a table, files and a page."""

from __future__ import annotations

import csv
import json
import shutil

import pytest


@pytest.fixture
def photos(mislabelled, in_tmp):
    """Work in a folder with copies of the photos in `photos`, and of their cross-validation in `runs/checked`."""
    shutil.copytree(mislabelled.folder / "photos", in_tmp / "photos")
    shutil.copytree(mislabelled.found.sweep.path, in_tmp / "runs" / "checked")
    for file in (in_tmp / "runs" / "checked").rglob("*.json"):
        text = file.read_text(encoding="utf-8").replace(str(mislabelled.folder / "photos"), str(in_tmp / "photos"))
        file.write_text(text, encoding="utf-8")
    return in_tmp / "photos"


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_the_wrong_labels_first(photos, dlw, mislabelled):
    lines = dlw("data", "labels", "checked").out.splitlines()

    assert lines[0].startswith("2 of 25 labels are probably wrong: another one is predicted.")
    assert {lines[5].split()[0], lines[6].split()[0]} == {*mislabelled.wrong}


def test_csv_has_a_row_for_each_suspect(photos, dlw, mislabelled, in_tmp):
    dlw("data", "labels", "checked", "--csv", "suspects.csv")

    rows = rows_of(in_tmp / "suspects.csv")
    assert [*rows[0]] == ["file", "label", "suggested", "score", "reason", "split", "index"]
    assert len(rows) == len(mislabelled.found.suspects)


def test_json_is_what_is_stored(photos, dlw, in_tmp):
    found = json.loads(dlw("data", "labels", "checked", "--format", "json").out)

    assert found == json.loads((in_tmp / "runs" / "checked" / "labels-train.json").read_text(encoding="utf-8"))


def test_the_page_shows_the_images_of_the_suspects(photos, dlw, mislabelled, in_tmp):
    dlw("data", "labels", "checked", "--page", "suspects.html")

    page = (in_tmp / "suspects.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 3
    assert f"predicted: {mislabelled.dark}" in page


def test_the_corrected_file_is_data_with_other_labels(photos, dlw, mislabelled, in_tmp):
    import dlworkflow

    dlw("data", "labels", "checked", "--out", "corrected.csv")

    before = dlworkflow.data.load("image_folder", path=str(photos), image_size=8)
    after = dlworkflow.data.load("image_csv", path=str(in_tmp / "corrected.csv"), image_size=8)
    assert after.train.paths == before.train.paths
    changed = [
        path.name
        for path, old, new in zip(after.train.paths, before.train.labels, after.train.labels, strict=True)
        if old != new
    ]
    assert {*changed} == {*mislabelled.wrong}


def test_only_what_was_accepted_is_corrected(photos, dlw, in_tmp):
    dlw("data", "labels", "checked", "--csv", "suspects.csv")
    first, second, *_ = (in_tmp / "suspects.csv").read_text(encoding="utf-8").splitlines()
    (in_tmp / "agreed.csv").write_text(f"{first}\n{second}\n", encoding="utf-8")

    answer = dlw("data", "labels", "checked", "--accept", "agreed.csv", "--out", "corrected.csv")

    assert "wrote corrected.csv: 1 label differs" in answer.err


def test_a_sample_that_belongs_to_no_class_is_left_out(photos, dlw, in_tmp):
    (in_tmp / "agreed.csv").write_text("suggested,split,index\n,train,0\n", encoding="utf-8")

    dlw("data", "labels", "checked", "--accept", "agreed.csv", "--out", "corrected.csv")

    assert len(rows_of(in_tmp / "corrected.csv")) == 25 + 6 - 1


def test_samples_that_are_left_out_are_not_counted_as_other_labels(photos, dlw, in_tmp):
    dlw("data", "labels", "checked", "--csv", "suspects.csv")

    answer = dlw("data", "labels", "checked", "--accept", "suspects.csv", "--out", "corrected.csv")

    assert "wrote corrected.csv: 2 labels differ, 1 sample is left out;" in answer.err


@pytest.mark.parametrize("option", ["--csv", "--out"])
def test_the_file_of_accepted_rows_is_never_overwritten(photos, dlw, in_tmp, option):
    (in_tmp / "mine.csv").write_text("suggested,split,index\n,train,0\n", encoding="utf-8")
    files = {"--accept": "mine.csv", "--out": "corrected.csv"} | {option: "mine.csv"}

    answer = dlw("data", "labels", "checked", "--overwrite", *(word for pair in files.items() for word in pair))

    assert (answer.code, f"--accept: 'mine.csv' is the file of {option}, too" in answer.err) == (2, True), answer.err
    assert (in_tmp / "mine.csv").read_text(encoding="utf-8") == "suggested,split,index\n,train,0\n"


@pytest.mark.parametrize("other", ["dark-99.png", "披萨"])
def test_an_accepted_row_of_another_sample_is_an_error(photos, dlw, in_tmp, mislabelled, other):
    dlw("data", "labels", "checked", "--csv", "suspects.csv")
    text = (in_tmp / "suspects.csv").read_text(encoding="utf-8")
    old = mislabelled.wrong[0] if other.endswith(".png") else f",{mislabelled.bright},"
    text = text.replace(old, other if other.endswith(".png") else f",{other},")
    (in_tmp / "suspects.csv").write_text(text, encoding="utf-8")

    answer = dlw("data", "labels", "checked", "--accept", "suspects.csv", "--out", "corrected.csv")

    assert (answer.code, "is not what this line says: the data has changed since" in answer.err) == (1, True)
    assert not (in_tmp / "corrected.csv").exists()


@pytest.mark.usefixtures("in_tmp")
def test_accepted_rows_that_cannot_be_read_are_an_error_before_the_data_is_looked_for(dlw):
    answer = dlw("data", "labels", "no-such-data", "--accept", "nosuch.csv", "--out", "corrected.csv")

    assert (answer.code, "--accept: no file 'nosuch.csv'" in answer.err) == (1, True), answer.err


def test_a_class_that_there_is_not_is_not_accepted(photos, dlw, in_tmp):
    (in_tmp / "agreed.csv").write_text("suggested,split,index\n披薩,train,0\n", encoding="utf-8")

    answer = dlw("data", "labels", "checked", "--accept", "agreed.csv", "--out", "corrected.csv")

    assert "--accept: 'agreed.csv' line 2: unknown class '披薩'; possible: 披萨, 牛排" in answer.err.replace(
        "did you mean '披萨'?", "possible: 披萨, 牛排"
    )


@pytest.mark.parametrize("option", ["--out", "--csv", "--page"])
def test_nothing_is_written_inside_the_data(photos, dlw, option):
    (photos.parent / "link").symlink_to(photos / "train")

    answer = dlw("data", "labels", "checked", option, f"link/new.{'html' if option == '--page' else 'csv'}")

    assert (answer.code, "would be inside the data" in answer.err) == (2, True)
    assert not [*photos.rglob("new.*")]


def test_nothing_is_written_where_the_images_of_a_class_really_are(photos, dlw, in_tmp):
    (photos / "train" / "披萨").rename(in_tmp / "pizza")
    (photos / "train" / "披萨").symlink_to(in_tmp / "pizza")

    answer = dlw("data", "labels", "checked", "--csv", "pizza/new.csv")

    assert (answer.code, "would be inside the data" in answer.err) == (2, True)
    assert not (in_tmp / "pizza" / "new.csv").exists()


def test_a_file_that_is_there_stays(photos, dlw, in_tmp):
    (in_tmp / "mine.csv").write_text("mine", encoding="utf-8")

    answer = dlw("data", "labels", "checked", "--out", "mine.csv")

    assert (answer.code, (in_tmp / "mine.csv").read_text(encoding="utf-8")) == (2, "mine")


def test_what_was_stopped_is_finished_by_its_folder(in_tmp, dlw):
    blobs = ("data", "labels", "blobs", "--epochs", "20", "--folds", "2", "--jobs", "1")

    stopped = dlw(*blobs, "--max-runs", "1", "--csv", "suspects.csv")

    assert "resume with: dlw data labels runs/blobs-labels-001 --csv suspects.csv" in stopped.err
    finished = dlw("data", "labels", "blobs-labels-001")
    assert "2/2  fold 2" in finished.err
    assert " of 800 labels are probably wrong" in finished.out


def test_suspects_of_points_are_shown_with_their_numbers(in_tmp, dlw):
    dlw(
        "data",
        "labels",
        "blobs",
        "--epochs",
        "1",
        "--folds",
        "2",
        "--limit",
        "80",
        "--jobs",
        "1",
        "--page",
        "page.html",
    )

    assert ">X1</th>" in (in_tmp / "page.html").read_text(encoding="utf-8")


def test_data_without_files_has_no_corrected_file(in_tmp, dlw):
    answer = dlw("data", "labels", "blobs", "--out", "corrected.csv")

    assert "--out: data 'blobs' has no files to be listed; --csv writes the suspects alone" in answer.err
    assert not (in_tmp / "runs").exists()


def test_a_folder_of_runs_that_cannot_be_written_costs_no_result(photos, dlw, in_tmp):
    (in_tmp / "runs" / "checked" / "labels-train.json").unlink()
    (in_tmp / "runs" / "checked" / "labels-train.json").mkdir()

    answer = dlw("data", "labels", "checked", "--csv", "suspects.csv")

    assert (answer.code, "cannot write" in answer.err) == (1, True)
    assert (in_tmp / "suspects.csv").is_file()
    assert "labels are probably wrong" in answer.out


def test_a_class_with_one_sample_is_named(in_tmp, dlw, paint):
    for name, n in (("cat", 4), ("dog", 2)):
        for number in range(n):
            paint(in_tmp / "pets" / name / f"{number}.png", number)

    answer = dlw("data", "labels", "pets", "--model", "tinyvgg")

    assert "class 'dog' has 1 training sample, fewer than 5 folds; two are needed" in answer.err


def test_a_table_is_written_with_its_columns_and_other_labels(in_tmp, dlw):
    lines = ["width,height,kind", *(f"{n % 2 * 4 + n / 100},{n},{'ab'[n % 2]}" for n in range(60))]
    lines[4] = lines[4][:-1] + "a"
    (in_tmp / "table.csv").write_text("\n".join(lines), encoding="utf-8")

    answer = dlw(
        "data", "labels", "table.csv", "--epochs", "40", "--folds", "3", "--jobs", "1", "--out", "corrected.csv"
    )

    assert "wrote corrected.csv: 1 label differs" in answer.err
    rows = rows_of(in_tmp / "corrected.csv")
    assert [*rows[0]] == ["width", "height", "kind", "split"]
    assert "".join(row["kind"] for row in rows if row["split"] == "train") == "".join(
        "ab"[int(row["height"]) % 2] for row in rows if row["split"] == "train"
    )


def test_options_of_files_alone_are_errors(in_tmp, dlw):
    assert "--accept: only with --out FILE" in dlw("data", "labels", "digits", "--accept", "a.csv").err
    assert "--overwrite: only with --csv, --page or --out FILE" in dlw("data", "labels", "digits", "--overwrite").err
