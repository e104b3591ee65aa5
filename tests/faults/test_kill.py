"""A process that is killed at any moment leaves a run that goes on to the uninterrupted result, to the bit."""

from __future__ import annotations

import random
import subprocess
import time

import pytest

from dlworkflow.runs import list_runs

pytestmark = pytest.mark.faults

KILLS = 25
KILLS_A_RUN = 9  # then it is left to end
TRAIN = ["train", "circles_v2", "--set", "data.batch_size=32", "--set", "data.shuffle=true", "--epochs", "60"]


def is_over_after(process, seconds):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def is_finished(folder):
    return any(run.summary().status == "finished" for run in list_runs(folder))


def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(tmp_path, start, content, capsys):
    began = time.monotonic()
    whole = start(*TRAIN, "--runs-dir", tmp_path / "whole")
    assert "Traceback" not in whole.communicate(timeout=120)[1]
    usual = time.monotonic() - began
    [expected] = list_runs(tmp_path / "whole")
    trained = expected.summary().seconds
    draw = random.Random(4)
    kills, before_the_folder, lives, kills_of_this = 0, 0, 0, 0

    while kills < KILLS or kills_of_this:
        folder = tmp_path / f"life-{lives}"
        runs = list_runs(folder)
        goes_on = ["train", "--resume", runs[0].name] if runs else TRAIN
        process = start(*goes_on, "--runs-dir", folder)
        if kills < KILLS and kills_of_this < KILLS_A_RUN:
            if kills % 3:  # these land in training, whatever else the machine does; the others anywhere
                while not process.stdout.readline().startswith("epoch") and process.poll() is None:
                    pass
            if not is_over_after(process, draw.uniform(0, trained if kills % 3 else usual)):
                process.kill()
                process.communicate()
                kills, kills_of_this = kills + 1, kills_of_this + 1
                before_the_folder += not list_runs(folder)
                if not is_finished(folder):
                    continue
        _, complaints = process.communicate(timeout=120)
        assert process.returncode == 0 or is_finished(folder), complaints
        [run] = list_runs(folder)
        assert content(run) == content(expected)
        assert run.summary().status == "finished"
        assert [file.name for file in run.path.glob(".*")] == [".lock"]
        lives, kills_of_this = lives + 1, 0

    with capsys.disabled():
        print(f"\nkills survived: {kills} ({before_the_folder} before the run's folder was there; {lives} runs)")
