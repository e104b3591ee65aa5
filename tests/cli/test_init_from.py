"""`dlw train --init-from`: weights of a run or a file, where they match, with a list of what did not."""

from __future__ import annotations

import torch

from dlworkflow.runs import Run


def test_a_run_starts_from_another_runs_best_weights(dlw, runs):
    answer = dlw("train", "circles_v2", "--epochs", "1", "--lr", "1e-12", "--init-from", "circles", "--name", "second")

    best = torch.load(Run(runs / "circles_v2-circles-001").weights_path(), weights_only=True)
    last = torch.load(runs / "second-001" / "last.pth", weights_only=True)
    assert all(torch.allclose(best[name], last[name], atol=1e-6) for name in best)
    assert "weights 6 of " in answer.err
    assert "not:" not in answer.err


def test_weights_that_do_not_match_are_listed_and_drawn_anew(dlw, runs, in_tmp):
    weights = torch.load(runs / "circles_v2-circles-001" / "best.pth", weights_only=True)
    weights["layer_3.weight"] = torch.zeros(7, 10)
    weights["extra"] = weights.pop("layer_3.bias")
    torch.save(weights, in_tmp / "course.pth")

    answer = dlw("train", "circles_v2", "--epochs", "1", "--init-from", "course.pth")

    [line] = [line for line in answer.err.splitlines() if line.startswith("weights")]
    assert line.endswith(
        "not: layer_3.bias (not in the file), layer_3.weight ((7, 10) in the file, (1, 10) here), "
        "extra (not in the model)"
    )


def test_weights_of_another_architecture_are_refused_before_anything_is_written(dlw, runs):
    answer = dlw("train", "blobs", "--init-from", "circles")

    assert answer.code == 1
    assert answer.complaints[-1].startswith("dlw: no weight matches this BlobModel")
    assert not list(runs.glob("blobs-*"))


def test_a_run_or_file_that_is_not_there_is_named(dlw, runs):
    assert "no run 'nosuch'" in dlw("train", "line", "--init-from", "nosuch").complaints[-1]


def test_the_same_weights_and_settings_give_the_same_run_and_it_resumes_without_the_file(dlw, runs, in_tmp):
    start = in_tmp / "start.pth"
    start.write_bytes((runs / "line-line-001" / "best.pth").read_bytes())
    dlw("train", "line", "--epochs", "4", "--init-from", "start.pth", "--name", "whole")
    dlw("train", "line", "--epochs", "2", "--init-from", "start.pth", "--name", "parts")
    start.unlink()

    assert dlw("train", "--resume", "parts", "--epochs", "4").code == 0
    ends = [torch.load(runs / f"{name}-001" / "last.pth", weights_only=True) for name in ("whole", "parts")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
