"""Tables on a terminal: columns are aligned by what a terminal shows, not by the number of characters."""

from __future__ import annotations

import pytest
from wcwidth import wcswidth

from dlworkflow.cli.tables import Format, print_table, render
from dlworkflow.files.text import display_width

NAMES = ["猫", "ｗｉｄｅ", "cafe\u0301", "café", "dog", "한국어", ""]


def test_every_line_of_a_table_is_aligned_by_display_width():
    rows = [{"name": name, "loss": f"{number}.5", "note": "!"} for number, name in enumerate(NAMES, start=8)]

    lines = render(rows, {"name": "类别", "loss": "损失", "note": "n"}).split("\n")

    assert len(lines) == len(rows) + 2
    assert {wcswidth(line) for line in lines} == {8 + 2 + 4 + 2 + 1}


@pytest.mark.parametrize(("text", "width"), [("", 0), ("dog", 3), ("猫狗", 4), ("e\u0301", 1), ("ü", 1)])
def test_a_text_has_the_width_that_a_terminal_gives_it(text, width):
    assert display_width(text) == width


def test_a_table_without_rows_is_its_headings():
    assert render([], {"a": "name", "b": "loss"}) == "name  loss\n----  ----"


def test_what_is_left_out_is_said_on_stderr(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "14")
    print_table([{"run": "a", "loss": "0.5", "seconds": "1.5"}], {"run": "run", "loss": "loss", "seconds": "seconds"})

    assert capsys.readouterr() == (
        "run  loss\n---  ----\na     0.5\n",
        "note    left out to fit 14 columns of the terminal: seconds; a wider terminal or `--format csv` shows every "
        "column\n",
    )


@pytest.mark.parametrize("form", [Format.md, Format.csv, Format.csv_bom, Format.json])
def test_other_formats_are_whole_on_any_terminal(form, monkeypatch, capsys):
    row = {"run": "a", "about": "word " * 20}
    monkeypatch.setenv("COLUMNS", "14")
    print_table([row], {key: key for key in row}, form)

    assert "word " * 20 in capsys.readouterr().out


def test_csv_for_excel_begins_with_a_byte_order_mark(capsysbinary):
    print_table([{"class": "比萨"}], {"class": "class"}, Format.csv_bom)

    assert capsysbinary.readouterr().out == "\ufeffclass\n比萨\n".encode()
