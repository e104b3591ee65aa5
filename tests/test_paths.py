from __future__ import annotations

from pathlib import Path

import pytest

from dlworkflow.errors import MissingDataError
from dlworkflow.paths import matching_paths, user_path


def test_a_tilde_is_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert user_path("~/runs") == tmp_path / "runs"


def test_a_home_that_is_not_there_is_a_plain_name():
    assert user_path("~nosuchuser/x") == Path("~nosuchuser/x")


def test_a_pattern_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").touch()

    assert matching_paths("~/*.png") == [tmp_path / "a.png"]


def test_a_pattern_that_nothing_fits_is_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"no file fits '.*\*\.png'"):
        matching_paths(f"{tmp_path}/*.png")
