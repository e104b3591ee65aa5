from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from dlworkflow import data
from dlworkflow.cli.options import FigureFile
from dlworkflow.inference.predictor import Predictor
from dlworkflow.models.circles import CircleModelV2
from dlworkflow.models.linear import LinearRegressionModel
from dlworkflow.models.tiny_vgg import TinyVGG
from dlworkflow.training.sweep.folder import Plan, Sweep


def objects(answer):
    return json.loads(answer.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def inputs(answer):
    return [row["input"] for row in objects(answer)]


# Pictures


def test_a_digit_in_a_file_is_predicted_as_the_tensor_it_was_written_from(dlw, runs, pictures):
    predictor = Predictor.from_run(runs / "tinyvgg-digits-001")
    X = predictor.transform.to_float(data.load("digits").test.images[:3])
    expected = torch.softmax(predictor.logits(X), dim=1).max(dim=1)

    rows = objects(dlw("predict", "pictures", "--format", "json"))
    assert [row["label"] for row in rows] == [predictor.classes[label] for label in expected.indices]
    assert [row["probability"] for row in rows] == pytest.approx(expected.values.tolist(), abs=1e-7)


@pytest.mark.parametrize(
    ("given", "stdin", "names"),
    [
        (["pictures/1.png"], "", ["1"]),
        (["pictures/2.png", "pictures/0.png"], "", ["2", "0"]),
        (["pictures"], "", ["0", "1", "2"]),
        (["pictures/[01].png"], "", ["0", "1"]),
        (["**/2.png"], "", ["2"]),
        (["pict*"], "", ["0", "1", "2"]),
        (["-"], "pictures/2.png\npictures/0.png\n", ["2", "0"]),
        (["-"], "pictures/2.png\n\n", ["2"]),
        (["pictures/1.png", "-"], "pictures/0.png", ["1", "0"]),
    ],
    ids=["file", "files", "folder", "glob", "deep glob", "glob of folders", "stdin", "blank line", "file and stdin"],
)
def test_pictures_are_named_by_file_folder_glob_or_stdin(given, stdin, names, dlw, runs, pictures):
    answer = dlw("predict", *given, "--format", "json", stdin=stdin)

    assert inputs(answer) == [f"pictures/{name}.png" for name in names]


def test_a_folder_is_searched_below_and_other_files_are_left_out(dlw, runs, pictures):
    (pictures / "deep").mkdir()
    shutil.move(pictures / "2.png", pictures / "deep" / "2.PNG")
    (pictures / "notes.txt").touch()

    assert inputs(dlw("predict", "pictures", "--format", "json")) == [
        "pictures/0.png",
        "pictures/1.png",
        "pictures/deep/2.PNG",
    ]


def test_a_pattern_passes_over_folders_without_a_picture(dlw, runs, pictures):
    (pictures / "empty").mkdir()
    (pictures / "more").mkdir()
    shutil.copy(pictures / "0.png", pictures / "more" / "3.png")

    found = inputs(dlw("predict", "pictures/*", "--format", "json"))
    assert found == ["pictures/0.png", "pictures/1.png", "pictures/2.png", "pictures/more/3.png"]


@pytest.mark.parametrize("given", [["--", "-dash.png"], ["./-dash.png"], ["--top-k", "1", "--", "-dash.png"]])
def test_a_file_whose_name_begins_with_a_dash_is_predicted(given, dlw, runs, pictures):
    shutil.copy(pictures / "0.png", "-dash.png")

    assert inputs(dlw("predict", "--format", "json", *given)) == ["-dash.png"]


def test_a_name_that_begins_with_a_dash_is_no_call_for_help(dlw, runs):
    answer = dlw("predict", "-dash.png")

    assert (answer.code, answer.out) == (2, "")
    assert "a file of that name is ./-dash.png" in answer.err


@pytest.mark.parametrize("given", ["gone~*", "~nosuchuser/gone.png", "~nosuchuser/*.png"])
def test_a_home_that_is_not_there_is_no_bug(given, dlw, runs):
    answer = dlw("predict", given)

    assert answer.code == 1
    assert "unexpected" not in answer.err


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(dlw, runs, pictures):
    (pictures / "0.png").rename(pictures / "[1].png")

    assert inputs(dlw("predict", "pictures/[1].png", "--format", "json")) == ["pictures/[1].png"]


def test_small_batches_give_the_same_answers(dlw, runs, pictures):
    one = objects(dlw("predict", "pictures", "--batch-size", "1", "--format", "json"))
    all_at_once = objects(dlw("predict", "pictures", "--format", "json"))

    assert [row["probability"] for row in one] == pytest.approx([row["probability"] for row in all_at_once], abs=1e-6)


def test_a_colour_picture_of_any_size_goes_into_a_grey_model(dlw, runs, in_tmp):
    Image.new("RGBA", (31, 17), (200, 10, 10, 100)).save(in_tmp / "colour.png")

    assert dlw("predict", "colour.png").code == 0


def test_the_real_photos_are_predicted(dlw, in_tmp, photos):
    dlw("train", "tinyvgg", "--data", photos, "--epochs", "1", "--set", "data.image_size=16")
    rows = objects(dlw("predict", photos / "test" / "sushi", "--format", "json"))

    assert {row["label"] for row in rows} <= {"pizza", "steak", "sushi"}
    assert len(rows) == len(list((photos / "test" / "sushi").iterdir()))


# Files that cannot be read


@pytest.fixture
def with_bad(pictures):
    """The pictures with one between them that is none, an empty one, and one that is cut short."""
    (pictures / "0_text.png").write_text("no image")
    (pictures / "1_empty.png").touch()
    (pictures / "2_cut.png").write_bytes((pictures / "2.png").read_bytes()[:60])
    return pictures


def test_an_unreadable_file_is_a_row_with_its_reason(dlw, runs, with_bad):
    rows = objects(dlw("predict", "pictures", "--format", "json"))
    reasons = {row["input"]: row["error"] for row in rows if "error" in row}

    assert reasons.keys() == {"pictures/0_text.png", "pictures/1_empty.png", "pictures/2_cut.png"}
    assert all(reasons.values())


def test_the_other_files_are_still_predicted(dlw, runs, with_bad):
    rows = objects(dlw("predict", "pictures", "--format", "json"))

    assert [row["input"] for row in rows if "label" in row] == [f"pictures/{index}.png" for index in range(3)]


def test_unreadable_files_are_counted_on_stderr_and_fail(dlw, runs, with_bad):
    answer = dlw("predict", "pictures")

    assert answer.code == 1
    assert answer.complaints == ["3 of 6 files could not be read"]


def test_a_file_that_is_not_there_is_a_row_too(dlw, runs, pictures):
    answer = dlw("predict", "gone.png", "pictures/0.png", "--format", "json")

    assert answer.code == 1
    assert objects(answer)[0] == {"input": "gone.png", "error": "no such file"}


def test_a_hostile_file_name_cannot_break_the_table_or_move_the_cursor(dlw, runs, pictures):
    (pictures / "0.png").rename(pictures / "a\n\x1b[31m.png")
    answer = dlw("predict", "pictures")

    assert len(answer.out.splitlines()) == 2 + 3
    assert "\x1b" not in answer.out


def test_a_file_name_cannot_become_a_formula_of_a_spreadsheet(dlw, runs, pictures, in_tmp):
    (pictures / "0.png").rename(in_tmp / "=1+1.png")

    assert dlw("predict", "=1+1.png", "--format", "csv").out.splitlines()[1].startswith("'=1+1.png,")


# Formats


def test_json_and_jsonl_say_the_same(dlw, runs, with_bad):
    lines = dlw("predict", "pictures", "--top-k", "2", "--format", "jsonl").out.splitlines()
    together = objects(dlw("predict", "pictures", "--top-k", "2", "--format", "json"))

    assert [json.loads(line) for line in lines] == together


def test_csv_and_json_say_the_same(dlw, runs, with_bad):
    rows = list(csv.DictReader(io.StringIO(dlw("predict", "pictures", "--top-k", "2", "--format", "csv").out)))
    expected = [
        {
            "input": one["input"],
            "label": one.get("label", ""),
            "probability": str(one.get("probability", "")),
            "label_2": one["top"][1]["label"] if "top" in one else "",
            "probability_2": str(one["top"][1]["probability"]) if "top" in one else "",
            "error": one.get("error", ""),
        }
        for one in objects(dlw("predict", "pictures", "--top-k", "2", "--format", "json"))
    ]

    assert rows == expected


def test_the_table_shows_what_json_says(dlw, runs, pictures):
    shown = [line.split() for line in dlw("predict", "pictures").out.splitlines()[2:]]
    rows = objects(dlw("predict", "pictures", "--format", "json"))

    assert shown == [[row["input"], row["label"], f"{row['probability']:.3f}"] for row in rows]


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table"])
def test_stdout_holds_predictions_only(form, dlw, runs, pictures):
    answer = dlw("predict", "pictures", "--format", form)

    assert "run " not in answer.out
    assert answer.err == "run runs/tinyvgg-digits-001 (best weights)\n"


@pytest.mark.parametrize(("k", "shown"), [(1, 1), (3, 3), (10, 10), (99, 10), ("all", 10)])
def test_top_k_gives_the_likeliest_classes_first(k, shown, dlw, runs, pictures):
    [row] = objects(dlw("predict", "pictures/0.png", "--top-k", k, "--format", "json"))

    probabilities = [one["probability"] for one in row["top"]]
    assert len(probabilities) == shown
    assert probabilities == sorted(probabilities, reverse=True)


def test_the_first_of_the_top_is_the_label(dlw, runs, pictures):
    [row] = objects(dlw("predict", "pictures/0.png", "--top-k", "3", "--format", "json"))

    assert row["top"][0] == {"label": row["label"], "probability": row["probability"]}


def test_all_probabilities_sum_to_one(dlw, runs, pictures):
    [row] = objects(dlw("predict", "pictures/0.png", "--top-k", "10", "--format", "json"))

    assert sum(one["probability"] for one in row["top"]) == pytest.approx(1)


# Plots


def test_plot_writes_a_png_whatever_could_not_be_read(dlw, runs, with_bad, in_tmp):
    dlw("predict", "pictures", "--plot", "out.png")

    with Image.open(in_tmp / "out.png") as picture:
        assert (picture.format, min(picture.size) > 100) == ("PNG", True)


def test_a_plot_is_named_on_stderr(dlw, runs, pictures):
    assert "figure out.png" in dlw("predict", "pictures", "--plot", "out.png").err


def test_a_hostile_class_or_file_name_is_drawn_as_it_is(dlw, runs, pictures, in_tmp):
    (pictures / "0.png").rename(pictures / "$\\frac{$_{}%.png")
    answer = dlw("predict", "pictures", "--plot", "out.png")

    assert answer.code == 0, answer.err
    assert (in_tmp / "out.png").is_file()


# Numbers


@pytest.mark.parametrize("numbers", [["0.5", "0.2"], ["-0.5", "-0.2"], ["-.5", "-1e-3"], ["1", "-2", "3", "-4"]])
def test_numbers_given_as_arguments_are_rows_of_the_models_width(numbers, dlw, runs):
    rows = objects(dlw("predict", *numbers, "--run", "circles", "--format", "json"))

    assert [float(text) for row in rows for text in row["input"].split()] == [float(text) for text in numbers]


def test_options_may_stand_between_numbers(dlw, runs):
    assert inputs(dlw("predict", "-1", "--run", "line", "-2", "--format", "json", "-3")) == ["-1", "-2", "-3"]


def test_a_regression_predicts_the_line_it_learned(dlw, runs):
    weights = torch.load(runs / "line-line-001/best.pth", weights_only=True)
    [row] = objects(dlw("predict", "-0.5", "--run", "line", "--format", "json"))

    assert row["value"] == pytest.approx(-0.5 * weights["weights"].item() + weights["bias"].item(), abs=1e-6)


def test_a_csv_of_numbers_is_read_with_or_without_a_header(dlw, runs, in_tmp):
    (in_tmp / "with.csv").write_text("x,y\n1,2\n-3,4\n")
    (in_tmp / "without.csv").write_text("1,2\n-3,4\n")
    answers = [dlw("predict", f"{name}.csv", "--run", "circles", "--format", "json") for name in ("with", "without")]

    assert inputs(answers[0]) == inputs(answers[1]) == ["1 2", "-3 4"]


def test_a_pattern_names_many_csv_files_of_numbers(dlw, runs, in_tmp):
    (in_tmp / "a.csv").write_text("0.1,0.2\n")
    (in_tmp / "b.csv").write_text("0.3,0.4\n")

    assert inputs(dlw("predict", "*.csv", "--format", "json")) == ["0.1 0.2", "0.3 0.4"]


def test_a_csv_gives_the_predictions_of_its_numbers(dlw, runs, in_tmp):
    (in_tmp / "rows.csv").write_text("0.5,-0.2\n")

    assert objects(dlw("predict", "rows.csv", "--run", "circles", "--format", "json")) == objects(
        dlw("predict", "0.5", "-0.2", "--run", "circles", "--format", "json")
    )


@pytest.mark.parametrize("stdin", ["0.5 -0.2\n1 2\n", "0.5,-0.2\n\n1,2", "0.5, -0.2\n1, 2\n"])
def test_rows_of_numbers_come_from_stdin(stdin, dlw, runs):
    assert inputs(dlw("predict", "-", "--run", "circles", "--format", "json", stdin=stdin)) == ["0.5 -0.2", "1 2"]


@pytest.mark.parametrize("numbers", [["-0.5"], ["-3", "-4"]])
def test_negative_numbers_in_csv_are_the_numbers_given(numbers, dlw, runs):
    run = "line" if len(numbers) == 1 else "circles"
    rows = csv.DictReader(io.StringIO(dlw("predict", *numbers, "--run", run, "--format", "csv").out))

    assert [row["input"] for row in rows] == [" ".join(numbers)]


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1e39"])
@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_stays_json_for_numbers_that_are_none(number, form, dlw, runs):
    answer = dlw("predict", number, "--run", "line", "--format", form)

    assert not {"NaN", "Infinity", "-Infinity"} & set(answer.out.replace("}", " ").split())


# What an input is


@pytest.mark.parametrize("stdin", ["", "0\n1\n"])
def test_a_number_that_is_also_a_path_here_is_refused_with_both_ways_to_say_it(stdin, dlw, runs, in_tmp):
    (in_tmp / "0").mkdir()
    answer = dlw("predict", *(["-"] if stdin else ["0", "1"]), stdin=stdin)

    assert answer.code == 2
    assert answer.complaints == [
        "dlw: '0' is a number and the name of a file here; write ./0 for the file, or name a run that takes numbers "
        "with --run RUN"
    ]


def test_what_the_run_takes_says_what_a_number_that_is_also_a_path_is(dlw, runs, pictures):
    pictures.rename("0")

    assert inputs(dlw("predict", "0", "--run", "line", "--format", "json")) == ["0"]
    for given in (["0", "--run", "tinyvgg"], ["./0"]):
        assert inputs(dlw("predict", *given, "--format", "json")) == ["0/0.png", "0/1.png", "0/2.png"]


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("path,label\n0.png,a\n2.png,b\n", None),
        ("0.png\n2.png\n", None),
        ("file\n0.png\n2.png\n", None),
        ("note,path\nx,0.png\ny,2.png\n", "tinyvgg"),
    ],
)
def test_a_csv_of_paths_is_a_list_of_images_beside_it(text, run, dlw, runs, pictures):
    (pictures / "list.csv").write_text(text)
    answer = dlw("predict", "pictures/list.csv", "--format", "json", *(["--run", run] if run else []))

    assert inputs(answer) == ["pictures/0.png", "pictures/2.png"]
    assert answer.err.startswith("run runs/tinyvgg-digits-001 ")


