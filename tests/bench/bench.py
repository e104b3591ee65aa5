"""`make bench`: time every workload in an interleaved run and print one table; `--json` prints what was measured."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
import workloads
from workloads import Measured, Workload

import dlworkflow


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the measurements instead of the table")
    parser.add_argument("--only", default="", help="only workloads whose name holds this text")
    parser.add_argument("--repeats", type=int, help="runs of each way (default: three to nine)")
    asked = parser.parse_args()
    results = []
    for workload in workloads.all_workloads():
        if asked.only.casefold() in workload.name.casefold():
            print(f"{workload.name} ...", file=sys.stderr, flush=True)
            results.append(measured(workload, asked.repeats or workload.repeats))
    if asked.json:
        print(json.dumps({"machine": machine(), "workloads": results}, indent=1))
        return
    print("\n".join([*table(results), "", machine()]))


def measured(workload: Workload, repeats: int) -> dict[str, Any]:
    """Time each way in turn, `repeats` times; return medians in seconds, wall and CPU, and the ratios."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in workload.ways}
    figures: dict[str, Any] = {}
    for _ in range(repeats):
        for name, way in workload.ways.items():
            timed = way()
            wall, cpu, figures[name] = clocked(timed)
            scale = workload.scale.get(name, 1.0)
            times[name].append((wall * scale, cpu * scale))
    medians = {
        name: {"wall": statistics.median(wall for wall, _ in found), "cpu": statistics.median(cpu for _, cpu in found)}
        for name, found in times.items()
    }
    floor = "floor" if "floor" in times else "quiet" if "quiet" in times else None
    ratio = {
        "notes": ratio_of(times, "notes", "ours") if "notes" in times else None,
        "floor": ratio_of(times, "ours", floor) if floor else None,
    }
    return {
        "name": workload.name,
        "about": workload.about,
        "repeats": repeats,
        "medians": medians,
        "ratio": ratio,
        "asked": {"notes": workload.notes, "floor": workload.floor},
        "same_figures": same(figures.get("ours"), figures.get("floor")),
    }


def ratio_of(times: dict[str, list[tuple[float, float]]], above: str, below: str) -> float:
    """Return the median of the ratios of wall times of runs that lay side by side."""
    return statistics.median(a / b for (a, _), (b, _) in zip(times[above], times[below], strict=True))


def clocked(timed: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return seconds of wall time and of CPU time, children's too, and what came out."""

    def cpu() -> float:
        return sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )

    before, start = cpu(), time.perf_counter()
    came_out = timed()
    if isinstance(came_out, Measured):
        return came_out.wall, came_out.cpu, None
    return time.perf_counter() - start, cpu() - before, came_out


def same(ours: Any, others: Any) -> bool | None:
    """Tell whether two ways gave the same losses, to the bit; None where they give none."""
    numbers = all(isinstance(found, list) and found and isinstance(found[0], float) for found in (ours, others))
    return bool(ours == others) if numbers else None


def table(results: list[dict[str, Any]]) -> list[str]:
    """Return the table as Markdown."""
    heads = ("workload", "ours: wall (CPU) s", "the notes' way", "floor", "faster than the notes", "of the floor")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for found in results:
        cells = [seconds(found["medians"].get(way)) for way in ("ours", "notes")]
        cells.append(seconds(found["medians"].get("floor") or found["medians"].get("quiet")))
        cells.append(against(found["ratio"]["notes"], found["asked"]["notes"], "x", "at least "))
        cells.append(against(found["ratio"]["floor"], found["asked"]["floor"], "", "at most "))
        note = f" ({found['about']})" if found["about"] else ""
        equal = {True: "; losses those of the floor", False: "; other losses", None: ""}[found["same_figures"]]
        lines.append(f"| {found['name']}{note}{equal} | " + " | ".join(cells) + " |")
    return lines


def seconds(median: dict[str, float] | None) -> str:
    """Return a time as `0.57 (0.57)`."""
    return f"{median['wall']:.3g} ({median['cpu']:.3g})" if median else ""


def against(ratio: float | None, asked: float | None, sign: str, word: str) -> str:
    """Return a ratio beside what was asked for."""
    if ratio is None:
        return ""
    return f"{ratio:.2f}{sign}" + (f" ({word}{asked:g}{sign})" if asked else "")


def machine() -> str:
    """Return what the numbers depend on."""
    load = os.getloadavg()[0]
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, dlworkflow {dlworkflow.__version__}; "
        f"medians of interleaved runs; load at the end {load:.1f}"
    )


if __name__ == "__main__":
    main()
