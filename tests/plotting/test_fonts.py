"""Letters that matplotlib's font lacks are drawn with an installed one that has them."""

from __future__ import annotations

import io
import logging
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from dlworkflow.plotting import fonts, plot_confusion_matrix, plot_learning_rate, save_figure
from dlworkflow.plotting.style import new_figure, text_width

CLASSES = ["比萨", "牛排"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Start as a new process does, and leave matplotlib's settings as they were."""
    monkeypatch.setattr(fonts, "_appended", [])
    monkeypatch.setattr(fonts, "_is_reported", False)
    with matplotlib.rc_context():
        matplotlib.rcParams["font.family"] = ["sans-serif"]
        yield


@pytest.fixture
def no_fonts(monkeypatch):
    """Have no font installed but matplotlib's own."""
    monkeypatch.setattr(fonts, "_usual_family", lambda: None)
    monkeypatch.setattr(fonts, "_installed", lambda: iter([]))


@pytest.fixture
def warned():
    """Collect what matplotlib warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


@pytest.mark.usefixtures("chinese_font")
@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_chinese_names_are_written_without_a_warning(tmp_path, suffix, caplog):
    save_figure(plot_confusion_matrix(np.eye(2), CLASSES), tmp_path / f"figure.{suffix}")

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.usefixtures("chinese_font")
def test_a_title_that_a_user_adds_later_has_its_glyphs(warned):
    figure = plot_learning_rate([0.1, 0.2])
    figure.axes[0].set_title("学习率")
    figure.savefig(io.BytesIO())

    assert warned == []


@pytest.mark.usefixtures("chinese_font")
def test_axes_older_than_the_fonts_get_them_too(warned):
    axes = Figure().subplots()
    axes.set_title("训练")
    plot_confusion_matrix(np.eye(2), CLASSES, ax=axes).savefig(io.BytesIO())

    assert warned == []


@pytest.mark.usefixtures("chinese_font")
def test_a_figure_made_after_the_settings_were_reset_has_its_glyphs(warned):
    plot_confusion_matrix(np.eye(2), CLASSES)
    matplotlib.rcParams["font.family"] = ["serif"]
    plot_confusion_matrix(np.eye(2), CLASSES).savefig(io.BytesIO())

    assert warned == []


@pytest.mark.usefixtures("chinese_font")
def test_a_users_own_choice_of_font_stays_first():
    matplotlib.rcParams["font.family"] = ["monospace"]
    text_width("比萨", 9)

    assert matplotlib.rcParams["font.family"][0] == "monospace"


@pytest.mark.usefixtures("chinese_font")
def test_a_font_newer_than_matplotlibs_list_is_found(monkeypatch, warned):
    older = [entry for entry in fonts.fontManager.ttflist if not fonts._has(entry.fname, "比")]
    monkeypatch.setattr(fonts.fontManager, "ttflist", older)
    monkeypatch.setattr(fonts, "_usual_family", lambda: None)
    fonts._take_new_fonts.cache_clear()
    plot_confusion_matrix(np.eye(2), CLASSES).savefig(io.BytesIO())

    assert warned == []


def test_a_damaged_font_file_is_passed_over(tmp_path):
    (tmp_path / "damaged.ttf").write_bytes(b"no font")

    assert not fonts._has(str(tmp_path / "damaged.ttf"), "a")


def test_names_of_letters_that_every_font_has_start_no_search(monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: pytest.fail("searched"))

    assert new_figure(3, 3).draw_without_rendering() is None


@pytest.mark.usefixtures("no_fonts")
def test_without_a_font_one_line_names_the_letters_and_a_package(caplog):
    save_figure(plot_confusion_matrix(np.eye(2), CLASSES), "/dev/null")

    assert [record.getMessage() for record in caplog.records] == [
        "no installed font has 比萨: figures show boxes instead; install one, for example Debian's package "
        "fonts-noto-cjk for Chinese, Japanese and Korean"
    ]


@pytest.mark.usefixtures("no_fonts")
def test_without_a_font_matplotlib_does_not_warn_of_each_letter(warned):
    plot_confusion_matrix(np.eye(2), CLASSES).savefig(io.BytesIO())

    assert warned == []
