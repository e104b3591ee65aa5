"""Real processes that train one run together, over gloo: they equal one process, and end together whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dlworkflow.config import from_flags, from_overrides
from dlworkflow.errors import ConfigError
from dlworkflow.runs import Run
from dlworkflow.training import distributed
from dlworkflow.training.distributed.training import run_of
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config

PATIENCE = 120
NOTES = ("--recipe", "notes")
DIGITS = ["train", "fashion_mnist_v0", *NOTES, "--data", "digits", "--set", "data.shuffle=true"]
LONG = ["train", "circles_v2", "--set", "data.batch_size=100", "--epochs", "5000"]

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are looked up in /proc")


def start(folder, *arguments, module=("dlworkflow",), **environment):
    return subprocess.Popen(
        [sys.executable, "-m", *module, *arguments],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def dlw(folder, *arguments):
    """Run `dlw` to its end; return what it printed and complained of. Fails unless it exits with 0."""
    process = start(folder, *arguments)
    out, complaints = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, complaints
    return out, complaints


def until_epoch(process, number):
    for line in process.stdout:
        if line.startswith("epoch") and int(line.split()[1].partition("/")[0]) >= number:
            return
    pytest.fail(f"it ended before epoch {number}: {process.stderr.read()}")


def workers_of(process):
    """Return the process ids of what a launcher started, in the order of their ranks."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())


def have_ended(pids):
    """Wait until none of the processes is there any more; tell whether that came true."""
    deadline = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def settings(model, *pairs, epochs):
    return resolve_config(
        [from_flags({"model.name": ("MODEL", model), "epochs": ("--epochs", epochs)}), from_overrides(pairs)]
    )


def content(run):
    """Return the history without seconds, and the weights best and last."""
    history = [{key: value for key, value in row.items() if key != "seconds"} for row in run.history()]
    return history, [torch.load(run.weights_path(which), weights_only=True) for which in ("best", "last")]


def assert_close(run, other, tolerance=1e-5):
    """Compare histories and weights of two runs but for the rounding of sums."""
    (history, weights), (history2, weights2) = content(run), content(other)
    for row, row2 in zip(history, history2, strict=True):
        assert row == pytest.approx(row2, abs=tolerance)
    for mine, others in zip(weights, weights2, strict=True):
        assert all(torch.allclose(mine[name], others[name], atol=tolerance) for name in mine)


