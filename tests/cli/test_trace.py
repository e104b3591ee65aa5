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


@pytest.mark.parametrize("arguments", [["--plot"], ["conv", "--plot"]])
def test_plot_writes_a_figure(arguments, dlw, in_tmp):
    answer = dlw("trace", *arguments, "figure.png")

    assert answer.code == 0, answer.err
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")


def test_plot_draws_the_path_on_the_surface(dlw, in_tmp, monkeypatch):
    drawn = []
    real = plotting.plot_loss_surface
    monkeypatch.setattr(plotting, "plot_loss_surface", lambda *given: drawn.append(given) or real(*given))

    dlw("trace", "--steps", "3", "--plot", "figure.svg")

    [(w, b, loss, path)] = drawn
    assert (len(loss), len(loss[0]), len(path)) == (len(b), len(w), 4)
    assert path[0] == (1.5, -0.5)


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
        (["circles_v0", "--plot", "a.png"], "--plot", "a model"),
        (["circles_v0", "--samples", "0"], "--samples", "between 1 and"),
        (["circle_v0"], "'circle_v0'", "'circles_v0'"),
        (["con"], "'con'", "'conv'"),
        (["line"], "'line'", "`dlw trace`"),
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


def test_activations_are_a_table_and_a_figure(dlw, in_tmp):
    answer = dlw("trace", "activations", "--plot", "curves.png")

    assert answer.out.split()[:6] == ["x", "relu", "sigmoid", "tanh", "leaky_relu", "gelu"]
    assert (in_tmp / "curves.png").stat().st_size > 1000


def test_options_of_other_traces_are_refused_for_activations(dlw, in_tmp):
    answer = dlw("trace", "activations", "--kernel", "3")

    assert (answer.code, answer.complaints) == (
        2,
        ["dlw: --kernel: not for activations (see `dlw trace --help`)"],
    )
