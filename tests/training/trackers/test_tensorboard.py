"""Event files of TensorBoard, read back as TensorBoard does."""

from __future__ import annotations

import pytest

from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training

loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def train(folder):
    return run_training(model="circles_v2", epochs=3, runs_dir=folder, track="tensorboard")


def read(run):
    found = loading.EventAccumulator(str(run.path / "tensorboard"))
    found.Reload()
    return found


def scalars(run, tag):
    return [(event.step, event.value) for event in read(run).Scalars(tag)]


def test_the_curves_are_those_of_the_history(tmp_path):
    run = train(tmp_path)

    expected = [(row["epoch"], pytest.approx(row["test_loss"])) for row in run.history()]
    assert scalars(run, "loss/test") == expected


def test_no_two_files_of_a_run_are_of_one_second(tmp_path):
    run = train(tmp_path)
    for epochs in (4, 5):
        resume_training(run, epochs=epochs)

    seconds = [path.name.split(".")[3] for path in (run.path / "tensorboard").iterdir()]
    assert len({*seconds}) == len(seconds) == 3


def test_a_resumed_run_has_each_epoch_once(tmp_path):
    run = train(tmp_path)
    resume_training(run, epochs=5)

    assert [step for step, _ in scalars(run, "acc/train")] == [1, 2, 3, 4, 5]


def test_a_run_that_is_killed_within_its_first_report_has_each_epoch_once(tmp_path):
    run = train(tmp_path)
    run.update_summary(trackers=None)  # what the report has not written yet
    resume_training(run, epochs=5)

    assert sorted(step for step, _ in scalars(run, "acc/train")) == [1, 2, 3, 4, 5]


def test_settings_and_result_are_there(tmp_path):
    run = train(tmp_path)

    found = read(run)
    text = found.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| optimizer.lr | 0.1 |" in text
    assert "_hparams_/session_start_info" in found.summary_metadata
    assert scalars(run, "best/test_acc_high")[0][1] > scalars(run, "best/test_acc")[0][1]


def test_a_folder_that_cannot_be_written_ends_no_training(tmp_path, caplog):
    def block(_, run):
        (run.path / "tensorboard").write_text("a file")

    run = run_training(model="circles_v2", epochs=2, runs_dir=tmp_path, track="tensorboard", on_start=block)

    assert run.summary().status == "finished"
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"warning tracker tensorboard failed and is left out of {run.name}"
    ]