def test_a_listed_image_that_cannot_be_read_is_a_row_and_the_rest_goes_on(dlw, runs, pictures):
    (pictures / "list.csv").write_text("path\n0.png\ngone[1].png\nsub\\1.png\n")
    rows = objects(dlw("predict", "pictures/list.csv", "--format", "json"))

    assert [row.get("error") for row in rows] == [
        *(None, "no such file", "no such file; write / between folders, not \\"),
    ]


def test_a_csv_that_is_neither_images_nor_numbers_says_what_it_lacks(dlw, runs, in_tmp):
    (in_tmp / "list.csv").write_text("file,label\n0.png,a\n")

    [line] = dlw("predict", "list.csv", "--run", "tinyvgg").complaints
    assert line.endswith("needs a column 'path', or one column alone, to be a list of images; it has 'file', 'label'")


def test_names_from_stdin_may_be_csv_files_of_numbers(dlw, runs, in_tmp):
    (in_tmp / "two.csv").write_text("0,1\n0.1,0.2\n")
    answer = dlw("predict", "-", "--format", "json", stdin="two.csv\n")

    assert inputs(answer) == ["0.1 0.2"]
    assert answer.err.splitlines()[1:] == ["note    'two.csv' line 1: 0,1 is taken as its header"]


def test_an_address_is_shown_as_it_was_typed(dlw, runs):
    assert dlw("predict", "http://x/y.png").complaints == [
        "dlw: 'http://x/y.png' is an address; only files of this machine are read: fetch it first"
    ]


