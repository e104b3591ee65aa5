from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def several(runs):
    """The trained runs, and a copy of the line whose settings differ and whose best loss is higher."""
    shutil.copytree(runs / "line-line-001", runs / "line-line-002")
    file = runs / "line-line-002" / "summary.json"
    summary = json.loads(file.read_text())
    summary["config"]["optimizer"]["lr"] = 0.5
    summary["best"]["test_loss"] = 9.0
    file.write_text(json.dumps(summary))
    return runs


def rows_of(answer):
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_compare_shows_all_runs_oldest_first(dlw, runs):
    assert [row["run"] for row in rows_of(dlw("compare", "--format", "json"))] == [
        "line-line-001",
        "tinyvgg-digits-001",
        "circles_v2-circles-001",
    ]


def test_compare_shows_the_runs_named_in_the_order_named(dlw, runs):
    rows = rows_of(dlw("compare", "circles", "runs/line-line-001", "--format", "json"))

    assert [row["run"] for row in rows] == ["circles_v2-circles-001", "line-line-001"]


def test_a_run_that_is_named_twice_is_one_row(dlw, runs):
    rows = rows_of(dlw("compare", "circles", "line", "circles_v2-circles-001", "--format", "json"))

    assert [row["run"] for row in rows] == ["circles_v2-circles-001", "line-line-001"]


def test_compare_shows_the_best_epoch_and_its_scores(dlw, runs):
    best = json.loads((runs / "line-line-001/summary.json").read_text())["best"]
    [row] = rows_of(dlw("compare", "line", "--format", "json"))

    assert (row["best_epoch"], row["train_loss"], row["test_loss"]) == (
        best["epoch"],
        best["train_loss"],
        best["test_loss"],
    )


def test_compare_shows_model_data_parameters_and_seconds(dlw, runs):
    [row] = rows_of(dlw("compare", "circles", "--format", "json"))

    assert (row["model"], row["data"], row["parameters"]) == ("circles_v2", "circles", 151)
    assert row["seconds"] > 0


def test_compare_shows_the_majority_baseline(dlw, runs):
    [row] = rows_of(dlw("compare", "circles", "--format", "json"))

    assert row["baseline"] == 0.5


def test_compare_shows_settings_in_which_runs_differ_and_no_other(dlw, several):
    rows = rows_of(dlw("compare", "line-line-001", "line-line-002", "--format", "json"))

    assert [{key: row[key] for key in row if "." in key} for row in rows] == [
        {"optimizer.lr": 0.01},
        {"optimizer.lr": 0.5},
    ]


def test_the_table_shows_percent_and_five_decimals(dlw, runs):
    [row] = rows_of(dlw("compare", "circles", "--format", "json"))
    cells = dlw("compare", "circles").out.splitlines()[2].split("  ")

    assert f"{row['test_loss']:.5f}" in [cell.strip() for cell in cells]
    assert f"{100 * row['test_acc']:.2f} %" in [cell.strip() for cell in cells]


@pytest.mark.parametrize(
    ("column", "first", "last"),
    [
        ("test_loss", "line-line-001", "line-line-002"),
        ("test loss", "line-line-001", "line-line-002"),
        ("parameters", "line-line-001", "tinyvgg-digits-001"),
        ("optimizer.lr", "tinyvgg-digits-001", "line-line-002"),
        ("run", "circles_v2-circles-001", "tinyvgg-digits-001"),
    ],
)
def test_sort_puts_the_best_first(column, first, last, dlw, several):
    names = [row["run"] for row in rows_of(dlw("compare", "--sort", column, "--format", "json"))]

    assert (names[0], names[-1]) == (first, last)


def test_sort_by_accuracy_puts_the_highest_first_and_runs_without_one_last(dlw, runs):
    rows = rows_of(dlw("compare", "--sort", "test_acc", "--format", "json"))
    accuracies = [row["test_acc"] for row in rows]

    assert accuracies[-1] is None
    assert accuracies[0] >= accuracies[1]


def test_csv_and_json_hold_the_same_rows(dlw, several):
    from_csv = list(csv.DictReader(io.StringIO(dlw("compare", "--format", "csv").out)))
    from_json = rows_of(dlw("compare", "--format", "json"))

    assert from_csv == [{key: "" if v is None else str(v) for key, v in row.items()} for row in from_json]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_of_mixed_runs_fits_the_terminal(width, dlw, several, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))

    assert max(map(len, dlw("compare").out.splitlines())) <= width


