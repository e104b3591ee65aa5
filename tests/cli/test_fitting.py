"""A table is as narrow as the terminal: text is wrapped, the columns that matter stay."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlworkflow.cli.fitting import fitted, output_width, wrapped
from dlworkflow.cli.tables import render
from dlworkflow.files.text import display_width

RUNS = [
    {"run": "tinyvgg-pizza_steak_sushi-001", "data": "pizza_steak_sushi", "loss": "0.51234", "lr": "0.1"},
    {"run": "tinyvgg-pizza_steak_sushi-002", "data": "pizza_steak_sushi", "loss": "0.41234", "lr": "0.2"},
]
COLUMNS = {key: key for key in RUNS[0]}


def shown(rows, columns, width, first=()):
    rows, columns, _ = fitted(rows, columns, width, first)
    return render(rows, columns).split("\n")


def test_a_table_that_fits_is_left_as_it_is():
    assert fitted(RUNS, COLUMNS, 62) == (RUNS, COLUMNS, [])


@pytest.mark.parametrize("first", [(), ("loss", "lr")])
@pytest.mark.parametrize("width", [61, 40, 25])
def test_no_line_is_wider_than_the_terminal(width, first):
    assert max(map(display_width, shown(RUNS, COLUMNS, width, first))) <= width


def test_text_is_wrapped_before_a_column_is_left_out():
    assert shown([{"name": "step", "about": "Multiply the rate every few epochs"}], {"name": "", "about": ""}, 28) == [
        *("", "----  -----------------"),
        *("step  Multiply the rate", "      every few epochs"),
    ]


def test_columns_that_matter_are_kept():
    assert fitted(RUNS, COLUMNS, 45, ["lr", "loss"])[1:] == ({"run": "run", "loss": "loss", "lr": "lr"}, ["data"])


def test_a_column_in_which_rows_differ_is_kept_before_one_in_which_they_are_alike():
    rows = [{"run": "a", "same": "0.1", "lr": "0.1"}, {"run": "b", "same": "0.1", "lr": "0.2"}]

    assert fitted(rows, {key: key for key in rows[0]}, 8)[2] == ["same"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("tinyvgg-pizza_steak_sushi-001", ["tinyvgg-pizza_", "steak_sushi-001"]),
        ("Lower it to min_lr, then stop", ["Lower it to", "min_lr, then", "stop"]),
        ("W" * 20, ["W" * 15, "W" * 5]),
        ("比萨牛排寿司比萨牛排", ["比萨牛排寿司比", "萨牛排"]),
        ("", [""]),
    ],
)
def test_a_text_is_broken_where_it_can_be(text, lines):
    assert wrapped(text, 15) == lines


@settings(max_examples=60, deadline=None)
@given(text=st.text("ab_-/, 比e", max_size=30), width=st.integers(2, 12))
def test_lines_are_never_wider_and_lose_no_letter(text, width):
    lines = wrapped(text, width)

    assert all(display_width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(("given", "width"), [("72", 72), ("0", None), ("wide", None), ("", None)])
def test_without_a_terminal_only_columns_limits_the_width(given, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", given)

    assert output_width() == width


def test_a_terminal_limits_the_width(monkeypatch):
    monkeypatch.setattr("sys.stdout", SimpleNamespace(fileno=lambda: 7))
    monkeypatch.setattr("os.get_terminal_size", {7: os.terminal_size((91, 24))}.get)

    assert output_width() == 91