# Which run


@pytest.mark.parametrize(
    ("given", "stdin", "run"),
    [
        (["pictures"], "", "tinyvgg-digits-001"),
        (["0.5", "-0.2"], "", "circles_v2-circles-001"),
        (["0.5"], "", "line-line-001"),
        (["two.csv"], "", "circles_v2-circles-001"),
        (["one.csv"], "", "line-line-001"),
        (["-"], "pictures/0.png\n", "tinyvgg-digits-001"),
        (["-"], "1 2\n3 4\n", "circles_v2-circles-001"),
        (["-"], "1\n2\n3\n", "line-line-001"),
    ],
    ids=["pictures", "pairs", "number", "csv of two", "csv of one", "names", "rows of two", "rows of one"],
)
def test_without_a_run_the_last_that_fits_is_used(given, stdin, run, dlw, runs, pictures, in_tmp):
    (in_tmp / "two.csv").write_text("1,2\n")
    (in_tmp / "one.csv").write_text("1\n2\n")
    answer = dlw("predict", *given, stdin=stdin)

    assert answer.err.splitlines()[0] == f"run runs/{run} (best weights)"


@pytest.mark.parametrize("given", ["runs/line-line-001", "line-line-001", "line-", "li"])
def test_a_run_is_named_by_path_name_or_unique_start(given, dlw, runs):
    assert dlw("predict", "1", "--run", given).err == "run runs/line-line-001 (best weights)\n"


