from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
import torch
import yaml

from dlworkflow.cli.progress import TrainingProgress

SCORES = (("loss", 1), ("acc", 100))  # as the history holds them, and times what they are shown
LINE = ("train", "line", "--epochs", "2")
DIGITS = ("train", "tinyvgg", "--data", "digits", "--epochs", "1")


def history_without_seconds(run):
    with (run / "history.csv").open(newline="") as stream:
        return [{key: cell for key, cell in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def weights_of(run, which="last"):
    return torch.load(run / f"{which}.pth", weights_only=True)


def equal_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def printed_config(answer):
    assert answer.code == 0, answer.err
    return yaml.safe_load(answer.out)


# The run folder


def test_train_writes_every_file_of_the_run_folder(trained):
    assert sorted(path.name for path in (trained / "circles_v2-circles-001").iterdir()) == [
        ".lock",
        "best.pth",
        "config.yaml",
        "environment.json",
        "history.csv",
        "last.pth",
        "resume.pth",
        "summary.json",
    ]


def test_the_history_has_a_line_an_epoch(trained):
    epochs = [row["epoch"] for row in history_without_seconds(trained / "line-line-001")]

    assert epochs == [str(number) for number in range(1, 201)]


def test_the_summary_says_that_the_run_finished(trained):
    assert json.loads((trained / "line-line-001" / "summary.json").read_text())["status"] == "finished"


def test_the_best_epoch_of_the_summary_is_the_lowest_test_loss_of_the_history(trained):
    run = trained / "line-line-001"
    best = json.loads((run / "summary.json").read_text())["best"]

    assert best["test_loss"] == min(float(row["test_loss"]) for row in history_without_seconds(run))


def test_best_and_last_weights_are_those_of_their_epochs(trained):
    run = trained / "line-line-001"  # its best epoch is not its last

    assert not equal_weights(weights_of(run, "best"), weights_of(run, "last"))


def test_the_environment_holds_the_version_of_torch(trained):
    environment = json.loads((trained / "line-line-001" / "environment.json").read_text())

    assert environment["packages"]["torch"] == version("torch")


def test_the_next_run_gets_the_next_number(dlw, in_tmp):
    dlw(*LINE)
    dlw(*LINE)

    assert sorted(path.name for path in (in_tmp / "runs").iterdir()) == ["line-line-001", "line-line-002"]


def test_a_run_is_named_as_asked(dlw, in_tmp):
    dlw(*LINE, "--name", "first try")

    assert [path.name for path in (in_tmp / "runs").iterdir()] == ["first_try-001"]


def test_a_name_cannot_leave_the_runs_folder(dlw, in_tmp):
    dlw(*LINE, "--name", "../../out")

    assert [path.name for path in (in_tmp / "runs").iterdir()] == ["out-001"]


def test_runs_are_kept_where_dlw_runs_dir_says(dlw, in_tmp, monkeypatch):
    monkeypatch.setenv("DLW_RUNS_DIR", "elsewhere")
    dlw(*LINE)

    assert [path.name for path in in_tmp.iterdir()] == ["elsewhere"]


def test_the_flag_for_the_runs_folder_beats_the_environment(dlw, in_tmp, monkeypatch):
    monkeypatch.setenv("DLW_RUNS_DIR", "elsewhere")
    dlw(*LINE, "--runs-dir", "here")

    assert [path.name for path in in_tmp.iterdir()] == ["here"]


@pytest.mark.slow
def test_two_runs_started_at_once_get_two_numbers(start_dlw, in_tmp):
    processes = [start_dlw(*LINE) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)

    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(path.name for path in (in_tmp / "runs").iterdir()) == ["line-line-001", "line-line-002"]


# Repeating


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "circles_v2", "--epochs", "3"),
        (*DIGITS, "--set", "data.transform=flip"),
        ("train", "improved_tinyvgg", "--data", "digits", "--epochs", "1", "--set", "data.test_fraction=0.9"),
    ],
    ids=["full batch", "shuffled and flipped", "dropout"],
)
def test_the_same_command_twice_gives_the_same_run_bit_for_bit(arguments, dlw, in_tmp):
    for folder in ("one", "other"):
        assert dlw(*arguments, "--name", "run", "--runs-dir", folder).code == 0
    one, other = in_tmp / "one" / "run-001", in_tmp / "other" / "run-001"

    assert history_without_seconds(one) == history_without_seconds(other)
    assert equal_weights(weights_of(one), weights_of(other))


