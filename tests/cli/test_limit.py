"""`--limit`: a quick run on fewer samples, of every command that loads data."""

from __future__ import annotations

import json

import pytest
import torch

LIMITED = ("train", "tinyvgg", "--data", "digits", "--recipe", "notes", "--epochs", "2", "--limit", "50")


@pytest.fixture
def limited(in_tmp, dlw):
    answer = dlw(*LIMITED)
    assert answer.code == 0, answer.err
    return answer


def test_a_limit_is_stated_before_and_after_training(limited):
    assert "note    limited to 50 of 1,437 train, 50 of 360 test samples (data.limit)" in limited.err
    assert "warning: the scores are of 50 test samples alone (data.limit)" in limited.err


def test_a_limit_is_in_the_run_and_evaluate_takes_the_same_samples(limited, dlw, in_tmp):
    answer = dlw("evaluate", "--no-plots", "--format", "json")

    assert json.loads(answer.out)["samples"] == 50
    assert "limited to 50 of 1,437 train" in answer.err
    assert "has changed" not in answer.err


def test_a_limited_run_resumes_to_the_same_weights(in_tmp, dlw):
    dlw(*LIMITED)
    dlw(*LIMITED[:-4], "--epochs", "1", *LIMITED[-2:])
    dlw("train", "--resume", "tinyvgg-digits-002", "--epochs", "2")

    first, second = (torch.load(f"runs/tinyvgg-digits-00{n}/last.pth", weights_only=True) for n in (1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_evaluate_with_a_limit_writes_beside_the_whole_evaluation(limited, dlw, in_tmp):
    dlw("evaluate", "--no-plots")
    answer = dlw("evaluate", "--no-plots", "--limit", "0.5", "--format", "json")

    assert json.loads(answer.out)["samples"] == 25
    assert json.loads((in_tmp / "runs/tinyvgg-digits-001/evaluation.json").read_text())["samples"] == 50


def test_data_commands_take_a_limit(in_tmp, dlw):
    assert "144 train, 36 test samples" in dlw("data", "info", "digits", "--limit", "0.1").out
    assert dlw("data", "show", "circles", "--limit", "20", "--out", "few.png").code == 0


def test_a_sweep_and_lr_find_take_a_limit(in_tmp, dlw):
    sweep = dlw("sweep", "circles_v2", "--limit", "0.1", "--epochs", "2", "--seeds", "2", "--jobs", "1")
    found = dlw("lr-find", "circles_v2", "--limit", "50")

    assert (sweep.code, found.code) == (0, 0), sweep.err + found.err


@pytest.mark.parametrize("given", ["0", "1.5", "ten", "-1"])
def test_a_limit_that_is_none_is_refused(in_tmp, dlw, given):
    answer = dlw("train", "tinyvgg", "--data", "digits", f"--limit={given}")

    assert answer.code == 2
    assert "dlw: --limit: must be a number of samples as 100, or a fraction of them as 0.1, not" in answer.err


def test_predict_takes_the_first_inputs(runs, pictures, dlw):
    answer = dlw("predict", "pictures", "--limit", "2", "--format", "csv")

    assert [line.partition(",")[0] for line in answer.out.splitlines()[1:]] == ["pictures/0.png", "pictures/1.png"]
    assert "limited to the first 2 of 3 inputs" in answer.err
