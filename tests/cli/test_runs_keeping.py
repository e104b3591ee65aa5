"""Removing, renaming and tagging runs, and notes on them."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import threading

import pytest

from dlworkflow.errors import ConfigError, RunError
from dlworkflow.runs import Run, list_runs
from dlworkflow.training.sweep.folder import Plan, Point, Sweep

LINE = "line-line-001"


def names(runs):
    return [run.name for run in list_runs(runs)]


def rows(dlw, *arguments):
    return json.loads(dlw(*arguments, "--format", "json").out)


@pytest.fixture
def sweep(runs):
    """A sweep of two runs that have finished, line-sweep-001."""
    points = [Point(n, {"epochs": n}, 42, "finished", f"line-sweep-001-{n:03d}") for n in (1, 2)]
    made = Sweep.create(runs, "line-sweep", Plan({"model": {"name": "line"}}, {}, ["epochs"], points))
    for point in points:
        shutil.copytree(runs / LINE, made.path / point.run)
    return made


# rm


def test_a_run_is_removed_and_nothing_else(dlw, runs):
    answer = dlw("runs", "rm", LINE, "--yes")

    assert answer.out.startswith("removed runs/line-line-001, ")
    assert sorted(path.name for path in runs.iterdir()) == ["circles_v2-circles-001", "tinyvgg-digits-001"]


@pytest.mark.parametrize(("typed", "left"), [("y", 2), ("n", 3), ("", 3)])
def test_a_terminal_is_asked_before_anything_is_removed(typed, left, runs):
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "dlworkflow", "runs", "rm", LINE]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
    os.write(screen, f"{typed}\n".encode())
    process.wait()

    assert len(names(runs)) == left


@pytest.mark.parametrize("stdin", ["", "y\n"])
def test_where_nobody_can_answer_nothing_is_removed(stdin, dlw, runs):
    answer = dlw("runs", "rm", LINE, stdin=stdin)

    assert answer.code == 2
    assert answer.complaints == ["dlw: nothing is removed without an answer, and this is no terminal; add --yes"]
    assert len(names(runs)) == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("last", "'last' means circles_v2-circles-001 here"),
        ("tiny", "'tiny' means tinyvgg-digits-001 here"),
        ("nosuch", "no run 'nosuch'"),
        ("link", "is a link to another folder"),
        (".", "is no run folder"),
        ("runs", "no run 'runs'"),
        ("other", "no run 'other'"),
        ("busy", "busy is being trained by another process"),
        ("nest", "holds other runs, as 'inner'"),
        ("stray", "stray/summary.json' is damaged"),
        ("search", "search/sweep.json' is damaged"),
    ],
)
def test_what_is_no_run_of_its_own_or_not_named_in_full_stays(given, words, dlw, runs, in_tmp):
    (runs / "link").symlink_to(runs / LINE)
    (runs / "other").mkdir()
    for folder, file in (("stray", "summary.json"), ("search", "sweep.json")):
        (runs / folder).mkdir()
        (runs / folder / file).write_text('{"of": "another program"}')
    shutil.copytree(runs / LINE, runs / "busy")
    shutil.copytree(runs / LINE, runs / "nest")
    shutil.copytree(runs / LINE, runs / "nest" / "inner")
    before = sorted(path for path in in_tmp.rglob("*") if path.name != ".lock")

    with Run(runs / "busy").locked():
        answer = dlw("runs", "rm", LINE, given, "--yes")

    assert (answer.code, words in answer.err) in [(1, True), (2, True)]
    assert sorted(path for path in in_tmp.rglob("*") if path.name != ".lock") == before


def test_the_working_folder_is_not_removed(dlw, runs, monkeypatch):
    monkeypatch.chdir(runs / LINE)

    assert "change to another one first" in dlw("runs", "rm", f"../{LINE}", "--yes").err


def test_what_a_killed_process_left_is_removed_with_the_next_run(dlw, runs, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("dlworkflow.runs.keeping.shutil.rmtree", lambda *_, **__: None)
        left = dlw("runs", "rm", LINE, "--yes")
    assert (left.code, names(runs)) == (1, ["tinyvgg-digits-001", "circles_v2-circles-001"])

    dlw("runs", "rm", "tinyvgg-digits-001", "--yes")

    assert [path.name for path in runs.iterdir()] == ["circles_v2-circles-001"]


def test_a_sweep_is_removed_with_its_runs(dlw, runs, sweep):
    dlw("runs", "rm", sweep.name, f"{sweep.name}/line-sweep-001-002", "--yes")

    assert not sweep.path.exists()


def test_what_is_left_of_a_removed_run_keeps_no_sweep(dlw, sweep):
    (sweep.path / "line-sweep-001-001").rename(sweep.path / f".line-sweep-001-001.{'0' * 16}.dlw-removed")

    assert dlw("runs", "rm", sweep.name, "--yes").code == 0


def test_a_sweep_goes_on_without_a_run_that_is_removed(dlw, runs, sweep):
    dlw("runs", "rm", "line-sweep-001/line-sweep-001-001", "--yes")

    assert [point.run for point in sweep.read().points] == [None, "line-sweep-001-002"]
    answer = dlw("sweep", "--resume", sweep.name, "--format", "json")
    assert sorted(row["n"] for row in json.loads(answer.out)) == [0, 1], answer.err


@pytest.mark.parametrize("command", [["rm", "{}", "--yes"], ["rename", "{}", "other"]])
def test_the_runs_of_a_sweep_that_is_trained_stay(command, dlw, runs, sweep):
    given = [word.format(f"{sweep.name}/line-sweep-001-001") for word in command]
    with Run(sweep.path).locked():
        answer = dlw("runs", *given)

    assert answer.complaints == ["dlw: line-sweep-001 is being trained by another process"]
    assert len(sweep.runs()) == 2


# rename


def test_a_renamed_run_is_whole_and_has_the_name_in_its_evaluation(dlw, runs):
    dlw("evaluate", LINE, "--no-plots")

    dlw("runs", "rename", LINE, "baseline")

    assert Run(runs / "baseline").evaluation().run == "baseline"
    assert dlw("train", "--resume", "baseline", "--epochs", "201").code == 0
    assert "baseline" in names(runs)
    assert LINE not in names(runs)


def test_a_sweep_knows_the_new_name_of_its_run(dlw, runs, sweep):
    dlw("runs", "rename", "line-sweep-001/line-sweep-001-001", "first")

    assert [point.run for point in sweep.read().points] == ["first", "line-sweep-001-002"]


def test_a_renamed_sweep_keeps_its_runs_and_has_the_name_in_what_was_found(dlw, runs, sweep):
    evaluation = json.dumps({"run": sweep.name, "folds": [{"run": "line-sweep-001-001"}]})
    for name in ("evaluation.json", "labels-train.json"):
        (sweep.path / name).write_text(evaluation)

    answer = dlw("runs", "rename", sweep.name, "by-epochs")

    assert answer.out == "line-sweep-001 is runs/by-epochs now\n"
    assert [row["run"] for row in rows(dlw, "compare", "by-epochs")] == ["line-sweep-001-001", "line-sweep-001-002"]
    for name in ("evaluation.json", "labels-train.json"):
        found = json.loads((runs / "by-epochs" / name).read_text())
        assert found == {"run": "by-epochs", "folds": [{"run": "line-sweep-001-001"}]}
    assert dlw("sweep", "--resume", "by-epochs").code == 0


@pytest.mark.parametrize("held", ["", "line-sweep-001-002"])
def test_a_sweep_that_is_trained_keeps_its_name(held, dlw, sweep):
    with Run(sweep.path / held).locked():
        answer = dlw("runs", "rename", sweep.name, "by-epochs")

    assert answer.complaints == [f"dlw: {held or sweep.name} is being trained by another process"]
    assert sweep.path.is_dir()


def test_a_folder_with_a_foreign_file_named_as_that_of_a_sweep_keeps_its_name(dlw, sweep):
    (sweep.path / "sweep.json").write_text("{}")

    assert "is damaged" in dlw("runs", "rename", sweep.name, "by-epochs").err
    assert sweep.path.is_dir()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tinyvgg-digits-001", "exists already"),
        ("a/b", "cannot be the name of a run: write 'a_b'"),
        ("../x", "write 'x'"),
        (".hidden", "write 'hidden'"),
        ("last", "it means another run"),
        ("", "write 'run'"),
    ],
)
def test_a_name_that_is_taken_or_none_is_refused(name, words, dlw, runs):
    answer = dlw("runs", "rename", LINE, name)

    assert answer.code in (1, 2)
    assert words in answer.err
    assert len(names(runs)) == 3


# tag and note


def test_runs_are_listed_by_tag_and_show_their_tags_and_notes(dlw, runs):
    dlw("runs", "tag", LINE, "good", "好")
    dlw("runs", "tag", "tiny", "good")
    dlw("runs", "note", LINE, "the first one")

    [row] = rows(dlw, "runs", "--tag", "good", "--tag", "好")
    assert (row["run"], row["tags"], row["note"]) == (LINE, "good, 好", "the first one")
    assert [row["run"] for row in rows(dlw, "runs", "--tag", "good")] == [LINE, "tinyvgg-digits-001"]
    assert "good, 好" in dlw("show", LINE).out
    assert rows(dlw, "show", LINE)["note"] == "the first one"


def test_compare_takes_the_runs_with_all_tags_of_its_filters(dlw, runs):
    dlw("runs", "tag", LINE, "good", "small")
    dlw("runs", "tag", "tiny", "good")

    both = rows(dlw, "compare", "--filter", "tag=good", "--filter", "tag=small")
    assert [row["run"] for row in both] == [LINE]
    assert len(rows(dlw, "compare", "--filter", "tag=good", "--filter", "status=finished")) == 2


def test_two_values_of_one_key_are_refused_as_no_run_has_both(dlw, runs):
    answer = dlw("compare", "--filter", "model=line", "--filter", "model=tinyvgg")

    assert answer.err == "dlw: --filter model: given twice, 'line' and 'tinyvgg'; leave one out\n"


def test_programs_read_the_size_in_bytes_of_each_run(dlw, runs):
    size = sum(path.lstat().st_size for path in (runs / LINE).rglob("*") if path.is_file())

    [row, *_] = csv.DictReader(io.StringIO(dlw("runs", "--format", "csv").out))
    assert (int(row["size"]), row["tags"], row["note"]) == (size, "", "")


def test_tags_and_the_note_are_removed_again(dlw, runs):
    dlw("runs", "tag", LINE, "good", "small")
    dlw("runs", "note", LINE, "the first one")

    assert dlw("runs", "tag", LINE, "good", "--remove").out == f"{LINE}: small\n"
    assert dlw("runs", "note", LINE, "--remove").out == f"{LINE}: no note\n"


def test_a_sweep_tags_all_its_runs(dlw, runs, sweep):
    dlw("runs", "tag", sweep.name, "good")

    assert [run.notes().tags for run in sweep.runs()] == [["good"], ["good"]]


@pytest.mark.parametrize("tag", ["", " ", "a,b", "a\nb", "-x", "x" * 51, "\x1b[31m"])
def test_what_is_no_tag_is_an_invalid_value(tag, runs):
    with pytest.raises(ConfigError, match="is no tag"):
        Run(runs / LINE).tag("good", tag)
    assert Run(runs / LINE).notes().tags == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tag", LINE, "god", "--remove"], "unknown tag 'god'; did you mean 'good'?"),
        (["tag", LINE, "--remove"], "--remove: name the tags to remove"),
        (["note", LINE, "a\nb"], "a note is one line"),
        (["note", LINE, "a", "--remove"], "--remove: leave out the text, or --remove"),
        (["--tag", "god"], "unknown tag 'god'; did you mean 'good'?"),
        (["--runs-dir", "x", "rm", LINE], "options go after the command: dlw runs rm RUN --option"),
        (["nosuch"], "unknown command 'nosuch'; possible: rm, rename, tag, note (see `dlw runs --help`)"),
    ],
)
def test_wrong_usage_of_tags_and_notes_is_one_line(arguments, words, dlw, runs):
    dlw("runs", "tag", LINE, "good")

    answer = dlw("runs", *arguments)

    assert answer.code in (1, 2)
    [line] = answer.err.splitlines()
    assert line.startswith(f"dlw: {words}")


def test_no_tag_is_lost_where_two_processes_tag_at_once(runs):
    run = Run(runs / LINE)
    threads = [threading.Thread(target=run.tag, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(run.notes().tags) == [f"t{n}" for n in range(8)]


def test_a_run_may_be_tagged_while_it_is_trained(runs):
    run = Run(runs / LINE)
    with run.locked():
        run.tag("good")
        run.update_summary(status="finished")

    assert run.notes().tags == ["good"]


def test_a_run_that_is_gone_meanwhile_cannot_be_tagged(runs):
    run = Run(runs / LINE)
    shutil.rmtree(run.path)

    with pytest.raises(RunError, match=r"cannot write .*notes\.json"):
        run.tag("good")


@pytest.mark.parametrize("command", [["runs"], ["compare"], ["show", LINE], ["show", LINE, "--format", "json"]])
def test_damaged_notes_are_one_warning_beside_the_run(command, dlw, runs):
    (runs / LINE / "notes.json").write_text("{")
    answer = dlw(*command)

    assert answer.err.count("warning 'runs/line-line-001/notes.json' is damaged") == 1
    assert LINE in answer.out
    assert "damaged" not in answer.out


def test_a_tag_is_looked_for_beside_damaged_notes(dlw, runs):
    dlw("runs", "tag", "circles_v2-circles-001", "good")
    (runs / LINE / "notes.json").write_text("{")

    assert [row["run"] for row in rows(dlw, "runs", "--tag", "good")] == ["circles_v2-circles-001"]
    assert "did you mean 'good'?" in dlw("runs", "--tag", "god").err


def test_a_run_with_damaged_notes_can_be_removed(dlw, runs):
    (runs / LINE / "notes.json").write_text("{")

    assert dlw("runs", "rm", LINE, "--yes").code == 0
