"""The notes' figures in a Jupyter kernel with its default backend: each is shown exactly once, in its cell."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow  # a kernel for each notebook

START = """
import sys
import numpy as np, torch, dlworkflow as dlw
results = {"train_loss": [1, 0.5], "test_loss": [1, 0.7], "train_acc": [0.5, 0.8], "test_acc": [0.5, 0.7]}
from PIL import Image
paths = ["0.png", "1.png"]
for path in paths:
    Image.new("RGB", (4, 4)).save(path)
X, y, model = torch.tensor([[-1.0, 0], [1, 0], [0, 0.5]]), torch.tensor([0, 1, 0]), torch.nn.Linear(2, 1)
"""
SIDE_BY_SIDE = """
plt.figure(figsize=(12, 6))
plt.subplot(1, 2, 1)
plt.title("Train")
dlw.plot_decision_boundary(model, X, y)
plt.subplot(1, 2, 2)
plt.title("Test")
dlw.plot_decision_boundary(model, X, y)
"""
WITH_PYPLOT = {  # what a cell does -> its code and how many figures it shows
    "last line": ("dlw.plot_loss_curves(results)", 1),
    "with a semicolon": ("dlw.plot_loss_curves(results);", 1),
    "not the last line": ("dlw.plot_loss_curves(results)\nprint()", 1),
    "in a loop": ("for _ in range(3):\n    dlw.plot_loss_curves(results)", 3),
    "kept": ("figure = dlw.plot_loss_curves(results)", 1),
    "kept, in the next cell": ("figure", 1),
    "kept and last line": ("figure = dlw.plot_loss_curves(results)\nfigure", 1),
    "before show": ("dlw.plot_loss_curves(results)\nplt.show()", 1),
    "after show": ("plt.show()\ndlw.plot_loss_curves(results)", 1),
    "between shows": ("plt.show()\ndlw.plot_loss_curves(results)\nplt.show()\ndlw.plot_loss_curves(results)", 2),
    "closed": ("dlw.plot_loss_curves(results)\nplt.close()", 0),
    "two kinds": ("dlw.plot_loss_curves(results)\ndlw.plot_predictions([0], [1], [2], [3])", 2),
    "on the current axes": (SIDE_BY_SIDE, 1),
    "on given axes": ("_, axes = plt.subplots()\ndlw.plot_decision_boundary(model, X, y, ax=axes)", 1),
    "boundary alone": ("dlw.plot_decision_boundary(model, X, y)", 1),
    "mlxtend's pair": ("figure, axes = dlw.plot_confusion_matrix(conf_mat=np.eye(2), figsize=(10, 7));", 1),
    "pure, last line": ("dlw.plotting.plot_loss_curves(results)", 1),
    "pure, with a semicolon": ("dlw.plotting.plot_loss_curves(results);", 0),
    "one of another cell beside one of this": ("dlw.plot_loss_curves(results)\nfigure", 2),
    "several": ("figures = dlw.plot_transformed_images(paths, np.asarray, n=2)\nfigures", 2),
    "several, in the next cell": ("figures", 2),
    "after the magic": ("%matplotlib inline\ndlw.plot_loss_curves(results)", 1),
    "a call that fails": ("dlw.plot_confusion_matrix(np.ones((2, 3)), ['a', 'b'])", 0),
    "not interactive": ("plt.ioff()\ndlw.plot_loss_curves(results)", 1),
    "interactive again": ("plt.close('all')\nplt.ion()\ndlw.plot_loss_curves(results)\nplt.tight_layout()", 1),
    "backend without a display": ("import matplotlib\nmatplotlib.use('agg')\ndlw.plot_loss_curves(results)", 1),
}
WITHOUT_PYPLOT = {
    "pure, last line": ("dlw.plotting.plot_loss_curves(results)", 1),
    "pure, kept": ("bare = dlw.plotting.plot_loss_curves(results)\nprint('matplotlib.pyplot' in sys.modules)", 0),
    "a helper": ("dlw.plot_loss_curves(results);", 1),
    "pyplot imported after the first figure": ("import matplotlib.pyplot as plt\nbare", 1),
    "and with a figure of its own": ("plt.plot([1, 2])\nbare", 2),
}


@pytest.fixture(scope="module")
def shown(run_notebook):
    """Return what each cell gives."""
    notebooks = {"with pyplot": (WITH_PYPLOT, "import matplotlib.pyplot as plt"), "without": (WITHOUT_PYPLOT, "")}
    return {
        (name, cell): given
        for name, (cells, first) in notebooks.items()
        for cell, given in zip(cells, run_notebook([START + first, *(c for c, _ in cells.values())])[1:], strict=True)
    }


@pytest.mark.parametrize("cell", WITH_PYPLOT)
def test_a_figure_is_shown_once(cell, shown):
    given = shown["with pyplot", cell]

    assert (given.figures, given.stderr) == (WITH_PYPLOT[cell][1], "")


@pytest.mark.parametrize("cell", WITHOUT_PYPLOT)
def test_a_notebook_without_pyplot_shows_figures_too(cell, shown):
    given = shown["without", cell]

    assert (given.figures, given.stderr) == (WITHOUT_PYPLOT[cell][1], "")


def test_the_librarys_figures_load_no_pyplot_in_a_notebook(shown):
    assert shown["without", "pure, kept"].text == "False\n"
