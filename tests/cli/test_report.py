"""`dlw report`: where the file goes, what it is, and what is refused before any work."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from dlworkflow.analysis.figures import Material


@pytest.fixture(autouse=True)
def empty_figures(monkeypatch):
    monkeypatch.setattr(Material, "draw", lambda self, kind: Figure((1, 1)))


@pytest.mark.usefixtures("runs")
def test_the_last_run_is_reported_into_this_folder(dlw, in_tmp):
    answer = dlw("report", "line")

    assert (answer.code, answer.out) == (0, "report.html\n")
    assert answer.err.startswith("run runs/line-line-001\n")
    assert (in_tmp / "report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("options", "file"), [(["--format", "md"], "report.md"), (["--out", "x.md"], "x.md"), (["--out", "y.htm"], "y.htm")]
)
def test_the_format_is_named_or_that_of_the_file(options, file, dlw, in_tmp):
    assert dlw("report", "line", *options).out == f"{file}\n"
    assert (in_tmp / file).read_text().startswith("<!DOCTYPE" if "htm" in file else "# line on line\n")


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--out", "none/report.html"], "dlw: cannot write 'none/report.html': No such file or directory"),
        (["--out", "runs"], "dlw: --out: a report is *.html or *.md, not 'runs'"),
        (["--out", "folder.html"], "dlw: --out: 'folder.html' is a folder; name a file in it"),
        (
            ["--out", "r.pdf"],
            "dlw: --out: a report is *.html or *.md, not 'r.pdf'; print the .html in a browser for a PDF",
        ),
        (["--out", "r.md", "--format", "html"], "dlw: --format html: contradicts --out 'r.md'; leave one out"),
        (
            ["--out", "there.html"],
            "dlw: --out: 'there.html' exists already; name another file, or replace it with --overwrite",
        ),
        (
            ["--out", "pictures.md"],
            "dlw: --out: 'pictures_files' exists already; name another file, or replace it with --overwrite",
        ),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_any_work(options, complaint, dlw, in_tmp):
    (in_tmp / "folder.html").mkdir()
    (in_tmp / "pictures_files").mkdir()
    (in_tmp / "there.html").write_text("mine")

    answer = dlw("report", "line", *options)

    assert answer.complaints == [complaint]
    assert answer.code != 0
    assert (in_tmp / "there.html").read_text() == "mine"


@pytest.mark.usefixtures("runs")
def test_an_unknown_format_is_wrong_usage(dlw):
    answer = dlw("report", "--format", "pdf")

    assert answer.code == 2
    assert "'html', 'md'" in answer.err


def test_without_a_run_the_way_to_one_is_shown(dlw, in_tmp):
    assert dlw("report").complaints == ["dlw: no run in 'runs' yet; make one with `dlw train MODEL`"]


@pytest.mark.usefixtures("runs")
def test_overwrite_replaces_a_report(dlw, in_tmp):
    (in_tmp / "report.html").write_text("old")

    assert dlw("report", "line", "--overwrite").code == 0
    assert (in_tmp / "report.html").read_text() != "old"