def test_a_run_is_named_by_an_absolute_path_from_anywhere(dlw, trained, in_tmp):
    assert dlw("predict", "1", "--run", trained / "line-line-001").code == 0


def test_last_and_best_look_among_the_runs_that_fit(dlw, runs):
    shutil.copytree(runs / "line-line-001", runs / "line-line-002")
    summary = json.loads((runs / "line-line-002/summary.json").read_text())
    summary["best"]["test_loss"] = 9.0
    (runs / "line-line-002/summary.json").write_text(json.dumps(summary))

    used = [dlw("predict", "1", "--run", name).err.split()[1] for name in ("last", "best")]
    assert used == ["runs/line-line-002", "runs/line-line-001"]


def test_best_and_last_weights_answer_as_they_are(dlw, runs):
    answers = [dlw("predict", "1", "--run", "line", "--weights", which).out for which in ("best", "last")]

    assert answers[0] != answers[1]


def test_a_run_that_is_still_without_an_epoch_is_passed_over(dlw, runs):
    shutil.copytree(runs / "line-line-001", runs / "line-line-002")
    summary = json.loads((runs / "line-line-002/summary.json").read_text())
    (runs / "line-line-002/summary.json").write_text(json.dumps(summary | {"best": None, "status": "running"}))

    assert dlw("predict", "1").err == "run runs/line-line-001 (best weights)\n"


