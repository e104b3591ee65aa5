from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from dlworkflow import plotting


def test_descent_prints_the_notes_first_step_with_the_true_numbers(dlw):
    lines = dlw("trace", "--steps", "1").out.splitlines()

    assert lines[3:11] == [
        "  forward   1.5000 * 1 - 0.5000 = 1.0000   error 1.0000 - 2 = -1.0000",
        "  forward   1.5000 * 2 - 0.5000 = 2.5000   error 2.5000 - 4 = -1.5000",
        "  forward   1.5000 * 3 - 0.5000 = 4.0000   error 4.0000 - 6 = -2.0000",
        "  loss      ((-1.0000)^2 + (-1.5000)^2 + (-2.0000)^2) / 3 = 2.4167",
        "  dloss/dw  2/3 * ((-1.0000) * 1 + (-1.5000) * 2 + (-2.0000) * 3) = -6.6667",
        "  dloss/db  2/3 * ((-1.0000) + (-1.5000) + (-2.0000)) = -3.0000",
        "  update    w = 1.5000 - 0.01 * (-6.6667) = 1.5667",
        "            b = -0.5000 - 0.01 * (-3.0000) = -0.4700",
    ]


def test_descent_takes_five_steps_unless_told_otherwise(dlw):
    assert [len(re.findall(r"^step \d", dlw("trace", *more).out, re.M)) for more in ([], ["--steps", "7"])] == [5, 7]


def test_descent_in_json_has_every_number(dlw):
    answer = dlw("trace", "--x", "-1,2", "--y", "1,0", "--w", "0", "--b", "1", "--lr", "0.5", "--steps", "1")
    data = dlw(
        "trace", "--x=-1,2", "--y", "1,0", "--w", "0", "--b", "1", "--lr", "0.5", "--steps", "1", "--format", "json"
    )

    assert answer.code == 0
    assert json.loads(data.out) == [
        {
            "step": 1,
            "w": 0.0,
            "b": 1.0,
            "predictions": [1.0, 1.0],
            "errors": [0.0, 1.0],
            "loss": 0.5,
            "grad_w": 2.0,
            "grad_b": 1.0,
            "new_w": -1.0,
            "new_b": 0.5,
        }
    ]


def test_the_printed_sums_are_right_when_worked_out(dlw):
    out = dlw("trace", "--x=-1,2.5", "--y", "-3,4").out
    sums = re.findall(r"(?:dloss/d[wb]|loss) +(.+) = (-?[\d.]+)$", out, re.M)

    assert len(sums) == 15
    for text, value in sums:
        assert _worked(text) == pytest.approx(float(value), abs=2e-3)


def _worked(text):
    """The value of a sum as printed: +, -, *, / and ^ on numbers."""
    assert re.fullmatch(r"[\d. ()+*/^-]+", text)
    return eval(text.replace("^", "**"))


@pytest.mark.parametrize("arguments", [["--plot"], ["conv", "--plot"], ["circles_v2", "--plot"], ["line", "--plot"]])
def test_plot_writes_a_figure(arguments, dlw, in_tmp):
    answer = dlw("trace", *arguments, "figure.png")

    assert answer.code == 0, answer.err
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")


def test_plot_draws_the_path_on_the_surface(dlw, in_tmp, monkeypatch):
    drawn = []
    real = plotting.plot_loss_surface
    monkeypatch.setattr(
        plotting, "plot_loss_surface", lambda *given, **more: drawn.append((*given, more)) or real(*given)
    )

    dlw("trace", "--steps", "3", "--plot", "figure.svg")

    [(w, b, loss, path, more)] = drawn
    assert (len(loss), len(loss[0]), len(path)) == (len(b), len(w), 4)
    assert (path[0], more) == ((1.5, -0.5), {"lowest": (2.0, 0.0)})


def test_a_figure_that_cannot_be_written_leaves_nothing_on_stdout(dlw, in_tmp):
    answer = dlw("trace", "--plot", "figure.xyz")

    assert (answer.code, answer.out) == (1, "")
    assert "figure.xyz" in answer.err


@pytest.mark.parametrize(("name", "word"), [("circles_v0", "sigmoid"), ("blobs", "softmax")])
def test_a_classifier_is_worked_out_to_the_loss_of_each_sample(name, word, dlw):
    out = dlw("trace", name, "--samples", "2").out

    losses = [float(value) for value in re.findall(r"loss -ln\(.+\) = ([\d.]+)$", out, re.M)]
    mean = float(re.search(r"^loss = .* = ([\d.]+)$", out, re.M)[1])
    assert out.count(f"  {word}: ") == len(losses) == 2
    assert mean == pytest.approx(sum(losses) / 2, abs=1e-3)


