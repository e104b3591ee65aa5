"""A real MLflow, with its file of SQLite and without a server that answers."""

from __future__ import annotations

import socket
import sqlite3
import time
from pathlib import Path

import pytest

from dlworkflow.config import from_mapping
from dlworkflow.runs import list_runs
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.sweep.folder import Sweep
from dlworkflow.training.sweep.plan import plan_sweep
from dlworkflow.training.sweep.running import run_sweep
from dlworkflow.training.trackers import Tracked
from dlworkflow.training.trackers.mlflow import MLflow

pytest.importorskip("mlflow")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # its own, as it is imported here

SETTINGS = {"model": "circles_v2", "epochs": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of which all are tracked: one that is resumed once and has its weights logged, and a sweep of two."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        run = run_training(SETTINGS, runs_dir=folder, track={"mlflow": {"log_model": True}})
        resume_training(run, epochs=5)
        plan, _ = plan_sweep([from_mapping({**SETTINGS, "track": ["mlflow"], "sweep": {"seeds": 2, "jobs": 1}})])
        run_sweep(Sweep.create(folder, "sweep", plan))
    return folder


@pytest.fixture
def client(folder):
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")


@pytest.fixture
def found(client):
    """The runs that MLflow has, by name."""
    experiment = client.get_experiment_by_name("dlworkflow").experiment_id
    return {run.info.run_name: run for run in client.search_runs([experiment])}


@pytest.mark.parametrize("name", ["a%20b", "a?b"])
def test_a_folder_that_an_address_cannot_name_is_given_up_at_once(tmp_path, monkeypatch, name):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    with pytest.raises(ValueError, match=r"MLflow cannot have its file in .*, for the % or \? in it"):
        MLflow().start(Tracked("r", tmp_path / name, tmp_path / name, {}))


def test_a_database_that_cannot_be_opened_is_given_up_at_once(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").mkdir()

    with pytest.raises(sqlite3.OperationalError):
        MLflow().start(Tracked("r", tmp_path, tmp_path, {}))


def test_letters_that_mlflow_does_not_take_cost_no_number(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = MLflow()
    tracker.start(Tracked("r", tmp_path, tmp_path, {}))
    tracker.log_scores({"evaluation_photos (1)-test/own.py:accuracy 50%": 0.5}, epoch=1)

    metrics = tracker._client.get_run(tracker._id).data.metrics
    assert metrics == {"evaluation_photos _1_-test/own.py_accuracy 50_": 0.5}


def test_a_resumed_run_is_one_run_with_each_epoch_once(folder, client, found):
    [run] = list_runs(folder)

    history = client.get_metric_history(found[run.name].info.run_id, "test_loss")
    assert [(each.step, each.value) for each in history] == [(row["epoch"], row["test_loss"]) for row in run.history()]


def test_settings_status_and_result_are_there(folder, found):
    [run] = list_runs(folder)

    data = found[run.name].data
    assert (found[run.name].info.status, data.params["optimizer.lr"], data.params["samples.test"]) == (
        "FINISHED",
        "0.1",
        "200",
    )
    assert data.metrics["best/test_acc_low"] < data.metrics["best/test_acc"] < data.metrics["best/test_acc_high"]


def test_the_weights_are_an_artifact_where_they_are_wanted(folder, client, found):
    [run] = list_runs(folder)

    logged = client.download_artifacts(found[run.name].info.run_id, "model/best.pth")
    assert Path(logged).read_bytes() == run.weights_path("best").read_bytes()


def test_the_runs_of_a_sweep_are_children_of_a_run(found):
    parent = found["sweep-001"].info

    children = [run for run in found.values() if run.data.tags.get("mlflow.parentRunId") == parent.run_id]
    assert (parent.status, len(children)) == ("FINISHED", 2)


def test_nothing_is_written_outside_of_the_folder_of_runs(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_training(SETTINGS, runs_dir=folder, name="other", track="mlflow")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answers", [False, True], ids=["refuses", "is silent"])
def test_a_server_that_does_not_answer_is_one_warning_within_seconds(tmp_path, monkeypatch, caplog, capfd, answers):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if answers:  # takes connections, and says nothing
            server.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        before = time.monotonic()
        run = run_training(SETTINGS, runs_dir=tmp_path, track="mlflow")

    assert (run.summary().status, len(caplog.records)) == ("finished", 1)
    assert time.monotonic() - before < 30
    printed = "".join(capfd.readouterr()).splitlines()
    assert [line for line in printed if not line.startswith("warning tracker")] == []  # theirs; ours depends on the CLI