# Several runs


@pytest.fixture
def sweep(runs):
    """A sweep of the trained run on circles and one with other weights, and a run of it that has not finished."""
    made = Sweep.create(runs, "circles", Plan({}, {}, []))
    for name in ("one", "two", "cut"):
        shutil.copytree(runs / "circles_v2-circles-001", made.path / name)
    torch.save(CircleModelV2().state_dict(), made.path / "two/best.pth")
    made.run("cut").update_summary(status="interrupted")
    return made


def test_a_sweep_predicts_the_mean_of_its_finished_runs_and_their_disagreement(dlw, sweep):
    answer = dlw("predict", "0.5", "-0.2", "--run", "circles-001", "--format", "json", "--top-k", "2")
    expected = Predictor.from_runs([sweep.run("one"), sweep.run("two")]).predict([0.5, -0.2])

    [row] = objects(answer)
    assert (row["probability"], row["disagreement"]) == (expected.probability, expected.disagreement)
    assert answer.err.splitlines() == [
        "note    left out of circles-001: 1 run that has not finished",
        "mean of 2 runs: one, two (best weights)",
    ]


def test_the_table_has_a_column_of_the_disagreement(dlw, sweep):
    answer = dlw("predict", "0.5", "-0.2", "--run", "circles-001/one", "--run", "circles-001/two")

    assert answer.out.split()[:4] == ["input", "label", "probability", "disagreement"]


def test_a_run_named_twice_counts_once(dlw, runs):
    assert (
        dlw("predict", "1", "--run", "line", "--run", "line-line-001").err == "run runs/line-line-001 (best weights)\n"
    )


def test_runs_that_do_not_go_together_are_one_line(dlw, runs):
    [line] = dlw("predict", "1", "--run", "line", "--run", "circles").complaints

    assert line == (
        "dlw: the runs line-line-001 and circles_v2-circles-001 cannot be averaged, "
        "their tasks differ: regression; binary"
    )


def test_a_sweep_without_a_finished_run_is_one_line(dlw, sweep):
    for name in ("one", "two"):
        sweep.run(name).update_summary(status="failed")

    assert "dlw: no run of the sweep circles-001 has finished" in dlw("predict", "1", "2", "--run", "circles-001").err


# Test-time augmentation, and Python


def test_flip_is_reported_and_what_it_does_to_digits(dlw, runs, pictures):
    answer = dlw("predict", "pictures", "--tta", "flip")

    assert answer.err.splitlines() == [
        "run runs/tinyvgg-digits-001 (best weights, --tta flip)",
        "note    digits and letters change when they are mirrored, and 'digits' may have such: "
        "--tta flip may make its predictions worse",
    ]


def test_flip_is_refused_for_numbers(dlw, runs):
    answer = dlw("predict", "1", "--tta", "flip")

    assert (answer.code, answer.complaints) == (
        2,
        ["dlw: --tta: flip mirrors images, and run 'line-line-001' takes numbers"],
    )


@pytest.mark.parametrize("tta", [None, "flip"])
def test_python_predicts_what_the_command_does_to_the_bit(tta, dlw, runs, pictures):
    [row] = objects(dlw("predict", "pictures/1.png", "--format", "json", *(["--tta", tta] if tta else [])))

    found = Predictor.from_run("tinyvgg-digits-001").predict(Image.open("pictures/1.png"), tta=tta)
    assert (found.label, found.probability) == (row["label"], row["probability"])


# Weights without a run


@pytest.fixture
def weights(in_tmp):
    """Files of weights as scripts save them, and files that are none."""
    saved = {
        "vgg": TinyVGG(3, 4, 3),
        "small": TinyVGG(3, 4, 3, image_size=(16, 16)),
        "circles": CircleModelV2(),
        "line": LinearRegressionModel(),
    }
    for name, model in saved.items():
        torch.save(model.state_dict(), in_tmp / f"{name}.pth")
    torch.save({"weights": pytest.approx(1)}, in_tmp / "code.pth")
    (in_tmp / "cut.pth").write_bytes((in_tmp / "vgg.pth").read_bytes()[:700])
    (in_tmp / "text.pth").write_text("hello there")
    return in_tmp


VGG = ["--model", "tinyvgg", "--weights", "vgg.pth", "--classes", "pizza,steak,sushi"]


