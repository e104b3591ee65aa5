"""Predictions from a run folder alone: same preprocessing, names not numbers, a bad file is a row."""

from __future__ import annotations

import dataclasses
from threading import Thread

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dlworkflow import data, models
from dlworkflow.config import from_flags, from_overrides
from dlworkflow.data.images.dataset import load_image
from dlworkflow.data.images.pixels import to_pil, to_uint8
from dlworkflow.errors import BatchError, ConfigError, DataError, MissingDataError, ModelError
from dlworkflow.inference.inputs import expand_paths, read_rows
from dlworkflow.inference.predictor import Predictor
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    return train(tmp_path_factory, "tinyvgg", "recipe=notes", "epochs=4")


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
        to_pil(test.images[index]).save(path)
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
    bad.write_text("no image")

    found = list(Predictor.from_run(digits_run).predict_images([bad, good, tmp_path / "none.png"]))

    assert [prediction.error for prediction in found] == [
        "is no image in a format that is known here",
        None,
        "no such file",
    ]
    assert found[1].label in {str(digit) for digit in range(10)}


def test_a_colour_photo_of_any_size_is_brought_to_the_models_shape(digits_run, tmp_path):
    from PIL import Image

    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")

    [prediction] = Predictor.from_run(digits_run).predict_images([tmp_path / "red.png"])

    assert prediction.error is None


def test_rows_are_labelled_by_name(circles_run):
    [prediction] = Predictor.from_run(circles_run).predict_rows([[0.1, -0.2]], top_k=2)

    assert {label for label, _ in prediction.top} == {"outer", "inner"}


@pytest.mark.usefixtures("on_cpu")
def test_a_regression_predicts_the_models_value(line_run):
    predictor = Predictor.from_run(line_run)

    [prediction] = predictor.predict_rows([[0.5]])

    assert prediction.value == pytest.approx(predictor.model(torch.tensor([[0.5]])).item())


def test_a_model_that_returns_a_parameter_of_its_own_predicts_it(line_run):
    predictor = Predictor.from_run(line_run)

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.tensor([[2.5]]))

        def forward(self, x):
            return self.value

    assert dataclasses.replace(predictor, model=Constant()).predict(0.1).value == 2.5


def test_a_row_of_another_length_is_refused(circles_run):
    with pytest.raises(DataError, match=r"takes 2 number\(s\) a row, not 3"):
        list(Predictor.from_run(circles_run).predict_rows([[1, 2, 3]]))


def test_pictures_for_a_run_of_numbers_and_numbers_for_one_of_pictures_are_refused(circles_run, digits_run):
    with pytest.raises(DataError, match="takes numbers"):
        list(Predictor.from_run(circles_run).predict_images(["a.png"]))
    with pytest.raises(DataError, match="takes images"):
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


