from __future__ import annotations

import csv
import io
import json

import pytest

from dlworkflow import data


def test_data_list_names_every_data_set(dlw, in_tmp):
    rows = json.loads(dlw("data", "list", "--format", "json").out)

    assert [row["data"] for row in rows] == data.names()


def test_data_list_says_how_to_get_what_is_not_there(dlw, in_tmp):
    out = dlw("data", "list", "--data-dir", "nowhere").out

    assert "not here; `dlw data get pizza_steak_sushi`" in out


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
        (["info", "circles", "--set", "data.noise=-1"], 2, "--set data.noise", "at least 0"),
        (["info", "pizza_steak_sushi", "--offline", "--data-dir", "there"], 1, "'there'", "https://"),
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
