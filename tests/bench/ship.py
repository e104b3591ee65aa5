"""`make bench-ship`: what an exported model costs: answers from a cold start, sizes of files, requests to a server.

Trains TinyVGG on the photos for two epochs, exports it, and runs every way in turn, `--repeats` times. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import machine
from dlworkflow.data import data_folder

RUN = "tinyvgg-pizza_steak_sushi-001"


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="runs of each command (default: 7)")
    parser.add_argument("--only", default="", help="only tables whose name holds this text: predict, sizes, serve")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        photos = sorted((data_folder() / "pizza_steak_sushi").rglob("*.jpg"))
        for title, table in {
            "predict": lambda: predictions(folder, photos, asked.repeats),
            "sizes": lambda: sizes(folder),
            "serve": lambda: serving(folder, photos),
        }.items():
            if asked.only in title:
                print("\n".join([*table(), ""]), flush=True)
    print(machine())


def prepare(folder: Path) -> None:
    """Train a run and export it in every format, and as a package."""
    dlw(folder, "train", "tinyvgg", "--data", "pizza_steak_sushi", "--epochs", "2")
    for form in ("onnx", "torch", "safetensors"):
        dlw(folder, "export", RUN, "--format", form)
    dlw(folder, "export", RUN, "--package", "package")


def dlw(folder: Path, *words: str | Path) -> None:
    """Run a command of the library, which must succeed."""
    command = [sys.executable, "-m", "dlworkflow", *map(str, words)]
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)


def environment() -> dict[str, str]:
    """Return the environment of an installed package: its modules are compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def predictions(folder: Path, photos: list[Path], repeats: int) -> Iterator[str]:
    """Yield the table of seconds from the start of a command to its end, for one photo and for all."""
    predict = [sys.executable, "-m", "dlworkflow", "predict", "--run", RUN]
    ways = {
        "`dlw predict --backend torch`": [*predict, "--backend", "torch"],
        "`dlw predict` with `model.onnx`": [*predict, "--backend", "onnx"],
        "`predict.py` of the package": [sys.executable, "package/predict.py"],
    }
    times: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(repeats):
        for name, command in ways.items():
            for given in (photos[:1], photos):
                times.setdefault((name, len(given)), []).append(clocked([*command, *given], folder))
    yield f"| seconds, wall (CPU) | 1 photo | {len(photos)} photos |"
    yield "|---|---|---|"
    for name in ways:
        cells = (middle(times[name, n]) for n in (1, len(photos)))
        yield f"| {name} | {' | '.join(cells)} |"


def clocked(command: list[str | Path], folder: Path) -> tuple[float, float]:
    """Return the seconds that a command takes, and those of the CPU."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{command[:4]} ended with {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_utime + usage.ru_stime


def middle(found: list[tuple[float, float]]) -> str:
    """Return the medians of wall and CPU time as `0.40 (0.52)`."""
    wall, cpu = (statistics.median(part) for part in zip(*found, strict=True))
    return f"{wall:.2f} ({cpu:.2f})"


def sizes(folder: Path) -> Iterator[str]:
    """Yield the table of sizes."""
    run = folder / "runs" / RUN
    files = {
        "`best.pth`": [run / "best.pth"],
        "`model.onnx`": [run / "model.onnx"],
        "`model.pt2`": [run / "model.pt2"],
        "`model.safetensors` and `labels.json`": [run / "model.safetensors", run / "labels.json"],
        "the folder of `--package`": [*(folder / "package").iterdir()],
    }
    yield "| file | kB |"
    yield "|---|---|"
    for name, paths in files.items():
        yield f"| {name} | {sum(path.stat().st_size for path in paths) / 1000:,.0f} |"


def serving(folder: Path, photos: list[Path]) -> Iterator[str]:
    """Yield the tables of a server's answers, with either backend."""
    script = Path(__file__).with_name("serving.py")
    for backend in ("onnx", "torch"):
        command = [sys.executable, script, RUN, *photos, "--options", f"--backend {backend}"]
        done = subprocess.run(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{script.name} ended with {done.returncode}")
        yield from [f"`dlw serve --backend {backend}`:", "", done.stdout]


if __name__ == "__main__":
    main()