def test_what_a_folder_holds_beside_pictures_is_told_by_kind(tmp_path):
    for name in ("a.png", "b.avif", "c.gif", "d.jfif", "e.HEIC", "f.txt", "Thumbs.db", "@eaDir/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    told = []

    assert [path.name for path in expand_paths([str(tmp_path)], on_left_out=told.append)] == [
        *("a.png", "b.avif", "c.gif", "d.jfif")
    ]
    assert told[0].startswith(f"left out of {str(tmp_path)!r}: 2 hidden or of the system, 1 .heic, 1 .txt")


def test_a_folder_of_heic_alone_says_how_to_convert_them(tmp_path):
    (tmp_path / "a.heic").touch()

    with pytest.raises(MissingDataError, match=r"left out: 1 \.heic .*HEIC is not read here: convert it to JPEG"):
        expand_paths([str(tmp_path)])


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


def test_a_single_path_is_one_image(digits_run, tmp_path, paint):
    predictor = Predictor.from_run(digits_run)
    path = paint(tmp_path / "a.png", mode="L")

    for given in (path, str(path), [path]):
        assert [prediction.source for prediction in predictor.predict_images(given)] == [str(path)]


def test_a_predictor_is_made_of_a_run_its_path_or_its_name(circles_run, monkeypatch):
    run = Predictor.from_run(circles_run).run
    monkeypatch.setenv("DLW_RUNS_DIR", str(run.path.parent))

    assert {Predictor.from_run(given).run.path for given in (run, run.path, str(run.path), run.name)} == {run.path}


def test_class_names_of_a_run_are_told_in_one_unicode_form(digits_run):
    run = Predictor.from_run(digits_run).run
    summary = run.summary()
    text = (run.path / "summary.json").read_text()
    (run.path / "summary.json").write_text(text.replace(f'"{summary.classes[0]}",', '"cafe\u0301",', 1))

    try:
        assert Predictor.from_run(run.path).classes[0] == "caf\u00e9"
    finally:
        (run.path / "summary.json").write_text(text)


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


@pytest.mark.parametrize(
    ("text", "name"),
    [("x;y\n1;2\n", "semicolons"), ("0,5;0,7\n", "semicolons"), ("1\t2\n", "tabs"), ("1|2\n", "pipes")],
)
def test_numbers_that_no_comma_separates_are_named(text, name, tmp_path):
    (tmp_path / "rows.csv").write_text(text)

    with pytest.raises(DataError, match=rf"rows\.csv' separates its columns by {name}.*; separate them by commas"):
        read_rows(tmp_path / "rows.csv", 2)


def test_columns_that_pandas_numbered_are_a_header_and_said_to_be(tmp_path):
    (tmp_path / "rows.csv").write_text("0,1\n0.5,-0.2\n")
    notes = []

    assert read_rows(tmp_path / "rows.csv", 2, on_note=notes.append) == [[0.5, -0.2]]
    assert notes[0].endswith("rows.csv' line 1: 0,1 is taken as its header")


def test_numbers_that_may_be_a_header_are_refused_with_both_ways_to_say_it(tmp_path):
    (tmp_path / "rows.csv").write_text("0,1\n1,0\n")

    with pytest.raises(DataError, match=r"line 1: 0,1 may be a header or numbers; give .* names, or write 0\.0,1\.0"):
        read_rows(tmp_path / "rows.csv", 2)


@pytest.mark.parametrize("text", ["0,1\n", "1,0\n0.5,0.1\n", "0.0,1.0\n0.5,0.1\n"])
def test_a_first_line_that_numbers_no_columns_is_a_row(text, tmp_path):
    (tmp_path / "rows.csv").write_text(text)

    assert len(read_rows(tmp_path / "rows.csv", 2)) == text.count("\n")


@pytest.mark.parametrize("text", ["x,y\n1,2\n1,2,3\n", "x,x\n1,2\n", "x,y\n1,\n", "x,y\n1_000,2\n"])
def test_rows_with_a_cell_too_many_or_missing_or_two_columns_of_a_name_are_refused(text, tmp_path):
    (tmp_path / "rows.csv").write_text(text)

    with pytest.raises(DataError, match=r"line 3: 3 cells, where line 1 has 2|named 'x'|line 2: not all cells"):
        read_rows(tmp_path / "rows.csv", 2)


def test_numbers_in_another_encoding_are_named(tmp_path):
    (tmp_path / "rows.csv").write_text("größe,x\n1,2\n", encoding="latin-1")

    with pytest.raises(DataError, match=r"rows\.csv': it is no UTF-8 text; save it as CSV in UTF-8$"):
        read_rows(tmp_path / "rows.csv", 2)


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


# Inputs that the model cannot take


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (
            torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
            r"wrong dtype: .*float32.*got uint8; fix: images\.float\(\) / 255",
        ),
        (torch.zeros(1, 8, 8), r"wrong shape: .*\(n, 1, height, width\), got \(1, 8, 8\); fix: image\.unsqueeze\(0\)"),
        (torch.zeros(2, 8, 8, 1), r"wrong shape: .*got \(2, 8, 8, 1\); fix: images\.permute\(0, 3, 1, 2\)"),
        (torch.zeros(2, 1, 16, 16), r"wrong shape: expected images of 8x8, got 16x16.*Resize\(\(8, 8\)\)"),
    ],
    ids=["dtype", "batch", "channels last", "size"],
)
def test_tensors_that_the_model_cannot_take_are_explained(digits_run, inputs, words):
    with pytest.raises(BatchError, match=words):
        Predictor.from_run(digits_run).logits(inputs)


def test_a_model_that_was_moved_elsewhere_is_explained(circles_run):
    predictor = Predictor.from_run(circles_run, device="cpu")
    moved = dataclasses.replace(predictor, model=predictor.model.to("meta"))

    with pytest.raises(BatchError, match=r"wrong device: expected X on meta.*got X on cpu"):
        moved.logits(torch.zeros(1, 2))


def test_good_inputs_call_the_model_once(circles_run):
    predictor, calls = Predictor.from_run(circles_run), []
    predictor.model.register_forward_pre_hook(lambda *_: calls.append(1))

    predictor.logits(torch.zeros(3, 2))

    assert calls == [1]


# Weights without a run


