"""`make bench`: time every workload in an interleaved run and print tables; `--json` prints what was measured.

Compares the ratios with those of the newest file in `history`, and names the rows that got slower; `--record` writes
the file of this version.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import noise
import peers
import torch
import torchvision
import workloads
from workloads import Measured, Workload

import dlworkflow

HISTORY = Path(__file__).parent / "history"
SLOWER = {"notes": False, "floor": True}  # ratio -> whether a higher one is slower
Times = dict[str, list[tuple[float, float]]]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the measurements instead of the tables")
    parser.add_argument("--only", default="", help="only workloads whose name holds this text")
    parser.add_argument("--repeats", type=int, help="runs of each way (default: three to nine)")
    parser.add_argument("--record", action="store_true", help="write the ratios of this version to the history")
    asked = parser.parse_args()
    results = []
    for workload in workloads.all_workloads():
        if asked.only.casefold() in workload.name.casefold():
            print(f"{workload.name} ...", file=sys.stderr, flush=True)
            results.append(measured(workload, asked.repeats or workload.repeats))
    if asked.record:
        print(f"wrote {record(results)}", file=sys.stderr)
    if asked.json:
        print(json.dumps({"machine": machine(), "workloads": results}, indent=1))
        return
    print("\n".join([*table(results), "", *table_of_peers(results), machine(), *compared(results)]))


def measured(workload: Workload, repeats: int) -> dict[str, Any]:
    """Time each way in turn, `repeats` times; return medians in seconds, wall and CPU, and the ratios of each pair."""
    times: Times = {name: [] for name in workload.ways}
    figures: dict[str, Any] = {}
    for _ in range(repeats):
        for name, way in workload.ways.items():
            timed = way()
            wall, cpu, figures[name] = clocked(timed)
            scale = workload.scale.get(name, 1.0)
            times[name].append((wall * scale, cpu * scale))
    if workload.learns and (poor := [name for name, acc in figures.items() if not acc > workload.learns]):
        raise SystemExit(f"{workload.name}: {', '.join(poor)} did not learn; it is no comparison")
    floor = next((name for name in ("floor", "quiet") if name in times), None)
    which = 1 if workload.by_cpu else 0
    pairs = {
        "notes": ratios(times, "notes", "ours", which) if "notes" in times else [],
        "floor": ratios(times, "ours", floor, which) if floor else [],
    }
    return {
        "name": workload.name,
        "about": workload.about,
        "repeats": repeats,
        "medians": {name: dict(zip(("wall", "cpu"), medians(found), strict=True)) for name, found in times.items()},
        "pairs": pairs | ({name: ratios(times, name, "ours", 0) for name in times} if workload.learns else {}),
        "above_floor": statistics.median(a[which] - b[which] for a, b in pairs_of(times, "ours", floor))
        if floor
        else None,
        "goals": workload.goals,
        "is_of_peers": bool(workload.learns),
        "same_figures": same(figures.get("ours"), figures.get("floor")),
    }


def medians(found: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Return the median of wall and of CPU times."""
    return tuple(map(statistics.median, zip(*found, strict=True)))


def pairs_of(times: Times, above: str, below: str) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the times of two ways that were measured one after the other."""
    return list(zip(times[above], times[below], strict=True))


def ratios(times: Times, above: str, below: str, which: int) -> list[float]:
    """Return the ratios of times that were measured one after the other: wall times, with `which` 1 CPU times."""
    return [a[which] / b[which] for a, b in pairs_of(times, above, below)]


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


def table(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table of all workloads but that of other libraries, as Markdown."""
    heads = ("workload", "here: wall (CPU) s", "notes", "floor", "notes / here", "here / floor")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for found in (each for each in results if not each["is_of_peers"]):
        goals, wall = found["goals"], found["medians"]["ours"]["wall"]
        cells = [f"{seconds(found['medians']['ours'])}{goal(wall, goals.get('at_most'), '≤', ' s')}"]
        cells.append(seconds(found["medians"].get("notes")))
        cells.append(seconds(found["medians"].get("floor") or found["medians"].get("quiet")))
        cells += [against(found, "notes", "≥"), against(found, "floor", "≤")]
        note = f" ({found['about']})" if found["about"] else ""
        equal = {True: "; losses of the floor", False: "; other losses", None: ""}[found["same_figures"]]
        lines.append(f"| {found['name']}{note}{equal} | " + " | ".join(cells) + " |")
    return lines if len(lines) > 2 else []


def table_of_peers(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table of the same job in other libraries, as Markdown; nothing where it was not measured."""
    lines = []
    for found in results:
        if not found["is_of_peers"]:
            continue
        lines += [f"| {found['name']} | wall (CPU) s | times ours |", "|---|---|---|"]
        for name, median in sorted(found["medians"].items(), key=lambda way: way[1]["wall"]):
            ratio = noise.ratio_of(found["pairs"][name])
            shown = "" if name == "ours" else f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
            lines.append(f"| {name} | {seconds(median)} | {shown} |")
        lines += ["", peers.versions() or "no other library is installed: `make bench-peers`", ""]
    return lines


def seconds(median: Mapping[str, float] | None) -> str:
    """Return a time as `0.57 (0.57)`."""
    return f"{median['wall']:.3g} ({median['cpu']:.3g})" if median else ""


def against(found: dict[str, Any], which: str, sign: str) -> str:
    """Return a ratio, its interval and what was asked for: as a ratio, or as seconds above the floor."""
    if not found["pairs"][which]:
        return ""
    ratio, goals = noise.ratio_of(found["pairs"][which]), found["goals"]
    text = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f}){goal(ratio.median, goals.get(which), sign)}"
    if which == "floor" and "beyond" in goals:
        text += f", {found['above_floor']:+.2f} s{goal(found['above_floor'], goals['beyond'], sign, ' s')}"
    return text


def goal(value: float, asked: float | None, sign: str, unit: str = "") -> str:
    """Return what was asked for, and whether it is missed."""
    if asked is None:
        return ""
    missed = value < asked if sign == "≥" else value > asked
    return f" {sign} {asked:g}{unit}{' **missed**' if missed else ''}"


def record(results: Sequence[dict[str, Any]]) -> Path:
    """Write the ratios of all pairs of this version, no seconds: those of another machine are not comparable."""
    HISTORY.mkdir(exist_ok=True)
    file = HISTORY / f"{dlworkflow.__version__}.json"
    then = json.loads(file.read_text(encoding="utf-8"))["ratios"] if file.exists() else {}
    now = {
        f"{found['name']}: {which}": [round(value, 4) for value in values]
        for found in results
        for which, values in found["pairs"].items()
        if values and which in SLOWER
    }
    text = json.dumps({"version": dlworkflow.__version__, "machine": machine(), "ratios": then | now}, indent=1)
    file.write_text(text + "\n", encoding="utf-8")
    return file


def compared(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return which rows are slower than in the newest file of the history by more than the noise of both."""
    files = sorted(HISTORY.glob("*.json"), key=lambda file: tuple(map(int, file.stem.split("."))))
    if not files:
        return []
    then = json.loads(files[-1].read_text(encoding="utf-8"))
    lines, n = [], 0
    for found in results:
        for which, up in SLOWER.items():
            old, new = then["ratios"].get(f"{found['name']}: {which}"), found["pairs"][which]
            if old and new:
                n += 1
                times, least = noise.times_higher(*((new, old) if up else (old, new)))
                if least > 1:
                    lines.append(f"slower than {then['version']}: {found['name']}, {times:.2f} times ({which})")
    return ["", *(lines or [f"no row of {n} is slower than {then['version']} by more than noise"])]


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
