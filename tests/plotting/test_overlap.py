"""No figure lets two of its texts overlap, leave its edge or show boxes: long or Chinese names, 1 and 101 classes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.text import Text

from dlworkflow import plotting

LONG = "a_class_name_that_goes_on_and_on_as_some_folders_of_some_data_sets_do"
NAMES = {
    "one": ["only"],
    "three": ["pizza", "steak", "sushi"],
    "long and wide": [f"{i} {'W' * 60 if i % 2 else LONG}" for i in range(10)],
    "many": [f"{LONG}_{i}" for i in range(101)],
}
CHINESE = ["比萨", "牛排", "寿司"]
EPOCHS = {"one epoch": 1, "five": 5, "a thousand": 1000}
rng = np.random.default_rng(0)


def drawn_texts(figure):
    """Draw a figure and return what texts it drew, with their boxes in pixels; ticks outside the view are not drawn.

    A text is noted and not drawn: its box is all that is asked for.
    """
    seen = []

    def record(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            seen.append(self)

    canvas = FigureCanvasAgg(figure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", record)
        canvas.draw()
    renderer = canvas.get_renderer()
    return [(text.get_text(), text.get_window_extent(renderer)) for text in dict.fromkeys(seen)]


def faults(figure, slack=1.0):
    """Return every pair of texts that overlap by more than `slack` pixels, and every text beyond the figure's edge."""
    texts = drawn_texts(figure)
    found = [
        f"{a!r} on {b!r}"
        for (a, one), (b, other) in combinations(texts, 2)
        if min(one.x1, other.x1) - max(one.x0, other.x0) > slack
        and min(one.y1, other.y1) - max(one.y0, other.y0) > slack
    ]
    width, height = figure.bbox.width, figure.bbox.height
    found += [
        f"{text!r} beyond the edge"
        for text, box in texts
        if box.x0 < -slack or box.y0 < -slack or box.x1 > width + slack or box.y1 > height + slack
    ]
    return found


def has_glyph(figure):
    """Return for each letter of a drawn figure whether the fonts of all its texts have it."""
    found = {}
    for text in figure.findobj(Text):
        families = [FontProperties(family=[family]) for family in text.get_fontfamily()]
        fonts = [get_font(fontManager.findfont(family)) for family in families]
        for letter in text.get_text():
            found[letter] = found.get(letter, True) and any(font.get_char_index(ord(letter)) for font in fonts)
    return found


def images(n, size=8):
    return list(rng.random((n, 3, size, size)))


def cycle(names, n):
    return [names[i % len(names)] for i in range(n)]


def points(names, n=202):
    return rng.random((n, 2)), np.arange(n) % len(names)


def history(n):
    return {f"{split}_{what}": rng.random(n) for split in ("train", "val", "test") for what in ("loss", "acc")}


def layers(names):
    return [(name, rng.normal(size=(10, 8, 8))) for name in names[:6]] + [(names[-1], rng.normal(size=300))]


def swept(names):
    return [{"model.activation": name, "test_loss": 0.123, "test_acc": 0.987, "test_acc_sd": 0.01} for name in names]


def slices(names):
    scores = {"n": 1234, "score": 0.5, "low": 0.4, "high": 0.6, "p_holm": 0.01}
    return [scores | {"property": name, "slice": f"{name} or more"} for name in names]


def corruptions(names):
    settings = [(1, "quality 40"), (2, "deviation 10 %"), (3, "deviation 20 %")]
    scores = {"score": 0.5, "low": -0.1, "high": 0.1}
    return [scores | {"corruption": name, "strength": i, "setting": text} for name in names for i, text in settings]


