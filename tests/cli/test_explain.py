"""`dlw explain`: a figure with words, rows, a run as a whole; and refusals in one line."""

from __future__ import annotations

import csv
import io
import json

import pytest

pytest.importorskip("captum")


def test_an_image_is_explained_in_words_and_in_a_figure_here(dlw, runs, pictures, state_of):
    before = state_of(pictures)

    answer = dlw("explain", "pictures/0.png", "--method", "occlusion")

    lines = answer.out.splitlines()
    assert answer.code == 0
    assert lines[0].startswith("pictures/0.png: ")
    assert lines[0].endswith(" (occlusion)")
    assert lines[1].startswith("  hiding the marked tenth of the image changes the probability of ")
    assert lines[-1] == "0-why.png"
    assert (runs.parent / "0-why.png").stat().st_size > 1000
    assert state_of(pictures) == before


@pytest.mark.usefixtures("in_tmp")
def test_a_run_that_is_not_trained_has_learned_nothing_that_a_map_could_show(dlw, pictures):
    dlw("train", "tinyvgg", "--epochs", "0")

    words = dlw("explain", "pictures/0.png", "--method", "gradcam", "--top-k", 1).out

    assert "warning: the model is not trained: the map shows nothing that it has learned" in words
    assert "depends on the weights" not in words


def test_several_are_explained_together_and_a_broken_one_is_counted(dlw, runs, pictures):
    (pictures / "3.png").write_bytes(b"no image")

    answer = dlw("explain", "pictures", "--no-check", "--top-k", 1, "--format", "json", "--out", "f.png")

    found = json.loads(answer.out)
    assert answer.code == 1
    assert [len(each.get("answers", ())) for each in found] == [1, 1, 1, 0]
    assert "1 of 4 inputs could not be explained" in answer.err
    assert (runs.parent / "f.png").is_file()


def test_a_row_is_explained_by_its_numbers(dlw, runs):
    out = dlw("explain", "0.5", "-0.2").out.splitlines()

    assert out[0].startswith("0.5 -0.2: ")
    assert {line.split()[0] for line in out[3:]} == {"x1", "x2"}


def test_a_run_of_numbers_is_explained_as_a_whole(dlw, runs):
    rows = [*csv.DictReader(io.StringIO(dlw("explain", "--run", "circles", "--format", "csv").out))]

    assert {row["column"] for row in rows} == {"x1", "x2"}
    assert all(float(row["low"]) <= float(row["worse"]) <= float(row["high"]) for row in rows)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("explain pictures/0.png --method gradcm", 2, "--method: unknown method 'gradcm'; did you mean 'gradcam'?"),
        ("explain pictures/0.png --class eleven", 2, "--class: unknown class 'eleven'"),
        ("explain 0.5 0.2 --method gradcam", 1, "use --method integrated_gradients"),
        ("explain 0.5 0.2 --method occlusion", 1, "use --method integrated_gradients"),
        ("explain 0.5 0.2 --out f.png", 2, "--out: draws images"),
        ("explain --out f.png", 2, "--out: only with an INPUT"),
        ("explain --run tinyvgg", 2, "takes images: name one"),
        ("explain tinyvgg-digits-001", 2, "'tinyvgg-digits-001' is a run"),
        ("explain tinyvgg", 2, "'tinyvgg' is a run"),
        ("explain pictures/0.png --out pictures/0.png --overwrite", 2, "--out"),
    ],
)
def test_bad_input_is_one_line(arguments, code, words, dlw, runs, pictures):
    answer = dlw(*arguments.split())

    assert answer.code == code
    assert words in answer.complaints[-1]
    assert answer.complaints[-1].startswith("dlw: ")
