"""Files and folders appear whole; what others made stays as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlworkflow.errors import RunError
from dlworkflow.files.writing import clear_leftovers, unfinished_file, unfinished_folder, write_whole

OLD = (time.time() - 400 * 24 * 60 * 60,) * 2


def leftover(path):
    """Return the temporary name for a path, as of a process that was killed."""
    return path.with_name(f".{path.name}.{'0' * 16}.dlw-tmp")


def test_a_file_that_a_living_process_writes_is_no_leftover(tmp_path):
    stream = unfinished_file(tmp_path / "a.txt")
    os.utime(stream.name, OLD)
    clear_leftovers(tmp_path)

    assert Path(stream.name).exists()
    stream.close()
    clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_living_process_fills_is_no_leftover(tmp_path):
    with unfinished_folder(tmp_path / "a") as folder:
        clear_leftovers(tmp_path)
        assert folder.is_dir()

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_wrote_is_cleared_at_once(tmp_path):
    code = "import sys, time; from pathlib import Path; from dlworkflow.files.writing import unfinished_folder\n"
    code += "with unfinished_folder(Path('a')) as f: (f / 'b.tar').touch(); print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE)
    process.stdout.readline()
    clear_leftovers(tmp_path, "a", r"b\.tar")
    assert len(list(tmp_path.rglob("b.tar"))) == 1

    process.send_signal(signal.SIGKILL)
    process.communicate()
    clear_leftovers(tmp_path, "a", r"b\.tar")
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_folder_loses_the_files_of_ours_alone(tmp_path):
    folder = leftover(tmp_path / "a")
    folder.mkdir()
    for name in ("b.tar", "b.tar.gz", "photo.jpg"):
        (folder / name).touch()
    clear_leftovers(tmp_path, "a", r"b\.tar")

    assert sorted(path.name for path in folder.iterdir()) == ["b.tar.gz", "photo.jpg"]


def test_a_file_that_cannot_be_written_is_named_as_the_user_knows_it(tmp_path):
    (tmp_path / "a.txt").touch()
    target = tmp_path / "a.txt" / "figure.png"

    with pytest.raises(RunError) as caught:
        write_whole(target, lambda stream: stream.write(b""))

    assert str(caught.value) == f"cannot write {str(target)!r}: Not a directory"


def test_leftovers_of_another_name_stay(tmp_path):
    leftover(tmp_path / "b").touch()
    clear_leftovers(tmp_path, "a")

    assert leftover(tmp_path / "b").exists()


def test_a_link_with_a_temporary_name_is_not_followed(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "b.tar").touch()
    leftover(tmp_path / "a").symlink_to(tmp_path / "photos")
    clear_leftovers(tmp_path, "a", r"b\.tar")

    assert (tmp_path / "photos" / "b.tar").exists()
    assert leftover(tmp_path / "a").is_symlink()


def test_where_there_are_no_locks_a_day_tells_a_leftover(tmp_path, monkeypatch):
    monkeypatch.setattr("dlworkflow.files.writing.try_lock", lambda _: None)
    for name in ("new", "old"):
        leftover(tmp_path / name).touch()
    os.utime(leftover(tmp_path / "old"), OLD)
    clear_leftovers(tmp_path)

    assert list(tmp_path.iterdir()) == [leftover(tmp_path / "new")]


@pytest.mark.parametrize("name", ["x" * 250, "ü" * 120])
def test_a_long_name_has_a_temporary_one_that_fits(tmp_path, name):
    unfinished_file(tmp_path / name).close()
