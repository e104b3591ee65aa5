"""Sweeps on a real Dask cluster of this machine: a scheduler and two workers, each a process."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import dlworkflow
from dlworkflow.config import Layer, build_sweep_settings, from_overrides
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.registry.user_code import forget_code, use_code
from dlworkflow.runs import EvaluationSummary
from dlworkflow.training.sweep import worker
from dlworkflow.training.sweep.cluster import Cluster
from dlworkflow.training.sweep.cluster_runs import RunTasks, _own_path
from dlworkflow.training.sweep.folder import FINISHED, INTERRUPTED, Point, Sweep
from dlworkflow.training.sweep.folds import plan_folds
from dlworkflow.training.sweep.parcel import Parcel, left_parcels, pack, unpack
from dlworkflow.training.sweep.plan import plan_sweep
from dlworkflow.training.sweep.queue import Listed, SweepProgress, Work
from dlworkflow.training.sweep.running import run_sweep

SOURCE = Path(dlworkflow.__file__).parent
HIDDEN = "from dlworkflow.training.sweep import worker\nworker.sees = lambda folder, token: False\n"
DIES = """
import os, signal
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, n_outputs):
        super().__init__()
        if os.getenv("DLW_DIES"):
            os.kill(os.getpid(), signal.SIGKILL)
        self.layer = nn.Linear(in_features, n_outputs)

    def forward(self, x):
        return self.layer(x)
"""

WITHOUT = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "dlworkflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""
ELSEWHERE = "from dlworkflow.training.sweep import worker\nworker.text_of = lambda file: ''\n"
NOT_HERE = """
import os

from beside import Linear
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, n_outputs):
        super().__init__()
        assert __file__ != os.getenv("DLW_NOT_HERE"), "the user's own file was read"
        self.layer = Linear(in_features, n_outputs)

    def forward(self, x):
        return self.layer(x)
"""


class LoopbackCluster:
    """A scheduler and its workers, to be killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes = []
        self.log = (folder / "dask.log").open("wb")

    def start_scheduler(self):
        return self._start("dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def start_worker(self, *more):
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder), *more)
        return self._start("dask_worker", self.address, *options)

    def start(self, *more):
        self.start_scheduler()
        return [self.start_worker(*more) for _ in range(2)]

    def wait_for_workers(self, n=2):

        from distributed import Client  # takes a second: not for the quick tests

        with Client(self.address, timeout=30, set_as_default=False) as client:
            client.wait_for_workers(n, timeout=60)

    def _start(self, what, *options):
        command = [sys.executable, "-m", f"distributed.cli.{what}", *options, "--no-dashboard"]
        process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=os.environ | {"OMP_NUM_THREADS": "1"})
        self.processes.append(process)
        return process

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.log.close()


@pytest.fixture
def loopback(tmp_path_factory):
    with ExitStack() as ending:
        cluster = LoopbackCluster(tmp_path_factory.mktemp("cluster"))
        ending.callback(cluster.end)
        yield cluster


@pytest.fixture
def made(tmp_path):
    """Return a function that makes a sweep of so many seeds."""

    def make(*settings, name="s", sweep=None, folder="runs"):
        plan, _ = plan_sweep([from_overrides(settings), Layer({"sweep": sweep or {"seeds": 2}})])
        return Sweep.create(tmp_path / folder, name, plan)

    return make


@pytest.fixture
def code_elsewhere(loopback, tmp_path, monkeypatch):
    """Two files of code that import each other, which are not on the machines of the workers."""
    net, beside, preload = (tmp_path / "code" / name for name in ("net.py", "beside.py", "preload.py"))
    net.parent.mkdir()
    net.write_text(NOT_HERE)
    beside.write_bytes("# -*- coding: latin-1 -*-\n# größer\nfrom torch.nn import Linear\n".encode("latin-1"))
    preload.write_text(ELSEWHERE)
    with monkeypatch.context() as patch:
        patch.setenv("DLW_NOT_HERE", str(net))
        loopback.start("--preload", str(preload))
    loopback.wait_for_workers()
    use_code(net, beside)
    yield net, beside
    forget_code()


