"""The jobs that the benchmark times, each in three ways: ours, the notes' own, and the least that it can cost.

A way prepares itself outside of the clock and returns what is timed.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import floors
import notes_way
import peers
import torch
from torch import nn, optim

from dlworkflow import data, models
from dlworkflow.config import Layer
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.protocol import all_of
from dlworkflow.engine.device import thread_count
from dlworkflow.engine.loop import evaluate, train
from dlworkflow.engine.losses import build_loss
from dlworkflow.engine.optimizers import build_optimizer
from dlworkflow.engine.tasks import get_task
from dlworkflow.inference.predictor import Predictor
from dlworkflow.training.job import prepare
from dlworkflow.training.run import run_training, train_job
from dlworkflow.training.settings import resolve_config
from dlworkflow.training.sweep.folder import Sweep
from dlworkflow.training.sweep.plan import plan_sweep
from dlworkflow.training.sweep.running import run_sweep

CORES = os.cpu_count() or 1
PHOTOS = Path(os.environ.get("DLW_DATA_DIR", "data"), "pizza_steak_sushi")

Timed = Callable[[], Any]
Way = Callable[[], Timed]


@dataclass(frozen=True)
class Measured:
    """Seconds of wall and CPU time that a process of its own has taken itself."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Workload:
    """A job in several ways, and what is asked for."""

    name: str
    ways: dict[str, Way]
    notes: float | None = None
    """Ours is at least so many times as fast as the notes' way."""
    floor: float | None = None
    """Ours takes at most so many times the floor."""
    repeats: int = 5
    about: str = ""
    scale: dict[str, float] = field(default_factory=dict)
    """Ways that do a part of the job, and by how much their time is multiplied."""
    beyond: float | None = None
    """Ours takes at most so many seconds more than the floor."""
    at_most: float | None = None
    """Ours takes at most so many seconds."""
    by_cpu: bool = False
    """Whether ratios are of CPU times."""
    learns: float = 0.0
    """Accuracy that every way has to exceed: of a job in other libraries."""

    @property
    def goals(self) -> dict[str, float]:
        """What is asked for, by name."""
        asked = {"notes": self.notes, "floor": self.floor, "beyond": self.beyond, "at_most": self.at_most}
        return {name: value for name, value in asked.items() if value is not None}


def _config(model: str, **settings: Any) -> Any:
    data_set = settings.pop("data", {})
    values = {"model": {"name": model}, **settings}
    return resolve_config([Layer(values | ({"data": data_set} if data_set else {}))])


def _new_folder() -> str:
    return tempfile.mkdtemp(prefix="dlw-bench-")


# FashionMNIST -----------------------------------------------------------------------------------------------------


def _fashion_folder() -> Path:
    """Lay the four files out as torchvision wants them, unpacked; return the root."""
    import gzip

    from dlworkflow.data.datasets.fashion_mnist import FILES, get

    root = Path(_new_folder())
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for remote in FILES:
        packed = get(offline=True) / remote.name
        (raw / remote.name.removesuffix(".gz")).write_bytes(gzip.decompress(packed.read_bytes()))
    return root