def test_a_file_of_weights_predicts_pictures_without_a_run(dlw, weights, pictures):
    predictor = Predictor.from_weights("tinyvgg", "vgg.pth", classes=("pizza", "steak", "sushi"))
    expected = [found.probability for found in predictor.predict_images(sorted(pictures.iterdir()))]

    rows = objects(dlw("predict", "pictures", *VGG, "--format", "json"))
    assert [row["probability"] for row in rows] == pytest.approx(expected, abs=1e-7)


def test_what_was_built_for_the_weights_is_said_on_stderr(dlw, weights, pictures):
    answer = dlw("predict", "pictures", *VGG)

    assert (
        answer.err == "weights vgg.pth in tinyvgg (hidden_units=4, padding=1, batch_norm=False) for inputs of 3x64x64\n"
    )


def test_class_names_are_labels_in_the_order_given(dlw, weights, pictures):
    [row] = objects(dlw("predict", "pictures/0.png", *VGG, "--top-k", "3", "--format", "json"))

    assert {one["label"] for one in row["top"]} == {"pizza", "steak", "sushi"}


def test_the_image_size_of_the_training_is_told_by_a_flag(dlw, weights, pictures):
    small = ["small.pth" if given == "vgg.pth" else given for given in VGG]
    answer = dlw("predict", "pictures", *small, "--image-size", "16")

    assert (answer.code, "3x16x16" in answer.err) == (0, True)


def test_settings_of_the_model_and_the_transform_are_told_by_set(dlw, weights, pictures):
    one = dlw(
        "predict", "pictures", *VGG, "--set", "model.hidden_units=4", "--set", "model.padding=1", "--format", "json"
    )
    other = dlw("predict", "pictures", *VGG, "--set", "data.transform=normalize", "--format", "json")

    assert (one.code, other.code) == (0, 0)
    assert one.out != other.out


def test_weights_of_a_model_of_numbers_predict_numbers(dlw, weights):
    [row] = objects(
        dlw(
            *["predict", "0.1", "-0.2", "--model", "circles_v2", "--weights", "circles.pth"],
            *["--classes", "outer,inner", "--format", "json"],
        )
    )

    assert (row["input"], row["label"] in ("outer", "inner")) == ("0.1 -0.2", True)


def test_weights_of_a_regression_need_no_classes(dlw, weights):
    line = torch.load("line.pth", weights_only=True)
    [row] = objects(dlw("predict", "0.5", "--model", "line", "--weights", "line.pth", "--format", "json"))

    assert row["value"] == pytest.approx(0.5 * line["weights"].item() + line["bias"].item(), abs=1e-6)


@pytest.mark.parametrize(("more", "bars"), [([], 0), (["--top-k", "2"], 2)])
def test_a_plot_has_bars_of_as_many_classes_as_are_printed(more, bars, dlw, weights, pictures, monkeypatch):
    drawn = []
    monkeypatch.setattr(FigureFile, "save", lambda _, figure: drawn.append(figure) or Path("out.png"))

    dlw("predict", pictures / "0.png", *VGG, "--plot", "out.png", *more)

    assert len(drawn[0].axes[-1].patches) == bars


def test_a_plot_of_predictions_needs_no_run(dlw, weights, pictures):
    assert dlw("predict", "pictures", *VGG, "--plot", "out.png").code == 0


CIRCLES = "1 2 --model circles_v2 --weights circles.pth"


