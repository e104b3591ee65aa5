from __future__ import annotations

import csv
import io
import json
import signal
import time

import pytest

from dlworkflow.runs import list_runs

SWEEP = ("sweep", "circles_v2", "--epochs", "3", "--jobs", "1", "--grid", "optimizer.lr=0.01,0.1,1e9", "--seeds", "2")


@pytest.fixture
def swept(in_tmp, dlw):
    answer = dlw(*SWEEP, "--format", "json")
    assert answer.code == 0, answer.err
    return answer


def test_the_table_has_a_row_a_combination_the_best_first(swept):
    rows = json.loads(swept.out)

    assert [row["n"] for row in rows] == [2, 2, 0]
    assert rows[0]["test_loss"] <= rows[1]["test_loss"]
    assert rows[0]["test_loss_sd"] > 0
    assert rows[2]["status"] == "failed"
    assert rows[2]["optimizer.lr"] == 1e9


def test_the_test_split_is_named_where_it_chose(swept):
    assert "chosen on the test split" in swept.err


LETTERED = ("sweep", "blobs", "--epochs", "30", "--grid", "optimizer.lr=1e-6,0.1,0.2", "--seeds", "3")


@pytest.fixture
def lettered(in_tmp, dlw):
    answer = dlw(*LETTERED, "--format", "json")
    assert answer.code == 0, answer.err
    return answer


def test_rows_over_seeds_have_letters(lettered):
    letters = {row["optimizer.lr"]: row["letters"] for row in json.loads(lettered.out)}

    assert not {*letters[0.1]} & {*letters[0.2]}


def test_the_letters_are_explained_below_the_table(lettered, dlw):
    out = dlw("sweep", "--resume", "last").out

    assert "letters: rows that share one do not differ significantly in their test loss (Welch's t test" in out


def test_two_seeds_are_not_tested_and_the_way_out_is_named(swept):
    assert "where a test needs six" in swept.err
    assert "letters" not in json.loads(swept.out)[0]


def test_losses_of_several_loss_functions_are_not_tested(in_tmp, dlw):
    answer = dlw("sweep", "line", "--epochs", "1", "--grid", "loss=mse,l1", "--seeds", "3", "--jobs", "1")

    assert "not tested: rows that differ in loss are not compared over seeds by their test loss" in answer.err
    assert "so the difference" not in answer.out


def test_a_test_score_that_was_asked_for_is_named_as_what_chose(in_tmp, dlw):
    arguments = ["--by", "test_loss", "--set", "data.val_fraction=0.2", "--epochs", "1", "--jobs", "1"]

    assert (
        "chosen on the test split, as --by test_loss asks for:" in dlw("sweep", "line", "--seeds", "2", *arguments).err
    )


def test_no_row_is_called_the_best(swept):
    assert "lowest test loss in the first row:" in swept.err
    assert "best run" not in swept.err


def test_a_row_is_the_mean_of_its_runs_and_compare_agrees(swept, dlw):
    rows = {row["optimizer.lr"]: row for row in json.loads(swept.out)}

    compared = json.loads(dlw("compare", "circles_v2-sweep-001", "--over-seeds", "--format", "json").out)

    assert {row["optimizer.lr"]: row["test_loss"] for row in compared} == {
        lr: row["test_loss"] for lr, row in rows.items() if row["n"]
    }


def test_a_run_of_a_sweep_is_named_below_it(swept, dlw):
    assert "circles_v2" in dlw("show", "circles_v2-sweep-001/circles_v2-sweep-001-001").out


def test_runs_of_a_sweep_are_not_among_the_others(swept, dlw):
    assert "no runs" in dlw("runs").err
    listed = json.loads(dlw("runs", "--runs-dir", "runs/circles_v2-sweep-001", "--format", "json").out)
    assert len(listed) == 6


def test_resume_repeats_nothing(swept, dlw, in_tmp):
    before = {path: path.stat().st_mtime_ns for path in in_tmp.rglob("history.csv")}

    answer = dlw("sweep", "--resume", "last", "--format", "json")

    assert json.loads(answer.out) == json.loads(swept.out)
    assert {path: path.stat().st_mtime_ns for path in in_tmp.rglob("history.csv")} == before


@pytest.mark.parametrize("form", ["csv", "md", "table"])
def test_every_format_has_a_row_a_combination(swept, dlw, form):
    out = dlw("sweep", "--resume", "last", "--format", form).out

    if form == "csv":
        assert len(list(csv.DictReader(io.StringIO(out)))) == 3
    else:
        assert len(out.splitlines()) == 5
        assert "±" in out


