"""What tests of faults share: the settings of a run that is disturbed, starting it as a process, comparing two runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.fixture
def start(tmp_path):
    """Start `dlw ARGUMENTS` in an empty folder, as a process of its own; it is stopped with the test."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "dlworkflow", *map(str, arguments)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def content():
    """Return what must be equal to the bit of two runs: history without seconds, weights best and last."""
    import torch

    def look(run):
        history = [{key: repr(value) for key, value in row.items() if key != "seconds"} for row in run.history()]
        weights = [torch.load(run.weights_path(which), weights_only=True) for which in ("best", "last")]
        return history, [{name: tensor.tolist() for name, tensor in state.items()} for state in weights]

    return look
