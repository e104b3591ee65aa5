from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys

import pytest
from PIL import Image

from dlworkflow import data


def test_data_list_names_every_data_set(dlw, in_tmp):
    rows = json.loads(dlw("data", "list", "--format", "json").out)

    assert [row["data"] for row in rows] == data.names()


def test_data_list_says_how_to_get_what_is_not_there(dlw, in_tmp):
    out = dlw("data", "list", "--data-dir", "nowhere").out

    assert "not here; `dlw data get pizza_steak_sushi`, or put its files into nowhere/pizza_steak_sushi" in out


def test_data_list_says_where_files_are(dlw, photos):
    rows = json.loads(dlw("data", "list", "--data-dir", photos.parent, "--format", "json").out)

    assert {row["data"]: row["there"] for row in rows}["pizza_steak_sushi"] == str(photos)


def test_data_info_counts_every_sample_of_every_class(dlw):
    rows = json.loads(dlw("data", "info", "digits", "--format", "json").out)

    assert sum(row["train"] + row["test"] for row in rows) == 1797


def test_data_info_gives_the_same_counts_in_csv_and_json(dlw):
    from_csv = list(csv.DictReader(io.StringIO(dlw("data", "info", "digits", "--format", "csv").out)))
    from_json = json.loads(dlw("data", "info", "digits", "--format", "json").out)

    assert from_csv == [{key: str(value) for key, value in row.items()} for row in from_json]


@pytest.mark.parametrize("name", ["line", "circles", "moons", "blobs", "spirals", "digits"])
def test_data_info_says_the_task_of_what_needs_no_files(name, dlw):
    answer = dlw("data", "info", name)

    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"{name}: {data.entries()[name].task}, ")


@pytest.mark.parametrize("name", ["line", "circles", "digits"])
def test_data_info_is_json_whatever_the_task(name, dlw):
    assert isinstance(json.loads(dlw("data", "info", name, "--format", "json").out), list)


def test_data_info_takes_settings_of_the_data(dlw):
    assert "80 train, 20 test" in dlw("data", "info", "circles", "--set", "data.n_samples=100").out


def test_data_info_of_a_folder_names_its_classes(dlw, in_tmp, pictures):
    for name in ("cat", "dog"):
        for index in range(5):
            (in_tmp / "own" / name).mkdir(parents=True, exist_ok=True)
            (in_tmp / "own" / name / f"{index}.png").write_bytes((pictures / "0.png").read_bytes())
    rows = json.loads(dlw("data", "info", "own", "--format", "json").out)

    assert rows == [
        {"label": 0, "class": "cat", "train": 4, "test": 1},
        {"label": 1, "class": "dog", "train": 4, "test": 1},
    ]


def test_data_info_of_the_photos_counts_them(dlw, photos):
    assert "225 train, 75 test samples of 3x64x64" in dlw("data", "info", photos).out


def test_the_first_samples_are_printed_as_pandas_prints_them(dlw):
    lines = dlw("data", "info", "circles", "--head", "1").out.splitlines()

    assert [line.split() for line in lines] == [
        ["index", "split", "X1", "X2", "label", "class"],
        [*("-----", "-----", "--------", "--------", "-----", "-----")],
        ["0", "train", "0.754246", "0.231481", "1", "inner"],
    ]


def test_the_first_samples_are_the_same_in_csv_and_json(dlw):
    from_csv = list(csv.DictReader(io.StringIO(dlw("data", "info", "blobs", "--head", "3", "--format", "csv").out)))
    from_json = json.loads(dlw("data", "info", "blobs", "--head", "3", "--format", "json").out)

    assert from_csv == [{key: str(value) for key, value in row.items()} for row in from_json]


def test_an_image_file_is_described_in_numbers(dlw, pictures):
    lines = dlw("data", "info", pictures / "0.png").out.splitlines()

    assert "PNG, mode L, 8 x 8 pixels (width x height)" in lines[0]
    assert lines[3].split()[:6] == ["in", "the", "file", "uint8", "1x8x8", "0"]


def test_an_image_file_has_no_first_samples(dlw, pictures):
    answer = dlw("data", "info", pictures / "0.png", "--head", "3")

    assert (answer.code, "--head: only for data sets" in answer.err) == (2, True)


@pytest.mark.parametrize("arguments", [("--n", "16"), ("--n", "3", "--split", "test"), ("--seed", "7")])
def test_random_images_are_as_many_and_of_the_split_and_the_seed_that_were_asked_for(dlw, in_tmp, arguments):
    dlw("data", "show", "digits", "--out", "usual.png")
    dlw("data", "show", "digits", *arguments, "--out", "own.png")

    assert (in_tmp / "own.png").read_bytes() != (in_tmp / "usual.png").read_bytes()