DIGITS = ("model=tinyvgg", "data=digits", "recipe=notes", "epochs=2")
LONG = ("model=tinyvgg", "data=digits", "recipe=notes", "epochs=12")


def epochs_of(sweep):
    """Return what each run's history says, by point and apart from seconds."""
    found = {}
    for run in sweep.runs():
        with (run.path / "history.csv").open() as file:
            rows = [{key: cell for key, cell in row.items() if key != "seconds"} for row in csv.DictReader(file)]
        found[run.summary().sweep["point"]] = rows
    return found


def once_it_trains(loopback, sweep, action):
    """Do something, in a thread, once two runs have three epochs each, here or on a worker."""

    def is_time():
        with suppress(FileNotFoundError):  # Dask removes folders meanwhile
            files = [file for folder in (loopback.folder, sweep.path) for file in folder.rglob("history.csv")]
            return len(files) == 2 and all(file.read_text().count("\n") > 3 for file in files)
        return False

    def wait():
        while not is_time():
            time.sleep(0.05)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def evaluations_of(sweep):
    """Return the names of the runs' files, and the content of those that an evaluation writes."""
    names = ("evaluation.json", "predictions.csv", "errors.csv", "confusion_matrix.csv")
    files = [path for path in sorted(sweep.path.rglob("*")) if path.is_file()]
    return {path.relative_to(sweep.path): path.read_bytes() if path.name in names else None for path in files}


def statuses(sweep):
    return [point.status for point in sweep.read().points]


@pytest.mark.slow
@pytest.mark.parametrize("preload", ["", HIDDEN], ids=["shared folder", "sent back"])
def test_runs_of_a_cluster_are_those_of_one_machine(loopback, made, preload):
    hide = loopback.folder / "hide.py"
    hide.write_text(preload)
    loopback.start("--preload", str(hide))
    loopback.wait_for_workers()
    here, there = made(*DIGITS, folder="here"), made(*DIGITS, folder="there")
    run_sweep(here, build_sweep_settings(Layer({"sweep": {"seeds": 2, "jobs": 1}})))

    run_sweep(there, cluster=Cluster(loopback.address))

    assert epochs_of(there) == epochs_of(here)


@pytest.mark.slow
def test_a_search_on_a_cluster_prunes_and_makes_as_many_runs_as_asked_for(loopback, made):
    loopback.start()
    loopback.wait_for_workers()
    search = {"grid": {"optimizer.lr": "1e-4..1"}, "random": 4, "sampler": "tpe"}
    sweep = made("model=circles_v2", "epochs=30", sweep=search)

    run_sweep(sweep, cluster=Cluster(loopback.address))

    assert len(statuses(sweep)) == len(sweep.runs()) == 4


@pytest.mark.slow
def test_a_stack_of_models_trains_on_one_worker(loopback, made):
    loopback.start()
    loopback.wait_for_workers()
    sweep = made("model=circles_v2", "epochs=10", sweep={"seeds": 12})

    run_sweep(sweep, cluster=Cluster(loopback.address))

    assert {run.summary().to_data().get("vectorized") for run in sweep.runs()} <= {10, 2, 12, 6}


@pytest.mark.slow
def test_workers_without_the_resources_are_named_at_once(loopback, made):
    loopback.start()
    loopback.wait_for_workers()

    with pytest.raises(ConfigError, match=r"no worker of .* offers GPU=1; start workers with: dask worker tcp"):
        Cluster(loopback.address, gpu=True).connect()