@pytest.mark.slow
def test_two_processes_equal_one_and_one_resumes_the_run_of_two(tmp_path):
    dlw(tmp_path, *DIGITS, "--epochs", "4", "--name", "one")
    out, complaints = dlw(tmp_path, *DIGITS, "--epochs", "2", "--name", "two", "--processes", "2")
    run = Run(tmp_path / "runs" / "two-001")

    assert out.count("epoch 1/2 ") == complaints.count("2 processes (gloo)") == 1
    assert (run.summary().processes, run.environment()["processes"], run.summary().backend) == (2, 2, "gloo")
    dlw(tmp_path, "train", "--resume", "two-001", "--epochs", "4")
    assert_close(run, Run(tmp_path / "runs" / "one-001"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [("accumulate=4", "clip_norm=0.5", "schedule=one_cycle"), ("mixup=0.3", "cutmix=1.0", "loss_weights=balanced")],
)
def test_two_processes_gather_and_blend_batches_as_one_does(tmp_path, settings):
    arguments = [*DIGITS, "--epochs", "2", "--set", *" --set ".join(settings).split()]

    dlw(tmp_path, *arguments, "--name", "one")
    dlw(tmp_path, *arguments, "--name", "two", "--processes", "2")

    assert_close(*(Run(tmp_path / "runs" / name) for name in ("one-001", "two-001")))


@pytest.mark.slow
def test_two_processes_go_on_with_the_run_of_one(tmp_path):
    whole = run_training(settings("circles_v2", "data.batch_size=64", epochs=6), runs_dir=tmp_path / "whole")
    run = run_training(settings("circles_v2", "data.batch_size=64", epochs=3), runs_dir=tmp_path / "runs")

    dlw(tmp_path, "train", "--resume", run.name, "--epochs", "6", "--processes", "2")

    assert_close(run, whole)


@pytest.mark.slow
def test_two_processes_equal_one_on_photos_of_which_one_is_left_alone(tmp_path, photos):
    more = ["--set", "data.transform=none", "--set", "averaging=batch", "--epochs", "2"]
    arguments = ["train", "tinyvgg", *NOTES, "--data", str(photos), "--optimizer", "sgd", "--lr", "0.05", *more]

    dlw(tmp_path, *arguments, "--name", "one", "--threads", "1")  # as each of the two has: convolutions drift with them
    dlw(tmp_path, *arguments, "--name", "two", "--processes", "2")

    assert_close(*(Run(tmp_path / "runs" / name) for name in ("one-001", "two-001")))


def assert_resumes_to_the_bit(tmp_path, arguments):
    """Check that two epochs in one go and in two are the same run, with these arguments of two processes."""
    dlw(tmp_path, *arguments, "--epochs", "2", "--name", "whole")
    dlw(tmp_path, *arguments, "--epochs", "1", "--name", "parted")
    dlw(tmp_path, "train", "--resume", "parted-001", "--epochs", "2", "--processes", "2")

    (history, weights), (history2, weights2) = (
        content(Run(tmp_path / "runs" / f"{name}-001")) for name in ("whole", "parted")
    )
    assert history == history2
    for mine, other in zip(weights, weights2, strict=True):
        assert all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.slow
def test_dropout_and_augmentation_on_two_processes_resume_to_the_bit(tmp_path):
    arguments = [
        "train",
        "improved_tinyvgg",
        *NOTES,
        "--data",
        "digits",
        "--set",
        "data.transform=flip",
        "--processes",
        "2",
    ]

    assert_resumes_to_the_bit(tmp_path, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_count_every_sample_of_uneven_shards_once(tmp_path, pet_shards, workers):
    still = ["--optimizer", "sgd", "--lr", "1e-30"]  # weights that stay: losses are then those of the samples alone
    more = ["--set", "data.image_size=16", "--batch-size", "4", "--val-fraction", "0.3", "--epochs", "2"]
    arguments = [
        "train",
        "tinyvgg",
        *NOTES,
        "--data",
        str(pet_shards),
        *still,
        *more,
        "--set",
        f"data.num_workers={workers}",
    ]

    dlw(tmp_path, *arguments, "--name", "one", "--threads", "1")
    dlw(tmp_path, *arguments, "--name", "two", "--processes", "2")

    assert_close(*(Run(tmp_path / "runs" / f"{name}-001") for name in ("one", "two")), tolerance=1e-6)


@pytest.mark.slow
def test_two_processes_resume_mixed_batches_to_the_bit(tmp_path):
    arguments = [
        "train",
        "tinyvgg",
        *NOTES,
        "--data",
        "digits",
        "--set",
        "mixup=0.4",
        "--set",
        "cutmix=1",
        "--set",
        "accumulate=3",
    ]

    assert_resumes_to_the_bit(tmp_path, [*arguments, "--processes", "2"])


@pytest.mark.slow
def test_two_processes_resume_on_shards_to_the_bit(tmp_path, pet_shards):
    more = ["--set", "data.image_size=16", "--batch-size", "4", "--set", "data.transform=flip", "--processes", "2"]
    arguments = ["train", "tinyvgg", *NOTES, "--data", str(pet_shards), *more]

    assert_resumes_to_the_bit(tmp_path, arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["train", "tinyvg"], 2, "dlw: MODEL: unknown model 'tinyvg'; did you mean 'tinyvgg'?"),
        (["train", "line_v2", "--lr", "1e30", "--set", "loss=mse", "--batch-size", "10"], 1, "dlw: the training loss"),
    ],
)
def test_what_fails_on_all_processes_is_told_once(tmp_path, arguments, code, complaint):
    process = start(tmp_path, *arguments, "--processes", "2")

    _, complaints = process.communicate(timeout=PATIENCE)

    assert process.returncode == code
    assert [line for line in complaints.splitlines() if line.startswith("dlw: ")] == [
        line for line in complaints.splitlines() if line.startswith(complaint)
    ]
    assert complaints.count(complaint) == 1


@needs_proc
@pytest.mark.faults
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_job_with_the_command_that_resumes(tmp_path, rank):
    process = start(tmp_path, *LONG, "--processes", "2")
    until_epoch(process, 5)
    time.sleep(1.2)  # a state is written every second
    workers = workers_of(process)

    os.kill(workers[rank], signal.SIGKILL)
    _, complaints = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    command = "dlw train --resume runs/circles_v2-circles-001"
    last = complaints.splitlines()[-1]
    assert last == f"dlw: process {rank} of 2 was killed (SIGKILL); resume with: {command}"
    assert have_ended(workers)
    n = len(Run(tmp_path / "runs" / "circles_v2-circles-001").history())
    dlw(tmp_path, *command.split()[1:], "--epochs", f"{n + 2}", "--processes", "2")