@pytest.mark.parametrize(
    ("arguments", "code", "given", "way_out"),
    [
        ("pictures --model tinyvg --weights vgg.pth --classes a,b,c", 2, "--model: ", "'tinyvgg'"),
        ("pictures --model tinyvgg --classes a,b,c", 2, "--model", "--weights FILE"),
        ("pictures --model tinyvgg --weights last --classes a,b,c", 2, "--model", "--weights FILE"),
        ("pictures --model tinyvgg --weights default --classes a,b,c", 2, "--classes", "--weights default"),
        ("pictures --model tinyvgg --weights default", 2, "'tinyvgg'", "give a file"),
        ("pictures --model efficientnet_lite0 --weights defaul", 2, "--weights: unknown", "'default'"),
        ("pictures --model efficientnet_lite0", 2, "--model", "--weights default for ImageNet's 1,000 classes"),
        ("pictures --model tinyvgg --weights vgg.pth", 2, "--classes", "names of its classes"),
        ("pictures --model tinyvgg --weights vgg.pth --classes a,b", 1, "'vgg.pth'", "3 names in --classes"),
        ("pictures --model tinyvgg --weights vgg.pth --classes a,a,b", 2, "a,a,b", "different names"),
        ("pictures --model tinyvgg --weights vgg.pth --classes a,b,c --run last", 2, "--run", "--model"),
        ("pictures --model tinyvgg --weights vgg.pth --classes a,b,c --runs-dir runs", 2, "--runs-dir", "--model"),
        ("pictures --model tinyvgg --weights gone.pth --classes a,b,c", 1, "'gone.pth'", "no weights"),
        ("pictures --model tinyvgg --weights code.pth --classes a,b,c", 1, "'code.pth'", "something else than tensors"),
        ("pictures --model tinyvgg --weights cut.pth --classes a,b,c", 1, "'cut.pth'", "no whole file of weights"),
        ("pictures --model tinyvgg --weights text.pth --classes a,b,c", 1, "'text.pth'", "no whole file of weights"),
        ("pictures --model tinyvgg --weights pictures --classes a,b,c", 1, "'pictures'", "no whole file of weights"),
        (
            "pictures --model tinyvgg --weights circles.pth --classes a,b,c",
            1,
            "'circles.pth'",
            "missing conv_block_1.0",
        ),
        ("pictures --model improved_tinyvgg --weights vgg.pth --classes a,b,c", 1, "'vgg.pth'", "missing conv1.weight"),
        (
            "pictures --model tinyvgg --weights small.pth --classes a,b,c",
            1,
            "(3, 64)",
            "--image-size 16 --set model.padding=1",
        ),
        ("pictures --model tinyvgg --weights vgg.pth --classes a,b,c --set model.padding=2", 2, "padding", "'2'"),
        (
            "pictures --model tinyvgg --weights vgg.pth --classes a,b,c --set model.hidden=2",
            2,
            "'hidden'",
            "'hidden_units'",
        ),
        ("pictures --model tinyvgg --weights vgg.pth --classes a,b,c --set epochs=2", 2, "--set epochs", "model"),
        ("pictures --model tinyvgg --weights vgg.pth --classes a,b,c --image-size 0", 2, "0", "at least 1"),
        (f"{CIRCLES} --classes a,b --image-size 8", 2, "--image-size", "numbers"),
        (f"{CIRCLES} --classes a,b,c", 1, "'circles.pth'", "2 names in --classes"),
        (f"{CIRCLES} --classes a,b 3", 1, "model 'circles_v2'", "2 number(s) a row"),
        ("1 --model line --weights line.pth --classes a,b", 2, "--classes", "predicts a number"),
        ("1 2 --model tinyvgg --weights vgg.pth --classes a,b,c", 1, "model 'tinyvgg'", "takes images"),
        ("pictures --classes a,b,c", 2, "--classes", "--model"),
        ("pictures --image-size 64", 2, "--image-size", "--model"),
        ("pictures --set model.hidden_units=4", 2, "--set", "--model"),
        ("pictures --weights vgg.pth", 2, "'vgg.pth'", "--model"),
    ],
)
def test_weights_that_cannot_be_used_are_one_line_that_says_why(
    arguments, code, given, way_out, dlw, weights, pictures
):
    answer = dlw("predict", *arguments.split())

    [line] = [line for line in answer.complaints if not line.startswith("weights ")]
    assert (answer.code, answer.out) == (code, "")
    assert line.startswith("dlw: ")
    assert given in line
    assert way_out in line


# Bad input