def test_a_narrow_table_keeps_run_and_scores_and_names_the_rest_on_stderr(dlw, several, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    answer = dlw("compare")

    assert answer.out.split("\n")[0].split() == ["run", "best", "epoch", "test", "loss", "test", "acc"]
    assert "note    left out to fit 60 columns of the terminal: model, data, train_loss, train_acc," in answer.err


def test_columns_all_prints_every_column_on_a_narrow_terminal(dlw, several, monkeypatch):
    whole = dlw("compare").out
    monkeypatch.setenv("COLUMNS", "60")

    assert dlw("compare", "--columns", "all").out == whole


def test_markdown_is_one_table(dlw, runs):
    lines = dlw("compare", "--format", "md").out.splitlines()

    assert len(lines) == 2 + 3
    assert len({line.count(" | ") for line in lines}) == 1


def test_a_damaged_run_is_a_row_that_says_so(dlw, runs):
    (runs / "circles_v2-circles-001" / "summary.json").write_text("{")
    rows = {row["run"]: row for row in rows_of(dlw("compare", "--format", "json"))}

    assert rows["circles_v2-circles-001"]["status"].startswith("damaged: ")
    assert rows["line-line-001"]["status"] == "finished"


@pytest.mark.parametrize("damage", ["", "null", "[]", "{}", '{"config": {}}', '{"config": null}', '{"config": 3}'])
@pytest.mark.parametrize("arguments", [[], ["--sort", "test_loss"]], ids=["as they are", "sorted"])
def test_no_damage_to_a_summary_hides_the_other_runs(damage, arguments, dlw, runs):
    (runs / "circles_v2-circles-001" / "summary.json").write_text(damage)
    rows = rows_of(dlw("compare", *arguments, "--format", "json"))

    assert [row["run"] for row in rows if row["status"] == "finished"] != []


def test_a_damaged_history_is_a_row_that_says_so(dlw, runs):
    (runs / "circles_v2-circles-001" / "history.csv").write_text("epoch,lr\n1,fast\n")
    rows = {row["run"]: row for row in rows_of(dlw("compare", "--format", "json"))}

    assert rows["circles_v2-circles-001"]["status"].startswith("damaged: ")


def test_a_run_of_a_newer_version_is_a_row_that_says_so(dlw, runs):
    file = runs / "circles_v2-circles-001" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99}))
    rows = {row["run"]: row for row in rows_of(dlw("compare", "--format", "json"))}

    assert "newer dlworkflow" in rows["circles_v2-circles-001"]["status"]


def test_a_hostile_run_name_cannot_break_the_table(dlw, runs):
    (runs / "line-line-001").rename(runs / "a\n\x1b[31m|b")
    answers = [dlw("compare", "--format", form).out for form in ("table", "md")]

    assert [len(out.splitlines()) for out in answers] == [2 + 3, 2 + 3]
    assert "\x1b" not in "".join(answers)


def test_that_best_is_by_the_test_loss_is_said_on_stderr(dlw, runs):
    answer = dlw("compare")

    assert answer.err.startswith("best epoch: the lowest test loss")
    assert "lowest test loss" not in answer.out


@pytest.mark.parametrize(
    ("arguments", "code", "given", "way_out"),
    [
        ("nosuch", 1, "'nosuch'", "line-line-001"),
        ("line-line-001 circles_v3-circles-001", 1, "'circles_v3-circles-001'", "'circles_v2-circles-001'"),
        ("--sort tes_loss", 2, "--sort: unknown column 'tes_loss'", "'test_loss'"),
        ("--runs-dir nowhere", 1, "'nowhere'", "dlw train MODEL"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_the_way_out(arguments, code, given, way_out, dlw, runs):
    answer = dlw("compare", *arguments.split())

    [line] = answer.err.splitlines()
    assert (answer.code, answer.out) == (code, "")
    assert line.startswith("dlw: ")
    assert given in line
    assert way_out in line


def test_a_run_without_an_epoch_shows_its_baseline_as_the_accuracy_it_is(dlw, runs):
    file = runs / "circles_v2-circles-001" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"best": None, "last": None, "status": "interrupted"}))
    (file.parent / "history.csv").unlink()

    [line] = [line for line in dlw("compare").out.splitlines() if line.startswith("circles")]

    assert "50.00 %" in line
    assert "loss" not in line


def test_a_damaged_run_does_not_keep_the_others_from_being_drawn(dlw, runs):
    (runs / "line-line-001" / "summary.json").write_text("{")

    assert dlw("compare", "--plot", "all.png").code == 0
    assert (runs.parent / "all.png").stat().st_size > 1000


