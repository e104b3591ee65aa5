"""Tables on a terminal: columns are aligned by what a terminal shows, not by the number of characters."""

from __future__ import annotations

import pytest
from wcwidth import wcswidth

from dlworkflow.cli.tables import display_width, render

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
