"""Writes a run as it trains: history, weights, and the state to resume from. Knows no settings and no data.

The state is copied in memory at the end of each epoch. It is written at most once a second, and always at the end:
whatever stops training, the files hold whole epochs. Lines of the history are written at most five times a second.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from dlworkflow.engine.loop import Epoch
from dlworkflow.errors import DlwError, RunError, first_line, short
from dlworkflow.models.weights.checkpoint import load_state, save_state, save_weights, unlike
from dlworkflow.runs import OVER_SAMPLES, Run, now
from dlworkflow.training.state import TrainState

WRITE_SECONDS = 1.0
"""The least time between two writes of the state during training."""

LOG_SECONDS = 0.2
"""Lines of the history wait at most this long: opening the file takes as long as an epoch of a small model."""

STATE_FORMAT = 1


class Recorder:
    """The epoch handler that writes the run; with `writes=False` another process does that."""

    def __init__(self, run: Run, state: TrainState, *, writes: bool = True) -> None:
        self._run, self._state, self._writes = run, state, writes
        self.best: dict[str, Any] | None = None
        self.last: dict[str, Any] | None = None
        self.weights: dict[str, Mapping[str, Tensor]] = {}
        """The weights `best` and `last`, on the model's device."""
        self.written = 0
        """The last epoch that the state on disk has: 0 before the first."""
        self._snapshot: dict[str, Any] = {}
        self._unwritten: set[str] = set()
        self._lines: list[dict[str, Any]] = []
        self._written_at = self._logged_at = self._started_at = time.monotonic()
        self._seconds_before = 0.0

    @property
    def epochs_done(self) -> int:
        """How many epochs have ended, in this session and before."""
        return int(self.last["epoch"]) if self.last else 0

    def __call__(self, epoch: Epoch) -> None:
        row = history_row(epoch)
        self.last = row
        self._lines.append(row)
        self._take_snapshot()
        monitored = "val_loss" if epoch.val else "test_loss"
        if self.best is None or row[monitored] < self.best[monitored]:
            self.best = row
            self.weights["best"] = self.weights["last"]
            self._unwritten.add("best")
        now_at = time.monotonic()
        if now_at - self._written_at >= WRITE_SECONDS:
            self.save()
        elif now_at - self._logged_at >= LOG_SECONDS:
            self._log()

    def _take_snapshot(self) -> None:
        self._snapshot = self._state.state_dict()
        self.weights["last"] = self._snapshot["last"]
        self._unwritten.add("last")

    def adopt(self, rows: Sequence[dict[str, Any]], state: Mapping[str, Any]) -> None:
        """Take over all epochs that were trained elsewhere, and again when there are more.

        `state` is that of `resume`, of a training that draws no random number and has no further parts.
        """
        if new := rows[self.epochs_done :]:
            self._run.log_epochs(new)
            optimizer = self._state.optimizer.state_dict() | state["optimizer"]
            self._take({**state, "optimizer": optimizer, "generators": self._state.generators.state_dict()})

    def resume(self) -> None:
        """Continue from the state in the run folder; start anew where training stopped before its first state.

        Raises RunError when the state is damaged.
        """
        source = repr(str(self._run.state_path))
        if not self._run.state_path.is_file():
            self._run.clear_epochs()
            return
        state = load_state(self._run.state_path)
        if state.get("format") != STATE_FORMAT:
            raise RunError(f"{source} is of format {state.get('format')}, not {STATE_FORMAT}")
        try:
            if fault := self._fault(state):
                raise RunError(f"{source} is damaged: {fault}")
            self._take(state)
            self._run.cut_history(state["epochs_done"])
        except DlwError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
            raise RunError(f"{source} is damaged: {first_line(error)}") from None

    def _fault(self, state: Mapping[str, Any]) -> str:
        """Return what in a state cannot have been written after an epoch of this run; empty if nothing."""
        fault = unlike(state, {"epochs_done": 1, "seconds": 0.0}, "state")
        return fault or self._state.fault(state) or _row_fault(state, self._run.history())

    def _take(self, state: Mapping[str, Any]) -> None:
        self._state.load_state_dict(state, source=repr(str(self._run.state_path)))
        self.best, self.last, self._seconds_before = state["best_row"], state["last_row"], state["seconds"]
        self._started_at = time.monotonic()
        self._take_snapshot()
        self.written = self.epochs_done
        self.weights["best"] = state["best"]
        self._unwritten.add("best")

    def finish(self, status: str, **more: Any) -> None:
        """Write what is unwritten and how the run ended, the latter even where the weights cannot be written.

        `more` is added to the summary.
        """
        end = {"status": status, "finished": now(), "seconds": self._seconds(), **more}
        try:
            self.save(**end)
        except BaseException:
            self._run.update_summary(**end)
            raise

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started_at

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Leave the time of the block out of the training time."""
        began = time.monotonic()
        yield
        self._started_at += time.monotonic() - began

    def _log(self) -> None:
        if self._lines and self._writes:
            self._run.log_epochs(self._lines)
        self._lines = []
        self._logged_at = time.monotonic()

    def save(self, **more: Any) -> None:
        """Write what is unwritten; `more` is added to the summary."""
        self._log()
        if not self._writes:
            self._unwritten.clear()
        if self._unwritten and self.epochs_done:  # first the history that a state counts on; then it; then weights
            self._run.sync_history()
            state = {"format": STATE_FORMAT, "epochs_done": self.epochs_done, **self._snapshot, **self.weights}
            state["seconds"] = self._seconds()  # no less than the summary has: a resumed run continues its clock
            save_state(state | {"best_row": self.best, "last_row": self.last}, self._run.state_path)
        for which in sorted(self._unwritten):
            save_weights(self.weights[which], self._run.weights_path(which))
        self._unwritten.clear()
        self.written = self.epochs_done
        scored = {"best": self.best, "last": self.last} if self.last else {}  # none yet: those of the run stay
        self._run.update_summary(**scored, **more)
        self._written_at = time.monotonic()


def _row_fault(state: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong with the rows of the best and the last epoch in a state; empty if nothing."""
    done = state["epochs_done"]
    for name in ("best_row", "last_row"):
        row = state.get(name)
        if not isinstance(row, dict) or (history and row.keys() != history[0].keys()):
            return f"state.{name} is no epoch of the history"
        for key, value in row.items():
            kinds = int if key == "epoch" else (int, float)
            if not isinstance(value, kinds) or isinstance(value, bool):
                return f"state.{name}.{key} is {short(repr(value), 60)}"
    if not 1 <= state["best_row"]["epoch"] <= done == state["last_row"]["epoch"]:
        return f"epochs_done is {done}, the last epoch {state['last_row']['epoch']}"
    return ""


def history_row(epoch: Epoch) -> dict[str, Any]:
    """Return an epoch as a line of the history."""
    row: dict[str, Any] = {"epoch": epoch.number, "lr": epoch.lr, "seconds": round(epoch.seconds, 6)}
    for split, scores in epoch.scores.items():
        row |= {f"{split}_loss": scores.loss, f"{split}_acc": scores.acc}
    for split, scores in (epoch.over_samples or {}).items():
        row |= {f"{split}_loss{OVER_SAMPLES}": scores.loss, f"{split}_acc{OVER_SAMPLES}": scores.acc}
    return {**row, **epoch.metrics}