class Fashion:
    """FashionMNIST, one epoch of training and its evaluation, batches of 32."""

    def __init__(self, model: str, threads: int, **settings: Any) -> None:
        self.model, self.threads, self.settings = model, threads, settings

    def build(self) -> tuple[nn.Module, optim.Optimizer]:
        torch.manual_seed(42)
        model = models.build(self.model, (1, 28, 28), 10)
        return model, optim.SGD(model.parameters(), lr=0.1)

    def ours(self) -> Timed:
        """The whole run with its folder, on data that is there."""
        job = prepare(_config(self.model, epochs=1, averaging="batch", threads=self.threads, **self.settings))
        return lambda: [row["train_loss"] for row in train_job(job, runs_dir=_new_folder()).history()]

    def notes(self, limit: int = 0) -> Timed:
        train_loader, test_loader = notes_way.fashion_loaders(_fashion())
        model, optimizer = self.build()
        threads = self.threads if self.threads > 1 else CORES  # the course leaves torch its default

        def run() -> list[float]:
            with thread_count(threads):
                return notes_way.classify(model, train_loader, test_loader, optimizer, 1, limit)

        return run

    def floor(self) -> Timed:
        splits = data.load("fashion_mnist", offline=True)
        model, optimizer = self.build()
        torch.manual_seed(42)
        torch.empty((), dtype=torch.int64).random_()  # a loader draws twice: this, and the seed of the order
        order = torch.Generator().manual_seed(int(torch.empty((), dtype=torch.int64).random_()))
        index = torch.randperm(len(splits.train), generator=order)
        batches = [
            (X.float().div_(255), y)
            for X, y in zip(splits.train.images[index].split(32), splits.train.labels[index].split(32), strict=True)
        ]
        test = floors.batches(splits.test.images, splits.test.labels, shuffle=False)

        def run() -> list[float]:
            with thread_count(self.threads):
                return floors.classify(model, batches, test, optimizer, 1)

        return run

    @property
    def ways(self) -> dict[str, Way]:
        return {"ours": self.ours, "notes": self.notes, "floor": self.floor}


_found: dict[str, Path] = {}


def _fashion() -> Path:
    if "fashion" not in _found:
        _found["fashion"] = _fashion_folder()
    return _found["fashion"]


def _evaluation() -> dict[str, Way]:
    fashion = Fashion("fashion_mnist_v0", 1)

    def ours() -> Timed:
        model, _ = fashion.build()
        loader = make_loader(data.load("fashion_mnist", offline=True).test, 32)
        loss_fn = build_loss(get_task("multiclass"))

        def run() -> float:
            with thread_count(1):
                return evaluate(model, loader, loss_fn).acc

        return run

    def notes() -> Timed:
        model, _ = fashion.build()
        _, loader = notes_way.fashion_loaders(_fashion())
        return lambda: notes_way.evaluate(model, loader)

    def floor() -> Timed:
        model, _ = fashion.build()
        splits = data.load("fashion_mnist", offline=True)
        batches = floors.batches(splits.test.images, splits.test.labels, shuffle=False)
        return partial(_with_threads, 1, lambda: floors.evaluate(model, batches))

    return {"ours": ours, "notes": notes, "floor": floor}


def _with_threads(threads: int, run: Timed) -> Any:
    with thread_count(threads):
        return run()


# Photos -----------------------------------------------------------------------------------------------------------


class Photos:
    """TinyVGG on pizza, steak and sushi, five epochs, from the files."""

    def __init__(self, *, augment: bool = False, again: bool = False, **settings: Any) -> None:
        self.augment, self.again, self.settings = augment, again, settings

    def config(self) -> Any:
        transform = "trivial_augment" if self.augment else None
        where = {"name": "image_folder", "path": str(PHOTOS), "transform": transform}
        settings = {"recipe": "notes", "channels_last": "auto", "averaging": "batch", **self.settings}
        return _config("tinyvgg", epochs=5, threads=CORES, data=where, **settings)

    def ours(self) -> Timed:
        """Reading the folder, decoding, training and the run's folder."""
        config = self.config()
        os.environ["DLW_CACHE_DIR"] = _new_folder()
        if self.again:
            prepare(config)
        return lambda: [row["train_loss"] for row in run_training(config, runs_dir=_new_folder()).history()]

    def build(self) -> tuple[nn.Module, optim.Optimizer]:
        torch.manual_seed(42)
        model = models.build("tinyvgg", (3, 64, 64), 3)
        return model, optim.Adam(model.parameters(), lr=1e-3)

    def notes(self) -> Timed:
        model, optimizer = self.build()

        def run() -> list[float]:
            loaders = notes_way.photo_loaders(PHOTOS, self.augment)
            return _with_threads(CORES, lambda: notes_way.classify(model, *loaders, optimizer, 5))

        return run

    def floor(self) -> Timed:
        """Decode once (unless that was done before), augment where asked, train."""
        from dlworkflow.data.images.pixels import to_uint8

        model, optimizer = self.build()
        splits = data.load("image_folder", path=str(PHOTOS))

        def pixels(part: Any) -> list[Any]:
            return floors.decode(part.paths, 64)

        read = {name: pixels(part) for name, part in splits.parts().items()} if self.again else {}

        def run() -> None:
            with thread_count(CORES):
                decoded = read or {name: pixels(part) for name, part in splits.parts().items()}
                stacked = {name: torch.stack(list(map(to_uint8, found))) for name, found in decoded.items()}
                test = floors.batches(stacked["test"], splits.test.labels, shuffle=False)
                for _ in range(5):
                    batches = (
                        _augmented(decoded["train"], splits.train.labels)
                        if self.augment
                        else floors.batches(stacked["train"], splits.train.labels, shuffle=True)
                    )
                    floors.classify(model, batches, test, optimizer, 1)

        return run

    @property
    def ways(self) -> dict[str, Way]:
        return {"ours": self.ours, "notes": self.notes, "floor": self.floor}


