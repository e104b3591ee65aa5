from __future__ import annotations

import csv
import functools
import io
import json
import shutil

import pytest
import torch

from dlworkflow.runs import Run

SHOW_WEIGHTS = ("show", "last", "--weights", "--format", "csv")


def summary_of(run):
    return json.loads((run / "summary.json").read_text())


# runs


def test_runs_lists_all_oldest_first(dlw, runs):
    rows = json.loads(dlw("runs", "--format", "json").out)

    assert [row["run"] for row in rows] == ["line-line-001", "tinyvgg-digits-001", "circles_v2-circles-001"]


def test_runs_says_status_model_data_and_epochs(dlw, runs):
    row = json.loads(dlw("runs", "--format", "json").out)[0]

    assert (row["status"], row["model"], row["data"], row["epochs_done"]) == ("finished", "line", "line", 200)


def test_runs_gives_the_same_rows_in_csv_and_json(dlw, runs):
    from_csv = list(csv.DictReader(io.StringIO(dlw("runs", "--format", "csv").out)))
    from_json = json.loads(dlw("runs", "--format", "json").out)

    assert from_csv == [{key: "" if v is None else str(v) for key, v in row.items()} for row in from_json]


@pytest.mark.parametrize("form", ["json", "csv", "table", "md"])
def test_without_runs_the_next_step_is_said_on_stderr(form, dlw, in_tmp):
    answer = dlw("runs", "--format", form)

    assert answer.code == 0
    assert answer.err == "no runs in 'runs' yet; make one with `dlw train MODEL`\n"


def test_without_runs_json_is_an_empty_list(dlw, in_tmp):
    assert json.loads(dlw("runs", "--format", "json").out) == []


def test_runs_shows_a_damaged_run_and_the_others(dlw, runs):
    (runs / "line-line-001" / "summary.json").write_text("{")
    statuses = {row["run"]: row["status"] for row in json.loads(dlw("runs", "--format", "json").out)}

    assert statuses["line-line-001"].startswith("damaged: ")
    assert statuses["tinyvgg-digits-001"] == "finished"


def test_runs_shows_a_run_that_is_going_on(dlw, runs):
    changed = summary_of(runs / "line-line-001") | {"status": "running", "seconds": None}
    (runs / "line-line-001" / "summary.json").write_text(json.dumps(changed))

    with Run(runs / "line-line-001").locked():
        assert json.loads(dlw("runs", "--format", "json").out)[0]["status"] == "running"


def test_runs_shows_a_run_whose_process_is_gone_as_killed(dlw, runs):
    changed = summary_of(runs / "line-line-001") | {"status": "running", "seconds": None}
    (runs / "line-line-001" / "summary.json").write_text(json.dumps(changed))

    assert json.loads(dlw("runs", "--format", "json").out)[0]["status"] == "killed"


def test_other_folders_are_no_runs(dlw, runs):
    (runs / "notes").mkdir()

    assert len(json.loads(dlw("runs", "--format", "json").out)) == 3


# show


def test_show_without_a_name_shows_the_last_run(dlw, runs):
    assert json.loads(dlw("show", "--format", "json").out)["run"] == "runs/circles_v2-circles-001"


@pytest.mark.parametrize("given", ["runs/line-line-001", "line-line-001", "line", "best", "runs/line-line-001/"])
def test_show_takes_a_path_a_name_a_start_or_best(given, dlw, runs):
    shutil.rmtree(runs / "circles_v2-circles-001")
    shutil.rmtree(runs / "tinyvgg-digits-001")

    assert json.loads(dlw("show", given, "--format", "json").out)["run"].rstrip("/") == "runs/line-line-001"


def test_show_shows_every_setting_of_the_run(dlw, runs):
    lines = dict(line.split(maxsplit=1) for line in dlw("show", "line").out.split("\n\n")[0].splitlines())

    assert (lines["optimizer.lr"], lines["data.step"], lines["epochs"]) == ("0.01", "0.02", "200")