def test_data_get_says_where_the_files_are(dlw, photos):
    answer = dlw("data", "get", "pizza_steak_sushi", "--data-dir", photos.parent)

    assert (answer.code, answer.out) == (0, f"{photos}\n")


@pytest.mark.parametrize(
    ("arguments", "code", "given", "way_out"),
    [
        (["info", "digit"], 2, "'digit'", "'digits'"),
        (["info", "nosuch"], 2, "'nosuch'", "circles"),
        (["info", "no/such"], 1, "'no/such'", "no such folder or file"),
        (["info", "digits", "--set", "data.imagesize=3"], 2, "--set data.imagesize", "'image_size'"),
        (["info", "digits", "--set", "epochs=3"], 2, "--set epochs", "data.*"),
        (["info", "digits", "--head", "0"], 2, "--head", "at least 1"),
        (["info", "digits", "--split", "test"], 2, "--split", "--head N"),
        (["info", "digits", "--head", "1", "--split", "val"], 1, "'val'", "train, test"),
        (["show", "digits", "--n", "26"], 2, "--n", "at most 25"),
        (["show", "digits", "--split", "val"], 1, "'val'", "train, test"),
        (["show", "digits", "--what", "balance", "--n", "3"], 2, "--n", "all samples"),
        (["show", "circles", "--n", "3"], 2, "--n", "no images"),
        (["show", "line", "--split", "test"], 2, "--split", "training and its test points"),
        (["info", "circles", "--set", "data.noise=-1"], 2, "--set data.noise", "at least 0"),
        (["info", "pizza_steak_sushi", "--offline", "--data-dir", "there"], 1, "'there'", "https://"),
        (["check", "no/such"], 1, "'no/such'", "no such folder or file"),
        (["check", "/etc/hostname"], 1, "'/etc/hostname'", "a folder of images or a CSV"),
        (["check", "."], 1, "'.'", "<class>/<image>"),
        (["check", ".", "--max-pixels", "0"], 2, "--max-pixels", "at least 1"),
        (["get", "digit"], 2, "'digit'", "'digits'"),
        (["get", "digits"], 1, "'digits'", "no files"),
        (["get", "pizza_steak_sushi", "--offline", "--data-dir", "there"], 1, "'there'", "https://"),
    ],
)
def test_bad_input_is_one_line_with_the_way_out(arguments, code, given, way_out, dlw, in_tmp):
    answer = dlw("data", *arguments)

    [line] = answer.err.splitlines()
    assert (answer.code, answer.out) == (code, "")
    assert line.startswith("dlw: ")
    assert given in line
    assert way_out in line
    assert list(in_tmp.iterdir()) == []


def test_dlw_offline_refuses_to_fetch(dlw, in_tmp, monkeypatch):
    monkeypatch.setenv("DLW_OFFLINE", "1")

    assert "fetching is off" in dlw("data", "get", "pizza_steak_sushi", "--data-dir", "there").err


def test_data_check_of_a_sound_folder_says_what_there_is(dlw, pets):
    answer = dlw("data", "check", pets)

    assert answer.code == 0
    assert answer.err == ""
    assert (
        answer.out
        == f"""\
{pets}: 13 files, of which 13 were read now
class  train  test
-----  -----  ----
cat        5     2
dog        4     2

train: the largest class has 1.25 times the images of the smallest
test: the largest class has 1.00 times the images of the smallest
width: 20 to 32 pixels, median 23
height: 17 to 17 pixels, median 17
modes: RGB 13
formats: PNG 13

0 errors, 0 warnings
"""
    )


def test_data_check_of_the_photos_finds_nothing_wrong(dlw, photos):
    answer = dlw("data", "check", photos)

    assert (answer.code, answer.out.splitlines()[-1]) == (0, "0 errors, 0 warnings")


def test_data_check_of_an_error_exits_with_1_and_names_it(dlw, pets):
    (pets / "train" / "cat" / "0.png").write_text("no image")
    answer = dlw("data", "check", pets)

    assert (answer.code, answer.err) == (1, "")
    assert "\nerror: images or folders that cannot be read: 1\n  train/cat/0.png: is no image in" in answer.out