def _augmented(pictures: list[Any], labels: torch.Tensor) -> floors.Batches:
    from torchvision import transforms

    augment, to_tensor = transforms.TrivialAugmentWide(num_magnitude_bins=31), transforms.ToTensor()
    order = torch.randperm(len(labels))
    return [
        (torch.stack([to_tensor(augment(pictures[index])) for index in part]), labels[part]) for part in order.split(32)
    ]


def _prediction() -> dict[str, Way]:
    paths = sorted(PHOTOS.rglob("*.jpg"))
    torch.manual_seed(42)
    model = models.build("tinyvgg", (3, 64, 64), 3)

    classes = ("pizza", "steak", "sushi")
    weights = Path(_new_folder(), "weights.pth")
    torch.save(model.state_dict(), weights)

    def ours() -> Timed:
        predictor = Predictor.from_weights("tinyvgg", weights, classes=classes, device="cpu")
        return lambda: [classes.index(str(found.label)) for found in predictor.predict_images(paths)]

    return {
        "ours": ours,
        "notes": lambda: lambda: notes_way.predict_one_by_one(model, paths),
        "floor": lambda: lambda: floors.decode(paths, 64),
    }


# Points -----------------------------------------------------------------------------------------------------------


class Points:
    """A small model on all points at once: the loop alone, and with `folder` the whole run."""

    def __init__(self, model: str, epochs: int, lr: float, *, folder: bool = False) -> None:
        self.model, self.epochs, self.lr, self.folder = model, epochs, lr, folder

    def job(self) -> Any:
        return prepare(_config(self.model, epochs=self.epochs))

    def ours(self) -> Timed:
        job = self.job()
        if self.folder:
            return lambda: train_job(job, runs_dir=_new_folder())
        loaders = [make_loader(part, "full") for part in (job.splits.train, job.splits.test)]
        optimizer = build_optimizer("sgd", job.model.parameters(), lr=self.lr)
        run = partial(train, job.model, *loaders, optimizer, job.loss_fn, self.epochs, task=job.task)
        return partial(_with_threads, 1, run)

    def bare(self, print_every: int, threads: int) -> Timed:
        job = self.job()
        parts = [*all_of(job.splits.train), *all_of(job.splits.test)]
        run = partial(notes_way.fit_points, job.model, job.loss_fn, parts, self.lr, self.epochs, print_every)
        return partial(_with_threads, threads, run)

    @property
    def ways(self) -> dict[str, Way]:
        return {
            "ours": self.ours,
            "notes": lambda: self.bare(10, CORES),
            "floor": lambda: self.bare(self.epochs + 1, 1),
        }


def _seeds() -> dict[str, Way]:
    """Circles V2 with 100 seeds, trained together, against one bare loop."""

    def ours() -> Timed:
        layer = Layer({"model": {"name": "circles_v2"}, "epochs": 1000, "sweep": {"seeds": 100, "vectorize": True}})
        plan, settings = plan_sweep([layer])
        return lambda: run_sweep(Sweep.create(_new_folder(), "seeds", plan), settings)

    return {"ours": ours, "floor": Points("circles_v2", 1000, 0.1).ways["floor"]}