class ScriptVGG(nn.Module):
    """TinyVGG as a script of the course writes it."""

    def __init__(self, input_shape, hidden_units, output_shape, padding=1, side=16):
        super().__init__()
        self.conv_block_1 = nn.Sequential(
            nn.Conv2d(input_shape, hidden_units, kernel_size=3, stride=1, padding=padding),
            nn.ReLU(),
            nn.Conv2d(hidden_units, hidden_units, kernel_size=3, stride=1, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
        )
        self.conv_block_2 = nn.Sequential(
            nn.Conv2d(hidden_units, hidden_units, kernel_size=3, padding=padding),
            nn.ReLU(),
            nn.Conv2d(hidden_units, hidden_units, kernel_size=3, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(hidden_units * side * side, output_shape))

    def forward(self, x):
        return self.classifier(self.conv_block_2(self.conv_block_1(x)))


FOOD = ("pizza", "steak", "sushi")


def saved(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "w.pth")
    return tmp_path / "w.pth"


def as_safetensors(model, tmp_path):
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def a_photo(tmp_path):
    from PIL import Image

    noise = torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(noise.numpy()).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize(("padding", "side"), [(1, 16), (0, 13)])
def test_weights_of_a_script_predict_as_the_script_does(tmp_path, padding, side):
    script = ScriptVGG(3, 10, 3, padding, side).eval()
    photo = a_photo(tmp_path)
    with torch.inference_mode():
        resized = to_uint8(load_image(photo).resize((64, 64), 2)).float() / 255
        expected = torch.softmax(script(resized.unsqueeze(0)), dim=1)[0]

    predictor = Predictor.from_weights("tinyvgg", saved(script, tmp_path), classes=FOOD)
    [found] = predictor.predict_images([photo], top_k=3)

    assert dict(found.top) == pytest.approx(dict(zip(FOOD, expected.tolist(), strict=True)), abs=1e-6)


def test_width_channels_and_padding_are_read_off_the_weights(tmp_path):
    path = saved(ScriptVGG(1, 6, 2, padding=0, side=13), tmp_path)

    predictor = Predictor.from_weights("tinyvgg", path, classes=("a", "b"))

    assert (predictor.in_shape, predictor.settings) == (
        (1, 64, 64),
        {"hidden_units": 6, "padding": 0, "batch_norm": False},
    )


def test_another_image_size_is_told(tmp_path):
    path = saved(ScriptVGG(3, 4, 3, side=8), tmp_path)

    assert Predictor.from_weights("tinyvgg", path, classes=FOOD, image_size=32).in_shape == (3, 32, 32)
    assert Predictor.from_weights("tinyvgg", path, classes=FOOD, in_shape=(3, 33, 34)).in_shape == (3, 33, 34)


def test_the_error_says_which_image_size_would_fit(tmp_path):
    path = saved(ScriptVGG(3, 4, 3, side=8), tmp_path)

    with pytest.raises(
        ModelError, match=r"classifier\.1\.weight is \(3, 256\), not .*fit with image_size=32 model\.padding=1"
    ):
        Predictor.from_weights("tinyvgg", path, classes=FOOD)


def test_the_error_says_which_setting_would_fit(tmp_path):
    path = saved(ScriptVGG(3, 4, 3), tmp_path)

    with pytest.raises(ModelError, match=r"fit with model\.hidden_units=4"):
        Predictor.from_weights("tinyvgg", path, classes=FOOD, settings={"hidden_units": 10})


def test_the_error_says_how_many_classes_would_fit(tmp_path):
    path = saved(ScriptVGG(3, 4, 3), tmp_path)

    with pytest.raises(ModelError, match=r"fit with 3 names in classes"):
        Predictor.from_weights("tinyvgg", path, classes=("a", "b"))


LABELLED = {"any": (), "regression": (), "binary": ("no", "yes"), "multiclass": tuple("abcdefghij")}


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("file_of", [saved, as_safetensors])
@pytest.mark.parametrize("name", [name for name, entry in models.entries().items() if entry.parameters])
def test_weights_of_every_model_come_back(name, file_of, tmp_path):
    entry = models.entry(name)
    model = models.build(name, entry.in_shape, entry.n_outputs)
    n = 2 if entry.n_outputs == 1 else entry.n_outputs

    predictor = Predictor.from_weights(name, file_of(model, tmp_path), classes=LABELLED[entry.task][:n])

    X = torch.rand(2, *entry.in_shape)
    with torch.inference_mode():
        assert torch.allclose(predictor.logits(X), model.eval()(X), rtol=0, atol=1e-6)
    assert entry.task in (predictor.task.name, "any")


def test_a_setting_that_only_the_names_tell_is_found(tmp_path):
    path = saved(models.build("blobs", (2,), 4, hidden_units=3, relu=True), tmp_path)

    assert Predictor.from_weights("blobs", path, classes="abcd").settings == {
        "hidden_units": 3,
        "relu": True,
        "batch_norm": False,
    }


def test_pictures_are_scaled_further_only_where_told(tmp_path):
    path = saved(ScriptVGG(3, 4, 3), tmp_path)

    plain = Predictor.from_weights("tinyvgg", path, classes=FOOD)
    normal = Predictor.from_weights("tinyvgg", path, classes=FOOD, transform="flip,normalize")

    assert (plain.transform.mean, normal.transform.mean[0], normal.transform.augmentations) == ((), 0.485, ())


@pytest.mark.parametrize(
    ("model", "classes", "words"),
    [
        ("tinyvgg", (), "needs the names of its classes"),
        ("tinyvgg", ("a",), "two or more"),
        ("tinyvgg", ("a", "a"), "different names"),
        ("tinyvgg", ("a", ""), "different names"),
        ("line", ("a", "b"), "predicts a number"),
        ("tinyvg", ("a", "b"), "did you mean 'tinyvgg'"),
    ],
)
def test_wrong_classes_and_models_are_refused(tmp_path, model, classes, words):
    with pytest.raises(ConfigError, match=words):
        Predictor.from_weights(model, saved(ScriptVGG(3, 4, 3), tmp_path), classes=classes)


def test_an_image_size_for_a_model_of_numbers_is_refused(tmp_path):
    path = saved(models.build("circles_v2", (2,), 1), tmp_path)

    with pytest.raises(ConfigError, match="takes numbers"):
        Predictor.from_weights("circles_v2", path, classes=("a", "b"), image_size=8)


def test_a_registered_model_takes_weights_too(tmp_path, monkeypatch):
    monkeypatch.setitem(models.REGISTRY.registered, "mine", ScriptVGG)
    path = saved(ScriptVGG(3, 4, 3, side=16), tmp_path)

    predictor = Predictor.from_weights("mine", path, classes=FOOD, image_size=64)

    assert predictor.in_shape == (3, 64, 64)


def test_a_width_that_is_only_claimed_takes_no_memory(tmp_path):
    weights = ScriptVGG(3, 4, 3).state_dict()
    weights["conv_block_1.0.weight"] = torch.zeros(2_000_000, 1, 1, 1)
    torch.save(weights, tmp_path / "w.pth")

    with pytest.raises(ModelError, match="conv_block_1"):
        Predictor.from_weights("tinyvgg", tmp_path / "w.pth", classes=FOOD)


def test_a_row_for_which_the_model_gives_no_number_is_a_row_with_the_reason(circles_run):
    good, bad = Predictor.from_run(circles_run).predict_rows([[0.1, 0.2], [1e38, 1e38]])

    assert good.label in ("outer", "inner")
    assert bad.error is None or "no finite number" in bad.error
    [broken] = Predictor.from_run(circles_run).predict_rows([[float("inf"), 0.0]])
    assert (broken.label, broken.error) == (None, "the model returns no finite number for it")


def test_a_first_line_with_one_slip_is_no_header(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("1.O,2\n3,4\n")

    with pytest.raises(DataError, match="line 1: not all cells are numbers"):
        read_rows(file, 2)


# Published weights


def test_published_weights_name_what_is_on_a_photo(photos):
    predictor = Predictor.from_published("efficientnet_lite0", offline=True)

    found = predictor.predict(sorted((photos / "test" / "pizza").iterdir())[:4])
    assert [prediction.label for prediction in found] == ["pizza"] * 4


def test_published_weights_that_are_not_here_are_not_fetched_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    with pytest.raises(MissingDataError, match=r"resnet18-f37072fd\.pth is not in"):
        Predictor.from_published("resnet18", offline=True)


def test_a_model_without_published_weights_is_refused():
    with pytest.raises(ConfigError, match="weights: none are published for model 'tinyvgg'; give a file"):
        Predictor.from_published("tinyvgg")


def test_a_prediction_in_a_thread_leaves_the_threads_of_torch_to_others(digits_run):
    predictor, pixels = Predictor.from_run(digits_run), np.zeros((8, 8), dtype=np.uint8)
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        for work in (lambda: predictor.predict(pixels), lambda: found.append(torch.get_num_threads())):
            thread = Thread(target=work)
            thread.start()
            thread.join()
    finally:
        torch.set_num_threads(before)

    assert found == [2]