def test_a_classifier_in_json_has_layers_and_samples(dlw):
    data = json.loads(dlw("trace", "circles_v2", "--format", "json").out)

    assert [layer["name"] for layer in data["layers"]] == ["layer_1", "relu", "layer_2", "relu", "layer_3"]
    for sample in data["samples"]:
        p = 1 / (1 + math.exp(-sample["logits"][0]))
        assert sample["loss"] == pytest.approx(-math.log(p if sample["truth"] else 1 - p), rel=1e-5)


def test_a_step_of_sgd_follows_the_loss(dlw):
    out = dlw("trace", "circles_v0", "--samples", "1", "--lr", "0.5").out
    step = re.search(r"its first number: (.+) = (-?[\d.]+)$", out[out.index("one step of SGD") :], re.M)

    assert "new = old - 0.5 * gradient of the loss" in out
    assert re.findall(r"^  (\S+) \(", out[out.index("one step") :], re.M) == [
        *("layer_1.weight", "layer_1.bias"),
        *("layer_2.weight", "layer_2.bias"),
    ]
    assert _worked(step[1]) == pytest.approx(float(step[2]), abs=2e-4)


def test_the_learning_rate_of_a_step_is_that_of_the_recipe(dlw):
    assert [json.loads(dlw("trace", name, "--format", "json").out)["lr"] for name in ("circles_v0", "line")] == [
        0.1,
        0.01,
    ]


@pytest.mark.parametrize("label", ["1", "inner"])
def test_a_sample_of_ones_own_is_traced(label, dlw):
    [sample] = json.loads(dlw("trace", "circles_v0", "--x", "0.5,-0.25", "--y", label, "--format", "json").out)[
        "samples"
    ]

    assert (sample["inputs"]["values"], sample["truth"]) == ([0.5, -0.25], 1.0)


def test_samples_of_ones_own_are_rows(dlw):
    out = dlw("trace", "blobs", "--x", "0.5,-0.25; 1,2", "--y", "3,0").out

    assert re.findall(r"^sample \d: x = \[(.+)\]; truth '(.+)'$", out, re.M) == [
        ("0.5000, -0.2500", "3"),
        ("1.0000, 2.0000", "0"),
    ]


def test_a_regression_is_traced_with_numbers_of_ones_own(dlw):
    out = dlw("trace", "line", "--x", "0.5", "--y", "0.65").out

    assert "answer 0.2972 for 0.6500; loss 0.3528" in out


def test_a_run_is_traced_with_its_best_weights(dlw, runs):
    from dlworkflow.inference.predictor import Predictor

    traced = json.loads(dlw("trace", "--run", "circles", "--x", "0.5,-0.2", "--y", "1", "--format", "json").out)

    [prediction] = Predictor.from_run("circles").predict_rows([[0.5, -0.2]], top_k=2)
    probabilities = dict(zip(("outer", "inner"), traced["samples"][0]["probabilities"], strict=True))
    assert probabilities == pytest.approx(dict(prediction.top), abs=1e-6)


def test_a_run_is_traced_on_its_own_data(dlw, runs):
    traced = json.loads(dlw("trace", "tinyvgg", "--run", "last", "--samples", "2", "--format", "json").out)

    assert [sample["inputs"]["shape"] for sample in traced["samples"]] == [[1, 8, 8]] * 2
    assert traced["layers"][0]["name"] == "conv_block_1.0"


def test_a_run_of_images_prints_ranges_and_draws_its_maps(dlw, runs):
    answer = dlw("trace", "--run", "tinyvgg", "--samples", "1", "--plot", "maps.png")

    assert re.search(r"conv_block_1\.0 \(Conv2d, 10x8x8\): mean -?[\d.]+, from -?[\d.]+ to [\d.]+$", answer.out, re.M)
    assert Path("maps.png").read_bytes().startswith(b"\x89PNG")


def test_another_seed_gives_other_weights(dlw):
    outs = [dlw("trace", "circles_v0", *more).out for more in ([], ["--seed", "42"], ["--seed", "43"])]

    assert outs[0] == outs[1] != outs[2]


def test_a_classifier_takes_samples_of_other_data(dlw):
    assert "truth 'upper'" in dlw("trace", "circles_v0", "--data", "moons", "--samples", "5").out


