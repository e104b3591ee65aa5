"""What a command writes where a user says: never over an input, over a file only with --overwrite."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

DRAW = {
    "predict": ["predict", "pictures/0.png", "--plot"],
    "plot": ["plot", "line", "curves", "--out"],
    "compare": ["compare", "--plot"],
    "data show": ["data", "show", "circles", "--out"],
    "trace": ["trace", "--plot"],
    "summary": ["summary", "tinyvgg", "--trace", "pictures/0.png", "--out"],
    "lr-find": ["lr-find", "circles_v0", "--steps", "10", "--plot"],
    "sweep": ["sweep", "circles_v0", "--epochs", "1", "--seeds", "2", "--plot"],
}


@pytest.fixture
def precious(in_tmp):
    file = in_tmp / "precious.png"
    file.write_bytes(b"what the user had drawn")
    return file


@pytest.mark.parametrize("command", DRAW)
def test_a_file_that_is_there_is_refused_before_anything_is_done(command, dlw, runs, pictures, precious):
    before = sorted(runs.iterdir())
    answer = dlw(*DRAW[command], precious)

    assert (answer.code, answer.out, sorted(runs.iterdir())) == (2, "", before)
    assert f"{DRAW[command][-1]}: {str(precious)!r} exists already" in answer.complaints[-1]
    assert precious.read_bytes() == b"what the user had drawn"


@pytest.mark.parametrize("command", DRAW)
def test_a_file_that_is_there_is_replaced_with_overwrite(command, dlw, runs, pictures, precious):
    assert dlw(*DRAW[command], precious, "--overwrite").code in (0, 1)  # lr-find may find no rate

    with Image.open(precious) as drawn:
        assert drawn.format == "PNG"


@pytest.mark.parametrize("name", ["pictures/0.png", "./pictures/../pictures/0.png", "link.png", "hard.png"])
@pytest.mark.parametrize("given", ["pictures/0.png", "pictures", "pictures/*.png"])
def test_an_input_is_never_an_output(name, given, dlw, runs, pictures, in_tmp):
    (in_tmp / "link.png").symlink_to(pictures / "0.png")
    os.link(pictures / "0.png", in_tmp / "hard.png")
    before = (pictures / "0.png").read_bytes()
    answer = dlw("predict", given, "--plot", name, "--overwrite")

    assert (answer.code, answer.out) == (2, "")
    assert "is an input of this command" in answer.complaints[-1]
    assert (pictures / "0.png").read_bytes() == before


@pytest.mark.parametrize("command", [["data", "show"], ["lr-find", "tinyvgg", "--data"]])
@pytest.mark.parametrize("listed", [False, True], ids=["folder", "csv"])
def test_no_image_of_the_data_is_an_output(command, listed, dlw, pets, in_tmp):
    image, data = pets / "train" / "cat" / "0.png", pets
    if listed:
        data = in_tmp / "pets.csv"
        data.write_text("path,label\n" + "".join(f"{p},{p.parent.name}\n" for p in sorted(pets.rglob("*.png"))))
    before = image.read_bytes()
    option = "--out" if command[0] == "data" else "--plot"
    answer = dlw(*command, data, option, image, "--overwrite")

    assert answer.code == 2
    assert "is an input of this command" in answer.complaints[-1]
    assert image.read_bytes() == before


def test_names_that_nobody_gave_are_numbered(dlw, in_tmp):
    assert [dlw("data", "show", "circles").out.strip() for _ in range(3)] == [
        "circles-samples.png",
        "circles-samples-2.png",
        "circles-samples-3.png",
    ]


def test_a_file_that_appears_while_it_is_drawn_stays(dlw, in_tmp, monkeypatch):
    from dlworkflow.analysis import data_figures as figures

    draw = figures.draw_data

    def slowly(*arguments, **more):
        (in_tmp / "out.png").write_text("faster")
        return draw(*arguments, **more)

    monkeypatch.setattr(figures, "draw_data", slowly)

    assert dlw("data", "show", "circles", "--out", "out.png").code == 2
    assert [path.name for path in in_tmp.iterdir()] == ["out.png"]
    assert (in_tmp / "out.png").read_text() == "faster"


def test_overwrite_without_a_file_is_refused(dlw, in_tmp):
    answer = dlw("trace", "--overwrite")

    assert (answer.code, answer.complaints) == (2, ["dlw: --overwrite: only with --plot FILE"])


def test_devices_and_pipes_are_written_to(dlw, in_tmp):
    command = ["data", "show", "circles", "--out"]
    read, write = os.pipe()
    with ThreadPoolExecutor(1) as reader:
        drawn = reader.submit(lambda: Path(f"/dev/fd/{read}").read_bytes())
        answers = [dlw(*command, path) for path in (f"/dev/fd/{write}", "/dev/null")]
        os.close(write)
    os.close(read)

    assert [answer.code for answer in answers] == [0, 0]
    assert drawn.result().startswith(b"\x89PNG")
    assert drawn.result().endswith(b"IEND\xaeB`\x82")
    assert list(in_tmp.iterdir()) == []


NAMES = ["../../escaped", "/tmp/escaped", "a\x1b[31mb", "two\nlines", "..", ".hidden", "", "a/b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", [["train"], ["sweep", "--seeds", "2"]], ids=["train", "sweep"])
def test_a_name_is_one_folder_among_the_runs(command, name, dlw, in_tmp):
    answer = dlw(*command, "line" if command == ["train"] else "circles_v0", "--epochs", "1", "--name", name)

    assert answer.code == 0, answer.err
    assert [path.name for path in in_tmp.iterdir()] == ["runs"]
    [made] = (in_tmp / "runs").iterdir()
    assert made.name.isprintable()
    assert not made.name.startswith(".")


def test_runs_of_one_name_are_both_drawn(dlw, runs, in_tmp, monkeypatch):
    from dlworkflow import plotting

    shutil.copytree(runs / "line-line-001", in_tmp / "other" / "line-line-001")
    drawn, curves = [], plotting.plot_run_curves
    monkeypatch.setattr(plotting, "plot_run_curves", lambda h, **more: drawn.extend(h) or curves(h, **more))
    answer = dlw("compare", "runs/line-line-001", "other/line-line-001", "--plot", "both.png")

    assert answer.code == 0
    assert drawn == ["runs/line-line-001", "other/line-line-001"]


@pytest.mark.parametrize("out", ["pets/shards", "pets/train/shards", "pets/train/cat/shards", "link/shards"])
@pytest.mark.parametrize("data", ["pets", "pets/train"])
def test_shards_are_never_written_into_the_data(data, out, dlw, pets, in_tmp, state_of):
    (in_tmp / "link").symlink_to(pets)
    before = state_of(pets)
    answer = dlw("data", "shard", data, "--out", out)

    assert answer.code == 2
    assert "is within the data" in answer.complaints[-1]
    assert state_of(pets) == before


def test_one_input_that_is_missing_does_not_stop_the_others(dlw, runs, pictures, in_tmp):
    (in_tmp / "empty").mkdir()
    given = ["pictures/0.png", "gone[1].png", "gone.png", "empty", "none/*.png", "pictures/1.png"]
    answer = dlw("predict", *given, "--format", "csv")

    assert answer.code == 1
    assert [line.partition(",")[0] for line in answer.out.splitlines()[1:]] == given
    assert "4 of 6 files could not be read" in answer.err
