"""`dlw guide`: the manual on the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dlworkflow import guide, models
from dlworkflow.cli.guide import _usual_language


@pytest.fixture(autouse=True)
def _english(monkeypatch):
    for key in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(key, raising=False)


def test_without_a_page_all_are_listed_with_their_titles(dlw):
    answer = dlw("guide")

    assert answer.code == 0
    assert [line.split()[0] for line in answer.out.splitlines()[2:]] == list(guide.pages())
    assert all(title in answer.out for title in guide.pages().values())


def test_a_page_is_printed_as_it_is(dlw):
    answer = dlw("guide", "transfer")

    assert (answer.code, answer.out, answer.err) == (0, guide.page("transfer"), "")


@pytest.mark.parametrize("name", guide.pages())
def test_a_terminal_of_80_columns_shows_prose_that_fits_and_code_that_can_be_copied(name, dlw, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    shown = re.sub(r"\x1b\[[\d;]*m", "", dlw("guide", name).out).splitlines()

    fences = re.findall(r"^```.*?\n(.*?)^```$", guide.page(name), re.DOTALL | re.MULTILINE)
    code = [f"    {line}".rstrip() for block in fences for line in block.splitlines()]
    prose = [line for line in shown if line not in code]
    assert set(code) <= {*shown, ""}
    assert [line for line in prose if len(line) > 80 or re.search(r"\|---|\]\(|<!--|^#|…", line)] == []


@pytest.mark.parametrize("page", ["start", "zh/start"])
def test_the_start_page_names_every_model(page):
    text = (Path(guide.__file__).parent / f"{page}.md").read_text(encoding="utf-8")

    assert [name for name in models.names() if f"`{name}`" not in text and not name.endswith("_v1")] == []


@pytest.mark.parametrize("given", ["transfr", "../start", "zh/start"])
def test_a_page_that_does_not_exist_is_wrong_usage(given, dlw):
    answer = dlw("guide", given)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"dlw: PAGE: unknown page of the guide '{given}'")
    assert "'transfer'" in answer.err or "start" in answer.err


def test_a_word_that_is_no_page_is_an_error_that_names_the_search(dlw):
    answer = dlw("guide", "mixup")

    assert (answer.code, answer.out) == (2, "")
    found = len(dlw("guide", "--search", "mixup").out.splitlines())
    assert f"`dlw guide --search mixup` finds {found} lines" in answer.err


def test_a_word_is_found_in_any_case_with_page_and_line(dlw):
    answer = dlw("guide", "--search", "MIXUP")

    assert answer.code == 0
    for line in answer.out.splitlines():
        name, number, text = line.split(":", 2)
        assert "mixup" in text.casefold()
        assert guide.page(name).splitlines()[int(number) - 1].strip() == text.strip()


def test_a_word_that_is_nowhere_is_a_failure(dlw):
    answer = dlw("guide", "--search", "quaggamussel")

    assert (answer.code, answer.out) == (1, "")
    assert "'quaggamussel'" in answer.err


@pytest.mark.parametrize("given", [("start", "--search", "mixup"), ("--search", " ")])
def test_a_search_takes_a_word_and_no_page(given, dlw):
    assert dlw("guide", *given).code == 2


def test_the_start_page_is_there_in_chinese(dlw, monkeypatch):
    chinese = guide.page("start", "zh")
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")

    assert dlw("guide", "start").out == dlw("guide", "start", "--lang", "zh").out == chinese
    assert dlw("guide", "start", "--lang", "en").out == guide.page("start") != chinese


def test_a_page_without_a_translation_is_printed_in_english_and_a_line_on_stderr_names_that(dlw):
    answer = dlw("guide", "transfer", "--lang", "zh")

    assert (answer.code, answer.out) == (0, guide.page("transfer"))
    assert "not translated" in answer.err


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "", "LC_MESSAGES": "zh_CN"}, "zh"),
    ],
)
def test_the_language_is_that_of_the_terminal(variables, language, monkeypatch):
    for key, value in variables.items():
        monkeypatch.setenv(key, value)

    assert _usual_language() == language


def test_the_commands_of_both_start_pages_exist_in_both_languages():
    assert guide.is_translated("start", "en")
    assert guide.is_translated("start", "zh")
    assert set(guide.pages("zh")) == set(guide.pages())