def test_a_network_for_pictures_is_cut_to_a_readable_width(dlw):
    lines = dlw("trace", "tinyvgg", "--samples", "1").out.splitlines()

    assert max(map(len, lines)) < 500


def test_conv_prints_the_notes_shapes(dlw):
    out = dlw("trace", "conv", "--kernel", "3", "--stride", "1", "--padding", "0").out

    assert re.findall(r"\(\d+, \d+, \d+\)", out) == ["(3, 64, 64)", "(10, 62, 62)", "(10, 31, 31)"]
    assert "270 weights and 10 biases" in out


def test_average_pooling_prints_a_mean(dlw):
    out = dlw("trace", "conv", "--pooling", "average").out
    numbers, mean = re.search(r"the mean of (.+) = (-?[\d.]+)$", out, re.M).groups()

    assert "average pooling 2x2" in out
    assert sum(map(float, numbers.split(", "))) / 4 == pytest.approx(float(mean), abs=1e-4)


def test_pool_prints_the_notes_2x2_and_what_both_poolings_make_of_it(dlw):
    lines = dlw("trace", "pool").out.splitlines()

    assert lines[:3] == ["image: 2x2", "  0.3367  0.1288", "  0.2345  0.2303"]
    assert lines[-1] == "  largest 0.3367; mean (0.3367 + 0.1288 + 0.2345 + 0.2303) / 4 = 0.2326"


@pytest.mark.parametrize("text", ["1,2,3,4", "1,2;3,4"])
def test_an_image_of_ones_own_is_pooled(text, dlw):
    data = json.loads(dlw("trace", "pool", "--x", text, "--format", "json").out)

    assert (data["image"], data["max"], data["average"]) == ([[1, 2], [3, 4]], [[4]], [[2.5]])


def test_many_windows_are_counted(dlw):
    out = dlw("trace", "pool", "--x", ";".join(["1,2,3,4,5,6"] * 6), "--stride", "1").out

    assert out.splitlines()[-1] == "... and 15 more windows"


def test_conv_works_out_its_first_number(dlw):
    data = json.loads(dlw("trace", "conv", "--shape", "1,5,5", "--format", "json").out)

    pixel = data["pixel"]
    assert len(pixel["terms"]) == 9
    assert pixel["total"] == pytest.approx(sum(a * b for a, b in pixel["terms"]) + pixel["bias"])