@pytest.mark.faults
@pytest.mark.parametrize("preload", ["", HIDDEN], ids=["shared folder", "sent back"])
def test_a_run_whose_worker_is_killed_ends_on_another_to_the_bit(loopback, made, preload):
    hide = loopback.folder / "hide.py"
    hide.write_text(preload)
    victim, _ = loopback.start("--preload", str(hide))
    loopback.wait_for_workers()
    here, there = made(*LONG, folder="here"), made(*LONG, folder="there")
    run_sweep(here, build_sweep_settings(Layer({"sweep": {"seeds": 2, "jobs": 1}})))
    killing = once_it_trains(loopback, there, victim.kill)

    run_sweep(there, cluster=Cluster(loopback.address))
    killing.join()

    assert epochs_of(there) == epochs_of(here)


@pytest.mark.faults
def test_a_scheduler_that_is_killed_and_started_again_repeats_nothing(loopback, made):
    notes = []
    loopback.start()
    loopback.wait_for_workers()
    here, there = made(*LONG, folder="here"), made(*LONG, folder="there")
    run_sweep(here, build_sweep_settings(Layer({"sweep": {"seeds": 2, "jobs": 1}})))

    def restart():
        loopback.processes[0].kill()
        time.sleep(3)
        loopback.start()

    killing = once_it_trains(loopback, there, restart)

    run_sweep(there, cluster=Cluster(loopback.address, on_note=notes.append))
    killing.join()

    assert (epochs_of(there), len(there.runs())) == (epochs_of(here), 2)


@pytest.mark.faults
@pytest.mark.parametrize("preload", ["", HIDDEN], ids=["shared folder", "sent back"])
def test_ctrl_c_leaves_a_sweep_that_resumes_to_the_bit(loopback, made, preload):
    hide = loopback.folder / "hide.py"
    hide.write_text(preload)
    loopback.start("--preload", str(hide))
    loopback.wait_for_workers()
    here, there = made(*LONG, folder="here"), made(*LONG, folder="there")
    run_sweep(here, build_sweep_settings(Layer({"sweep": {"seeds": 2, "jobs": 1}})))
    once_it_trains(loopback, there, lambda: os.kill(os.getpid(), signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        run_sweep(there, cluster=Cluster(loopback.address))
    stopped = statuses(there)
    run_sweep(there, cluster=Cluster(loopback.address))

    assert INTERRUPTED in stopped  # the other may have ended before
    assert set(stopped) <= {INTERRUPTED, FINISHED}
    assert epochs_of(there) == epochs_of(here)


@pytest.mark.faults
def test_a_training_that_is_killed_is_a_row_with_its_reason(loopback, made, tmp_path):
    (tmp_path / "killer.py").write_text(DIES)
    os.environ["DLW_DIES"] = "1"
    try:
        loopback.start()
        loopback.wait_for_workers()
    finally:
        del os.environ["DLW_DIES"]
    sweep = made(f"model={tmp_path / 'killer.py'}:Net", "data=circles", "epochs=2")

    run_sweep(sweep, cluster=Cluster(loopback.address))

    assert {point.reason for point in sweep.read().points} == {
        "its process was killed by SIGKILL; out of memory? try a higher --task-cores"
    }


@pytest.mark.slow
def test_runs_of_code_that_workers_do_not_have_name_the_file_of_the_user(loopback, made, code_elsewhere):
    sweep = made(f"model={code_elsewhere[0]}:Net", "data=circles", "epochs=2")

    run_sweep(sweep, cluster=Cluster(loopback.address))

    assert [run.summary().code[0]["path"] for run in sweep.runs()] == [str(code_elsewhere[0])] * 2


@pytest.mark.slow
def test_evaluations_of_code_that_workers_do_not_have(loopback, made, code_elsewhere):
    sweep = made(f"model={code_elsewhere[0]}:Net", "data=circles", "epochs=2")
    run_sweep(sweep, build_sweep_settings(Layer({"sweep": {"seeds": 2, "jobs": 1}})))
    code = [word for file in code_elsewhere for word in ("--code", str(file))]
    command = [sys.executable, "-m", "dlworkflow", "evaluate", str(sweep.path), "--each", *code]

    subprocess.run([*command, "--cluster", loopback.address], check=True)

    assert all(run.found(EvaluationSummary) is not None for run in sweep.runs())


@pytest.mark.slow
@pytest.mark.parametrize("preload", ["", HIDDEN], ids=["shared folder", "sent back"])
def test_evaluations_on_a_cluster_are_those_of_one_machine(loopback, made, preload):
    hide = loopback.folder / "hide.py"
    hide.write_text(preload)
    loopback.start("--preload", str(hide))
    loopback.wait_for_workers()
    here = made(*DIGITS, folder="here")
    run_sweep(here, build_sweep_settings(Layer({"sweep": {"seeds": 2, "jobs": 1}})))
    there = Sweep(Path(shutil.copytree(here.path, here.path.parent.parent / "there" / here.name)))

    for sweep, more in ((here, []), (there, ["--cluster", loopback.address])):
        command = [sys.executable, "-m", "dlworkflow", "evaluate", str(sweep.path), "--each", *more]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})

    assert evaluations_of(there) == evaluations_of(here)