def test_show_thins_a_long_history_to_a_screen_with_its_first_and_last_epoch(dlw, runs):
    epochs = [line.split()[0] for line in dlw("show", "line").out.split("\n\n")[1].splitlines()[2:]]

    assert (epochs[0], epochs[-1]) == ("1", "200")
    assert len(epochs) < 25


def test_show_gives_programs_every_epoch(dlw, runs):
    history = json.loads(dlw("show", "line", "--format", "json").out)["history"]
    rows = list(csv.DictReader(io.StringIO(dlw("show", "line", "--format", "csv").out)))

    assert len(history) == len(rows) == 200


def test_show_gives_the_history_as_it_was_written(dlw, runs):
    with (runs / "tinyvgg-digits-001" / "history.csv").open(newline="") as stream:
        written = [{key: float(cell) for key, cell in row.items()} for row in csv.DictReader(stream)]

    assert json.loads(dlw("show", "tinyvgg", "--format", "json").out)["history"] == written


@pytest.mark.parametrize("form", ["csv", "md", "table"])
def test_show_leaves_cells_without_a_number_empty(form, dlw, runs):
    assert "nan" not in dlw("show", "line", "--format", form).out


def test_the_weights_of_a_line_stand_beside_what_the_data_were_made_with(dlw, runs):
    rows = json.loads(dlw("show", "line", "--weights", "--format", "json").out)
    table = [line.split() for line in dlw("show", "line", "--weights").out.splitlines()[2:]]

    assert table == [
        ["weights", f"{rows[0]['values'][0]:.4f}", "0.7000"],
        ["bias", f"{rows[1]['values'][0]:.4f}", "0.3000"],
    ]


def test_the_weights_of_a_line_of_ones_own_stand_beside_its_settings(dlw, in_tmp):
    dlw("train", "line_v2", "--epochs", "1", "--set", "data.slope=2")

    [weight, bias] = csv.DictReader(io.StringIO(dlw("show", "--weights", "--format", "csv").out))
    assert (weight["tensor"], weight["made_with"], bias["made_with"]) == ("linear_layer.weight", "2.0", "0.3")


def test_up_to_50_weights_are_printed_one_by_one(dlw, in_tmp):
    dlw("train", "circles_v0", "--epochs", "1")
    model = torch.load("runs/circles_v0-circles-001/best.pth", weights_only=True)

    rows = {row["tensor"]: row["value"] for row in csv.DictReader(io.StringIO(dlw(*SHOW_WEIGHTS).out))}
    assert len(rows) == 21
    assert float(rows["layer_1.weight[4, 1]"]) == model["layer_1.weight"][4, 1].item()
    assert float(rows["layer_2.bias"]) == model["layer_2.bias"].item()


def test_more_weights_are_a_line_a_tensor(dlw, runs):
    weights = torch.load(runs / "circles_v2-circles-001" / "best.pth", weights_only=True)

    [first, *_] = rows = list(csv.DictReader(io.StringIO(dlw(*SHOW_WEIGHTS).out)))
    assert [row["tensor"] for row in rows] == list(weights)
    assert (first["shape"], first["count"]) == ("10x2", "20")
    assert float(first["max"]) == weights["layer_1.weight"].max().item()


def test_show_of_a_run_without_an_epoch_says_so(dlw, runs):
    (runs / "line-line-001" / "history.csv").unlink()
    answer = dlw("show", "line")

    assert answer.code == 0
    assert answer.err == "no epoch has ended yet\n"


# evaluate


@pytest.mark.parametrize("name", ["line-line-001", "tinyvgg-digits-001", "circles_v2-circles-001"])
def test_evaluate_gives_the_test_loss_of_the_best_epoch(name, dlw, runs):
    row = json.loads(dlw("evaluate", name, "--no-plots", "--format", "json").out)

    assert row["loss"] == pytest.approx(summary_of(runs / name)["best"]["test_loss"], rel=1e-6)