def test_another_seed_gives_another_run(dlw, in_tmp):
    dlw(*LINE, "--seed", "1")
    dlw(*LINE, "--seed", "2")

    assert not equal_weights(weights_of(in_tmp / "runs/line-line-001"), weights_of(in_tmp / "runs/line-line-002"))


@pytest.fixture
def unusual(dlw, in_tmp):
    """A run in which nothing is as the recipe says."""
    answer = dlw(
        *DIGITS,
        *("--seed", "7", "--lr", "0.02", "--optimizer", "sgd", "--batch-size", "100", "--threads", "1"),
        *("--set", "model.hidden_units=3", "--set", "optimizer.momentum=0.5", "--set", "data.transform=flip"),
    )
    assert answer.code == 0, answer.err
    return in_tmp / "runs" / "tinyvgg-digits-001"


def test_the_config_of_a_run_repeats_it_bit_for_bit(unusual, dlw):
    dlw("train", "--config", unusual / "config.yaml")
    again = unusual.parent / "tinyvgg-digits-002"

    assert history_without_seconds(again) == history_without_seconds(unusual)
    assert equal_weights(weights_of(again), weights_of(unusual))


def test_the_repeated_run_has_the_same_config(unusual, dlw):
    dlw("train", "--config", unusual / "config.yaml")

    assert (unusual.parent / "tinyvgg-digits-002" / "config.yaml").read_text() == (unusual / "config.yaml").read_text()


# Settings


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        ([], 100),
        (["--config", "seven.yaml"], 7),
        (["--config", "seven.yaml", "--config", "eight.yaml"], 8),
        (["--config", "seven.yaml", "--set", "epochs=6"], 6),
        (["--config", "seven.yaml", "--set", "epochs=6", "--epochs", "5"], 5),
        (["--epochs", "5", "--set", "epochs=6"], 5),
    ],
    ids=["recipe", "file", "later file", "set", "flag", "any order"],
)
def test_flags_beat_set_beats_the_file_beats_the_recipe(arguments, epochs, dlw, in_tmp):
    (in_tmp / "seven.yaml").write_text("epochs: 7\n")
    (in_tmp / "eight.yaml").write_text("epochs: 8\n")

    assert printed_config(dlw("train", "line", *arguments, "--print-config"))["epochs"] == epochs


def test_the_model_on_the_command_line_beats_that_of_the_file(dlw, in_tmp):
    (in_tmp / "line.yaml").write_text("model: line\n")

    assert printed_config(dlw("train", "blobs", "--config", "line.yaml", "--print-config"))["model"]["name"] == "blobs"


def test_set_reaches_a_setting_without_a_flag(dlw):
    config = printed_config(dlw("train", "line", "--set", "optimizer.momentum=0.9", "--print-config"))

    assert config["optimizer"]["momentum"] == 0.9


def test_the_recipe_of_the_notes_is_what_a_model_trains_with(dlw):
    config = printed_config(dlw("train", "circles_v2", "--print-config"))

    assert (config["epochs"], config["optimizer"]["lr"], config["data"]["name"]) == (1000, 0.1, "circles")


def test_another_optimizer_comes_with_its_own_learning_rate(dlw):
    assert printed_config(dlw("train", "line", "--optimizer", "adam", "--print-config"))["optimizer"]["lr"] == 1e-3


def test_a_printed_config_is_one_that_train_takes(dlw, in_tmp):
    arguments = ("--epochs", "2", "--lr", "1e-3", "--set", "data.transform=[flip]", "--print-config")
    printed = dlw("train", "tinyvgg", *arguments).out
    (in_tmp / "printed.yaml").write_text(printed)

    assert dlw("train", "--config", "printed.yaml", "--print-config").out == printed