def test_a_figure_is_written(swept, dlw, in_tmp):
    assert dlw("sweep", "--resume", "last", "--plot", "out.png").code == 0
    assert (in_tmp / "out.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_says_it_all(in_tmp, dlw):
    (in_tmp / "s.yaml").write_text(
        "model: circles_v2\nepochs: 2\nsweep:\n  grid:\n    optimizer.lr: [0.1, 0.2]\n  seeds: 2\n  jobs: 1\n"
    )

    rows = json.loads(dlw("sweep", "s.yaml", "--format", "json").out)

    assert sorted((row["optimizer.lr"], row["n"]) for row in rows) == [(0.1, 2), (0.2, 2)]


def test_a_flag_beats_the_file(in_tmp, dlw):
    (in_tmp / "s.yaml").write_text("model: circles_v2\nsweep:\n  seeds: 9\n  jobs: 1\n")

    [row] = json.loads(dlw("sweep", "s.yaml", "--epochs", "1", "--seeds", "2", "--format", "json").out)

    assert row["n"] == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("circles_v2", "--seeds", "0"), "--seeds: must be at least 1, not 0"),
        (("circles_v2", "--grid", "optimizer.lr="), "--grid optimizer.lr: has no values"),
        (("circles_v2", "--grid", "optimizer.lrr=1"), "unknown setting 'lrr'; did you mean 'lr'?"),
        (("circles_v2", "--grid", "optimizer.lr=-1,0.1"), "--grid optimizer.lr: must be more than 0, not -1"),
        (("circles_v2",), "nothing varies"),
        (("circles_v2", "--seeds", "2", "--by", "acc"), "--by: unknown metric 'acc'"),
        (("tinyvgg", "--data", "digits", "--seeds", "2", "--vectorize"), "--vectorize: its batches are not"),
        (("circles_v2", "--seeds", "2", "--retry-failed"), "--retry-failed: only with --resume"),
        (("--resume", "last", "--seeds", "2"), "--seeds: a resumed sweep keeps its settings"),
        (("circles_v2", "--grid", "optimizer.lr=1e-3..1", "--sampler", "tpe"), "with --random N"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(in_tmp, dlw, arguments, complaint):
    answer = dlw("sweep", *arguments)

    assert answer.code == 2
    assert complaint in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (in_tmp / "runs").exists()


def test_a_dry_run_counts_and_writes_nothing(in_tmp, dlw):
    answer = dlw("sweep", "circles_v2", "--seeds", "3", "--grid", "optimizer.lr=0.1,0.2", "--dry-run")

    assert answer.out == ("dry run: all settings of 6 runs (2 combinations, 3 seeds each) fit; nothing was written\n")
    assert not (in_tmp / "runs").exists()


def test_the_runs_folder_that_cannot_be_written_is_named(in_tmp, dlw):
    (in_tmp / "runs").write_text("a file")

    answer = dlw(*SWEEP)

    assert answer.code == 1
    assert "cannot write into 'runs'" in answer.err


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_leaves_whole_runs_and_says_how_to_go_on(start_dlw, in_tmp, dlw, jobs):
    process = start_dlw(
        *("sweep", "tinyvgg", "--data", "digits", "--epochs", "60", "--grid", "optimizer.lr=1e-3,1e-2", "--jobs", jobs)
    )
    folder = in_tmp / "runs" / "tinyvgg-sweep-001"
    wait_for(lambda: len(list(folder.glob("*/resume.pth"))) >= int(jobs))

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert "resume with: dlw sweep --resume runs/tinyvgg-sweep-001" in err
    runs = json.loads(dlw("runs", "--runs-dir", folder, "--format", "json").out)
    assert {run["status"] for run in runs} == {"interrupted"}
    assert len(runs) == int(jobs)
    assert dlw("sweep", "--resume", "last", "--max-minutes", "0.01", "--jobs", "1").code == 0
    assert len(list(folder.glob("tinyvgg-sweep-*"))) == int(jobs)


@pytest.mark.slow
def test_workers_of_a_killed_sweep_end_and_the_sweep_goes_on(start_dlw, in_tmp, dlw):
    process = start_dlw(
        *("sweep", "tinyvgg", "--data", "digits", "--epochs", "60", "--grid", "optimizer.lr=1e-3,1e-2", "--jobs", "2")
    )
    folder = in_tmp / "runs" / "tinyvgg-sweep-001"
    wait_for(lambda: len(list(folder.glob("*/resume.pth"))) == 2)

    process.kill()
    process.wait()
    wait_for(lambda: not any(run.is_being_trained() for run in list_runs(folder)))
    answer = dlw("sweep", "--resume", "last", "--max-minutes", "0.01", "--jobs", "1")

    assert answer.code == 0
    assert "2 runs are left" in answer.err
    assert len(list_runs(folder)) == 2


def wait_for(true, seconds=120):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_sweep_whose_runs_all_failed_fails(in_tmp, dlw):
    answer = dlw("sweep", "circles_v2", "--epochs", "3", "--grid", "optimizer.lr=1e20,1e21", "--jobs", "1")

    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith("dlw: all 2 runs failed; the first: the test loss became")
    assert answer.out.count("failed") == 2


@pytest.mark.parametrize("command", ["sweep", "crossval"])
def test_options_of_a_task_need_a_cluster(in_tmp, dlw, command):
    answer = dlw(command, "circles_v2", "--task-gpu", "--task-cores", "2")

    assert answer.complaints == ["dlw: --task-cores, --task-gpu: only with --cluster ADDRESS"]


def test_a_scheduler_that_does_not_answer_is_named_and_nothing_is_written(in_tmp, dlw, monkeypatch):
    monkeypatch.setattr("dlworkflow.training.sweep.scheduler.ANSWER_SECONDS", 0.1)

    answer = dlw("sweep", "circles_v2", "--seeds", "2", "--cluster", "tcp://127.0.0.1:9")

    assert (answer.code, "no scheduler answers at tcp://127.0.0.1:9" in answer.err, list_runs("runs")) == (1, True, [])