@pytest.mark.slow
def test_an_evaluation_that_fails_on_a_worker_is_a_row_with_its_reason(loopback, made):
    loopback.start()
    loopback.wait_for_workers()
    sweep = made("model=circles_v2", "epochs=1")
    run_sweep(sweep, build_sweep_settings(Layer({"sweep": {"seeds": 2, "jobs": 1}})))
    sweep.runs()[0].weights_path().write_bytes(b"")
    command = [sys.executable, "-m", "dlworkflow", "evaluate", str(sweep.path), "--each", "--format", "json"]

    ended = subprocess.run([*command, "--cluster", loopback.address], capture_output=True, text=True, check=False)

    broken, whole = json.loads(ended.stdout)
    assert (ended.returncode, "best.pth" in broken["reason"], whole["reason"]) == (1, True, None)


@pytest.mark.slow
def test_folds_on_a_cluster_are_those_of_one_machine(loopback, tmp_path):
    loopback.start()
    loopback.wait_for_workers()
    layers = [from_overrides(DIGITS)]
    here, there = (Sweep.create(tmp_path, name, plan_folds(layers, folds=2)[0]) for name in ("here", "there"))
    run_sweep(here, build_sweep_settings(Layer({"sweep": {"jobs": 1}})))

    run_sweep(there, cluster=Cluster(loopback.address))

    assert epochs_of(there) == epochs_of(here)


def test_dask_is_imported_only_for_a_cluster():
    pattern = re.compile(r"^\s*(import|from) (distributed|dask)\b", re.MULTILINE)
    found = [path.stem for path in SOURCE.rglob("*.py") if pattern.search(path.read_text(encoding="utf-8"))]

    assert sorted(found) == ["cluster", "scheduler", "worker"]


@pytest.mark.parametrize("given", ["nowhere", "", "http://localhost:8786"])
def test_what_is_no_address_is_named(given):
    with pytest.raises(ConfigError, match=f"'{given}' is no address of a scheduler and no file; give tcp://HOST:8786"):
        Cluster(given)


@pytest.mark.parametrize("text", ["", "text", "[]", "{}", '{"address": 5}'])
def test_a_file_that_is_no_scheduler_file_is_named(tmp_path, text):
    (tmp_path / "file").write_text(text)

    with pytest.raises(ConfigError, match=r"file' is no scheduler file: .*; make one with: dask scheduler"):
        Cluster(str(tmp_path / "file"))


def test_a_task_takes_cores_or_a_gpu():
    with pytest.raises(ConfigError, match="contradicts"):
        Cluster("tcp://127.0.0.1:1", cores=2, gpu=True)


def test_other_versions_are_named_with_ours():
    assert worker.other_versions({"torch": "2.7", "Python": "3.11"}, {"torch": "2.6", "Python": "3.11"}) == (
        "torch 2.6 (here 2.7)"
    )


@pytest.mark.slow
def test_a_worker_without_dlworkflow_is_named_with_what_to_install(loopback):
    without = loopback.folder / "without.py"
    without.write_text(WITHOUT)
    loopback.start_scheduler()
    loopback.start_worker("--preload", str(without))
    loopback.wait_for_workers(1)

    with pytest.raises(RunError, match=r"worker tcp://\S+ has no dlworkflow; there: pip install"):
        Cluster(loopback.address).connect()