def test_data_check_of_a_remark_alone_exits_with_0(dlw, pets):
    (pets / "train" / "cat" / ".hidden").touch()
    answer = dlw("data", "check", pets)

    assert answer.code == 0
    assert "\nwarning: hidden files and folders, which are left out: 1\n  train/cat/.hidden\n" in answer.out


def test_data_check_names_all_errors(dlw, pets):
    for number in range(30):
        (pets / "train" / "cat" / f"bad{number:02}.png").touch()

    assert sum("/bad" in line for line in dlw("data", "check", pets).out.splitlines()) == 30


def test_data_check_names_ten_remarks_of_a_kind_and_counts_the_others(dlw, pets):
    for number in range(30):
        (pets / "train" / "cat" / f"{number:02}.txt").touch()
    out = dlw("data", "check", pets).out

    assert sum(".txt" in line for line in out.splitlines()) == 10
    assert "  and 20 more (--json lists all)\n" in out


def test_data_check_shows_leakage_as_a_pair(dlw, pets):
    shutil.copy(pets / "train" / "cat" / "0.png", pets / "test" / "cat" / "again.png")

    assert "  train/cat/0.png = test/cat/again.png: in train and test\n" in dlw("data", "check", pets).out


def test_data_check_json_is_the_whole_report(dlw, pets):
    from dlworkflow.data.check.folder import check_folder

    (pets / "train" / "cat" / "0.png").touch()
    answer = dlw("data", "check", pets, "--json")

    assert json.loads(answer.out) == check_folder(pets).to_data() | {"n_read": 13}


def test_data_check_takes_a_list(dlw, pets):
    (pets / "list.csv").write_text("path,label,split\ntrain/cat/0.png,cat,train\ntest/dog/0.png,dog,test\n")
    answer = dlw("data", "check", pets / "list.csv")

    assert answer.code == 1
    assert "class 'dog' is in split 'test', not in 'train'" in answer.out


def test_data_check_refuses_pictures_above_the_limit(dlw, pets):
    answer = dlw("data", "check", pets, "--max-pixels", 500)

    assert answer.code == 1
    assert "  train/cat/4.png: has 544 pixels, above the limit of 500; set DLW_MAX_PIXELS=544" in answer.out


NAMES = ["a b", "日本 é", "line\nbreak", "\x1b[2Jred", "\x9b31m", "\u202egnp", "\udcff", "=1+1", "a|b", "a,b"]


@pytest.mark.parametrize("name", NAMES)
def test_data_check_prints_any_name_harmlessly(name, dlw, pets):
    from dlworkflow.files.text import printable

    (pets / "train" / name).mkdir()
    (pets / "train" / name / f"{name}.png").write_text("no image")
    out = dlw("data", "check", pets).out

    assert f"  train/{printable(name)}/{printable(name)}.png: is no image" in out
    assert all(line.isprintable() for line in out.split("\n"))


@pytest.mark.parametrize("name", NAMES)
def test_data_check_json_holds_any_name(name, dlw, pets):
    (pets / "train" / "cat" / f"{name}.png").write_text("no image")
    out = dlw("data", "check", pets, "--json").out

    assert [fault["paths"] for fault in json.loads(out)["faults"]] == [[f"train/cat/{name}.png"]]
    assert out.isascii()


def test_data_check_shows_a_bar_on_a_terminal_and_only_there(dlw, pets, monkeypatch):
    quiet = dlw("data", "check", pets).err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    assert quiet == ""
    assert "/13 [" in dlw("data", "check", pets).err


def test_a_check_takes_the_layout_that_training_is_told(dlw, in_tmp, paint):
    for seed, name in enumerate(("bus", "car", "train")):
        for number in range(2):
            paint(in_tmp / "vehicles" / name / f"{number}.png", 10 * seed + number)

    assert "set data.layout to" in dlw("data", "check", "vehicles").err
    assert dlw("data", "check", "vehicles", "--set", "data.layout=classes").code == 0
    assert "did you mean 'classes'" in dlw("data", "check", "vehicles", "--set", "data.layout=class").err
    assert (
        "a check takes data.layout, and of a CSV file data.path_column"
        in dlw("data", "check", "vehicles", "--set", "epochs=2").err
    )