BY_NAMES = {  # figure -> how it is made of class, run or layer names
    "plot_slices": lambda names: plotting.plot_slices(slices(names), 0.7),
    "plot_robustness": lambda names: plotting.plot_robustness(
        {name: (0.7, corruptions(["jpeg", "blur", "noise", "rotation", "crop"])) for name in names[:8]}
    ),
    "plot_precision_recall": lambda names: plotting.plot_precision_recall(
        {name: ([0.0, 0.5, 1.0], [1.0, 0.9, 0.2]) for name in names},
        dict.fromkeys(names, (0.5, 0.9)),
        dict.fromkeys(names, 0.8),
    ),
    "plot_predicted_images": lambda names: plotting.plot_predicted_images(
        images(12), [f"Pred: {name} | Prob: 0.374" for name in cycle(names, 12)], names=cycle(names, 12)
    ),
    "plot_prediction_grid": lambda names: plotting.plot_prediction_grid(
        images(9), cycle(names, 9), cycle(names[::-1], 9), [0.5] * 9, names=cycle(names, 9)
    ),
    "plot_worst_errors": lambda names: plotting.plot_worst_errors(
        [*images(5), None], ["truth"] * 6, cycle(names, 6), [0.5] * 6, [12.5] * 6, names=cycle(names, 6)
    ),
    "plot_probability_bars": lambda names: plotting.plot_probability_bars(
        images(1)[0], {name: 1 / len(names) for name in names}, f"Pred: {names[0]} | Prob: 0.374"
    ),
    "plot_prediction_bars": lambda names: plotting.plot_prediction_bars(
        [*images(8), np.zeros((40, 10)), None],
        [[(name, 1 / len(names)) for name in names[i:]] for i in range(9)] + [[]],
        [f"Pred: {name} | Prob: 0.374" for name in cycle(names, 10)],
        names=cycle(names, 10),
    ),
    "plot_prediction_bars of two": lambda names: plotting.plot_prediction_bars(
        images(2), [[(name, 1.0) for name in names]] * 2, [LONG] * 2, names=[LONG] * 2
    ),
    "display_random_images": lambda names: plotting.display_random_images(
        [(image, i % len(names)) for i, image in enumerate(images(30))], names, seed=1
    ),
    "plot_image_pairs": lambda names: plotting.plot_image_pairs(
        [np.zeros((6, 9)), np.zeros((9, 6)), np.zeros((3, 30))], images(3), cycle(names, 3)
    ),
    "plot_class_balance": lambda names: plotting.plot_class_balance(
        {split: dict.fromkeys(names, 750000) for split in ("train", "val", "test")}
    ),
    "plot_class_balance of one split": lambda names: plotting.plot_class_balance({names[0]: dict.fromkeys(names, 7)}),
    "plot_points": lambda names: plotting.plot_points({"train": points(names), "test": points(names)}, names),
    "plot_points of a wide range": lambda names: plotting.plot_points(
        {names[0]: (points(names)[0] * [1000, 1], points(names)[1])}, names
    ),
    "plot_decision_regions": lambda names: plotting.plot_decision_regions(
        {"train": points(names), "test": points(names)}, lambda X: np.zeros(len(X)), names, resolution=8
    ),
    "plot_decision_regions of one split": lambda names: plotting.plot_decision_regions(
        {names[0]: points(names)}, lambda X: np.zeros(len(X)), names, resolution=8
    ),
    "plot_embedding": lambda names: plotting.plot_embedding(
        *points(names), names, wrong=np.arange(202) < 9, title=LONG, note=LONG * 2
    ),
    "plot_embedding of a wide range": lambda names: plotting.plot_embedding(
        points(names)[0] * [1, 2], points(names)[1], names, title=LONG, note=LONG
    ),
    "plot_thumbnails": lambda names: plotting.plot_thumbnails(
        points(names)[0], [(i, i / 9, 0.5) for i in range(9)], images(9), points(names)[1], names, title=LONG
    ),
    "plot_confusion_matrix": lambda names: plotting.plot_confusion_matrix(
        rng.integers(0, 60_000, (len(names), len(names))), names
    ),
    "plot_accuracy_bars": lambda names: plotting.plot_accuracy_bars(
        dict(zip(names, np.linspace(0, 1, len(names)), strict=True)), dict.fromkeys(names, (0.0, 1.0)), 0.3333
    ),
    "plot_tradeoff": lambda names: plotting.plot_tradeoff(
        names, 10 ** rng.random(len(names)), rng.random(len(names)), [(0.0, 1.0)] * len(names), note=LONG * 2
    ),
    "plot_run_curves": lambda names: plotting.plot_run_curves({name: history(5) for name in names}),
    "plot_sweep of one setting": lambda names: plotting.plot_sweep(swept(names), ["model.activation"], "test_loss"),
    "plot_sweep of two": lambda names: plotting.plot_sweep(
        [row | {"data.transform": other} for row in swept(names) for other in names[:12]],
        ["model.activation", "data.transform"],
        "test_acc",
    ),
    "plot_sweep of three": lambda names: plotting.plot_sweep(
        [row | {"optimizer.lr": 1e-3, "data.transform": row["model.activation"]} for row in swept(names)],
        ["model.activation", "data.transform", "optimizer.lr"],
        "test_loss",
    ),
    "plot_heat_maps": lambda names: plotting.plot_heat_maps(
        [rng.random((8, 12)), rng.random((8, 6)), None],
        [[rng.normal(size=(8, 12))] * 3, [rng.normal(size=(8, 6))] * 2, []],
        [cycle(names, 4), cycle(names, 3), [names[0]]],
    ),
    "plot_feature_maps": lambda names: plotting.plot_feature_maps(layers(names)),
    "plot_convolution": lambda names: plotting.plot_convolution(
        [(name, np.zeros((3 + i, max(200 >> i, 1), 200))) for i, name in enumerate(cycle(names, 7))]
    ),
}
BY_EPOCHS = {  # figure -> how it is made of so many epochs
    "plot_loss_curves": lambda n: plotting.plot_loss_curves(history(n), best_epoch=n),
    "plot_loss_curves of a loss from 1e-5 to 1e5": lambda n: plotting.plot_loss_curves(
        {"train_loss": 10.0 ** (5 - 10 * np.arange(n) / n)}
    ),
    "plot_learning_rate": lambda n: plotting.plot_learning_rate(1e-5 * np.linspace(1, 0, n)),
    "plot_learning_rate in steps": lambda n: plotting.plot_learning_rate(0.1 ** np.linspace(1, 8, n)),
    "plot_lr_search": lambda n: plotting.plot_lr_search(
        list(np.logspace(-7, 1, n)), rng.random(n), rng.random(n), np.logspace(-7, 1, n)[n // 2]
    ),
    "plot_run_curves": lambda n: plotting.plot_run_curves({"a": history(n), "b": history(n)}),
    "plot_loss_surface": lambda n: plotting.plot_loss_surface(
        np.linspace(-1e-4, 1e-4, 9), np.linspace(-9, 9, 9), rng.random((9, 9)), 1e-4 * rng.random((n, 2)), lowest=(0, 0)
    ),
}
ALONE = {
    "plot_predicted_values": lambda: plotting.plot_predicted_values(
        1e6 * rng.random(300), 1e6 * rng.random(300), mae=123456.7, r2=-0.123
    ),
    "plot_prediction_grid of portraits": lambda: plotting.plot_prediction_grid(
        [np.zeros((40, 10))] * 6, [LONG] * 6, ["W" * 60] * 6, [0.5] * 6, names=[LONG] * 6
    ),
    "plot_predicted_images of 40 strips": lambda: plotting.plot_predicted_images(
        [np.zeros((10, 90))] * 40, [LONG] * 40, names=[LONG] * 40
    ),
    "plot_image_pairs of portraits": lambda: plotting.plot_image_pairs(
        [np.zeros((40, 10))] * 2, [np.zeros((40, 10))] * 2, [LONG] * 2
    ),
    "plot_predictions": lambda: plotting.plot_predictions([1, 2], [1e6, 2e6], [3], [3e6], [4e6]),
    "plot_activations": plotting.plot_activations,
    "plot_convolution of the notes": lambda: plotting.plot_convolution(
        [
            ("image", np.zeros((3, 64, 64))),
            ("convolution 3x3, stride 1, padding 0", np.zeros((10, 62, 62))),
            ("average pooling 2x2", np.zeros((10, 31, 31))),
        ]
    ),
    "plot_activations of one": lambda: plotting.plot_activations(["softplus"]),
    "plot_reliability": lambda: plotting.plot_reliability(
        np.linspace(0, 1, 15), np.linspace(1, 0, 15), [10**6] * 15, ece=1
    ),
    "plot_coverage": lambda: plotting.plot_coverage([0.5, 1.0], [1.0, 0.5], [0.2, 0.1], [1.0, 0.9]),
    "plot_reliability of before and after": lambda: plotting.plot_reliability(
        [0.9], [0.8], [5], ece=0.1, before=([0.99], [0.8]), ece_before=0.19
    ),
    "plot_reliability of one bin": lambda: plotting.plot_reliability([0.5], [0.2], [1], ece=0.3),
    "plot_class_balance of 1,000": lambda: plotting.plot_class_balance(
        {"train": {f"{LONG}{i}": i for i in range(1000)}}
    ),
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("name", BY_NAMES)
def test_names_do_not_overlap(name, names):
    assert faults(BY_NAMES[name](NAMES[names])) == []


@pytest.mark.usefixtures("chinese_font")
@pytest.mark.parametrize("name", BY_NAMES)
def test_chinese_names_have_glyphs_and_do_not_overlap(name):
    figure = BY_NAMES[name](CHINESE)

    assert faults(figure) == []
    assert {has for letter, has in has_glyph(figure).items() if letter in "".join(CHINESE)} == {True}


@pytest.mark.parametrize("epochs", EPOCHS)
@pytest.mark.parametrize("name", BY_EPOCHS)
def test_epochs_do_not_overlap(name, epochs):
    assert faults(BY_EPOCHS[name](EPOCHS[epochs])) == []


@pytest.mark.parametrize("name", ALONE)
def test_texts_do_not_overlap(name):
    assert faults(ALONE[name]()) == []


def test_every_figure_function_is_looked_at():
    looked_at = {name.split()[0] for table in (BY_NAMES, BY_EPOCHS, ALONE) for name in table}

    assert looked_at == set(plotting.__all__) - {"save_figure"}


def test_the_check_finds_two_texts_on_each_other():
    figure = Figure()
    figure.text(0.5, 0.5, "one")
    figure.text(0.5, 0.5, "other")

    assert faults(figure) == ["'one' on 'other'"]


def test_the_check_finds_crowded_ticks():
    axis = Figure(figsize=(2, 2)).subplots()
    axis.set_xticks([0, 0.1, 1], ["first", "second", "third"])

    assert "'first' on 'second'" in faults(axis.figure)


def test_the_check_finds_a_text_beyond_the_edge():
    figure = Figure()
    figure.text(0.99, 0.5, "cut off")

    assert faults(figure) == ["'cut off' beyond the edge"]


def test_the_check_passes_what_is_apart_hidden_or_out_of_view():
    axis = Figure().subplots()
    axis.set(xlim=(0, 1), xticks=[0, 0.5, 7])
    axis.text(0.5, 0.5, "seen")
    axis.text(0.5, 0.5, "hidden", visible=False)

    assert faults(axis.figure) == []
