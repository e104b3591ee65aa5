"""Data that has changed, moved or leaked since or before a training is told from data that has not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from dlworkflow.data.images import decoded_cache as remembered
from dlworkflow.data.images.decoding import ImageError
from dlworkflow.data.images.pipeline import Pipeline

SMALL = ("--recipe", "notes", "--set", "model.hidden_units=2", "--set", "data.image_size=8", "--batch-size", "3")


@pytest.fixture(autouse=True)
def cache(in_tmp, monkeypatch):
    monkeypatch.setenv("DLW_CACHE_DIR", str(in_tmp / "cache"))
    return in_tmp / "cache"


@pytest.fixture
def train(dlw, pets):
    """Train two epochs on the pets."""

    def run(*more, data=pets):
        answer = dlw("train", "tinyvgg", "--data", str(data), "--epochs", "2", *SMALL, *more)
        assert answer.code == 0, answer.err
        return answer

    return run


def summary():
    return json.loads(Path("runs/tinyvgg-pets-001/summary.json").read_text())


def swap(one, other):
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def with_one_bit_flipped(path):
    """Change a file, but not its size and its time."""
    kept, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))


@pytest.fixture(params=["kept", "decoded when asked for", "asked by workers"])
def way(request, monkeypatch):
    """Pictures that are kept, and images that are too many to be kept: their bytes are known after an epoch."""
    if request.param != "kept":
        monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", 1)
        monkeypatch.setenv("DLW_CACHE", "0")
    return ("--set", "data.num_workers=2") if request.param == "asked by workers" else ()


def test_a_run_whose_training_pictures_became_others_of_the_same_size_is_not_resumed(dlw, train, pets, way):
    train(*way)
    with_one_bit_flipped(pets / "train" / "cat" / "0.png")
    before = Path("runs/tinyvgg-pets-001/history.csv").read_bytes()
    answer = dlw("train", "--resume", "tinyvgg-pets-001", "--epochs", "4")

    assert (answer.code, "has changed since (train split" in answer.err) == (1, True)
    assert Path("runs/tinyvgg-pets-001/history.csv").read_bytes() == before


def test_a_run_whose_data_is_as_it_was_is_resumed(dlw, train, way):
    train(*way)

    assert dlw("train", "--resume", "tinyvgg-pets-001", "--epochs", "3").code == 0
    assert summary()["last"]["epoch"] == 3


def test_two_test_pictures_that_changed_classes_are_noticed_by_evaluate(dlw, train, pets, way):
    train(*way)
    swap(pets / "test" / "cat" / "0.png", pets / "test" / "dog" / "0.png")

    assert "the test split is no longer what" in dlw("evaluate", "--no-plots").err


def test_evaluate_says_nothing_of_data_that_is_as_it_was(dlw, train, way):
    train(*way)

    assert "note" not in dlw("evaluate", "--no-plots").err


def test_pictures_drawn_with_replacement_are_all_noted(dlw, train, pets, monkeypatch):
    monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", 1)
    monkeypatch.setenv("DLW_CACHE", "0")
    train("--set", "data.sampler=balanced")

    assert set(json.loads(Path("runs/tinyvgg-pets-001/environment.json").read_text())["data_fingerprint"]) == {
        "train",
        "test",
    }


# Moved


def test_a_run_goes_on_where_its_data_is_now(dlw, train, pets):
    train()
    moved = pets.rename(pets.with_name("elsewhere"))
    answer = dlw("train", "--resume", "tinyvgg-pets-001", "--data", "elsewhere", "--epochs", "3")

    assert answer.code == 0, answer.err
    assert (summary()["source"], summary()["config"]["data"]["path"]) == (str(moved), str(moved))
    assert str(moved) in Path("runs/tinyvgg-pets-001/config.yaml").read_text()
    assert dlw("train", "--resume", "tinyvgg-pets-001", "--epochs", "4").code == 0


def test_a_run_whose_data_is_not_there_says_how_to_name_where_it_is(dlw, train, pets):
    train()
    pets.rename(pets.with_name("elsewhere"))
    answer = dlw("train", "--resume", "tinyvgg-pets-001", "--epochs", "3")

    assert (answer.code, "--resume tinyvgg-pets-001 --data NEWPATH" in answer.err) == (1, True)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_other_data_is_refused_by_name_and_changes_nothing(dlw, train, pets, way, dry):
    train(*way)
    other = Path(shutil.copytree(pets, pets.with_name("other")))
    with_one_bit_flipped(other / "test" / "dog" / "1.png")
    before = summary()
    answer = dlw("train", "--resume", "tinyvgg-pets-001", "--data", "other", "--epochs", "3", *dry)

    assert (answer.code, "(test split, " in answer.err, str(other) in answer.err) == (1, True, True)
    assert summary() == before


def test_data_of_another_kind_is_refused(dlw, train):
    train()
    answer = dlw("train", "--resume", "tinyvgg-pets-001", "--data", "digits", "--epochs", "3")

    assert (answer.code, "was trained on data 'image_folder', and this is 'digits'" in answer.err) == (2, True)


def test_other_names_of_the_classes_are_refused(dlw, train, pets):
    train()
    for split in ("train", "test"):
        (pets / split / "dog").rename(pets / split / "fox")
    answer = dlw("train", "--resume", "tinyvgg-pets-001", "--epochs", "3")

    assert (answer.code, "now 'cat', 'fox'; then 'cat', 'dog'" in answer.err) == (1, True)


def test_moved_data_of_a_run_that_noted_no_fingerprint_is_refused(dlw, train, pets):
    train()
    Path("runs/tinyvgg-pets-001/environment.json").unlink()
    pets.rename(pets.with_name("elsewhere"))
    answer = dlw("train", "--resume", "tinyvgg-pets-001", "--data", "elsewhere", "--epochs", "3")

    assert (answer.code, "which has no fingerprint of its" in answer.err) == (1, True)


# Leaked


def test_a_test_picture_that_training_has_too_is_warned_of_and_marks_the_run(dlw, train, pets, way):
    shutil.copy(pets / "train" / "cat" / "2.png", pets / "test" / "cat" / "1.png")
    told = train(*way).err

    assert "1 of the 4 test images are also in the training data" in told
    assert summary()["leakage"] == {"test": 1}
    assert "1 of the 4 test images are also in the training data" in dlw("show").out
    assert "1 of the 4 test images are also in the training data" in dlw("evaluate", "--no-plots").err


def test_the_pictures_in_question_are_named(train, pets):
    shutil.copy(pets / "train" / "cat" / "2.png", pets / "test" / "cat" / "1.png")

    assert f"'{pets / 'test/cat/1.png'} = {pets / 'train/cat/2.png'}'" in train().err


def test_the_same_pixels_in_another_file_are_the_same_picture(train, pets):
    from PIL import Image

    with Image.open(pets / "train" / "cat" / "2.png") as picture:
        picture.save(pets / "test" / "cat" / "1.png", compress_level=0)
    train()

    assert summary()["leakage"] == {"test": 1}


def test_a_validation_split_cut_from_training_data_with_doubles_is_warned_of(train, pets):
    for number in range(10, 16):
        for name in ("cat", "dog"):
            shutil.copy(pets / "train" / name / "2.png", pets / "train" / name / f"{number}.png")

    assert "val images are also in the training data" in train("--val-fraction", "0.4").err


def test_without_leakage_nothing_is_said(dlw, train):
    answer = train()

    assert "warning 1" not in answer.err
    assert "also in the training data" not in answer.err + dlw("show").out
    assert summary()["leakage"] == {}


# What is remembered


def test_recheck_reads_every_picture_again(train):
    train()

    assert "0 of 13 decoded" in train().err
    assert "13 of 13 decoded" in train("--recheck").err


def test_a_picture_that_became_a_folder_is_named_though_it_was_remembered(dlw, train, pets):
    train()
    (pets / "train" / "cat" / "0.png").unlink()
    (pets / "train" / "cat" / "0.png").mkdir()
    answer = dlw("train", "--resume", "tinyvgg-pets-001", "--epochs", "3")

    assert answer.code == 1
    assert "has changed" in answer.err or "is a folder" in answer.err


def test_data_check_reads_the_disk_unless_it_is_told_to_trust(dlw, pets):
    dlw("data", "check", str(pets))

    assert "13 files, of which 13 were read now" in dlw("data", "check", str(pets)).out
    assert "13 files, of which 0 were read now" in dlw("data", "check", str(pets), "--trust-cache").out


def all_but(one):
    """Read pictures as ever but for one, which cannot be decoded any more."""
    original = Pipeline.read

    def read(self, path, *more, **options):
        if Path(path) == one:
            raise ImageError(one, "cannot be decoded (rotten)")
        return original(self, path, *more, **options)

    return read


def test_skip_leaves_out_what_fails_as_it_is_decoded_though_an_earlier_look_found_it_well(dlw, train, pets, way):
    dlw("data", "check", str(pets))
    one = pets / "train" / "cat" / "0.png"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "read", all_but(one))
        failed = dlw("train", "tinyvgg", "--data", str(pets), "--epochs", "2", *SMALL, *way)
        answer = train("--on-bad", "skip", *way)

    assert (failed.code, "rotten" in failed.err) == (1, True)
    assert way or "left out" in answer.err  # what workers say goes past pytest


def test_an_evaluation_that_skips_pairs_each_answer_with_its_own_file(dlw, train, pets, monkeypatch):
    train("--on-bad", "skip")
    monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", 1)
    monkeypatch.setenv("DLW_CACHE", "0")
    one = pets / "test" / "cat" / "0.png"
    monkeypatch.setattr(Pipeline, "read", all_but(one))
    assert dlw("evaluate", "--no-plots").code == 0
    rows = Path("runs/tinyvgg-pets-001/predictions.csv").read_text().splitlines()[1:]
    report = json.loads(Path("runs/tinyvgg-pets-001/evaluation.json").read_text())

    assert [str(one) in row for row in rows] == [False] * 3
    assert report["skipped"] == 1
