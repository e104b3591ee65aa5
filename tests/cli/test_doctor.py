from __future__ import annotations

import json

import pytest

from dlworkflow import __version__
from dlworkflow.cli import doctor


@pytest.fixture
def found(dlw, in_tmp):
    """What doctor says of an empty folder, {what: found}."""
    answer = dlw("doctor", "--format", "json")
    assert answer.code == 0, answer.out
    return {row["what"]: row["found"] for row in json.loads(answer.out)}


def test_doctor_says_its_own_version(found):
    assert found["dlworkflow"] == __version__


def test_doctor_says_the_version_of_every_package(found):
    assert [package for package in doctor.PACKAGES if not found[package][0].isdigit()] == []


def test_doctor_names_the_processor_among_the_devices(found):
    assert "cpu" in found["devices"].split(", ")


def test_doctor_says_where_runs_and_data_are_kept(found, in_tmp):
    assert found["runs folder"] == str(in_tmp / "runs")


def test_doctor_says_how_to_get_data_that_is_not_there(dlw, in_tmp):
    assert "dlw data get pizza_steak_sushi" in dlw("doctor", "--data-dir", "nowhere").out


def test_doctor_makes_no_folder(found, in_tmp):
    assert list(in_tmp.iterdir()) == []


def test_a_missing_package_is_named_with_the_way_to_get_it_and_fails(dlw, in_tmp, monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    answer = dlw("doctor")

    assert answer.code == 1
    assert "not installed: pip install no-such-package" in answer.out


def test_a_runs_folder_that_is_a_file_is_wrong(dlw, in_tmp):
    (in_tmp / "runs").touch()

    assert dlw("doctor").code == 1
