"""The index of many runs: what is compared is the same with it, without it and with a wrong one."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from tests.runs.test_comparison import make_run

from dlworkflow.runs import Run, find_run, list_runs
from dlworkflow.runs import index as module
from dlworkflow.runs.comparison import all_columns, compare_runs, compare_seeds
from dlworkflow.runs.costs import Costs
from dlworkflow.runs.index import INDEX


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of runs that were written long ago, of every kind; an index is written of the first that is read."""
    monkeypatch.setattr(module, "_LEAST", 1)
    for seed in range(3):
        make_run(tmp_path, tests=[1.0, 0.5 + seed], seed=seed, width=seed // 2)
    make_run(tmp_path, model="other", data="d2", status="interrupted", depth=[1, 2])
    make_run(tmp_path, status="running")
    noted = make_run(tmp_path, seed=7, flag=True)
    noted.tag("kept")
    noted.write_note("the one")
    damaged = make_run(tmp_path, seed=8)
    (damaged.path / "summary.json").write_text("{")
    age(tmp_path)
    return tmp_path


def age(folder):
    """Let all files be a minute old."""
    then = time.time() - 60
    for place, _, names in os.walk(folder):
        for name in names:
            os.utime(os.path.join(place, name), (then, then))  # noqa: PTH118 - as os.walk gives them


def costs_of(run):
    sizes = {"size_bytes": 1, "parameters": 3, "mult_adds": 2, "memory_bytes": None}
    times = {"milliseconds": 1.0, "milliseconds_in_batch": 0.5, "milliseconds_reading": None}
    where = {"device": "cpu", "threads": 1, "machine": "m"}
    return Costs(
        run=run.name, weights="best", epoch=run.summary().best["epoch"], split="test", **sizes, **times, **where
    )


def everything(folder):
    runs = list_runs(folder)
    return [run.name for run in runs], compare_runs(runs), compare_seeds(runs), all_columns(runs)


def without_index(folder):
    (folder / INDEX).unlink(missing_ok=True)
    return everything(folder)


def reads_of_summaries(folder, monkeypatch):
    """Compare the runs and return of which the summary is read."""
    read, summary = [], Run.summary
    monkeypatch.setattr(Run, "summary", lambda self: read.append(self.name) or summary(self))
    everything(folder)
    monkeypatch.undo()
    return set(read)


def test_runs_are_compared_the_same_with_an_index_and_without(folder):
    before = without_index(folder)
    assert (folder / INDEX).is_file()

    assert everything(folder) == before


def test_what_an_index_has_is_not_read_again_but_for_runs_that_run_or_are_damaged(folder, monkeypatch):
    everything(folder)

    assert reads_of_summaries(folder, monkeypatch) == {"m-d-004", "m-d-006"}


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.update_summary(seconds=77.0),
        lambda run: run.log_epochs([{"epoch": 3, "lr": 0.1, "seconds": 1, "train_loss": 1, "test_loss": 0.1}]),
        lambda run: run.tag("new"),
        lambda run: (run.path / "summary.json").write_text("damaged"),
        lambda run: run.write_found(costs_of(run)),
        lambda run: shutil.rmtree(run.path),
        lambda run: run.path.rename(run.path.with_name("renamed-001")),
    ],
    ids=["summary", "history", "notes", "damage", "costs", "removed", "renamed"],
)
def test_a_change_of_a_run_shows_although_there_is_an_index(folder, change):
    before = everything(folder)

    change(find_run("m-d-001", folder))
    after = everything(folder)

    assert after != before
    assert after == without_index(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\xff\xfe", b"0123\n{}", b"digest"],
    ids=["empty", "json", "bytes", "wrong digest", "of another version"],
)
def test_an_index_that_is_damaged_or_of_another_version_is_as_none(folder, content):
    before = without_index(folder)
    if content == b"digest":
        other = json.dumps({"format": 1, "version": "0.0", "settings": [], "runs": {}}).encode()
        content = module._digest(other) + b"\n" + other
    (folder / INDEX).write_bytes(content)

    assert everything(folder) == before


def test_a_run_that_was_written_just_now_is_not_indexed(folder, monkeypatch):
    make_run(folder, seed=9)
    everything(folder)

    assert "m-d-007" in reads_of_summaries(folder, monkeypatch)


@pytest.mark.parametrize("file", ["costs.json", "notes.json"])
def test_a_damaged_file_that_a_run_may_lack_is_a_warning_each_time(file, folder, caplog):
    before = without_index(folder)
    (find_run("m-d-001", folder).path / file).write_text("{")
    age(folder)

    for _ in range(2):
        caplog.clear()
        assert compare_runs(list_runs(folder)) == before[1]
        assert len([text for text in caplog.messages if f"{file}' is damaged" in text]) == 1


def test_few_runs_have_no_index(tmp_path):
    make_run(tmp_path)
    age(tmp_path)
    everything(tmp_path)

    assert not (tmp_path / INDEX).exists()


def test_an_index_that_cannot_be_written_is_no_error(folder, monkeypatch):
    (folder / INDEX).mkdir()

    assert len(everything(folder)[0]) == 7


def test_the_last_run_is_found_by_the_index(folder, monkeypatch):
    everything(folder)
    read, summary = [], Run.summary
    monkeypatch.setattr(Run, "summary", lambda self: read.append(self.name) or summary(self))

    assert find_run("last", folder, fits=lambda found: found.status == "finished").name == "m-d-005"
    assert len(set(read)) <= 3
