"""Predictions from a run folder alone: same preprocessing, names not numbers, a bad file is a row."""

from __future__ import annotations

import pytest
import torch

from dlworkflow import data
from dlworkflow.config import from_flags, from_overrides
from dlworkflow.data.images import to_picture
from dlworkflow.errors import DataError, MissingDataError
from dlworkflow.inference import Predictor, expand_paths, read_rows
from dlworkflow.workflow import resolve_config, run_training


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    return train(tmp_path_factory, "tinyvgg", "epochs=4")


@pytest.fixture(scope="module")
def circles_run(tmp_path_factory):
    return train(tmp_path_factory, "circles_v2", "epochs=3")


@pytest.fixture(scope="module")
def line_run(tmp_path_factory):
    return train(tmp_path_factory, "line", "epochs=3")


def train(tmp_path_factory, model, *pairs):
    config = resolve_config([from_flags({"model.name": ("MODEL", model)}), from_overrides(pairs)])
    return run_training(config, runs_dir=tmp_path_factory.mktemp("runs"))


def write_digits(folder, n):
    test = data.load("digits").test
    paths = [folder / f"{index}.png" for index in range(n)]
    for index, path in enumerate(paths):
        to_picture(test.pictures[index]).save(path)
    return paths, test


def test_a_picture_file_is_predicted_as_the_tensor_that_it_was_written_from(digits_run, tmp_path):
    predictor = Predictor.from_run(digits_run)
    paths, test = write_digits(tmp_path, 5)

    found = [prediction.probability for prediction in predictor.predict_images(paths)]

    probabilities = torch.softmax(predictor.logits(test.batch(range(5))[0]), dim=1).max(dim=1).values
    assert found == pytest.approx(probabilities.tolist(), abs=1e-6)


def test_batches_and_single_files_give_the_same_answers(digits_run, tmp_path):
    predictor = Predictor.from_run(digits_run)
    paths, _ = write_digits(tmp_path, 7)

    together = [p.label for p in predictor.predict_images(paths, batch_size=3)]
    alone = [next(predictor.predict_images([path])).label for path in paths]

    assert together == alone


def test_top_k_is_sorted_sums_to_one_and_stops_at_the_classes(digits_run, tmp_path):
    paths, _ = write_digits(tmp_path, 1)

    [prediction] = Predictor.from_run(digits_run).predict_images(paths, top_k=99)

    values = [probability for _, probability in prediction.top]
    assert len(values) == 10
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1)
    assert prediction.top[0] == (prediction.label, prediction.probability)


def test_unreadable_files_are_rows_in_their_place(digits_run, tmp_path):
    [good], _ = write_digits(tmp_path, 1)
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")

    found = list(Predictor.from_run(digits_run).predict_images([bad, good, tmp_path / "none.png"]))

    assert [prediction.error for prediction in found] == [
        "is no picture in a format that is known here",
        None,
        "no such file",
    ]
    assert found[1].label is not None


def test_a_colour_photo_of_any_size_is_brought_to_the_models_shape(digits_run, tmp_path):
    from PIL import Image

    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")

    [prediction] = Predictor.from_run(digits_run).predict_images([tmp_path / "red.png"])

    assert prediction.error is None


def test_rows_are_labelled_by_name(circles_run):
    [prediction] = Predictor.from_run(circles_run).predict_rows([[0.1, -0.2]], top_k=2)

    assert {label for label, _ in prediction.top} == {"outer", "inner"}


def test_a_regression_predicts_the_models_value(line_run):
    predictor = Predictor.from_run(line_run)

    [prediction] = predictor.predict_rows([[0.5]])

    assert prediction.value == pytest.approx(predictor.model(torch.tensor([[0.5]])).item())


def test_a_row_of_another_length_is_refused(circles_run):
    with pytest.raises(DataError, match=r"takes 2 number\(s\) a row, not 3"):
        list(Predictor.from_run(circles_run).predict_rows([[1, 2, 3]]))


def test_pictures_for_a_run_of_numbers_and_numbers_for_one_of_pictures_are_refused(circles_run, digits_run):
    with pytest.raises(DataError, match="trained on numbers"):
        list(Predictor.from_run(circles_run).predict_images(["a.png"]))
    with pytest.raises(DataError, match="trained on pictures"):
        list(Predictor.from_run(digits_run).predict_rows([[1.0]]))


def test_a_run_folder_can_be_moved(digits_run, tmp_path):
    import shutil

    moved = shutil.copytree(digits_run.path, tmp_path / "somewhere else")
    paths, _ = write_digits(tmp_path, 1)

    [prediction] = Predictor.from_run(moved).predict_images(paths)

    assert prediction.label is not None


def test_folders_and_globs_become_their_pictures_in_order(tmp_path):
    for name in ("b.png", "a.jpg", "sub/c.JPG", "notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert [path.name for path in expand_paths([str(tmp_path)])] == ["a.jpg", "b.png", "c.JPG"]
    assert [path.name for path in expand_paths([f"{tmp_path}/*.png"])] == ["b.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    file = tmp_path / "photo[1].png"
    file.touch()

    assert expand_paths([str(file)]) == [file]


@pytest.mark.parametrize("argument", ["empty", "*.nothing"])
def test_a_folder_or_pattern_without_pictures_is_refused(tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()

    with pytest.raises(MissingDataError, match=argument.replace("*", r"\*")):
        expand_paths([argument])


def test_rows_are_read_with_or_without_a_header(tmp_path):
    file = tmp_path / "rows.csv"
    for text in ("x,y\n1,2\n\n3,4\n", "1,2\n3,4\n"):
        file.write_text(text)

        assert read_rows(file, 2) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "words"),
    [("1,2\n3,x\n", "line 2: not all cells are numbers"), ("1,2,3\n", "line 1: 3 number"), ("", "no numbers")],
)
def test_a_csv_that_cannot_be_read_names_the_line(tmp_path, text, words):
    file = tmp_path / "rows.csv"
    file.write_text(text)

    with pytest.raises(DataError, match=words):
        read_rows(file, 2)


def test_rebuilding_a_run_draws_nothing_from_the_global_generator(digits_run):
    before = torch.random.get_rng_state()

    Predictor.from_run(digits_run)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_hidden_folders_are_not_predicted(tmp_path):
    for name in ("a.png", ".checkpoints/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert [path.name for path in expand_paths([str(tmp_path)])] == ["a.png"]


def test_numbers_that_are_not_finite_are_refused_with_their_line(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("1,2\n0.1,nan\n")

    with pytest.raises(DataError, match="line 2: numbers must be finite"):
        read_rows(file, 2)
