"""What tests share: a folder of their own to work in, and data where the machine has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    """Work in an empty folder, with no DLW_ setting but the data folder."""
    for name in ("DLW_RUNS_DIR", "DLW_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def photos():
    """The real 300 photos: DLW_DATA_DIR says where they are."""
    folder = Path(os.environ.get("DLW_DATA_DIR", "data"), "pizza_steak_sushi")
    if not folder.is_dir():
        pytest.skip("no photos: set DLW_DATA_DIR to the folder that holds pizza_steak_sushi")
    return folder.resolve()
