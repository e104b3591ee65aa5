"""The run folder: made once, never overwritten, found by what a user types, readable when damaged."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypedDict

import pytest

from dlworkflow.errors import RunError
from dlworkflow.files.locking import try_lock
from dlworkflow.files.writing import unfinished_folder
from dlworkflow.runs import COLUMNS, EvaluationSummary, Found, Run, best_epoch, find_run, list_runs
from dlworkflow.runs.comparison import compare_runs
from dlworkflow.runs.stored import Size

OLD_RUN = Path(__file__).parents[1] / "old_runs/v0.1/runs/tinyvgg-pets-001"
SUMMARY = {
    "config": {
        "model": {"name": "m"},
        "data": {"name": "d", "batch_size": 32, "data_dir": None, "noise": 0.1},
        "optimizer": {"name": "adam"},
        "loss": "binary_cross_entropy",
        "epochs": 5,
        "seed": 1,
    },
    "data": "d",
    "kind": "tabular",
    "chosen_on": "test",
    "baseline": {"score": 0.5, "metric": "accuracy", "answer": "a"},
    "task": "binary",
    "classes": ["a", "b"],
    "in_shape": [2],
    "n_outputs": 1,
    "transform": None,
    "samples": {"train": 8, "test": 2},
    "source": "nowhere",
    "parameters": 3,
    "device": "cpu",
    "threads": 1,
}

EVALUATION = EvaluationSummary(
    **{"run": "m-d-001", "weights": "best", "epoch": 1, "split": "test", "data_changed": False, "skipped": 0},
    **{"task": "binary", "samples": 2, "loss": 0.5, "metrics": {"accuracy": 0.5}, "classes": []},
    confused_pairs=[],
    warnings=[],
)


def make_run(runs_dir, stem="m-d", rows=(), **changes):
    run = Run.create(runs_dir, stem, summary=SUMMARY | changes, config="seed: 1\n", environment={})
    for number, loss in enumerate(rows, start=1):
        row = {"epoch": number, "lr": 0.1, "seconds": 0.5, "train_loss": loss, "train_acc": 0.5}
        run.log_epochs([row | {"test_loss": loss, "test_acc": 0.5}])
    if rows:
        best = best_epoch(run.history())
        run.update_summary(best=dict(best), last=run.history()[-1], status="finished", seconds=1.0)
    return run


def test_runs_are_numbered_and_never_overwritten(tmp_path):
    names = [make_run(tmp_path).name for _ in range(3)]

    assert names == ["m-d-001", "m-d-002", "m-d-003"]


def test_a_number_is_not_used_again_after_a_run_in_between_was_deleted(tmp_path):
    first, _ = make_run(tmp_path), make_run(tmp_path)
    for file in first.path.iterdir():
        file.unlink()
    first.path.rmdir()

    assert make_run(tmp_path).name == "m-d-003"


def test_runs_made_at_once_get_a_number_each(tmp_path):
    made = []
    threads = [threading.Thread(target=lambda: made.append(make_run(tmp_path).name)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(made)) == 8


@pytest.mark.parametrize("stem", ["../out", "a/b", "", "...", "a\nb", "x" * 300, "ünï cödé"])
def test_a_run_stays_within_its_folder_whatever_it_is_called(tmp_path, stem):
    assert make_run(tmp_path / "runs", stem).path.parent == tmp_path / "runs"


def test_the_summary_is_there_before_the_first_epoch(tmp_path):
    assert make_run(tmp_path).summary().status == "running"


def test_no_temporary_file_is_left(tmp_path):
    run = make_run(tmp_path, rows=[1.0])

    assert sorted(path.name for path in run.path.iterdir()) == [
        "config.yaml",
        "environment.json",
        "history.csv",
        "summary.json",
    ]


def test_history_comes_back_to_the_last_bit(tmp_path):
    run = make_run(tmp_path)
    run.log_epochs([dict.fromkeys(COLUMNS, 1.0) | {"train_loss": 0.1 + 0.2, "train_acc": math.nan}])

    [row] = run.history()

    assert row["train_loss"] == 0.1 + 0.2
    assert math.isnan(row["train_acc"])


@pytest.mark.parametrize(
    ("old", "new", "words"), [("epoch", "epoc", "it lacks epoch"), ("\n1,", "\nnan,", "an epoch has no number")]
)
def test_a_history_without_a_column_or_with_an_epoch_that_is_no_number_is_named(tmp_path, old, new, words):
    file = make_run(tmp_path, rows=[1.0, 0.5]).path / "history.csv"
    file.write_text(file.read_text().replace(old, new))

    with pytest.raises(RunError, match=rf"history\.csv' is damaged: {words}"):
        Run(file.parent).history()


def test_a_run_that_is_still_being_made_is_not_listed(tmp_path):
    run = make_run(tmp_path)
    make_run(tmp_path).path.rename(tmp_path / f".new.{'0' * 16}.dlw-tmp")

    assert list_runs(tmp_path) == [run]


def test_unfinished_files_are_swept_and_finished_ones_kept(tmp_path):
    run = make_run(tmp_path, rows=[1.0])
    before = sorted(run.path.iterdir())
    (run.path / f".best.pth.{'0' * 16}.dlw-tmp").touch()

    run.sweep()

    assert sorted(run.path.iterdir()) == before


def test_a_torn_last_line_is_left_out(tmp_path):
    run = make_run(tmp_path, rows=[1.0, 0.5])
    file = run.path / "history.csv"
    file.write_text(file.read_text()[:-5])

    assert [row["epoch"] for row in run.history()] == [1.0]


def test_the_best_epoch_has_the_lowest_validation_loss_where_there_is_one():
    rows = [{"test_loss": 1.0, "val_loss": 3.0}, {"test_loss": 2.0, "val_loss": 2.0}]

    assert best_epoch(rows) is rows[1]


def test_the_best_epoch_is_the_first_of_equals_and_never_nan():
    rows = [{"test_loss": math.nan}, {"test_loss": 1.0}, {"test_loss": 1.0}]

    assert best_epoch(rows) is rows[1]
    assert best_epoch([]) is None


def test_a_run_is_found_by_path_name_and_unique_prefix(tmp_path):
    run = make_run(tmp_path, "alpha")
    make_run(tmp_path, "beta")

    assert {find_run(str(run.path)).name, find_run("alpha-001", tmp_path).name, find_run("al", tmp_path).name} == {
        "alpha-001"
    }


def test_a_prefix_of_several_runs_names_them(tmp_path):
    make_run(tmp_path)
    make_run(tmp_path)

    with pytest.raises(RunError, match="m-d-001, m-d-002"):
        find_run("m-", tmp_path)


def test_a_whole_name_wins_over_names_that_begin_alike_and_means_its_newest_number(tmp_path, monkeypatch):
    for stem in ("c2b", "c2", "c2-001", "c2", "c2b"):
        make_run(tmp_path / "runs", stem)
    monkeypatch.chdir(tmp_path)

    assert [find_run(given).name for given in ("c2", "c2-001", "c2b", "c2-001-")] == [
        *("c2-002", "c2-001", "c2b-002", "c2-001-001"),
    ]
    assert find_run("runs/c2").path == find_run(str(tmp_path / "runs/c2")).path.relative_to(tmp_path)


def test_the_thousandth_number_is_newer_than_the_last_of_three_digits(tmp_path):
    make_run(tmp_path, "m").path.rename(tmp_path / "m-999")
    make_run(tmp_path, "m").path.rename(tmp_path / "m-1000")

    assert find_run("m", tmp_path).name == "m-1000"


def test_a_run_of_a_sweep_is_found_by_the_start_of_its_name_too(tmp_path):
    make_run(tmp_path / "s-001", "s-001")

    assert find_run("s-001/s-001", tmp_path).name == "s-001-001"


def test_an_unknown_run_is_refused_with_the_nearest_name(tmp_path):
    make_run(tmp_path, "tinyvgg")

    with pytest.raises(RunError, match="did you mean 'tinyvgg-001'"):
        find_run("tinyvg-001", tmp_path)


def test_last_is_the_newest_and_best_the_lowest_loss_on_the_same_data(tmp_path):
    make_run(tmp_path, "other", rows=[0.001], data="elsewhere")
    make_run(tmp_path, "low", rows=[0.1])
    make_run(tmp_path, "high", rows=[0.9])

    assert (find_run("last", tmp_path).name, find_run("best", tmp_path).name) == ("high-001", "low-001")


def test_last_skips_runs_that_do_not_fit(tmp_path):
    make_run(tmp_path, "pictures", kind="image", in_shape=[1, 8, 8])
    make_run(tmp_path, "numbers")

    assert find_run(None, tmp_path, fits=lambda summary: summary.kind == "image").name == "pictures-001"


def test_no_run_at_all_says_how_to_make_one(tmp_path):
    with pytest.raises(RunError, match="dlw train"):
        find_run("last", tmp_path / "nowhere")


def test_a_folder_that_is_no_run_is_not_listed(tmp_path):
    (tmp_path / "stuff").mkdir()
    make_run(tmp_path)

    assert [run.name for run in list_runs(tmp_path)] == ["m-d-001"]


def test_comparison_shows_only_the_settings_that_differ(tmp_path):
    runs = [make_run(tmp_path, rows=[1.0]) for _ in range(2)]
    runs[1].update_summary(config=SUMMARY["config"] | {"seed": 2})

    rows = compare_runs(runs)

    assert [row["seed"] for row in rows] == [1, 2]
    assert "data.noise" not in rows[0]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"config": {}}', '{"config": 3, "status": "x"}'])
def test_a_damaged_run_is_a_row_that_says_so(tmp_path, text):
    whole, damaged = make_run(tmp_path, rows=[1.0]), make_run(tmp_path, rows=[1.0])
    (damaged.path / "summary.json").write_text(text)

    rows = compare_runs([whole, damaged])

    assert rows[0]["status"] == "finished"
    assert rows[1]["status"].startswith("damaged: ")


def test_a_damaged_history_is_a_row_that_says_so(tmp_path):
    run = make_run(tmp_path, rows=[1.0])
    (run.path / "history.csv").write_text("epoch,lr\n1,x\n")

    assert compare_runs([run])[0]["status"].startswith("damaged: ")


def test_an_unfinished_run_is_compared_by_what_it_has(tmp_path):
    run = make_run(tmp_path)

    with run.locked():
        [row] = compare_runs([run])

    assert (row["status"], row["best_epoch"], row["test_loss"]) == ("running", None, None)


def test_a_newer_format_is_refused_by_name(tmp_path):
    run = make_run(tmp_path)
    (run.path / "summary.json").write_text(json.dumps(SUMMARY | {"format": 99}))

    with pytest.raises(RunError, match="newer dlworkflow"):
        run.summary()


def test_json_holds_no_nan(tmp_path):
    run = make_run(tmp_path)
    run.update_summary(best={"test_acc": math.nan})

    assert json.loads((run.path / "summary.json").read_text(), parse_constant=pytest.fail)["best"]["test_acc"] is None


def test_best_does_not_rank_losses_of_different_functions(tmp_path):
    config = SUMMARY["config"]
    make_run(tmp_path, "mse", rows=[0.001], config=config | {"loss": "mse"})
    make_run(tmp_path, "low", rows=[0.1], config=config | {"loss": "l1"})
    make_run(tmp_path, "high", rows=[0.9], config=config | {"loss": "l1"})

    assert find_run("best", tmp_path).name == "low-001"


def test_a_write_that_fails_leaves_nothing_and_makes_no_run(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)

    with pytest.raises(RunError, match="No space left"):
        make_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_run_are_as_private_as_the_user_wants(tmp_path):
    import os

    before = os.umask(0o077)
    try:
        run = make_run(tmp_path)
    finally:
        os.umask(before)

    assert {path.stat().st_mode & 0o777 for path in run.path.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "wrong", [{"format": "x"}, {"seconds": "abc"}, {"data": ["x"]}, {"classes": None}, {"best": 3}]
)
def test_a_value_of_the_wrong_kind_is_damage_and_does_not_hide_the_other_runs(tmp_path, wrong):
    make_run(tmp_path, rows=[1.0])
    damaged = make_run(tmp_path, rows=[1.0])
    file = damaged.path / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | wrong))

    rows = compare_runs(list_runs(tmp_path))

    assert sorted(row["status"].partition(":")[0] for row in rows) == ["damaged", "finished"]


def test_the_samples_of_each_split_are_read_from_where_older_runs_kept_them_too(tmp_path):
    run = Run.create(tmp_path, "new", summary=SUMMARY, config="", environment={}, split_indices={"test": [2, 0]})
    older = make_run(tmp_path, "old", split_indices={"test": [2, 0]})

    assert run.split_indices() == older.split_indices() == {"test": [2, 0]}
    assert run.summary().others == {}


def test_what_a_killed_process_left_of_a_new_run_goes_with_the_next_run_but_what_is_being_made_stays(tmp_path):
    abandoned = tmp_path / f".new.{'0' * 16}.dlw-tmp"
    abandoned.mkdir()
    (abandoned / "config.yaml").touch()
    with unfinished_folder(tmp_path / "new") as being_made:
        make_run(tmp_path)

        assert (abandoned.exists(), being_made.exists()) == (False, True)


def test_epochs_are_on_disk_before_they_are_counted_on(tmp_path, monkeypatch):
    run, synced = make_run(tmp_path, rows=[1.0, 0.5]), []
    monkeypatch.setattr("os.fsync", lambda number: synced.append(os.fstat(number).st_ino))

    run.sync_history()

    assert synced == [(run.path / "history.csv").stat().st_ino]


def test_a_users_files_among_runs_stay_whatever_their_age_and_name(tmp_path, foreign):
    run = make_run(tmp_path, rows=[1.0])
    others = foreign(tmp_path, run.path, run.path / "plots")
    before = others()
    make_run(tmp_path)
    run.sweep()
    run.write_found(EVALUATION, {})

    assert others() == before


def test_whoever_only_looks_does_not_keep_a_trainer_from_the_lock(tmp_path):
    run = make_run(tmp_path)
    with run.locked():
        pass
    with (run.path / ".lock").open() as looking:
        assert try_lock(looking.fileno(), shared=True)
        threading.Timer(0.2, looking.close).start()
        with run.locked():
            assert run.is_being_trained()


def test_looking_whether_a_run_is_trained_writes_nothing(tmp_path):
    run = make_run(tmp_path)
    before = sorted(run.path.iterdir())
    run.is_being_trained()

    assert sorted(run.path.iterdir()) == before


def test_no_heading_of_a_table_is_a_formula_in_a_spreadsheet(tmp_path):
    run = make_run(tmp_path)
    run.write_found(EVALUATION, {"predictions": [{"=HYPERLINK(1)": 1}]})

    assert (run.path / "predictions.csv").read_text() == "'=HYPERLINK(1)\n1\n"


def test_an_evaluation_is_read_as_it_was_written_with_keys_of_others(tmp_path):
    run = make_run(tmp_path)
    run.write_found(replace(EVALUATION, split="val", others={"newer": [1]}), {})

    assert run.evaluation("val") == replace(EVALUATION, split="val", others={"newer": [1]})
    assert run.evaluation() is None


def test_an_evaluation_of_an_older_version_is_read(tmp_path):
    run = make_run(tmp_path)
    shutil.copy(OLD_RUN / "evaluation.json", run.path)

    found = run.evaluation()

    assert (found.format, found.run, found.samples) == (0, OLD_RUN.name, 4)
    assert found.metrics["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "x"}, "is damaged: loss is 'x'"),
        ({"metrics": None}, "is damaged: metrics is None"),
        ({"format": 99}, "written by a newer dlworkflow"),
    ],
)
def test_a_damaged_evaluation_is_reported_by_its_key(tmp_path, changes, words):
    run = make_run(tmp_path)
    (run.path / "evaluation.json").write_text(json.dumps(EVALUATION.to_data() | changes))

    with pytest.raises(RunError, match=words):
        run.evaluation()


def test_keys_of_a_summary_that_are_not_known_are_kept(tmp_path):
    run = make_run(tmp_path, tags=["baseline"])
    run.update_summary(status="failed")

    assert (run.summary().others, run.summary().status) == ({"tags": ["baseline"]}, "failed")


@pytest.mark.parametrize("stem", ["con.x", "NUL.tar.gz", "com1.a", "lpt9.b"])
def test_no_run_has_a_name_that_windows_reserves(tmp_path, stem):
    assert make_run(tmp_path, stem).name.partition(".")[0].upper() not in ("CON", "NUL", "COM1", "LPT9")


@pytest.mark.parametrize("stem", ["a:b", "a?", "x. ", "a<b>|c", 'say "x"', "back\\slash"])
def test_no_run_has_characters_that_windows_refuses(tmp_path, stem):
    assert not set(make_run(tmp_path, stem).name) & set('<>:"/\\|?* ')


class Row(TypedDict):
    name: str
    n: Size


@dataclass(frozen=True, kw_only=True)
class Counts(Found):
    file: ClassVar[str] = "counts"
    rows: list[Row]


COUNTS = Counts(run="x", weights="best", epoch=1, split="val", rows=[{"name": "a", "n": 1}])


def test_what_a_command_found_is_read_as_it_was_written(tmp_path):
    run = make_run(tmp_path)
    paths = run.write_found(COUNTS, {"counts": COUNTS.rows})

    assert [path.name for path in paths] == ["counts-val.json", "counts-val.csv"]
    assert (run.found(Counts, "val"), run.found(Counts)) == (COUNTS, None)


@pytest.mark.parametrize("row", ['{"name": "a"}', '{"name": "a", "n": -1}', '"a"'])
def test_a_damaged_row_of_what_was_found_is_named(tmp_path, row):
    run = make_run(tmp_path)
    run.write_found(COUNTS)
    file = run.path / "counts-val.json"
    file.write_text(re.sub(r'"rows": \[.*?\]', f'"rows": [{row}]', file.read_text(), flags=re.DOTALL))

    with pytest.raises(RunError, match=r"counts-val.json' is damaged: rows is \["):
        run.found(Counts, "val")


def test_what_was_found_is_of_the_weights_until_training_changes_them(tmp_path):
    run = make_run(tmp_path, rows=[1.0])
    found = replace(COUNTS, epoch=run.summary().row("best")["epoch"])

    assert (found.is_of(run.summary()), replace(found, epoch=7).is_of(run.summary())) == (True, False)
