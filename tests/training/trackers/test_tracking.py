"""What a run reports to its trackers, and that none of them changes a run or ends it."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from dlworkflow import register_tracker
from dlworkflow.config import Layer, build_sweep_settings, from_mapping
from dlworkflow.engine.signals import Halt
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.runs import list_runs
from dlworkflow.training import recorder
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config
from dlworkflow.training.sweep.folder import Sweep
from dlworkflow.training.sweep.plan import plan_sweep
from dlworkflow.training.sweep.running import run_sweep
from dlworkflow.training.trackers import TRACKERS, Tracker
from dlworkflow.training.trackers.tracking import Tracking, track_evaluation


def train(folder, track="notes", epochs=3, **more):
    return run_training(model="circles_v2", epochs=epochs, runs_dir=folder, track=track, **more)


def sweep(folder, **search):
    settings = {"model": "circles_v2", "epochs": 2, "track": ["notes"]}
    plan, _ = plan_sweep([from_mapping({**settings, "sweep": {"seeds": 3, "jobs": 1, **search}})])
    made = Sweep.create(folder, "s", plan)
    run_sweep(made)
    return made


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if "tracker" in record.getMessage()]


def test_a_tracker_gets_settings_each_epoch_result_and_end(tmp_path, notes):
    run = train(tmp_path)

    [start], [(scores, epoch, _)] = notes.of("start"), notes.of("log_scores")
    assert (start.name, start.settings["optimizer.lr"], start.settings["samples.test"]) == (run.name, 0.1, 200)
    assert notes.epochs() == [1, 2, 3]
    assert scores["best/test_acc_low"] < scores["best/test_acc"] < scores["best/test_acc_high"]
    assert (epoch, scores["result/baseline"]) == (3, 0.5)
    assert notes.of("end") == [("finished", "best.pth")]


@pytest.mark.parametrize("track", ["notes", "tensorboard"])
def test_a_run_is_the_same_to_the_bit_with_and_without_trackers(tmp_path, notes, track):
    pytest.importorskip("tensorboard")
    data = {"data.batch_size": 100, "data.shuffle": True}
    runs = [run_training({"model": "circles_v2", **data}, epochs=3, runs_dir=tmp_path, track=t) for t in (None, track)]

    first, second = (torch.load(run.weights_path("last"), weights_only=True) for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3), RunError("broken")])
@pytest.mark.parametrize("method", ["start", "log_epochs", "log_scores", "end"])
def test_a_tracker_that_fails_is_one_warning_and_the_run_finishes(tmp_path, notes, caplog, method, error):
    notes.failing[method] = error

    assert train(tmp_path).summary().status == "finished"
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("error", [OSError("no disk"), SystemExit("no disk")])
def test_a_tracker_that_cannot_be_made_is_one_warning(tmp_path, caplog, monkeypatch, error):
    class Broken(Tracker):
        """Fail at once."""

        def __init__(self):
            raise error

    monkeypatch.setitem(TRACKERS.registered, "broken", Broken)

    assert train(tmp_path, "broken").summary().status == "finished"
    assert "no disk" in "".join(warnings_in(caplog))


@pytest.mark.parametrize("given", [7, object()])
def test_an_id_that_is_no_text_is_one_warning_and_the_run_can_be_read(tmp_path, notes, monkeypatch, caplog, given):
    monkeypatch.setattr(notes, "start", lambda *_: given)

    assert train(tmp_path).summary().status == "finished"
    assert "must be text or None" in "".join(warnings_in(caplog))


def test_a_failing_tracker_leaves_the_others_alone(tmp_path, notes, monkeypatch):
    class Broken(Tracker):
        """Fail with the first epoch."""

        def log_epochs(self, rows):
            raise KeyError(len(rows))

    monkeypatch.setitem(TRACKERS.registered, "broken", Broken)
    train(tmp_path, ["broken", "notes"])

    assert notes.epochs() == [1, 2, 3]


def test_a_resumed_run_continues_the_same_report_and_repeats_no_epoch(tmp_path, notes):
    run = train(tmp_path)
    resume_training(run, epochs=5)

    first, second = notes.of("start")
    assert (first.id, second.id, second.epochs) == (None, f"id of {run.name}", 3)
    assert notes.epochs() == [1, 2, 3, 4, 5]


def test_a_resumed_run_reports_what_a_tracker_missed(tmp_path, notes):
    notes.failing["log_epochs"] = OSError("server gone")
    run = train(tmp_path)
    notes.failing.clear()
    resume_training(run, epochs=5)

    assert notes.epochs() == [1, 2, 3, 4, 5]


def test_only_epochs_that_are_on_disk_are_reported_while_it_trains(tmp_path, notes, monkeypatch):
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 1e9)
    seen = []
    train(tmp_path, on_epoch=lambda epoch: seen.append((epoch.number, notes.epochs())))

    assert seen == [(1, []), (2, []), (3, [])]


def test_epochs_that_a_kill_takes_back_are_reported_once(tmp_path, notes, monkeypatch):
    """The state is of epoch 1, the process dies after epoch 3 without writing anything more."""
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 0.0)

    def kill(epoch):
        monkeypatch.setattr(recorder, "WRITE_SECONDS", 1e9)
        if epoch.number == 3:
            monkeypatch.setattr(recorder.Recorder, "finish", lambda *_, **__: None)
            monkeypatch.setattr(Tracking, "end", lambda *_: None)
            raise Halt

    with pytest.raises(Halt):
        train(tmp_path, epochs=5, on_epoch=kill)
    monkeypatch.undo()
    monkeypatch.setitem(TRACKERS.registered, "notes", notes)
    [run] = list_runs(tmp_path)
    resume_training(run)

    assert notes.epochs() == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_the_time_of_a_slow_tracker_is_no_training_time(tmp_path, notes, monkeypatch):
    monkeypatch.setattr(notes, "log_epochs", lambda *_: time.sleep(0.6))
    monkeypatch.setattr(notes, "start", lambda *_: time.sleep(0.6))
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 0.0)
    began = time.monotonic()
    run = train(tmp_path, epochs=2)

    assert run.summary().seconds < time.monotonic() - began - 1.2


@pytest.mark.parametrize(("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "interrupted")])
def test_an_early_end_is_reported_with_its_status(tmp_path, notes, error, status):
    def stop(epoch):
        if epoch.number == 2:
            raise error

    with pytest.raises(error):
        train(tmp_path, on_epoch=stop)

    assert (notes.epochs(), notes.of("end")) == ([1, 2], [(status, "best.pth")])


def test_what_stops_the_last_step_of_a_training_leaves_no_report_open(tmp_path, notes, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dlworkflow.training.run.boosting", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)

    assert notes.of("end") == [("finished", "best.pth")]


@pytest.mark.parametrize(("error", "raised"), [(ValueError, ValueError), (KeyboardInterrupt, RunError)])
def test_a_run_folder_that_is_gone_hides_no_error_and_leaves_no_report_open(tmp_path, notes, error, raised):
    def remove(_):
        shutil.rmtree(list_runs(tmp_path)[0].path)
        raise error

    with pytest.raises(raised):
        train(tmp_path, on_epoch=remove)

    assert len(notes.of("end")) == 1


def test_an_evaluation_of_a_run_that_is_trained_is_not_reported(tmp_path, notes, caplog):
    run = train(tmp_path)
    with run.locked():
        track_evaluation(run, None)  # nothing of it is looked at

    assert len(notes.of("start")) == 1
    assert warnings_in(caplog) == [
        f"warning this evaluation is not reported to the trackers of {run.name}: "
        f"{run.name} is being trained by another process"
    ]


def test_a_process_that_does_not_write_the_run_reports_nothing(tmp_path, notes):
    Tracking(train(tmp_path, None), "notes", on=False).start()

    assert notes.calls == []


@pytest.mark.parametrize("vectorize", [True, False])
def test_the_runs_of_a_sweep_are_children_of_its_own(tmp_path, notes, vectorize):
    made = sweep(tmp_path, vectorize=vectorize)

    assert [start.name for start in notes.of("start_sweep")] == [made.name]
    assert [(start.sweep, start.parent) for start in notes.of("start")] == [(made.name, "parent")] * 3
    assert notes.epochs() == [1, 2] * 3
    assert [what for what, _ in notes.of("end")] == ["finished"] * 3
    assert notes.of("end_sweep") == ["finished"]


def test_a_tracker_that_fails_for_the_sweep_is_one_warning_for_all_its_runs(tmp_path, notes, caplog):
    notes.failing["start_sweep"] = OSError("server gone")
    sweep(tmp_path)

    assert (len(warnings_in(caplog)), notes.of("start")) == (1, [])


def test_an_evaluation_reports_what_a_tracker_missed_that_failed_for_the_sweep(tmp_path, notes, monkeypatch):
    notes.failing["start_sweep"] = OSError("server gone")
    made = sweep(tmp_path)
    monkeypatch.setattr("dlworkflow.training.trackers.tracking.scores_of", lambda found: {})
    track_evaluation(made.runs()[0], SimpleNamespace(epoch=2))

    assert notes.epochs() == [1, 2]


def test_a_sweep_whose_tracker_failed_once_continues_with_the_parent_it_had(tmp_path, notes):
    made = sweep(tmp_path, max_runs=1, vectorize=False)
    notes.failing["start_sweep"] = OSError("server gone")
    run_sweep(made, build_sweep_settings(Layer({"sweep": {"max_runs": 1}})))
    notes.failing.clear()
    run_sweep(made, build_sweep_settings(Layer({"sweep": {}})))

    assert [each.id for each in notes.of("start_sweep")] == [None, "parent"]
    assert [each.parent for each in notes.of("start")] == ["parent", "parent"]


def test_a_tracker_that_fails_in_one_run_of_a_sweep_is_left_out_of_the_next(tmp_path, notes, caplog):
    notes.failing["log_epochs"] = OSError("server gone")
    sweep(tmp_path, vectorize=False)

    assert (len(warnings_in(caplog)), len(notes.of("start"))) == (1, 1)


def test_a_warning_names_tracker_run_and_reason(tmp_path, notes, caplog):
    notes.failing["log_epochs"] = OSError("server gone")
    run = train(tmp_path)

    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == f"warning tracker notes failed and is left out of {run.name}: OSError: server gone"


@pytest.mark.parametrize(
    ("track", "words"),
    [
        ("tensorbord", "track: unknown tracker 'tensorbord'; did you mean 'tensorboard'?"),
        ({"notes": {"color": "red"}}, "track: notes.color: tracker 'notes': unknown setting 'color'"),
        ({"notes": {"colour": 3}}, "track: notes.colour: must be text, not 3"),
        ([3], "track: must be names, as [tensorboard]"),
        ({"mlflow": "yes"}, "track: must be names, as [tensorboard]"),
    ],
)
def test_wrong_trackers_are_errors_of_the_settings(notes, track, words):
    with pytest.raises(ConfigError) as error:
        resolve_config({"model": "circles_v2"}, track=track)

    assert words in str(error.value)


def test_a_missing_package_is_an_error_before_training_with_the_line_that_installs_it(notes, monkeypatch):
    monkeypatch.setattr(notes, "package", "no_such_package")
    monkeypatch.setattr(notes, "extra", "notes")

    with pytest.raises(ConfigError, match=r"get it with: pip install 'dlworkflow\[notes\]'"):
        resolve_config({"model": "circles_v2"}, track="notes")


def test_a_run_whose_tracker_is_no_longer_installed_resumes_with_a_warning(tmp_path, notes, monkeypatch, caplog):
    run = train(tmp_path)
    monkeypatch.setattr(notes, "package", "no_such_package")
    notes.failing["start"] = ImportError("No module named 'no_such_package'")
    resume_training(run, epochs=4)

    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("notes", ["notes"]),
        ("notes, tensorboard", ["notes", "tensorboard"]),
        ({"notes": None}, ["notes"]),
        ({"notes": {"colour": "blue"}}, [{"notes": {"colour": "blue"}}]),
        (["tensorboard", {"notes": {"colour": "blue"}}], ["tensorboard", {"notes": {"colour": "blue"}}]),
        ([], None),
    ],
)
def test_trackers_are_written_in_several_ways_and_stored_in_one(notes, given, stored):
    assert resolve_config({"model": "circles_v2"}, track=given).track == stored


def test_to_track_a_run_does_not_change_its_recipe(notes):
    with_, without = (resolve_config({"model": "tinyvgg", "data": "digits"}, track=t) for t in ("notes", None))

    assert with_.to_tree() | {"track": None} == without.to_tree()


def test_no_package_of_a_tracker_is_imported_to_check_settings():
    code = (
        "import sys; from dlworkflow.training.trackers import TRACKERS, tracker_fault;"
        "tracker_fault({name: {} for name in TRACKERS.names()});"
        "print(*{'mlflow', 'wandb', 'tensorboard', 'torch'} & {*sys.modules})"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert found.split() == []


@pytest.mark.parametrize("name", ["mine", "mlflow"])
def test_what_is_no_tracker_is_not_registered(name):
    with pytest.raises(ConfigError, match=rf"tracker '{name}' is no class derived from dlworkflow\.Tracker"):
        register_tracker(name, dict)