def test_data_check_imports_no_torch(in_tmp, pets, start_dlw, monkeypatch):
    (in_tmp / "torch.py").write_text("raise ImportError('torch is imported')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(in_tmp), *sys.path]))
    process = start_dlw("data", "check", str(pets))

    assert process.wait() == 0, process.stderr.read()


def test_a_warning_of_pillow_does_not_reach_the_terminal(in_tmp, pets, start_dlw):
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0"  # says that five entries follow, and ends
    with Image.open(pets / "train" / "cat" / "0.png") as picture:
        picture.save(pets / "train" / "cat" / "odd.jpg", exif=exif)
    process = start_dlw("data", "check", str(pets))

    assert (process.wait(), process.stderr.read()) == (0, "")


def test_checking_training_and_predicting_change_nothing_in_a_read_only_folder(dlw, in_tmp, pets, state_of):
    (pets / "train" / "cat" / "bad.png").touch()
    (pets / "train" / "cat" / "notes.txt").write_text("mine")
    everything = [*pets.rglob("*"), pets]
    before = state_of(pets)
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        codes = [
            dlw("data", "check", pets).code,
            dlw("train", "tinyvgg", "--data", pets, "--epochs", 1, "--on-bad", "skip", "--threads", 1).code,
            dlw("predict", pets / "test").code,
            dlw("evaluate", "--no-plots").code,
        ]
    finally:
        for path in everything:
            path.chmod(0o755 if path.is_dir() else 0o644)

    assert codes == [1, 0, 0, 0]
    assert state_of(pets) == before


def test_training_names_the_pictures_that_it_leaves_out(dlw, in_tmp, pets):
    (pets / "train" / "cat" / "1.png").write_bytes(b"")
    answer = dlw("train", "tinyvgg", "--data", pets, "--on-bad", "skip", "--dry-run")

    assert answer.code == 0
    assert "8 train, 4 test samples" in answer.err
    assert f"note    left out of train: '{pets}/train/cat/1.png': is empty (0 bytes)\n" in answer.err


def test_training_stops_at_a_picture_that_cannot_be_read_and_names_it(dlw, in_tmp, pets):
    (pets / "train" / "cat" / "1.png").write_bytes(b"")
    answer = dlw("train", "tinyvgg", "--data", pets)

    assert answer.code == 1
    assert answer.err.endswith(f"1 of 9 images cannot be read: '{pets}/train/cat/1.png': is empty (0 bytes)\n")


def test_on_bad_takes_error_or_skip(dlw, in_tmp, pets):
    answer = dlw("train", "tinyvgg", "--data", pets, "--on-bad", "skp")

    assert (answer.code, answer.err) == (2, "dlw: --on-bad: unknown value 'skp'; did you mean 'skip'?\n")


def test_on_bad_is_refused_where_there_are_no_pictures(dlw, in_tmp):
    answer = dlw("train", "circles_v2", "--on-bad", "skip")

    assert answer.code == 2
    assert answer.err.startswith("dlw: --on-bad: data 'circles': unknown setting 'on_bad'")


def test_a_picture_above_the_limit_is_refused_in_prediction(dlw, runs, pictures, monkeypatch):
    monkeypatch.setenv("DLW_MAX_PIXELS", "63")
    answer = dlw("predict", "pictures/0.png", "--run", "tinyvgg-digits-001")

    assert "has 64 pixels, above the limit of 63; set DLW_MAX_PIXELS=64 if you trust it" in answer.out + answer.err


def test_an_augmentation_of_ones_own_is_named_as_the_librarys(dlw, in_tmp, monkeypatch):
    from PIL import ImageOps

    from dlworkflow.data.images.augmentations import AUGMENTATIONS

    seen = []

    def upside_down(*, p: float = 0.5):
        """Turn upside down."""
        seen.append(p)
        return ImageOps.flip

    monkeypatch.setitem(AUGMENTATIONS.registered, "upside_down", upside_down)

    answer = dlw(
        *("train", "fashion_mnist_v0", "--data", "digits", "--epochs", "1"),
        *("--set", "data.transform=[{upside_down: {p: 0.25}}]"),
    )

    assert (answer.code, seen) == (0, [0.25])
    assert "upside_down" in next((in_tmp / "runs").glob("*/config.yaml")).read_text()


def test_a_data_set_named_as_a_folder_here_is_taken_and_reported(dlw, in_tmp):
    (in_tmp / "digits").mkdir()

    answer = dlw("data", "info", "digits")

    assert answer.code == 0
    assert answer.err.splitlines() == ["NAME|PATH digits is the data set of that name; ./digits is the folder"]


def test_a_data_set_beside_a_folder_of_its_name_is_reported_once_in_training(dlw, in_tmp):
    (in_tmp / "digits").mkdir()

    answer = dlw("train", "fashion_mnist_v0", "--data", "digits", "--dry-run")

    assert answer.err.count("--data digits is the data set of that name; ./digits is the folder") == 1