@pytest.mark.parametrize(
    ("arguments", "given", "way_out"),
    [
        (["--x", "1,2", "--y", "3"], "--x and --y", "as many of each"),
        (["--x", "1,a"], "'1,a'", "1,2,3"),
        (["--x", ""], "''", "1,2,3"),
        (["--lr", "nan"], "--lr", "finite"),
        (["--lr", "1e200"], "1e+200", "lower lr"),
        (["--lr", "0"], "--lr", "more than 0"),
        (["--steps", "0"], "--steps", "between 1 and"),
        (["--steps", "x"], "--steps", "--help"),
        (["--kernel", "3"], "--kernel", "gradient descent"),
        (["--seed", "3"], "--seed", "gradient descent"),
        (["conv", "--lr", "1"], "--lr", "a convolution"),
        (["conv", "--kernel", "70"], "--kernel: 70x70", "64x64"),
        (["conv", "--seed", "4294967296"], "--seed", "less than or equal to 4294967295"),
        (["conv", "--shape", "3,4"], "--shape", "height and width"),
        (["conv", "--shape", "3,4,x"], "'3,4,x'", "3,64,64"),
        (["circles_v0", "--kernel", "3"], "--kernel", "a model"),
        (["circles_v0", "--samples", "0"], "--samples", "between 1 and"),
        (["circle_v0"], "'circle_v0'", "'circles_v0'"),
        (["con"], "'con'", "'conv'"),
        (["nonsense"], "'nonsense'", "descent, activations, conv, pool, line"),
        (["descent", "--x", "1;2"], "'1;2'", "1,2,3"),
        (["descent", "--x", "nan,1,2"], "'nan,1,2'", "finite"),
        (["activations", "--x", "1,inf"], "'1,inf'", "finite"),
        (["activations", "--x", ""], "''", "1,2,3"),
        (["activations", "--y", "1"], "--y", "activations"),
        (["activations", "--x", "1e300,2", "--plot", "a.png"], "1e+300", "within -1e6 to 1e6"),
        (["pool", "--x", "1,2;3"], "--x: must be rows of equal length", "not rows of 2, 1"),
        (["pool", "--x", "1,2,3"], "--pool: 2x2", "image of 1x3"),
        (["pool", "--pool", "0"], "--pool", "at least 1"),
        (["pool", "--plot", "a.png"], "--plot", "a pooling"),
        (["conv", "--pooling", "min"], "'min'", "'max', 'average'"),
        (["conv", "--pool", "0"], "--pool: must be", "at least 1"),
        (["circles_v0", "--x", "1,2"], "--x: needs --y", "--x '0.5,-0.2' --y 1"),
        (["circles_v0", "--y", "1"], "--y: needs --x", "--x '0.5,-0.2' --y 1"),
        (["circles_v0", "--x", "1,2", "--y", "1", "--samples", "2"], "--samples", "of your own"),
        (["circles_v0", "--x", "1,2,3", "--y", "1"], "--x: 'circles_v0' takes 2", "not 3"),
        (["circles_v0", "--x", "1,2", "--y", "1,0"], "1 sample(s) and 2 label(s)", "as many of each"),
        (["circles_v0", "--x", "1,2", "--y", "2"], "--y", "0 outer, 1 inner"),
        (["circles_v0", "--x", "1,2", "--y", "-1"], "'-1'", "0 outer, 1 inner"),
        (["circles_v0", "--x", "1,b", "--y", "1"], "'1,b'", "1,2;3,4"),
        (["circles_v0", "--x", "1,nan", "--y", "1"], "'1,nan'", "finite"),
        (["circles_v0", "--lr", "0"], "--lr", "above 0"),
        (["line", "--x", "1", "--y", "a"], "'a'", "0.5,0.7"),
        (["tinyvgg", "--x", "1,2", "--y", "1"], "takes images", "dlw summary tinyvgg --trace IMAGE"),
        (["circles_v0", "--runs-dir", "x"], "--runs-dir", "--run RUN"),
        (["resnet18"], "'resnet18'", "--data"),
        (["circles_v0", "--data", "digits"], "circles_v0", "1x8x8"),
        (["circles_v0", "--data", "circels"], "'circels'", "'circles'"),
    ],
)
def test_bad_input_is_one_line_with_the_way_out(arguments, given, way_out, dlw, in_tmp):
    answer = dlw("trace", *arguments)

    [line] = answer.err.splitlines()
    assert answer.code in (1, 2)
    assert answer.out == ""
    assert line.startswith("dlw: ")
    assert given in line
    assert way_out in line


@pytest.mark.parametrize(
    ("arguments", "given", "way_out"),
    [
        (["blobs", "--run", "circles"], "circles_v2-circles-001 is a circles_v2", "not a blobs"),
        (["--run", "nosuch"], "'nosuch'", "circles_v2-circles-001"),
        (["--run", "circles", "--seed", "1"], "--seed", "not with --run"),
        (["--run", "circles", "--data", "moons"], "--data", "not with --run"),
        (["conv", "--run", "circles"], "--run", "a convolution"),
    ],
)
def test_a_run_that_cannot_be_traced_is_one_line_with_the_way_out(arguments, given, way_out, dlw, runs):
    answer = dlw("trace", *arguments)

    [line] = answer.complaints
    assert (answer.code in (1, 2), answer.out) == (True, "")
    assert given in line
    assert way_out in line


def test_activations_are_those_of_the_notes_numbers(dlw):
    rows = json.loads(dlw("trace", "activations", "--format", "json").out)

    assert [row["x"] for row in rows] == [*range(-10, 10)]
    assert [row["relu"] for row in rows] == [max(x, 0) for x in range(-10, 10)]


def test_activations_take_numbers_of_ones_own(dlw):
    assert [line.split()[:3] for line in dlw("trace", "activations", "--x=-2,0.5").out.splitlines()[2:]] == [
        ["-2", "-2.0000", "0.0000"],
        ["0.5", "0.5000", "0.5000"],
    ]


def test_activations_are_a_table_and_a_figure(dlw, in_tmp):
    answer = dlw("trace", "activations", "--plot", "curves.png")

    assert answer.out.split()[:7] == ["x", "identity", "relu", "sigmoid", "tanh", "leaky_relu", "gelu"]
    assert (in_tmp / "curves.png").stat().st_size > 1000


def test_options_of_other_traces_are_refused_for_activations(dlw, in_tmp):
    answer = dlw("trace", "activations", "--kernel", "3")

    assert (answer.code, answer.complaints) == (
        2,
        ["dlw: --kernel: not for activations (see `dlw trace --help`)"],
    )
