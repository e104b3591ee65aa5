"""Weights & Biases without its server: what is in the folder of a run is read back."""

from __future__ import annotations

import json
import struct
import sys

import pytest

from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.trackers import Tracked
from dlworkflow.training.trackers.wandb import _QUIET, WandB, is_logged_in

SETTINGS = {"model": "circles_v2", "epochs": 3}
NAMES = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_BASE_URL")


@pytest.fixture
def logged_out(tmp_path, monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield tmp_path / "netrc"
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()  # it has read the environment


def warnings_in(caplog):
    return [record for record in caplog.records if record.name.startswith("dlworkflow")]


def records(folder):
    """Yield what the file of one session holds: blocks of 32 KiB, in which each piece has a head of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    [file] = folder.glob("*.wandb")
    content, place, held = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        held += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(held)
            held = b""


def histories(run):
    """Return of each session of a run its rows, {key: value}."""
    sessions = sorted(run.path.glob("wandb/offline-run-*"))
    rows = [[record.history for record in records(folder) if record.HasField("history")] for folder in sessions]
    named = lambda item: item.key or ".".join(item.nested_key)  # noqa: E731
    return [[{named(item): json.loads(item.value_json) for item in row.item} for row in session] for session in rows]


@pytest.mark.slow
@pytest.mark.usefixtures("logged_out")
@pytest.mark.filterwarnings("default")
def test_a_resumed_run_has_each_epoch_once_under_one_id(tmp_path, monkeypatch, caplog):
    pytest.importorskip("wandb")
    monkeypatch.setitem(_QUIET, "init_timeout", 60)  # a busy machine starts W&B's process slowly
    run = run_training(SETTINGS, runs_dir=tmp_path / "runs", track="wandb")
    first = run.summary().trackers["wandb"]["id"]
    resume_training(run, epochs=5)

    assert warnings_in(caplog) == []
    found = [[(row["epoch"], row["test_loss"]) for row in session] for session in histories(run)]
    expected = [(row["epoch"], row["test_loss"]) for row in run.history()]
    assert found == [expected[:3], expected[3:]]
    assert run.summary().trackers["wandb"]["id"] == first


@pytest.mark.slow
@pytest.mark.usefixtures("logged_out")
@pytest.mark.filterwarnings("default")
def test_a_server_that_is_gone_is_one_warning_within_seconds(tmp_path, monkeypatch, caplog, capfd):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    run = run_training(SETTINGS, runs_dir=tmp_path / "runs", track="wandb")

    assert (run.summary().status, len(warnings_in(caplog))) == ("finished", 1)
    printed = "".join(capfd.readouterr()).splitlines()
    assert [line for line in printed if not line.startswith("warning tracker")] == []  # theirs; ours depends on the CLI


@pytest.mark.slow
@pytest.mark.usefixtures("logged_out")
@pytest.mark.filterwarnings("default")
def test_the_last_epoch_waits_for_no_other(tmp_path):
    pytest.importorskip("wandb")
    tracker = WandB()
    tracker.start(Tracked("r", tmp_path, tmp_path, {}))
    tracker.log_epochs([{"epoch": 1, "test_loss": 0.5}])
    step = tracker._run.step
    tracker.end(None, tmp_path / "best.pth")

    assert step == 2  # that of the next epoch


def test_a_key_or_an_entry_of_netrc_for_the_host_is_a_login(logged_out, monkeypatch):
    found = [is_logged_in(["api.wandb.ai"])]
    logged_out.write_text("machine api.wandb.ai login user password x\n")
    found += [is_logged_in(["api.example.org", "api.wandb.ai"]), is_logged_in(["wandb.example.org"])]
    monkeypatch.setenv("WANDB_API_KEY", "x")

    assert [*found, is_logged_in(["wandb.example.org"])] == [False, True, False, True]
