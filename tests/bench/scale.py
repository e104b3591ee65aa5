"""`make bench-scale`: build data of growing size and print time and peak memory of what reads it.

Each job runs in a process of its own, so that its peak memory is its own. `--quick` stays a hundred times smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 101


def main() -> None:
    """Print a row a job and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the sizes")
    parser.add_argument("--json", action="store_true", help="print the measurements instead of the table")
    parser.add_argument("--only", default="", help="only jobs whose name holds this text")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="dlw-scale-") as folder:
        for name, build, code, sizes in JOBS:
            if asked.only not in name:
                continue
            for size in (size // 100 if asked.quick else size for size in sizes):
                place = Path(folder, f"{build.__name__}-{size}")
                if not place.exists():
                    place.mkdir()
                    build(place, size)
                rows.append({"job": name, "size": size, **measured(code, place)})
                print(f"{name}, {size:,}: {rows[-1]}", file=sys.stderr, flush=True)
    if asked.json:
        print(json.dumps(rows, indent=1))
        return
    print("| job | size | seconds | CPU | of it imports | memory above imports (MiB) |\n|---|---|---|---|---|---|")
    for row in rows:
        numbers = f"{row['seconds']:.2f} | {row['cpu']:.2f} | {row['imports']:.2f} | {row['memory']:,.0f}"
        print(f"| {row['job']} | {row['size']:,} | {numbers} |")


def measured(code: str, place: Path) -> dict[str, float]:
    """Run code in a process of its own; return its seconds, those of its imports, and the memory it adds, in MiB."""
    environment = os.environ | {"DLW_CACHE_DIR": str(place.with_name(f"{place.name}-cache")), "PLACE": str(place)}
    start = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", HEAD + code + TAIL], env=environment, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise SystemExit(answer.stderr)
    imports, memory, cpu = map(float, answer.stdout.split()[-3:])
    return {"seconds": time.perf_counter() - start, "cpu": cpu, "imports": imports, "memory": memory}


HEAD = """
import contextlib, io, os, resource, sys, time
from pathlib import Path
place, began = Path(os.environ["PLACE"]), time.perf_counter()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def started(fresh=False):
    global imports, memory
    if fresh:
        import shutil
        shutil.rmtree(os.environ["DLW_CACHE_DIR"], ignore_errors=True)
    imports, memory = time.perf_counter() - began, peak()
def dlw(*arguments):
    from dlworkflow.cli.app import main
    sys.argv = ["dlw", *arguments]
    started()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main()
"""
TAIL = """
print(imports, peak() - memory, time.process_time())
"""


def picture_folder(place: Path, n: int) -> None:
    """Lay out `n` small pictures in `train/` and `test/`, links to a few files."""
    originals = []
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        originals.append(place / f".original-{number}.jpg")
        Image.fromarray(noise).save(originals[-1])
    for index in range(n):
        split = "test" if index % 5 == 4 else "train"
        folder = place / "data" / split / f"class{index // 5 % CLASSES:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(originals[index % 8], folder / f"{index}.jpg")


def picture_csv(place: Path, n: int) -> None:
    """Write a CSV of `n` rows over a few thousand pictures."""
    picture_folder(place, min(n, 2000))
    paths = sorted(str(path.relative_to(place)) for path in (place / "data").rglob("*.jpg"))
    rows = [f"{path},class{i % 7},{'test' if i % 5 == 4 else 'train'}\n" for i, path in enumerate(paths)]
    with (place / "pictures.csv").open("w", encoding="utf-8") as stream:
        stream.write("path,label,split\n")
        stream.writelines(rows[index % len(rows)] for index in range(n))


def number_csv(place: Path, n: int) -> None:
    """Write a CSV of `n` points and a run that can predict them."""
    train(place, "circles_v2", 10)
    np.savetxt(place / "points.csv", np.random.default_rng(0).normal(size=(n, 2)), delimiter=",", fmt="%.6f")


def long_history(place: Path, n: int) -> None:
    """Train a run and write its history on to `n` epochs."""
    train(place, "circles_v2", 10)
    [run] = (place / "runs").iterdir()
    head, *_, last = (run / "history.csv").read_text(encoding="utf-8").splitlines()
    rest = last.partition(",")[2]
    lines = [head, *(f"{epoch},{rest}" for epoch in range(1, n + 1))]
    (run / "history.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def many_runs(place: Path, n: int) -> None:
    """Train a run and copy it `n` times."""
    import shutil

    train(place, "circles_v2", 100)
    [run] = (place / "runs").iterdir()
    for number in range(2, n + 1):
        shutil.copytree(run, run.with_name(f"circles_v2-circles-{number:05d}"))


def train(place: Path, model: str, epochs: int) -> None:
    """Train a run into `place/runs`."""
    command = [sys.executable, "-m", "dlworkflow", "train", model, "--epochs", str(epochs)]
    subprocess.run([*command, "--runs-dir", str(place / "runs")], check=True, capture_output=True)


LIST = """
from dlworkflow.data.datasets.image_folder import load_image_folder
started()
splits = load_image_folder(path=str(place / "data"))
"""
DECODE = """
from dlworkflow.data.datasets.image_folder import load_image_folder
started(fresh={fresh})
for part in load_image_folder(path=str(place / "data"), image_size=32).parts().values():
    part.remember()
"""
EPOCH = """
from dlworkflow.training.job import prepare
from dlworkflow.training.run import train_job
from dlworkflow.training.settings import resolve_config
started(fresh={fresh})
def on_batch(*_):
    if {first}:
        print(imports, peak() - memory, time.process_time(), flush=True)
        os._exit(0)
data = {{"name": "image_folder", "path": str(place / "data"), "image_size": 32, "batch_size": 128}}
config = resolve_config({{"model": "tinyvgg", "data": data, "recipe": "notes", "channels_last": "auto", "epochs": 1}})
train_job(prepare(config), runs_dir=place / "runs", on_batch=on_batch)
"""
IMAGES = (1_000, 10_000, 100_000)
Job = tuple[str, Callable[[Path, int], None], str, tuple[int, ...]]
JOBS: list[Job] = [
    ("list an image folder", picture_folder, LIST, IMAGES),
    ("train on it to the first batch, nothing cached", picture_folder, EPOCH.format(fresh=True, first=True), IMAGES),
    ("train an epoch, nothing cached", picture_folder, EPOCH.format(fresh=True, first=False), IMAGES),
    ("train an epoch, cached", picture_folder, EPOCH.format(fresh=False, first=False), IMAGES),
    ("decode it alone", picture_folder, DECODE.format(fresh=True), IMAGES),
    ("find it in the cache", picture_folder, DECODE.format(fresh=False), IMAGES),
    (
        "load a CSV of pictures",
        picture_csv,
        """
from dlworkflow.data.datasets.image_csv import load_image_csv
started()
load_image_csv(path=str(place / "pictures.csv"))
""",
        (10_000, 100_000, 1_000_000),
    ),
    (
        "predict a CSV of numbers",
        number_csv,
        'dlw("predict", str(place / "points.csv"), "--runs-dir", str(place / "runs"), "--format", "csv")',
        (10_000, 100_000, 1_000_000),
    ),
    (
        "show a run of many epochs",
        long_history,
        'dlw("show", "last", "--runs-dir", str(place / "runs"))',
        (1_000, 10_000, 100_000),
    ),
    (
        "plot a run of many epochs",
        long_history,
        'dlw("plot", "last", "--runs-dir", str(place / "runs"))',
        (1_000, 10_000, 100_000),
    ),
    ("compare many runs", many_runs, 'dlw("compare", "--runs-dir", str(place / "runs"))', (100, 1_000, 5_000)),
    ("list many runs", many_runs, 'dlw("runs", "--runs-dir", str(place / "runs"))', (100, 1_000, 5_000)),
]

if __name__ == "__main__":
    main()