def test_print_config_leaves_nothing_behind(dlw, in_tmp):
    dlw("train", "line", "--print-config")

    assert list(in_tmp.iterdir()) == []


def test_print_config_needs_no_data(dlw, in_tmp):
    answer = dlw("train", "tinyvgg", "--data", "pizza_steak_sushi", "--data-dir", "nowhere", "--print-config")

    assert (answer.code, answer.err) == (0, "")


def test_a_dry_run_leaves_nothing_behind(dlw, in_tmp):
    answer = dlw("train", "line", "--dry-run")

    assert answer.code == 0
    assert list(in_tmp.iterdir()) == []


def test_a_dry_run_finds_data_that_does_not_fit_the_model(dlw, in_tmp):
    assert dlw("train", "tinyvgg", "--data", "circles", "--dry-run").code == 1


# What is printed


def test_stdout_has_one_plain_line_an_epoch_and_the_result(dlw, in_tmp):
    lines = dlw("train", "circles_v2", "--epochs", "3").out.splitlines()

    assert [line.partition("  ")[0] for line in lines[:3]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert [line.split()[0] for line in lines[3:-1]] == ["best", "always", "trained"], lines
    assert lines[-1].endswith(" s; run runs/circles_v2-circles-001")


def test_stdout_elsewhere_than_on_a_terminal_has_no_control_characters(dlw, in_tmp):
    assert re.findall(r"[^\n -~]", dlw(*LINE).out) == []


def test_an_epoch_line_shows_the_figures_of_the_history(dlw, in_tmp):
    [line] = [line for line in dlw(*DIGITS).out.splitlines() if line.startswith("epoch")]
    [row] = history_without_seconds(in_tmp / "runs" / "tinyvgg-digits-001")

    shown = re.match(r"epoch 1/1  train loss (\S+) acc +(\S+) %  test loss (\S+) acc +(\S+) %  \S+ s$", line)
    figures = [float(row[f"{split}_{score}"]) * scale for split in ("train", "test") for score, scale in SCORES]
    assert [float(text) for text in shown.groups()] == pytest.approx(figures, abs=0.005)


def test_the_device_is_said_once_on_stderr(dlw, in_tmp):
    answer = dlw(*LINE)

    assert len(re.findall(r"^device  ", answer.err, re.MULTILINE)) == 1
    assert "device" not in answer.out


def test_the_run_folder_is_said_before_and_after(dlw, in_tmp):
    answer = dlw(*LINE)

    assert "run     runs/line-line-001" in answer.err
    assert answer.out.rstrip().endswith("run runs/line-line-001")


def test_the_result_names_the_majority_baseline(dlw, in_tmp):
    assert (
        "always answering 'outer' scores 50.00 % on the test split" in dlw("train", "circles_v2", "--epochs", "1").out
    )


# Ending early


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A long training that got Ctrl-C after its first epochs: (exit code, stderr, run folder)."""
    folder = tmp_path_factory.mktemp("interrupted")
    arguments = ("train", "line", "--epochs", "10000000", "--runs-dir", str(folder))
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "dlworkflow", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            if line.startswith("epoch") and int(line.split()[1].partition("/")[0]) >= 20:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    return process.returncode, err, folder / "line-line-001"


def test_ctrl_c_exits_with_130(interrupted):
    assert interrupted[0] == 130


def test_ctrl_c_is_answered_with_the_command_that_goes_on(interrupted):
    *_, stopped, line = interrupted[1].splitlines()

    assert stopped.startswith("stopped after epoch ")
    assert stopped.endswith("resume with: dlw train --resume " + str(interrupted[2]))
    assert line == "dlw: interrupted"


def test_an_interrupted_run_says_so(interrupted):
    assert json.loads((interrupted[2] / "summary.json").read_text())["status"] == "interrupted"


@pytest.mark.parametrize("which", ["best", "last"])
def test_an_interrupted_run_has_weights_that_load(which, interrupted):
    assert weights_of(interrupted[2], which).keys() == {"weights", "bias"}


def test_an_interrupted_run_has_its_epochs_up_to_the_last(interrupted):
    last = json.loads((interrupted[2] / "summary.json").read_text())["last"]["epoch"]
    state = torch.load(interrupted[2] / "resume.pth", weights_only=True)

    assert len(history_without_seconds(interrupted[2])) == state["epochs_done"] == last >= 20


def test_an_interrupted_run_can_predict(interrupted, dlw):
    assert dlw("predict", "0.5", "--run", interrupted[2]).code == 0


@pytest.fixture
def endless(in_tmp):
    """A long training that has ended its first epoch, as a process of its own; it is stopped with the test."""
    arguments = [sys.executable, "-u", "-m", "dlworkflow", "train", "line", "--epochs", "10000000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        yield process
        process.kill()


def status_of_line(folder):
    return json.loads((folder / "runs/line-line-001/summary.json").read_text())["status"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_closed_terminal_ends_training_as_interrupted(endless, in_tmp):
    endless.send_signal(signal.SIGHUP)
    endless.communicate(timeout=60)

    assert (endless.returncode, status_of_line(in_tmp)) == (129, "interrupted")


def test_a_reader_that_has_gone_ends_training_as_interrupted_with_the_command_that_goes_on(endless, in_tmp):
    endless.stdout.close()
    complaints = endless.stderr.read()

    assert (endless.wait(60), status_of_line(in_tmp)) == (141, "interrupted")
    assert complaints.splitlines()[-1].endswith("resume with: dlw train --resume runs/line-line-001")


def test_ctrl_c_again_and_again_shows_no_traceback(endless):
    with contextlib.suppress(ProcessLookupError):
        while endless.poll() is None:
            endless.send_signal(signal.SIGINT)
            time.sleep(0.02)
    _, complaints = endless.communicate(timeout=60)

    assert endless.returncode == 130
    assert "Traceback" not in complaints


def test_a_run_that_diverged_is_not_to_be_resumed(dlw, in_tmp):
    answer = dlw("train", "line", "--epochs", "5", "--lr", "1e30", "--set", "loss=mse")

    assert "--resume" not in answer.err
    assert "stopped in the first epoch; the run is kept in runs/line-line-001" in answer.err


def test_a_dry_resume_says_where_it_would_go_on_and_leaves_the_run_alone(dlw, runs, state_of):
    before = state_of(runs / "line-line-001")
    answer = dlw("train", "--resume", "line-line-001", "--epochs", "300", "--dry-run")

    assert answer.out == "dry run: runs/line-line-001 would resume after epoch 200 of 300; nothing was written\n"
    assert {path: state for path, state in state_of(runs / "line-line-001").items() if path.name != ".lock"} == {
        path: state for path, state in before.items() if path.name != ".lock"
    }


def test_a_loss_that_is_no_number_ends_the_run_as_failed(dlw, in_tmp):
    answer = dlw("train", "line", "--epochs", "5", "--lr", "1e30", "--set", "loss=mse")

    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith("dlw: the test loss became ")
    assert "--lr" in answer.err.splitlines()[-1]
    assert json.loads((in_tmp / "runs/line-line-001/summary.json").read_text())["status"] == "failed"


# Your own pictures


@pytest.fixture
def own(in_tmp, pictures):
    """A folder of two classes with five pictures each, given as a person would lay it out."""
    for name in ("cat", "dog"):
        (in_tmp / "own" / name).mkdir(parents=True)
        for index in range(5):
            (in_tmp / "own" / name / f"{index}.png").write_bytes((pictures / "0.png").read_bytes())
    return in_tmp / "own"


def test_a_folder_of_pictures_is_trained_on(own, dlw, in_tmp):
    answer = dlw("train", "tinyvgg", "--data", "own", "--epochs", "1", "--set", "data.image_size=16")

    assert answer.code == 0, answer.err
    assert json.loads((in_tmp / "runs/tinyvgg-own-001/summary.json").read_text())["classes"] == ["cat", "dog"]


def test_a_csv_of_pictures_is_trained_on(own, dlw, in_tmp):
    rows = [f"own/{name}/{index}.png,{name}" for name in ("cat", "dog") for index in range(5)]
    (in_tmp / "list.csv").write_text("\n".join(["path,label", *rows]))
    answer = dlw("train", "tinyvgg", "--data", "list.csv", "--epochs", "1", "--set", "data.image_size=16")

    assert answer.code == 0, answer.err
    assert (in_tmp / "runs/tinyvgg-list-001/best.pth").is_file()


def test_the_real_photos_are_trained_on_from_the_data_folder(photos, dlw, in_tmp):
    arguments = ("--data-dir", photos.parent, "--epochs", "1", "--set", "data.image_size=16")
    answer = dlw("train", "tinyvgg", "--data", "pizza_steak_sushi", *arguments)

    assert answer.code == 0, answer.err
    assert "225 train, 75 test samples of 3x16x16, 3 classes" in answer.err


# Bad input


@pytest.mark.parametrize(
    ("arguments", "code", "given", "way_out"),
    [
        ("", 2, "no model was named", "circles_v2"),
        ("tinyvg", 2, "'tinyvg'", "'tinyvgg'"),
        ("LINE", 2, "'LINE'", "'line'"),
        ("resnet", 2, "'resnet'", "dlw models"),
        ("circles_v2 --data circle", 2, "--data: unknown data set 'circle'", "'circles'"),
        ("tinyvgg --data nosuch", 2, "'nosuch'", "digits"),
        ("tinyvgg --data no/such", 1, "--data", "'no/such'"),
        ("tinyvgg --data plain.txt", 1, "'plain.txt'", "a folder of images, a CSV"),
        ("line --device cuda:99", 2, "--device: 'cuda:99'", "cpu"),
        ("line --device gpu", 2, "--device: 'gpu'", "cpu"),
        ("line --epochs -3", 2, "--epochs", "at least 0, not -3"),
        ("line --epochs 2.5", 2, "--epochs", "a whole number, not 2.5"),
        ("line --epochs many", 2, "--epochs", "a whole number, not 'many'"),
        ("line --lr -1", 2, "--lr", "more than 0, not -1"),
        ("line --lr 0", 2, "--lr", "more than 0, not 0"),
        ("line --lr nan", 2, "--lr", "a finite number, not nan"),
        ("line --lr inf", 2, "--lr", "a finite number, not inf"),
        ("line --lr fast", 2, "--lr", "a number, not 'fast'"),
        ("line --batch-size 0", 2, "--batch-size", "at least 1 or 'full', not 0"),
        ("line --batch-size fuul", 2, "--batch-size", "or 'full', not 'fuul'"),
        ("line --seed -1", 2, "--seed", "at least 0, not -1"),
        ("line --threads 0", 2, "--threads: must be", "at least 1 or 'auto', not 0"),
        ("line --threads many", 2, "--threads: must be", "or 'auto', not 'many'"),
        ("line --optimizer adamm", 2, "'adamm'", "'adam'"),
        ("line --set epoch=3", 2, "--set epoch: unknown setting 'epoch'", "'epochs'"),
        ("line --set model.width=3", 2, "--set model.width", "it takes none"),
        ("circles_v2 --set model.hiden_units=3", 2, "--set model.hiden_units", "'hidden_units'"),
        ("circles_v2 --set model.hidden_units=0", 2, "--set model.hidden_units", "at least 1, not 0"),
        ("circles_v2 --set data.noize=3", 2, "--set data.noize", "'noise'"),
        ("circles_v2 --set optimizer.momentun=1", 2, "--set optimizer.momentun", "'momentum'"),
        ("line --set epochs", 2, "--set epochs", "key=value"),
        ("line --set =3", 2, "--set =3", "key=value"),
        ("line --set epochs=[3", 2, "--set epochs", "]"),
        ("line --set epochs.x=3", 2, "--set epochs", "a whole number"),
        ("line --set loss=cross", 2, "--set loss", "'cross_entropy'"),
        ("line --set averaging=mean", 2, "--set averaging", "sample, batch"),
        ("tinyvgg --set data.transform=flipp", 2, "'flipp'", "'flip'"),
        ("tinyvgg --set data.image_size=2", 1, "2x2", "data.image_size"),
        ("tinyvgg --set data.image_size=0", 2, "data.image_size", "at least 1"),
        ("tinyvgg --data circles", 1, "'tinyvgg'", "images"),
        ("line --config nope.yaml", 1, "--config", "'nope.yaml'"),
        ("line --config twice.yaml", 2, "twice.yaml line 2", "'epochs' stands twice"),
        ("line --config broken.yaml", 2, "broken.yaml line 2", "expected"),
        ("line --config list.yaml", 2, "list.yaml", "mapping of settings"),
        ("line --config binary.yaml", 2, "'binary.yaml'", "cannot read"),
        ("line --config folder", 2, "'folder'", "cannot read"),
        ("line --config wrong.yaml", 2, "wrong.yaml: epochs", "at least 0, not -1"),
        ("line --config tagged.yaml", 2, "tagged.yaml", "constructor"),
        ("pizza --data folder", 2, "'pizza'", "dlw models"),
        ("tinyvgg --data folder", 1, "no class folders", "<class>/<image>"),
        ("tinyvgg --data empty_class", 1, "'b'", ".png"),
        ("tinyvgg --data one_class", 1, "'a'", "two or more"),
        ("tinyvgg --data test_only", 1, "'c'", "'a', 'b'"),
        ("tinyvgg --data no_test", 1, "no_test' has a folder 'train'", "no 'test'; add one"),
        ("tinyvgg --data not_pictures", 1, "b/1.png", "no image"),
        ("tinyvgg --data few", 1, "data.test_fraction", "0.2 of 4"),
        ("tinyvgg --data no_path.csv", 1, "no_path.csv", "--set data.drop=[file]"),
        ("tinyvgg --data no_label.csv", 1, "no_label.csv", "'label'; it has 'path'"),
        ("tinyvgg --data no_file.csv", 1, "no_file.csv", "gone.png"),
        ("tinyvgg --data empty.csv", 1, "empty.csv", "'path', 'label'"),
        ("tinyvgg --data split.csv", 1, "split.csv' line 2: split 'trian'", "train, test, val"),
        ("tinyvgg --data nope.csv", 1, "'nope.csv'", "no such"),
        ("tinyvgg --data pizza_steak_sushi --offline --data-dir there", 1, "'there'", "https://"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_the_way_out(arguments, code, given, way_out, dlw, hostile):
    before = sorted(hostile.rglob("*"))
    answer = dlw("train", *arguments.split())

    [line] = answer.err.splitlines()
    assert (answer.code, answer.out) == (code, "")
    assert line.startswith("dlw: ")
    assert given in line
    assert way_out in line
    assert sorted(hostile.rglob("*")) == before


@pytest.fixture
def hostile(in_tmp, pictures):
    """A folder with every file that training should refuse."""
    texts = {
        "plain.txt": "hello",
        "twice.yaml": "epochs: 3\nepochs: 4\n",
        "broken.yaml": "epochs: [3\nmodel: {\n",
        "list.yaml": "- a\n- b\n",
        "wrong.yaml": "epochs: -1\n",
        "tagged.yaml": "epochs: !!python/object/apply:os.system ['touch made']\n",
        "no_path.csv": "file,label\n0,a\nx,a\ny,b\nz,b\nw,b\n",
        "no_label.csv": "path\npictures/0.png\n",
        "no_file.csv": "path,label\ngone.png,a\n",
        "empty.csv": "",
        "split.csv": "path,label,split\npictures/0.png,a,trian\n",
    }
    for name, text in texts.items():
        (in_tmp / name).write_text(text)
    (in_tmp / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (in_tmp / "folder").mkdir()
    layouts = {
        "empty_class": ["a/0.png", "b/"],
        "one_class": [f"a/{index}.png" for index in range(5)],
        "test_only": ["train/a/0.png", "train/b/0.png", "test/a/0.png", "test/c/0.png"],
        "no_test": ["train/a/0.png", "train/b/0.png"],
        "not_pictures": [f"{name}/{index}.png" for name in "ab" for index in range(5)],
        "few": ["a/0.png", "a/1.png", "b/0.png", "b/1.png"],
    }
    for name, files in layouts.items():
        for file in files:
            path = in_tmp / name / file
            (path if file.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if not file.endswith("/"):
                path.write_bytes((pictures / "0.png").read_bytes())
    (in_tmp / "not_pictures/b/1.png").write_text("no image at all")
    return in_tmp


def test_all_faults_are_said_at_once(dlw, in_tmp):
    arguments = ("--epochs", "-1", "--lr", "-1", "--set", "model.foo=1", "--set", "data.stp=3", "--set", "blub=3")
    [line] = dlw("train", "line", *arguments).err.splitlines()

    wanted = ("--epochs", "--lr", "--set model.foo", "--set data.stp", "--set blub")
    assert [fault for fault in wanted if fault not in line] == []


def test_all_unreadable_pictures_are_said_at_once(dlw, hostile):
    (hostile / "not_pictures/a/2.png").write_bytes(b"")
    [line] = dlw("train", "tinyvgg", "--data", "not_pictures").err.splitlines()

    assert "a/2.png" in line
    assert "b/1.png" in line


def test_unreadable_pictures_that_show_while_it_trains_leave_no_run(dlw, hostile, monkeypatch):
    monkeypatch.setattr("dlworkflow.data.images.decoded_cache.LEAST_AHEAD", 1)
    answer = dlw("train", "tinyvgg", "--data", "not_pictures", "--device", "cpu")

    removed, line = answer.err.splitlines()[-2:]
    assert removed == "stopped in the first epoch; runs/tinyvgg-not_pictures-001 is removed"
    assert "b/1.png" in line
    assert list((hostile / "runs").iterdir()) == []


@pytest.mark.parametrize("folder", ["plain.txt", "plain.txt/below"])
def test_a_runs_folder_that_cannot_be_is_named_with_the_way_out(folder, dlw, hostile):
    answer = dlw(*LINE, "--runs-dir", folder)

    line = answer.err.splitlines()[-1]
    assert answer.code == 1
    assert line.startswith(f"dlw: cannot write into '{folder}'")
    assert "--runs-dir" in line


def test_data_of_another_task_than_the_model_is_said_in_the_words_of_the_user(dlw, in_tmp):
    [line] = dlw("train", "line", "--data", "digits").err.splitlines()

    assert "line" in line
    assert "digits" in line


@pytest.mark.slow
def test_a_reader_that_has_gone_does_not_leave_a_run_that_says_running(in_tmp):
    read, write = os.pipe()
    os.close(read)
    subprocess.run([sys.executable, "-m", "dlworkflow", *LINE], stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)

    assert json.loads((in_tmp / "runs/line-line-001/summary.json").read_text())["status"] != "running"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("--resume nosuch", 1, "no run 'nosuch'"),
        ("--resume line-line-001", 1, "finished its"),
        ("--resume line-line-001 --lr 0.5", 2, "--lr: a resumed run keeps its settings"),
        ("line --resume line-line-001", 2, "MODEL: a resumed run keeps its settings"),
        ("--resume line-line-001 --dry-run", 1, "finished its"),
        ("--resume line-line-001 --epochs 0", 2, "--epochs: must be a whole number of at least 1, not 0"),
        ("--resume line-line-001 --epochs 3", 2, "has 200 epochs already"),
        ("line --force", 2, "--force: only with --resume"),
    ],
)
def test_what_cannot_be_resumed_is_one_line(arguments, code, words, dlw, runs):
    answer = dlw("train", *arguments.split())

    assert (answer.code, answer.out) == (code, "")
    assert words in answer.complaints[-1]


def test_resume_goes_on_in_the_same_folder_and_says_what_it_ignores(dlw, runs):
    answer = dlw("train", "--resume", "line-line-001", "--epochs", "202", "--lr", "0.5", "--force")

    assert [line.split()[1] for line in answer.out.splitlines() if line.startswith("epoch")] == ["201/202", "202/202"]
    assert "note    ignored: --lr" in answer.err
    assert len(list(runs.glob("line-line-*"))) == 1


# Training better


def test_the_flags_of_training_better_are_settings(dlw, in_tmp):
    flags = ("--schedule", "cosine", "--patience", "3", "--val-fraction", "0.2", "--precision", "bf16")

    config = printed_config(dlw("train", "tinyvgg", *flags, "--channels-last", "--compile", "--print-config"))

    assert (config["schedule"]["name"], config["early_stopping"]["patience"]) == ("cosine", 3)
    assert (config["data"]["val_fraction"], config["precision"]) == (0.2, "bf16")
    assert config["channels_last"]
    assert config["compile"]


def test_contradictions_are_told_at_once_by_the_flag_that_was_typed(dlw, in_tmp):
    answer = dlw("train", "line", "--patience", "500", "--schedule", "cosine", "--epochs", "1", "--set", "mixup=1")

    assert answer.code == 2
    for fault in ("--patience: 500 epochs", "--schedule: 'cosine' has", "--set mixup: is for classes"):
        assert fault in answer.err
    assert list(in_tmp.iterdir()) == []


def test_a_run_that_stopped_early_says_so(dlw, in_tmp):
    answer = dlw("train", "blobs", "--epochs", "50", "--lr", "1e-30", "--patience", "2")

    assert answer.code == 0
    assert "stopped early: the test loss has not improved in 2 epochs" in answer.out


def test_the_end_says_that_averaged_weights_were_scored(dlw, in_tmp):
    assert "(by test loss of the averaged weights)" in dlw(*LINE, "--set", "ema=0.9").out


@pytest.mark.parametrize("text", ["data: ./pets\n", "data: pets\n", "data: {name: pets, image_size: 16}\n"])
def test_a_path_in_a_file_of_settings_is_what_it_is_after_data(text, dlw, in_tmp, pets):
    (in_tmp / "a.yaml").write_text(f"model: tinyvgg\n{text}")

    for more in ([], ["--data", "./pets"]):
        answer = dlw("train", "--config", "a.yaml", *more, "--print-config")

        assert f"path: {in_tmp / 'pets'}\n" in answer.out
        assert ("image_size: 16" in answer.out) == ("16" in text)


@pytest.mark.parametrize("given", ["pets", "./pets"])
def test_a_path_set_as_data_is_what_it_is_after_data(given, dlw, in_tmp, pets):
    assert f"path: {in_tmp / 'pets'}\n" in dlw("train", "tinyvgg", "--set", f"data={given}", "--print-config").out
    assert dlw("sweep", "tinyvgg", "--set", f"data={given}", "--seeds", "2", "--dry-run").code == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [("./gone", "no such folder or file: './gone'"), ("http://x/y", "'http://x/y' is no local path")],
)
def test_a_path_set_as_data_that_is_none_is_named_as_it_was_typed(given, said, dlw, in_tmp):
    assert said in dlw("train", "tinyvgg", "--set", f"data={given}").err


def test_train_prints_how_many_samples_it_was_trained_on_in_all_sessions(dlw, in_tmp):
    dlw("train", "circles_v2", "--epochs", "1")

    assert "\ntrained on 2,400 samples: 3 epochs of 800\n" in dlw("train", "--resume", "last", "--epochs", "3").out


def test_the_bar_moves_within_a_long_epoch(dlw, in_tmp, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("dlworkflow.cli.progress.QUIET_SECONDS", 0.0)
    monkeypatch.setattr("dlworkflow.cli.progress.BATCH_SECONDS", 0.0)
    answer = dlw("train", "circles_v2", "--epochs", "2", "--set", "data.batch_size=400")

    assert re.search(r"epoch 2/2  75%\|.*train batch 1 of 2, loss 0\.6\d{3}, test loss 0\.6\d{4}\]", answer.err)
    assert re.search(r"train batch 2 of 2, loss 0\.6\d{3}, [\d,.]+ batches/s, test loss 0\.6\d{4}\]", answer.err)


def test_no_loss_is_fetched_from_the_device_for_a_batch_that_the_bar_does_not_show():
    progress = TrainingProgress()
    progress._bar, progress._due = "a bar", math.inf

    progress.show_batch("train", 1, 2, recent_loss=lambda: pytest.fail("it waits for the device"))


def test_the_bar_shows_no_batch_of_a_short_epoch(dlw, in_tmp, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    assert " batch " not in dlw("train", "circles_v2", "--epochs", "2", "--set", "data.batch_size=400").err
