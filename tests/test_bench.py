"""`make bench` still runs: its ways call today's functions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench" / "bench.py"


@pytest.mark.slow
def test_the_benchmark_times_every_way_of_its_quick_rows():
    command = [sys.executable, BENCH, "--json", "--repeats", "1", "--only", "00 epochs"]

    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout

    rows = json.loads(printed)["workloads"]
    assert {row["name"]: sorted(row["medians"]) for row in rows} == {
        name: ["floor", "notes", "ours"]
        for name in ("line, 100 epochs", "blobs, 100 epochs", "circles V2, 1,000 epochs")
    }