def test_evaluate_gives_the_test_accuracy_of_the_best_epoch(dlw, runs):
    row = json.loads(dlw("evaluate", "tinyvgg", "--no-plots", "--format", "json").out)

    assert row["metrics"]["accuracy"] == pytest.approx(summary_of(runs / "tinyvgg-digits-001")["best"]["test_acc"])


def test_evaluate_of_the_last_weights_gives_the_test_loss_of_the_last_epoch(dlw, runs):
    row = json.loads(dlw("evaluate", "line", "--weights", "last", "--no-plots", "--format", "json").out)

    assert row["loss"] == pytest.approx(summary_of(runs / "line-line-001")["last"]["test_loss"], rel=1e-6)


def test_evaluate_scores_the_training_split_when_asked(dlw, runs):
    row = json.loads(dlw("evaluate", "circles", "--split", "train", "--no-plots", "--format", "json").out)

    assert (row["split"], row["samples"]) == ("train", 800)


def test_evaluate_without_a_name_takes_the_last_trained_run_and_says_so(dlw, runs):
    assert dlw("evaluate", "--no-plots").err.splitlines()[0] == "run runs/circles_v2-circles-001 (best weights)"


def test_evaluate_passes_over_a_run_without_an_epoch(dlw, runs):
    changed = summary_of(runs / "circles_v2-circles-001") | {"best": None}
    (runs / "circles_v2-circles-001" / "summary.json").write_text(json.dumps(changed))

    assert dlw("evaluate", "--no-plots").err.splitlines()[0] == "run runs/tinyvgg-digits-001 (best weights)"


def test_evaluate_stands_beside_the_baseline(dlw, runs):
    row = json.loads(dlw("evaluate", "circles", "--no-plots", "--format", "json").out)

    assert row["baseline"] == 0.5


def test_evaluate_measures_samples_whatever_the_run_averaged(dlw, in_tmp):
    arguments = ("--set", "averaging=batch", "--set", "data.batch_size=190", "--set", "data.test_fraction=0.5")
    dlw("train", "circles_v2", "--epochs", "1", *arguments, "--name", "by_batch")
    dlw("train", "circles_v2", "--epochs", "1", *arguments, "--set", "averaging=sample", "--name", "by_sample")
    row = json.loads(dlw("evaluate", "by_batch", "--no-plots", "--format", "json").out)

    assert row["loss"] == pytest.approx(summary_of(in_tmp / "runs/by_sample-001")["best"]["test_loss"], rel=1e-6)


# Bad input


@pytest.fixture
def hostile(runs):
    """Runs that are not as they should be."""
    for name in ("line-line-002", "damaged-001", "bare-001", "broken-001", "foreign-001", "started-001"):
        shutil.copytree(runs / "line-line-001", runs / name)
    (runs / "damaged-001" / "summary.json").write_text("{")
    (runs / "bare-001" / "best.pth").unlink()
    (runs / "broken-001" / "best.pth").write_bytes((runs / "line-line-001" / "best.pth").read_bytes()[:700])
    torch.save({"weights": torch.zeros(7)}, runs / "foreign-001" / "best.pth")
    (runs / "empty").mkdir()
    return runs


