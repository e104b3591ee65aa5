"""What tests of trackers share: a tracker that keeps what it is given, and settings of a training in milliseconds."""

from __future__ import annotations

import random
from typing import ClassVar

import numpy as np
import pytest
import torch

from dlworkflow.training.trackers import TRACKERS, Tracker


@pytest.fixture
def notes(monkeypatch):
    """Register a tracker `notes`, which keeps all calls in `calls` and fails in the methods named in `failing`."""

    class Notes(Tracker):
        """Keep what is reported, and draw from every generator meanwhile."""

        calls: ClassVar = []
        failing: ClassVar = {}

        def __init__(self, colour: str = "red") -> None:
            self.colour = colour

        def _note(self, name, what):
            torch.rand(3), np.random.rand(3), random.random()
            if name in self.failing:
                raise self.failing[name]
            self.calls.append((name, what))

        def start(self, run):
            self._note("start", run)
            return run.id or f"id of {run.name}"

        def log_epochs(self, rows):
            self._note("log_epochs", [row["epoch"] for row in rows])

        def log_scores(self, scores, *, epoch, figures=()):
            self._note("log_scores", (scores, epoch, [path.name for path in figures]))

        def end(self, status, model):
            self._note("end", (status, model.name))

        def start_sweep(self, sweep):
            self._note("start_sweep", sweep)
            return "parent"

        def end_sweep(self, status):
            self._note("end_sweep", status)

        @classmethod
        def of(cls, name):
            return [what for called, what in cls.calls if called == name]

        @classmethod
        def epochs(cls):
            return [epoch for epochs in cls.of("log_epochs") for epoch in epochs]

    monkeypatch.setitem(TRACKERS.registered, "notes", Notes)
    return Notes