def test_a_task_that_was_left_behind_is_found_with_its_runs(made):
    sweep = made("model=circles_v2", "epochs=1")
    plan = sweep.read()
    plan.points[0].run = "s-001-001"
    (sweep.path / "s-001-001").mkdir()
    Parcel.make(sweep, plan, Work(plan.points[:1]))

    points = [point for parcel in left_parcels(sweep) for point in parcel.adopt()]

    assert (points, [path.name for path in sweep.path.glob("s-*")]) == (
        [Point(1, {}, 42, run="s-001-001")],
        ["s-001-001"],
    )


def test_a_run_from_a_worker_gets_the_next_free_name(made):
    sweep = made("model=circles_v2", "epochs=1")
    plan = sweep.read()
    parcel = Parcel.make(sweep, plan, Work(plan.points[1:]))
    for folder in (sweep.path, parcel.small.path):
        (folder / "s-001-001").mkdir()
    small = parcel.small.read()
    small.points[0].run = "s-001-001"
    parcel.small.write(small)

    assert parcel.adopt()[0].run == "s-001-002"


def test_an_archive_holds_all_files_of_a_folder(tmp_path):
    (tmp_path / "a" / "plots").mkdir(parents=True)
    (tmp_path / "a" / "plots" / "x.png").write_bytes(b"x")

    unpack(pack(tmp_path / "a"), tmp_path / "b")

    assert (tmp_path / "b" / "plots" / "x.png").read_bytes() == b"x"


def test_a_run_on_other_data_than_the_first_is_noticed(made):
    sweep = made("model=circles_v2", "epochs=1")
    plan, _ = run_sweep(sweep, build_sweep_settings(Layer({"sweep": {"seeds": 2, "jobs": 1}})))
    other = sweep.run(plan.points[1].run)
    other.add_fingerprints(dict.fromkeys(other.data_fingerprints(), "0" * 64))
    tasks = RunTasks(SweepProgress(sweep, plan, Listed([])))

    assert "its data differs from that of s-001-001" in tasks._other_data(plan.points[1])


@pytest.mark.slow
def test_weights_of_100_megabytes_come_back(loopback, tmp_path):
    from distributed import Client

    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "best.pth").write_bytes(os.urandom(100_000_000))
    loopback.start()
    loopback.wait_for_workers()

    with Client(loopback.address, timeout=30, set_as_default=False) as client:
        there = client.scatter(pack(tmp_path / "here"))
        back = client.submit(bytes, there).result(timeout=60)
    unpack(back, tmp_path / "back")

    assert (tmp_path / "back" / "best.pth").read_bytes() == (tmp_path / "here" / "best.pth").read_bytes()


def test_a_task_that_is_still_trained_is_left_where_it_is(made):
    sweep = made("model=circles_v2", "epochs=1")
    plan, _ = run_sweep(sweep, build_sweep_settings(Layer({"sweep": {"seeds": 2, "jobs": 1}})))
    parcel = Parcel.make(sweep, plan, Work(plan.points[:1]))

    with parcel.small.runs()[0].locked(), pytest.raises(RunError, match=r"still trains s-001-001 .* resume then"):
        left_parcels(sweep)


def test_a_copy_of_code_is_told_by_its_place_among_the_named_files(tmp_path, forget):
    files = [tmp_path / "a" / "net.py", tmp_path / "b" / "net.py"]
    for file in files:
        file.parent.mkdir()
        file.write_text("")
        use_code(file)

    assert worker.places_of(list(map(str, files))) == {str(file): file.relative_to(tmp_path) for file in files}
    assert _own_path("/elsewhere/code/a/net.py") == str(files[0])
    assert _own_path("/elsewhere/code/b/net.py") == str(files[1])
    assert _own_path("/elsewhere/other.py") == "/elsewhere/other.py"