@pytest.mark.parametrize(
    ("arguments", "code", "given", "way_out"),
    [
        ("pictures/0.png --run nosuch", 1, "'nosuch'", "line-line-001"),
        ("pictures/0.png --run circles_v3-circles-001", 1, "'circles_v3-circles-001'", "'circles_v2-circles-001'"),
        ("1 --run l", 1, "'l'", "line-line-001, line-line-002"),
        ("1 --run pictures", 1, "'pictures'", "line-line-001"),
        ("1 --run ./pictures", 1, "'./pictures'", "no run folder"),
        ("1 --run damaged-001", 1, "damaged-001", "damaged"),
        ("1 --run bare-001", 1, "bare-001", "best.pth"),
        ("1 --run broken-001", 1, "broken-001", "no whole file of weights"),
        ("1 --run pickled-001", 1, "pickled-001", "something else than tensors"),
        ("1 --run foreign-001", 1, "foreign-001", "missing weights"),
        ("1 --runs-dir nowhere", 1, "'nowhere'", "dlw train MODEL"),
        ("pictures/0.png --run line-line-001", 1, "pictures/0.png", "1 number(s) a row"),
        ("1 2 3 --run circles", 1, "3", "2 number(s) a row"),
        ("1 --run line-line-001 --device gpu", 2, "'gpu'", "cpu"),
        ("1 --run line-line-001 --plot out.png", 2, "--plot", "numbers"),
        ("pictures/0.png --plot out.docx", 1, "'out.docx'", "*.png"),
        ("pictures/0.png --plot no/out.png", 1, "'no/out.png'", "No such file or directory"),
        ("gone*.png", 1, "'gone*.png'", "no file fits"),
        ("empty", 1, "'empty'", ".png"),
        ("gone.csv --run circles", 1, "'gone.csv'", "no file"),
        ("text.csv --run circles", 1, "'text.csv' line 3", "-3,q"),
        ("wide.csv --run circles", 1, "'wide.csv' line 1", "3 number(s) where 2 are needed"),
        ("head.csv --run circles", 1, "'head.csv'", "no numbers"),
        ("semicolons.csv", 1, "'semicolons.csv'", "by commas"),
        ("binary.csv --run circles", 1, "'binary.csv'", "cannot read"),
        ("-", 1, "no files", "named"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_the_way_out(arguments, code, given, way_out, dlw, hostile):
    answer = dlw("predict", *arguments.split())

    [line] = answer.complaints
    assert answer.code == code
    assert line.startswith("dlw: ")
    assert given in line
    assert way_out in line


@pytest.fixture
def hostile(runs, pictures, in_tmp):
    """Runs and files that prediction should refuse."""
    line = runs / "line-line-001"
    for name in ("line-line-002", "damaged-001", "bare-001", "broken-001", "pickled-001", "foreign-001"):
        shutil.copytree(line, runs / name)
    (runs / "damaged-001" / "summary.json").write_text("{")
    (runs / "bare-001" / "best.pth").unlink()
    (runs / "broken-001" / "best.pth").write_bytes((line / "best.pth").read_bytes()[:700])
    torch.save({"weights": pytest.approx(1)}, runs / "pickled-001" / "best.pth")
    shutil.copy(runs / "circles_v2-circles-001" / "best.pth", runs / "foreign-001" / "best.pth")
    (in_tmp / "empty").mkdir()
    (in_tmp / "text.csv").write_text("x,y\n1,2\n-3,q\n")
    (in_tmp / "wide.csv").write_text("1,2,3\n")
    (in_tmp / "head.csv").write_text("x,y\n")
    (in_tmp / "semicolons.csv").write_text("x;y\n1;2\n")
    (in_tmp / "binary.csv").write_bytes(b"\xff\xfe\x00")
    return in_tmp


def test_numbers_for_a_run_of_pictures_say_what_it_takes(dlw, runs):
    [line] = dlw("predict", "1", "2", "--run", "tinyvgg").complaints

    assert line.startswith("dlw: ")
    assert "images" in line


def test_a_prediction_leaves_the_run_as_it_was(dlw, runs, pictures):
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    dlw("predict", "pictures", "--plot", "out.png")

    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


@pytest.mark.parametrize("options", [["jsonl"], ["csv"], ["csv-bom"], ["csv", "--plot", "out.png"]], ids=" ".join)
def test_lines_are_printed_while_later_images_are_still_to_be_read(options, runs, pictures, start_dlw):
    names = ["gone.png", *["pictures/0.png"] * 999, "late.png"]  # more than a pipe holds: the writer waits for a reader
    process = start_dlw("predict", *names, "--top-k", "10", "--format", *options)
    first = [process.stdout.readline() for _ in range(2)]
    (pictures / "1.png").rename("late.png")
    lines = [*first, *process.stdout.read().splitlines()]

    assert [line for line in lines[-1000:] if "no such file" in line] == []
    assert len(lines) == len(names) + (options[0] != "jsonl")
    assert "late.png" in lines[-1]


def test_csv_has_the_same_columns_whether_or_not_a_file_can_be_read(dlw, runs, pictures):
    heads = [
        dlw("predict", *names, "--top-k", "2", "--format", "csv").out.splitlines()[0]
        for names in (["pictures"], ["gone.png", "pictures"])
    ]

    assert heads == ["input,label,probability,label_2,probability_2,error"] * 2


def test_csv_of_files_that_cannot_be_read_has_the_reasons(dlw, runs, in_tmp):
    answer = dlw("predict", "gone.png", "away.png", "--format", "csv")

    assert answer.out == "input,label,probability,error\ngone.png,,,no such file\naway.png,,,no such file\n"
    assert (answer.code, answer.complaints) == (1, ["2 of 2 files could not be read"])


def test_csv_for_excel_has_one_byte_order_mark(dlw, runs, pictures):
    text = dlw("predict", "pictures", "--format", "csv-bom").out

    assert text == "\ufeff" + dlw("predict", "pictures", "--format", "csv").out


def test_where_no_run_fits_the_command_that_predicts_without_one_is_named_and_works(dlw, in_tmp, paint):
    paint(in_tmp / "a photo.png")
    [line] = dlw("predict", "a photo.png").complaints

    start, command, _ = line.split("`")[2:]
    assert start == ", or predict ImageNet's 1,000 classes: "
    answer = dlw(*shlex.split(command)[1:], "--format", "json", "--top-k", "2")
    assert (answer.code, len(objects(answer)[0]["top"])) == (0, 2)
    assert answer.err == "weights default of efficientnet_lite0: ImageNet's 1,000 classes, inputs of 3x224x224\n"


def test_where_no_run_fits_a_missing_file_is_named_first(dlw, in_tmp):
    answer = dlw("predict", "nosuch.png", "also/*.jpg")

    assert answer.code == 1
    [line] = answer.err.splitlines()
    assert line.startswith("dlw: no file 'nosuch.png', 'also/*.jpg'; no trained run that takes images")