@needs_proc
@pytest.mark.faults
@pytest.mark.parametrize("rank", [0, 1])
def test_a_stopped_process_is_ended_and_the_last_line_says_how_to_go_on(tmp_path, rank):
    process = start(tmp_path, *LONG, "--processes", "2", DLW_TIMEOUT="30")
    until_epoch(process, 5)
    time.sleep(1.2)  # a state is written every second
    workers = workers_of(process)

    os.kill(workers[rank], signal.SIGSTOP)
    _, complaints = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert f"process {rank} of 2 was stopped for 10 s and is ended" in complaints
    last = complaints.splitlines()[-1]
    command = "dlw train --resume runs/circles_v2-circles-001"
    assert last == f"dlw: process {rank} of 2 was killed (SIGKILL); resume with: {command}"
    assert have_ended(workers)


HANGS = """import signal, time
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(20))"""


@needs_proc
@pytest.mark.faults
def test_a_process_that_hangs_is_named_after_the_time_out(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HANGS)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = start(tmp_path, *LONG, "--processes", "2", DLW_TIMEOUT="3", PYTHONPATH=path)
    until_epoch(process, 5)
    workers = workers_of(process)

    os.kill(workers[1], signal.SIGUSR1)
    _, complaints = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    last = complaints.splitlines()[-1]
    command = "dlw train --resume runs/circles_v2-circles-001"
    assert last == f"dlw: process 1 of 2 has ended or does not respond; resume with: {command}"
    assert have_ended(workers)


@needs_proc
@pytest.mark.faults
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_processes_after_the_same_epoch_with_its_code(tmp_path, number, code):
    process = start(tmp_path, *LONG, "--processes", "2")
    until_epoch(process, 5)
    workers = workers_of(process)

    process.send_signal(number)
    _, complaints = process.communicate(timeout=PATIENCE)

    assert process.returncode == code
    assert complaints.count("resume with: dlw train --resume runs/circles_v2-circles-001") == 1
    assert "Traceback" not in complaints
    assert have_ended(workers)
    run = Run(tmp_path / "runs" / "circles_v2-circles-001")
    assert run.summary().status == "interrupted"
    assert torch.load(run.state_path, weights_only=True)["epochs_done"] == len(run.history()) >= 5


@needs_proc
@pytest.mark.faults
def test_a_killed_launcher_leaves_a_whole_run_and_no_orphans(tmp_path):
    process = start(tmp_path, *LONG, "--processes", "2")
    until_epoch(process, 5)
    workers = workers_of(process)

    process.kill()
    process.communicate(timeout=PATIENCE)

    assert have_ended(workers)
    assert Run(tmp_path / "runs" / "circles_v2-circles-001").summary().status == "interrupted"


@needs_proc
@pytest.mark.faults
def test_processes_that_torchrun_starts_anew_go_on_with_the_same_run(tmp_path):
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "-m"]
    process = start(tmp_path, *LONG[:-1], "60", module=(*torchrun, "dlworkflow"))
    until_epoch(process, 5)

    os.kill(workers_of(process)[1], signal.SIGKILL)
    process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    [run] = [Run(path) for path in (tmp_path / "runs").iterdir()]
    whole = run_training(settings("circles_v2", "data.batch_size=100", epochs=60), runs_dir=tmp_path / "whole")
    assert_close(run, whole)


def test_more_processes_than_the_machine_has_room_for_are_refused():
    with pytest.raises(ConfigError, match=r"^processes: from 1 to \d+ on this machine, not 4096"):
        distributed.launch(4096, ["train", "line"])


@pytest.mark.parametrize("given", ["soon", "0", "nan"])
def test_a_time_out_that_is_none_is_refused_before_anything_starts(monkeypatch, given):
    monkeypatch.setenv("DLW_TIMEOUT", given)

    with pytest.raises(
        ConfigError, match=f"DLW_TIMEOUT: seconds to wait for other processes, at least 1, not '{given}'"
    ):
        distributed.launch(1, ["train", "line"])


def test_a_torch_without_torch_distributed_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)

    with pytest.raises(ConfigError, match=r"^processes: this PyTorch was built without torch\.distributed"):
        distributed.launch(2, ["train", "line"])


def test_the_run_of_a_command_is_found_beside_a_damaged_one(tmp_path):
    run = run_training(settings("line", epochs=1), runs_dir=tmp_path)
    run.update_summary(launch="this one")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "summary.json").write_text("{")

    assert run_of("this one", tmp_path).name == run.name
    assert run_of("another", tmp_path) is None
