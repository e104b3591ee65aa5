"""`make bench` still runs: its ways call today's functions; and it names what got slower, not what is noisy."""

from __future__ import annotations

import json
import random
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from scipy import stats

BENCH = Path(__file__).parent / "bench" / "bench.py"
NOISE = SimpleNamespace(**runpy.run_path(str(BENCH.with_name("noise.py"))))


def drawn(seed, n, times=1.0):
    """Ratios with a noise of ten percent."""
    draw = random.Random(seed)
    return [times * draw.lognormvariate(0, 0.1) for _ in range(n)]


def test_a_row_that_got_slower_is_named():
    times, least = NOISE.times_higher(drawn(1, 5, times=1.6), drawn(2, 5))

    assert (1.4 < times < 1.8, least > 1) == (True, True)


@pytest.mark.parametrize("n", [5, 9])
def test_a_row_that_is_as_fast_is_named_one_time_in_a_hundred_at_most(n):
    named = sum(NOISE.times_higher(drawn(2 * seed, n), drawn(2 * seed + 1, n))[1] > 1 for seed in range(600))

    assert named <= 600 * 0.01 + 3 * (600 * 0.01) ** 0.5


@pytest.mark.parametrize(("n", "m"), [(3, 3), (5, 5), (5, 9)])
def test_orders_are_counted_as_the_mann_whitney_test_does(n, m):
    now, then = [10.0 + i for i in range(n)], [float(i) for i in range(m)]
    p = stats.mannwhitneyu(now, then, alternative="greater", method="exact").pvalue

    counts = NOISE._counts(n, m)

    assert counts[0] / sum(counts) == pytest.approx(p)


def test_the_interval_of_six_ratios_is_their_range_and_of_nine_leaves_out_the_outermost():
    six, nine = NOISE.ratio_of([1, 2, 3, 4, 5, 6]), NOISE.ratio_of(range(1, 10))

    assert (six.low, six.high, nine.low, nine.high) == (1, 6, 2, 8)


@pytest.mark.slow
def test_the_benchmark_times_every_way_of_its_quick_rows():
    command = [sys.executable, BENCH, "--json", "--repeats", "1", "--only", "00 epochs"]

    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout

    rows = json.loads(printed)["workloads"]
    assert {row["name"]: sorted(row["medians"]) for row in rows} == {
        name: ["floor", "notes", "ours"]
        for name in ("line, 100 epochs", "blobs, 100 epochs", "circles V2, 1,000 epochs")
    }