def test_averaging_over_no_finished_run_is_refused(dlw, runs):
    for file in runs.glob("*/summary.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"status": "running"}))

    answer = dlw("compare", "--over-seeds")

    assert (answer.code, answer.out) == (1, "")
    assert "none of" in answer.complaints[-1]


def test_runs_chosen_on_the_test_data_are_named_where_others_have_validation_data(dlw, in_tmp):
    dlw("train", "blobs", "--epochs", "1")
    dlw("train", "blobs", "--epochs", "1", "--val-fraction", "0.2")

    assert "best epoch (of blobs-blobs-001): the lowest test loss" in dlw("compare").err


def told_apart(answered):
    """Two runs, the first of which is better by more than chance."""
    return answered([True] * 60), answered([True] * 40 + [False] * 20)


def test_two_named_runs_are_tested_by_itself(dlw, answered):
    good, bad = told_apart(answered)

    assert f"{good.name} got 20 right that {bad.name} missed" in dlw("compare", good.path, bad.path).out


@pytest.mark.parametrize("arguments", [["--no-test"], ["--format", "csv"], ["--format", "json"]])
def test_programs_get_no_tests_unasked_and_nobody_where_they_are_switched_off(arguments, dlw, answered):
    good, bad = told_apart(answered)

    assert "letters" not in dlw("compare", good.path, bad.path, bad.path, *arguments).out


def test_runs_that_are_not_named_are_tested_where_that_is_asked(dlw, in_tmp, answered):
    told_apart(answered)

    assert "McNemar" not in dlw("compare").out
    assert "McNemar" in dlw("compare", "--test").out


def test_of_three_runs_the_table_has_letters_beside_the_score_and_what_they_mean(dlw, answered):
    runs = [*told_apart(answered), answered([False] * 20 + [True] * 40)]
    lines = dlw("compare", *(run.path for run in runs), "--columns", "run,test_acc,letters").out.splitlines()

    assert [line.split()[-1] for line in lines[2:5]] == ["a", "b", "b"]
    assert lines[6].startswith(
        "letters: rows that share one do not differ significantly in their accuracy (exact McNemar test"
    )
    assert "Holm's correction for 3 pairs" in lines[6]


def test_json_has_every_pair_where_tests_are_asked_for(dlw, answered):
    good, bad = told_apart(answered)
    found = rows_of(dlw("compare", good.path, bad.path, "--test", "--format", "json"))

    assert [row["run"] for row in found["rows"]] == [good.name, bad.name]
    assert [(pair["only_a"], pair["only_b"]) for pair in found["tests"]["pairs"]] == [(0, 20)]


def test_the_command_for_a_run_without_answers_is_on_stderr_and_the_others_are_tested(dlw, answered):
    good, bad = told_apart(answered)
    none = answered()
    answer = dlw("compare", good.path, bad.path, none.path)

    assert "got 20 right" in answer.out
    assert f"store them with: dlw evaluate {none.path} --no-plots" in answer.err


@pytest.mark.parametrize(
    ("others", "words"),
    [([], "needs two runs"), ([{"data": "e"}], "of other data"), ([{"right": ()}], "dlw evaluate ")],
    ids=["one run", "other data", "no answers"],
)
def test_what_cannot_be_tested_though_it_was_asked_for_is_one_line(others, words, dlw, answered):
    runs = [answered([True] * 9), *(answered(**{"right": [True] * 9} | other) for other in others)]
    answer = dlw("compare", *(run.path for run in runs), "--test")

    assert answer.code == 1
    [line] = [line for line in answer.complaints if line.startswith("dlw: --test: ")]
    assert words in line


def test_a_run_beside_itself_is_no_pair_and_another_is_asked_for(dlw, answered):
    run = answered([True] * 9)
    answer = dlw("compare", run.path, run.path, "--test")

    assert answer.complaints[-1].startswith(f"dlw: --test: needs two runs, and {run.name} is the only one")


def test_runs_of_a_seed_each_are_no_rows_over_seeds(dlw, answered):
    runs = [answered([True] * 9), answered([True] * 9, model="mlp")]
    answer = dlw("compare", *(run.path for run in runs), "--test", "--over-seeds")

    assert answer.complaints[-1].endswith("train more with: dlw sweep ... --seeds 6")


def test_runs_of_other_data_are_compared_without_a_word_on_tests(dlw, answered):
    runs = [answered([True] * 9), answered([True] * 9, data="e")]
    answer = dlw("compare", *(run.path for run in runs))

    assert (answer.code, "test" in answer.err.replace("test loss", "")) == (0, False)


def test_of_many_runs_there_are_letters_and_no_table_of_pairs(dlw, in_tmp, answered):
    for shift in range(8):
        answered([(place * 7 + shift) % 10 > 3 for place in range(30)])
    answer = dlw("compare", "--test")

    assert "28 pairs" in answer.out
    assert "significant  " not in answer.out


def over_seeds(answered, n):
    for name, accuracy in (("m", 0.5), ("n", 0.7)):
        for seed in range(n):
            answered(name=name, seed=seed, acc=accuracy + 0.01 * seed)


def test_rows_over_seeds_have_letters_and_the_test_is_named(dlw, in_tmp, answered):
    over_seeds(answered, 6)
    answer = dlw("compare", "--test")

    assert (
        "n has the better test accuracy over 6 seeds: chance alone makes as large a difference 1 time in 32"
        in answer.out
    )
    assert "permutation test of the paired seeds" in answer.out


def test_three_rows_over_seeds_have_letters_beside_their_scores(dlw, in_tmp, answered):
    over_seeds(answered, 8)
    for seed in range(8):
        answered(name="o", seed=seed, acc=0.5 + 0.01 * (seed % 5))
    columns = ["--columns", "model,test_acc,letters"]
    lines = dlw("compare", "--test", "--over-seeds", "--sort", "test_acc", *columns).out.splitlines()

    assert [line.split()[-1] for line in lines[2:5]] == ["a", "b", "b"]
    assert "on the test split" in lines[6]


def test_two_seeds_where_a_test_needs_six_are_refused_with_the_way_out(dlw, in_tmp, answered):
    over_seeds(answered, 2)
    answer = dlw("compare", "--test", "--over-seeds")

    assert answer.code == 1
    assert "'n', 'm': one or two seeds where a test needs six" in answer.complaints[-1]
    assert answer.complaints[-1].endswith("dlw sweep ... --seeds 6")


@pytest.mark.parametrize(
    ("own", "key"),
    [
        ([{"data": "d"}, {"data": "e"}], "data"),
        ([{"name": "line", "loss": "mse"}, {"name": "line", "loss": "mae"}], "loss"),
    ],
)
def test_rows_of_other_data_or_losses_are_not_tested_over_seeds(own, key, dlw, in_tmp, answered):
    for one in own:
        loss = {"loss": one.pop("loss")} if "loss" in one else {}
        for seed in range(3):
            run = answered(seed=seed, acc=None if loss else 0.5 + 0.01 * seed, **one)
            run.update_summary(config=run.summary().config | loss)
    answer = dlw("compare", "--test", "--over-seeds")

    assert answer.code == 1
    assert f"rows that differ in {key} are not compared over seeds" in answer.complaints[-1]
    assert answer.complaints[-1].endswith(f"dlw compare ... --filter {key}=VALUE")


def test_rows_of_one_seed_are_named_where_others_are_tested_over_seeds(dlw, in_tmp, answered):
    over_seeds(answered, 6)
    answered(name="o", acc=0.6)

    assert "not tested: 'o': one or two seeds where a test needs six" in dlw("compare", "--test").err


def test_one_seed_a_row_is_too_few_to_test_over_seeds(dlw, in_tmp, answered):
    over_seeds(answered, 1)

    assert "one or two seeds where a test needs six" in dlw("compare", "--test", "--over-seeds").complaints[-1]


def test_scores_of_the_validation_split_are_called_so(dlw, in_tmp, answered):
    for name, loss in (("m", 0.5), ("n", 0.7), ("o", 0.9)):
        for seed in range(3):
            run = answered(name=name, seed=seed)
            scores = run.summary().best | {"val_loss": loss + 0.01 * seed, "val_acc": 0.5}
            run.update_summary(best=scores, last=scores, chosen_on="val")

    assert "over seeds, on the val split" in dlw("compare", "--test", "--sort", "val_loss").out


def test_the_split_of_stored_answers_is_chosen(dlw, answered):
    good, bad = told_apart(answered)

    assert "of the val split" in dlw("compare", good.path, bad.path, "--split", "val").err


def test_tests_leave_torch_out(in_tmp, answered):
    good, bad = told_apart(answered)
    arguments = ["compare", str(good.path), str(bad.path)]
    call = f"try: main({arguments})\nfinally: print('torch' in sys.modules)"
    code = f"import sys\nfrom dlworkflow.cli.app import main\n{call}"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert "McNemar" in done.stdout
    assert done.stdout.endswith("False\n")