# Beside others ----------------------------------------------------------------------------------------------------


class Neighbour:
    """A process that keeps one core busy while a way runs."""

    def __init__(self, way: Way) -> None:
        self.way = way

    def __call__(self) -> Timed:
        timed = self.way()

        def run() -> Any:
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                return timed()
            finally:
                busy.kill()
                busy.wait()

        return run


class Pair:
    """Two trainings at once, in processes of their own that start together; the time is that of the slower."""

    def __init__(self, model: str, way: str, **options: Any) -> None:
        self.member = (model, way, options)

    def __call__(self) -> Timed:
        context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads, and wait for them
        ready, go, told = context.Barrier(3), context.Event(), context.Queue()
        members = [context.Process(target=_train_when_told, args=(*self.member, ready, go, told)) for _ in range(2)]
        for member in members:
            member.start()
        ready.wait(timeout=600)

        def run() -> Measured:
            go.set()
            times = [told.get(timeout=3600) for _ in members]
            for member in members:
                member.join()
            return Measured(*map(max, zip(*times, strict=True)))

        return run


def _train_when_told(model: str, way: str, options: dict[str, Any], ready: Any, go: Any, told: Any) -> None:
    timed = getattr(Fashion(model, 1), way)(**options)
    ready.wait(timeout=600)
    go.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    timed()
    told.put((time.perf_counter() - wall, time.process_time() - cpu))


# Commands ---------------------------------------------------------------------------------------------------------


def _command(*arguments: str, cwd: str | None = None) -> Timed:
    def run() -> None:
        subprocess.run([sys.executable, *arguments], cwd=cwd, check=True, capture_output=True)

    return run


def _commands() -> list[Workload]:
    folder = _new_folder()

    def dlw(*arguments: str) -> Way:
        return lambda: _command("-m", "dlworkflow", *arguments, cwd=folder)

    def imported(package: str) -> Way:
        return lambda: _command("-c", f"import {package}")

    def photo() -> Timed:
        if not (Path(folder) / "runs").exists():
            config = _config("tinyvgg", epochs=1, data={"name": "image_folder", "path": str(PHOTOS)})
            run_training(config, runs_dir=Path(folder, "runs"))
        return _command("-m", "dlworkflow", "predict", str(next(PHOTOS.rglob("*.jpg"))), cwd=folder)

    def many(command: str, n: int) -> Timed:
        """The command over n runs, which it has read before."""
        timed = _command("-m", "dlworkflow", command, "--runs-dir", str(n), cwd=folder)
        if not (Path(folder) / str(n)).exists():
            copy_runs(Path(folder, str(n)), n)
            time.sleep(2)  # what was written just now is not yet remembered
            timed()
        return timed

    def trained(*arguments: str) -> dict[str, Way]:
        return {"ours": dlw("train", *arguments, "--epochs", "1", "--runs-dir", "t"), "floor": imported("torch")}

    def helped(*arguments: str) -> dict[str, Way]:
        return {"ours": dlw(*arguments, "--help"), "floor": imported("typer")}

    listed = {f"`dlw {command}`, {n:,} runs": partial(many, command, n) for n in (1000, 10_000) for command in _LISTS}
    return [
        Workload("`dlw --help`", helped(), floor=2, repeats=9, about="floor: import typer; CPU", by_cpu=True),
        Workload("`dlw train --help`", helped("train"), floor=3, repeats=9, about="the same", by_cpu=True),
        Workload("`dlw sweep --help`", helped("sweep"), floor=3, repeats=9, about="the same", by_cpu=True),
        *(
            Workload(name, {"ours": way}, at_most=0.25 if "10," not in name else 2.0, about="", repeats=5)
            for name, way in listed.items()
        ),
        Workload("`dlw predict`, one photo", {"ours": photo, "floor": imported("torch")}, beyond=0.8),
        Workload("`dlw train line`, an epoch", trained("line"), beyond=0.3),
        Workload("`dlw train tinyvgg --data digits`, an epoch", trained("tinyvgg", "--data", "digits"), beyond=0.5),
        Workload("`dlw train fashion_mnist_v0`, an epoch", trained("fashion_mnist_v0"), beyond=0.9),
    ]


