"""The table that a notebook shows, escaped and cut where it is long, and the short repr beside it."""

from __future__ import annotations

import math
import pickle
import re
from xml.etree import ElementTree

import pytest

from dlworkflow.files.notebook import Rows, cell, html_table, named


def cells(html):
    """Return the texts of the table, a list a row, the headings first."""
    return [[part.text for part in row] for row in ElementTree.fromstring(html).iter("tr")]


def test_a_table_has_the_keys_as_headings_and_a_row_for_each_row():
    assert cells(html_table([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])) == [
        ["epoch", "loss"],
        ["1", "0.50000"],
        ["2", "0.25000"],
    ]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a & b", '"quoted"'])
def test_names_cannot_be_markup(name):
    assert cells(html_table([{name: name}], caption=name))[1] == [name]


def test_control_characters_are_escaped():
    assert "\x1b" not in html_table([{"name": "\x1b[31m"}])


def test_a_column_without_values_is_left_out():
    assert cells(html_table([{"a": 1, "b": None}, {"a": 2, "b": math.nan}]))[0] == ["a"]


def test_texts_are_aligned_to_the_left_and_numbers_as_notebooks_do():
    table = ElementTree.fromstring(html_table([{"class": "cat", "images": 1}]))

    assert [part.get("style") for part in table.iter("td")] == ["text-align: left", None]


def test_of_many_rows_the_first_and_the_last_are_shown():
    table = cells(html_table([{"n": n} for n in range(1000)]))

    assert (len(table), table[1], table[11], table[-1]) == (22, ["0"], ["..."], ["999"])


def test_a_table_without_rows_is_one():
    assert cells(html_table([])) == [[]]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (math.nan, ""), (True, "True"), (12345, "12,345"), (0.0, "0.00000"), (1e-7, "1e-07"), ("a", "a")],
)
def test_a_value_is_written_as_people_read_it(value, text):
    assert cell(value) == text


def test_named_values_are_those_that_are_there():
    assert named({"loss": 0.5, "acc": None}, ("loss", "acc", "f1")) == "loss 0.50000"


def test_the_repr_of_rows_is_a_line_a_row_of_the_columns_that_come_first():
    rows = Rows(
        [{"run": "a", "loss": 0.5, "path": "x"}, {"run": "b", "loss": 0.25, "path": "y"}], first=("run", "loss")
    )

    assert repr(rows) == "run a, loss 0.50000\nrun b, loss 0.25000"


def test_the_repr_of_many_rows_says_how_many_more_there_are():
    assert repr(Rows([{"n": n} for n in range(50)], first=["n"])).endswith("n 19\n... and 30 more")


def test_rows_are_a_list():
    rows = Rows([{"n": 1}], first=["n"])

    assert rows == [{"n": 1}]
    assert pickle.loads(pickle.dumps(rows)) == rows


def test_rows_are_shown_with_all_columns():
    assert re.search(">path</th>", Rows([{"run": "a", "path": "x"}], first=["run"])._repr_html_())
