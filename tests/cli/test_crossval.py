"""`dlw crossval`: a run for each fold, and every training sample predicted by the model that has not seen it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

CROSSVAL = ("crossval", "circles_v2", "--folds", "3", "--epochs", "2", "--limit", "60", "--jobs", "1")


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """A finished cross-validation in three folds, circles_v2-crossval-001, and what it printed; change nothing."""
    import contextlib
    import io

    from dlworkflow.cli.app import main

    out, err = io.StringIO(), io.StringIO()
    folder = tmp_path_factory.mktemp("crossed") / "runs"
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([*CROSSVAL, "--runs-dir", str(folder)])
    assert ended.value.code == 0, err.getvalue()
    return folder, out.getvalue(), err.getvalue()


@pytest.fixture
def copied(crossed, in_tmp):
    """Work in a folder whose `runs` holds a copy of it."""
    shutil.copytree(crossed[0], in_tmp / "runs")
    return in_tmp / "runs" / "circles_v2-crossval-001"


def predictions(folder):
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_training_sample_is_predicted_once(crossed):
    rows = predictions(crossed[0] / "circles_v2-crossval-001")

    assert sorted(int(row["index"]) for row in rows) == list(range(60))


def test_a_prediction_has_its_fold_and_is_that_of_the_fold_s_model(crossed):
    import torch

    from dlworkflow.analysis.evaluation import evaluate_run
    from dlworkflow.runs import Run

    folder = crossed[0] / "circles_v2-crossval-001"
    rows = [row for row in predictions(folder) if row["fold"] == "2"]
    result = evaluate_run(Run(folder / "circles_v2-crossval-001-002"), weights="last")

    expected = torch.sigmoid(result.logits.reshape(-1))
    found = [float(row["probability: inner"]) for row in rows]
    assert found == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_table_has_a_row_a_fold_and_one_of_means(crossed):
    lines = crossed[1].splitlines()

    assert [line.split()[0] for line in lines[2:6]] == ["1", "2", "3", "mean"]
    assert "±" in lines[5]


def test_the_accuracy_is_over_all_samples_with_its_interval(crossed):
    from dlworkflow.metrics.functions import wilson_interval

    rows = predictions(crossed[0] / "circles_v2-crossval-001")
    right = sum(row["truth"] == row["prediction"] for row in rows)
    low, high = wilson_interval(right, 60)

    assert f"accuracy {right / 60:.2%}".replace("%", " %") + " over all 60 training samples" in crossed[1]
    assert f"95 % confidence interval {100 * low:.2f} % to {100 * high:.2f} %, of 60 samples" in crossed[1]


def test_the_report_begins_with_the_means_that_were_printed(copied, dlw, monkeypatch):
    from matplotlib.figure import Figure

    from dlworkflow.analysis.figures import Material
    from dlworkflow.analysis.report import of_runs

    monkeypatch.setattr(Material, "draw", lambda self, kind: Figure((1, 1)))
    monkeypatch.setattr(of_runs, "draw_runs", lambda runs, kind: Figure((1, 1)))
    found = json.loads((copied / "evaluation.json").read_text())
    loss, spread = found["mean"]["loss"], found["deviation"]["loss"]

    dlw("report", copied.name, "--out", "all.md")
    dlw("report", copied / f"{copied.name}-001", copied / f"{copied.name}-002", "--out", "some.md")

    assert loss == pytest.approx(sum(row["loss"] for row in found["folds"]) / 3)
    whole = Path("all.md").read_text(encoding="utf-8")
    assert f"Mean over 3 folds: loss {loss:.5f} ± {spread:.5f}, accuracy " in whole
    assert whole.index("## Cross-validation") < whole.index("## Comparison")
    assert "Each fold is scored on samples of its own" in Path("some.md").read_text(encoding="utf-8")


def test_what_is_scored_and_that_the_test_split_is_not_used_is_stated(crossed):
    assert "weights of each run's last epoch, as no validation split selects one" in crossed[2]
    assert "the test split is not used" in crossed[2]


def test_the_next_command_is_printed(crossed):
    assert "predict with all 3 models: dlw predict FILE.csv --run" in crossed[2]


def test_a_validation_split_selects_the_epoch(in_tmp, dlw):
    answer = dlw(*CROSSVAL, "--val-fraction", "0.25")

    assert "best epoch by its validation split" in answer.err
    assert len(predictions(in_tmp / "runs/circles_v2-crossval-001")) == 60


def test_resume_trains_what_is_missing_and_gives_the_same(in_tmp, dlw, crossed):
    first = dlw(*CROSSVAL, "--max-runs", "1")
    second = dlw("crossval", "--resume", "last", "--format", "json")

    assert "2 runs are left; resume with: dlw crossval --resume" in first.err
    expected = json.loads((crossed[0] / "circles_v2-crossval-001/evaluation.json").read_text())
    assert json.loads(second.out)["metrics"] == expected["metrics"]


def test_a_fold_s_own_settings_repeat_its_run(copied, dlw):
    import torch

    run = copied / "circles_v2-crossval-001-003"
    dlw("train", "--config", run / "config.yaml", "--name", "again")

    first, second = (
        torch.load(folder / "last.pth", weights_only=True) for folder in (run, copied.parent / "again-001")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_repeats_make_other_folds_and_the_interval_is_of_different_samples(in_tmp, dlw):
    answer = dlw(*CROSSVAL, "--repeats", "2")
    rows = predictions(in_tmp / "runs/circles_v2-crossval-001")

    folds = [{row["index"] for row in rows if (row["repeat"], row["fold"]) == (repeat, "1")} for repeat in "12"]
    assert folds[0] != folds[1]
    assert "over all 60 training samples, each predicted 2 times" in answer.out
    assert ", of 60 samples" in answer.out


def test_a_regression_has_a_loss_and_its_metrics(in_tmp, dlw):
    answer = dlw("crossval", "line", "--folds", "2", "--epochs", "2", "--jobs", "1")

    assert "loss" in answer.out.splitlines()[-2]
    assert "always answering the training mean has a loss of" in answer.out
    assert "mae" in answer.out.splitlines()[0]


def test_images_are_named_in_the_predictions(in_tmp, dlw, pets):
    dlw("crossval", "tinyvgg", "--data", pets, "--folds", "2", "--epochs", "1", "--image-size", "16", "--jobs", "1")

    rows = predictions(in_tmp / "runs/tinyvgg-crossval-001")
    assert sorted(row["file"] for row in rows) == sorted(str(path) for path in pets.glob("train/*/*.png"))


def test_json_has_the_folds_and_their_means(crossed, copied, dlw):
    found = json.loads(dlw("crossval", "--resume", "last", "--format", "json").out)

    assert [row["fold"] for row in found["folds"]] == [1, 2, 3]
    assert found["samples"] == 60
    assert found["mean"]["accuracy"] == pytest.approx(sum(row["accuracy"] for row in found["folds"]) / 3)


def test_no_epochs_score_the_untrained_model(in_tmp, dlw):
    answer = dlw(*CROSSVAL[:4], "--epochs", "0", "--jobs", "1")

    assert answer.code == 0
    assert "over all 800 training samples" in answer.out


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("tinyvgg", "--data", "pets", "--folds", "5"), "class 'dog' has 4 training samples, fewer than 5 folds"),
        (("circles_v2", "--folds", "1"), "--folds: must be at least 2, not 1"),
        (("circles_v2", "--folds", "x"), "must be a whole number, not 'x'"),
        (
            ("circles_v2", "--epochs", "9", "--patience", "2"),
            "early_stopping.patience: the fold that is scored would decide",
        ),
        (("circles_v2", "--schedule", "plateau"), "schedule.name: the fold that is scored would decide"),
        (
            ("circles_v2", "--set", "sweep.grid={optimizer.lr: [1]}"),
            "sweep.grid: a cross-validation trains one setting",
        ),
        (("circles_v2", "--retry-failed"), "--retry-failed: only with --resume NAME"),
        (("circle_v2",), "did you mean 'circles_v2'"),
        (("--resume", "last", "--folds", "3"), "--folds: a resumed sweep keeps its settings"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(in_tmp, dlw, pets, given, expected):
    (in_tmp / "pets").exists() or shutil.copytree(pets, in_tmp / "pets")
    answer = dlw("crossval", *given)

    assert answer.code != 0
    assert expected in answer.err
    assert not (in_tmp / "runs").exists()


def test_a_failed_fold_is_named_with_the_command_that_trains_it_again(in_tmp, dlw):
    answer = dlw(*CROSSVAL, "--lr", "1e30")

    assert answer.code == 1
    assert "3 of 3 runs failed; the first: the " in answer.err
    assert "--retry-failed" in answer.err


def test_a_sweep_and_a_cross_validation_resume_each_with_its_own_command(copied, dlw):
    answer = dlw("sweep", "--resume", copied)

    assert "is a cross-validation; resume it with: dlw crossval --resume" in answer.err


def test_two_at_once_are_refused(copied, dlw):
    from dlworkflow.training.sweep.folder import Sweep

    with Sweep(copied).locked():
        answer = dlw("crossval", "--resume", "last")

    assert "is being trained by another process" in answer.err


def test_in_python_the_result_is_an_object(in_tmp):
    import dlworkflow as dlw

    found = dlw.cross_validate({"model": "circles_v2", "data.limit": 60}, folds=3, epochs=2)

    assert (len(found.folds), found.samples) == (3, 60)
    assert (found.sweep.path / "predictions.csv").is_file()


def test_a_table_has_gradient_boosting_on_the_same_folds(in_tmp, dlw):
    rows = [f"{number},{number % 7},{'yes' if number % 7 > 3 else 'no'}" for number in range(70)]
    (in_tmp / "table.csv").write_text("\n".join(["a,b,answer", *rows]))

    answer = dlw("crossval", "mlp", "--data", "table.csv", "--folds", "2", "--epochs", "1", "--jobs", "1")

    assert answer.code == 0, answer.err
    assert "gradient boosting scores" in answer.out