_LISTS = ("compare", "runs")


def _without_floor(job: Fashion | Photos) -> dict[str, Way]:
    return {"ours": job.ours, "notes": job.notes}


def copy_runs(folder: Path, n: int) -> None:
    """Make `n` run folders of a real one of 100 epochs."""
    import shutil

    first = run_training(_config("circles_v2", epochs=100), runs_dir=folder)
    for number in range(2, n + 1):
        shutil.copytree(first.path, first.path.with_name(f"{first.path.name[:-4]}-{number:04d}"))


# The table --------------------------------------------------------------------------------------------------------


def all_workloads() -> list[Workload]:
    """Return every row of the table, quick ones first."""
    v0, v1, v2 = Fashion("fashion_mnist_v0", 1), Fashion("fashion_mnist_v1", 1), Fashion("fashion_mnist_v2", 2)
    limit = 40
    few = {"ours": v0.ours, "notes": partial(v0.notes, limit), "quiet": v0.ours}
    scaled = {"notes": 1875 / limit}
    return [
        *_commands(),
        Workload(
            "FashionMNIST V0, an epoch and its evaluation",
            peers.ways(_fashion),
            repeats=3,
            learns=peers.LEAST,
        ),
        Workload("line, 100 epochs", Points("line", 100, 0.01).ways, 1.0, 1.10, 9),
        Workload("blobs, 100 epochs", Points("blobs", 100, 0.1).ways, 1.0, 1.10, 9),
        Workload("circles V2, 1,000 epochs", Points("circles_v2", 1000, 0.1).ways, 1.0, 1.10, 9),
        Workload("circles V2 with its run folder", Points("circles_v2", 1000, 0.1, folder=True).ways, 1.0, 1.10, 9),
        Workload("FashionMNIST V0, an epoch", v0.ways, 7, 1.10),
        Workload("FashionMNIST V1, an epoch", v1.ways, 7, 1.10),
        Workload("circles V2, 100 seeds together", _seeds(), repeats=3, about="floor: a bare loop of one"),
        Workload("evaluation of 10,000 images", _evaluation(), 10, 1.3, 9),
        Workload(
            "V0 beside a busy process",
            {name: way if name == "quiet" else Neighbour(way) for name, way in few.items()},
            20,
            1.3,
            3,
            "floor: ours on a quiet machine; the notes' way: 40 of 1,875 batches, scaled",
            scaled,
        ),
        Workload(
            "two V0 at once",
            {"ours": Pair(v0.model, "ours"), "notes": Pair(v0.model, "notes", limit=limit), "quiet": v0.ours},
            20,
            1.3,
            3,
            "floor: ours alone; the notes' way: 40 of 1,875 batches, scaled",
            scaled,
        ),
        Workload("prediction of 300 photos", _prediction(), 2.2, 1.15, 9),
        Workload("TinyVGG on photos, first run", Photos().ways, 2.6, None),
        Workload("TinyVGG on photos, augmented", Photos(augment=True).ways, 2.2, None),
        Workload("TinyVGG on photos, cached", Photos(again=True).ways, 5.0, None),
        Workload(
            "TinyVGG on photos, cached, plain memory format", Photos(again=True, channels_last=False).ways, None, 1.05
        ),
        Workload("FashionMNIST V2, an epoch, two threads", v2.ways, 1.3, 1.05, 3),
        Workload(
            "V2 with --channels-last",
            _without_floor(Fashion("fashion_mnist_v2", 2, channels_last=True)),
            1.8,
            None,
            3,
            "its losses differ in the third digit",
        ),
    ]
