"""`dlw plot`, `dlw data show`, `dlw compare --plot`, `dlw summary --trace`: the right files, and refusals."""

from __future__ import annotations

import pytest
from torch.nn.modules.module import register_module_forward_pre_hook

from dlworkflow import CircleModelV2


def test_all_figures_that_fit_go_into_the_runs_folder(dlw, runs):
    out = dlw("plot", "line-line-001").out.splitlines()

    assert [line.rpartition("/")[2] for line in out] == ["curves.png", "lr.png", "fit.png", "scatter.png"]
    assert all((runs / "line-line-001" / "plots" / name).stat().st_size > 1000 for name in ("curves.png", "fit.png"))


def test_one_figure_of_the_last_run_that_was_named_by_its_kind_alone(dlw, runs):
    [path] = dlw("plot", "boundary").out.split()

    assert path.endswith("circles_v2-circles-001/plots/boundary.png")


def test_a_map_of_images_or_dots_is_drawn_where_it_is_named(dlw, runs):
    answers = [dlw("plot", "tinyvgg", "map", *given) for given in ((), ("--thumbnails", "--out", "f.png"))]

    assert [answer.out.split("/")[-1].strip() for answer in answers] == ["map.png", "f.png"]


@pytest.mark.usefixtures("runs")
def test_a_map_takes_features_and_answers_from_one_pass(dlw):
    passed = []
    with register_module_forward_pre_hook(
        lambda module, given: passed.append(len(given[0]) if isinstance(module, CircleModelV2) else 0)
    ):
        assert dlw("plot", "circles", "map").code == 0

    assert [n for n in passed if n > 1] == [200]  # the model is tried with one sample


@pytest.mark.parametrize("name", ["f.png", "f.svg", "f.pdf"])
def test_a_figure_goes_where_the_user_wants_it(dlw, runs, name):
    answer = dlw("plot", "circles", "curves", "--out", name)

    assert answer.out.strip() == name
    assert (runs.parent / name).stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("plot curvs", 1, "did you mean the figure 'curves'?"),
        ("plot circles boundry", 2, "unknown figure 'boundry'; did you mean 'boundary'?"),
        ("plot tinyvgg boundary", 1, "does not fit"),
        ("plot circles curves --out f.bmp", 1, "f.bmp"),
        ("plot circles curves --out none/f.png", 1, "cannot write 'none/f.png'"),
        ("plot circles --out f.png", 2, "name one figure"),
        ("plot circles --n 4", 2, "--n: only for figures of predictions, errors"),
        ("plot tinyvgg errors --seed 1", 2, "--seed: only for figures of predictions"),
        ("plot tinyvgg errors --palette notes", 2, "--palette: only for figures of boundary"),
        ("plot circles boundary --palette note", 1, "--palette: unknown colormap 'note'; did you mean 'notes'?"),
        ("plot circles boundary --palette red,", 1, "--palette: '' is no colour"),
        ("plot tinyvgg predictions --n 26", 2, "at most 25"),
        ("plot line map", 1, "LinearRegressionModel has no linear layer"),
        ("plot circles map --thumbnails", 1, "--thumbnails: run 'circles_v2-circles-001' takes numbers"),
        ("plot circles --method umap", 2, "--method: only for figures of map"),
        ("compare --plot f.xyz", 1, "f.xyz"),
        ("compare line-line-001 --plot f.png --plot-kind bars", 1, "accuracy"),
        ("data show circles --what transforms", 1, "no images"),
        ("data show nosuch", 2, "'nosuch'"),
        ("summary circles_v2 --trace x.png", 2, "dlw trace circles_v2"),
        ("summary tinyvgg --trace none.png", 1, "none.png"),
        ("summary tinyvgg --trace x.png --run circles", 2, "is a circles_v2, not a tinyvgg"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_figure(arguments, code, words, dlw, runs):
    answer = dlw(*arguments.split())

    assert answer.code == code
    assert words in answer.complaints[-1]
    assert answer.complaints[-1].startswith("dlw: ")
    assert not list(runs.parent.glob("f.*"))


def test_predictions_are_as_many_as_asked_for_and_chosen_by_the_seed(dlw, runs):
    for name, more in {"a": (), "b": ("--seed", "42", "--n", "9"), "c": ("--seed", "1"), "d": ("--n", "4")}.items():
        dlw("plot", "tinyvgg", "predictions", *more, "--out", f"{name}.png")
    usual, given, other, fewer = [(runs.parent / f"{name}.png").read_bytes() for name in "abcd"]

    assert usual == given
    assert len({usual, other, fewer}) == 3


def test_a_boundary_has_the_colours_that_are_asked_for(dlw, runs):
    for name, more in {"a": (), "b": ("--palette", "notes"), "c": ("--palette", "red,blue")}.items():
        assert dlw("plot", "circles", "boundary", *more, "--out", f"{name}.png").code == 0

    assert len({(runs.parent / f"{name}.png").read_bytes() for name in "abc"}) == 3


def test_compare_draws_the_runs_it_shows(dlw, runs):
    answer = dlw("compare", "circles", "tinyvgg", "--plot", "both.png")

    assert "figure both.png" in answer.err
    assert (runs.parent / "both.png").stat().st_size > 1000


def test_a_data_set_is_drawn_under_its_name(dlw, in_tmp):
    assert dlw("data", "show", "circles").out.strip() == "circles-samples.png"
    assert (in_tmp / "circles-samples.png").stat().st_size > 1000


def test_a_picture_is_followed_through_a_trained_model(dlw, runs, pictures):
    answer = dlw("summary", "tinyvgg", "--trace", str(pictures / "0.png"), "--run", "tinyvgg", "--out", "layers.png")

    assert "10 x 8 x 8" in answer.out
    assert (runs.parent / "layers.png").stat().st_size > 1000


def test_training_draws_its_curves_when_asked(dlw, in_tmp):
    dlw("train", "line", "--epochs", "2", "--plots")
    dlw("train", "line", "--epochs", "2")

    assert (in_tmp / "runs/line-line-001/plots/curves.png").is_file()
    assert not (in_tmp / "runs/line-line-002/plots").exists()


def test_a_figure_says_which_epochs_weights_it_shows(dlw, in_tmp):
    from dlworkflow.analysis import figures
    from dlworkflow.runs import find_run

    dlw("train", "circles_v2", "--epochs", "3")
    run = find_run()
    best = int(run.summary().best["epoch"])

    titles = [
        figures.draw(run, kind, weights=weights).get_suptitle()
        for kind in ("boundary", "confusion")
        for weights in ("best", "last")
    ]
    answer = dlw("plot", "boundary", "--weights", "last")

    assert titles == [f"best epoch: {best}", "last epoch: 3"] * 2
    assert answer.out.strip().endswith("boundary-last.png")
