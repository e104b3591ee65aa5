from __future__ import annotations

import os
from pathlib import Path

import pytest

from dlworkflow.errors import ConfigError, MissingDataError, few, unknown
from dlworkflow.files.paths import matching_paths, read_small, read_small_text, user_path


def test_a_tilde_is_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert user_path("~/runs") == tmp_path / "runs"


def test_a_home_that_is_not_there_is_a_plain_name():
    assert user_path("~nosuchuser/x") == Path("~nosuchuser/x")


def test_an_address_is_refused_as_it_was_typed():
    with pytest.raises(ConfigError, match=r"'http://x/y\.png' is an address; .* fetch it first"):
        user_path("http://x/y.png")


def test_a_pattern_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").touch()

    assert matching_paths("~/*.png") == [tmp_path / "a.png"]


def test_a_pattern_that_nothing_fits_is_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"no file fits '.*\*\.png'"):
        matching_paths(f"{tmp_path}/*.png")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OSError, match="not a regular file"):
        read_small(tmp_path / "pipe")


def test_a_file_above_the_limit_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")

    assert read_small(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="larger than the 4 bytes"):
        read_small(tmp_path / "a", 4)


def test_a_small_text_is_read_without_its_byte_order_mark_and_with_plain_line_ends(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\r\nb\rc")

    assert read_small_text(tmp_path / "a") == "a\nb\nc"


def test_a_list_of_names_shows_a_few_and_counts_the_rest():
    assert few(["a", "b"], 2) == "'a', 'b'"
    assert few(["a", "b", "c"], 2) == "'a', 'b', 'c'"
    assert few(map(str, range(101)), 2) == "'0', '1' and 99 more"


def test_an_unknown_name_among_many_is_answered_with_a_few():
    names = [f"{number:03}" for number in range(101)]

    assert unknown("class", "xyz", names).endswith("'xyz'; possible: " + ", ".join(names[:20]) + " and 81 more")
