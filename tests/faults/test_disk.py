"""A disk that is full, a folder that may not be written, a run that is deleted while it trains: one line."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess

import pytest

from dlworkflow.cli.app import main
from dlworkflow.errors import RunError
from dlworkflow.runs import list_runs
from dlworkflow.training import recorder

pytestmark = pytest.mark.faults

TRAIN = ["train", "circles_v2", "--set", "data.batch_size=16", "--set", "data.shuffle=true", "--epochs", "60"]
LONG = [*TRAIN[:-1], "3000"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of half a megabyte, or None where nothing may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    asked = ["mount", "-t", "tmpfs", "-o", "size=512k", "dlworkflow-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(asked, capture_output=True).returncode:
        yield None
        return
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def wait_for_epoch(process, number):
    for line in process.stdout:
        if line.startswith("epoch") and int(line.split()[1].partition("/")[0]) >= number:
            return


def fill(folder):
    with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1024))


def only_complaint(text):
    assert "Traceback" not in text
    [line] = [line for line in text.splitlines() if line.startswith("dlw: ")]
    return line


def called(*arguments):
    """Call `dlw` in this process; return its code and what it said on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code, err.getvalue()


def full_while_training(folder, start):
    process = start(*TRAIN, "--runs-dir", folder)
    wait_for_epoch(process, 3)
    fill(folder)
    _, complaints = process.communicate(timeout=120)
    (folder / "ballast").unlink()
    return process.returncode, complaints


def full_as_a_stand_in_says(folder, monkeypatch):
    def save(state, path):
        raise RunError(f"cannot write {str(path)!r}: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "save_state", save)
        return called(*TRAIN, "--runs-dir", folder)


def test_a_full_disk_ends_training_in_one_line_and_the_run_resumes_when_there_is_space(
    tmp_path, small_disk, start, content, monkeypatch
):
    folder = small_disk or tmp_path / "runs"

    code, complaints = (
        full_while_training(folder, start) if small_disk else full_as_a_stand_in_says(folder, monkeypatch)
    )

    line = only_complaint(complaints)
    [run] = list_runs(folder)
    assert (code, "No space left" in line, str(run.path) in line) == (1, True, True), line
    assert [file.name for file in run.path.glob(".*")] == [".lock"]
    assert called("train", "--resume", run.name, "--runs-dir", folder)[0] == 0
    called(*TRAIN, "--runs-dir", tmp_path / "whole")
    [whole] = list_runs(tmp_path / "whole")
    assert content(run) == content(whole)


def test_a_disk_that_is_full_from_the_start_is_one_line_and_leaves_nothing(small_disk, tmp_path, monkeypatch):
    if small_disk:
        fill(small_disk)
    else:
        monkeypatch.setattr("dlworkflow.runs.folder.write_text", lambda path, text: full(path))
    folder = small_disk or tmp_path / "runs"

    code, complaints = called("train", "line", "--runs-dir", folder)

    assert code == 1
    assert "No space left" in only_complaint(complaints)
    assert [path.name for path in folder.iterdir() if path.name != "ballast"] == []


def full(path):
    raise RunError(f"cannot write {str(path)!r}: No space left on device")


def test_a_run_deleted_while_it_trains_ends_it_in_one_line(tmp_path, start):
    process = start(*LONG, "--runs-dir", tmp_path / "runs")
    wait_for_epoch(process, 3)
    [run] = list_runs(tmp_path / "runs")

    while run.path.exists():
        with contextlib.suppress(OSError):  # it may write a file just now
            shutil.rmtree(run.path)
    _, complaints = process.communicate(timeout=60)

    assert process.returncode == 1
    assert str(run.path) in only_complaint(complaints)
    assert not run.path.exists()


def test_a_folder_that_may_only_be_read_is_one_line_for_new_runs_and_old(small_disk, tmp_path, state_of, monkeypatch):
    folder = small_disk or tmp_path / "runs"
    called("train", "line", "--epochs", "2", "--runs-dir", folder)
    before = state_of(folder)
    if small_disk:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    else:
        monkeypatch.setattr("dlworkflow.runs.folder.write_text", lambda path, text: read_only(path))

    new = called("train", "line", "--runs-dir", folder)
    old = called("train", "--resume", "last", "--epochs", "4", "--runs-dir", folder)

    for code, complaints in (new, old):
        assert code == 1
        assert "Read-only file system" in only_complaint(complaints)
    assert called("show", "last", "--runs-dir", folder)[0] == 0
    assert state_of(folder) == before


def read_only(path):
    raise RunError(f"cannot write {str(path)!r}: Read-only file system")