@pytest.mark.parametrize(
    ("arguments", "code", "given", "way_out"),
    [
        ("show nosuch", 1, "'nosuch'", "line-line-002"),
        ("show circles_v3-circles-001", 1, "'circles_v3-circles-001'", "'circles_v2-circles-001'"),
        ("show line", 1, "'line' fits several runs", "line-line-001, line-line-002"),
        ("show runs/empty", 1, "'runs/empty'", "no run folder"),
        ("show damaged", 1, "damaged-001", "damaged"),
        ("show bare --weights", 1, "bare-001", "best.pth"),
        ("show broken --weights", 1, "broken-001", "no whole file of weights"),
        ("show --runs-dir nowhere", 1, "'nowhere'", "dlw train MODEL"),
        ("evaluate nosuch", 1, "'nosuch'", "line-line-002"),
        ("evaluate line", 1, "'line' fits several runs", "line-line-001, line-line-002"),
        ("evaluate damaged", 1, "damaged-001", "damaged"),
        ("evaluate bare", 1, "bare-001", "best.pth"),
        ("evaluate broken", 1, "broken-001", "no whole file of weights"),
        ("evaluate foreign", 1, "foreign-001", "(7,), not (1,)"),
        ("evaluate circles --split val", 1, "'val'", "train, test"),
        ("evaluate circles --device gpu", 2, "--device: 'gpu'", "cpu"),
        ("evaluate --runs-dir nowhere", 1, "'nowhere'", "dlw train MODEL"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_the_way_out(arguments, code, given, way_out, dlw, hostile):
    answer = dlw(*arguments.split())

    [line] = answer.complaints
    assert (answer.code, answer.out) == (code, "")
    assert line.startswith("dlw: ")
    assert given in line
    assert way_out in line


@pytest.mark.parametrize("damage", ['{"config": {}}', '{"config": null}', '{"config": 3}'])
@pytest.mark.parametrize("command", ["show line-line-001", "evaluate line-line-001", "predict 1 --run line-line-001"])
def test_a_summary_that_lacks_what_is_needed_is_a_damaged_run_and_no_bug(damage, command, dlw, runs):
    (runs / "line-line-001" / "summary.json").write_text(damage)
    answer = dlw(*command.split())

    assert answer.code == 1
    assert "a bug" not in answer.err


def test_data_that_is_gone_is_named(dlw, in_tmp, pictures):
    for name in ("cat", "dog"):
        (in_tmp / "own" / name).mkdir(parents=True)
        for index in range(5):
            shutil.copy(pictures / "0.png", in_tmp / "own" / name / f"{index}.png")
    dlw("train", "tinyvgg", "--data", "own", "--epochs", "1")
    shutil.rmtree(in_tmp / "own")
    [line] = dlw("evaluate", "--no-plots").complaints

    assert line.startswith("dlw: ")
    assert str(in_tmp / "own") in line


# a damaged summary


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in_shape": []}, "in_shape is []"),
        ({"in_shape": [0]}, "in_shape is [0]"),
        ({"classes": [3]}, "classes is [3]"),
        ({"classes": ["a", "b"]}, "2 classes and 1 outputs are no regression task"),
        ({"best": {"epoch": 3}}, "it lacks best.test_loss"),
        ({"best": {"epoch": "x"}}, "best.epoch is 'x'"),
        ({"config.data.batch_size": "x"}, "config.data.batch_size is 'x'"),
        ({"config.data.batch_size": ...}, "it lacks config.data.batch_size"),
        ({"config.model.name": ["x"]}, "config.model.name is ['x']"),
        ({"config.model": ...}, "it lacks config.model, config.model.name"),
        ({"config.loss": ...}, "it lacks config.loss"),
        ({"baseline.answer": "x"}, "baseline.answer is 'x'"),
        ({"samples.test": -1}, "samples.test is -1"),
        ({"threads": True}, "threads is True"),
    ],
)
def test_a_damaged_summary_is_answered_by_every_command_with_its_key(changes, words, dlw, runs):
    file = runs / "line-line-001" / "summary.json"
    summary = json.loads(file.read_text())
    for key, value in changes.items():
        *sections, name = key.split(".")
        branch = functools.reduce(dict.__getitem__, sections, summary)
        branch.pop(name) if value is ... else branch.update({name: value})
    file.write_text(json.dumps(summary))

    for command in (
        "show line",
        "predict 0.5 --run line",
        "evaluate line",
        "diagnose line",
        "plot line",
        "train --resume line",
    ):
        answer = dlw(*command.split())
        assert (answer.code, answer.out) == (1, "")
        assert answer.complaints[-1].endswith(f"line-line-001/summary.json' is damaged: {words}")
