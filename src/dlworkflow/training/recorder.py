"""Writes a run as it trains: history, weights, and the state from which it can go on to the same bits.

A state is taken in memory at the end of every epoch and written at most once a second, and always at the end: whatever
stops training, what is on disk is a whole epoch. Lines of the history are written at most five times a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dlworkflow.engine.loop import Epoch
from dlworkflow.engine.random_state import GeneratorWatch, plain_states, restore_generators
from dlworkflow.errors import DlwError, RunError, first_line, short
from dlworkflow.models.weights.checkpoint import apply_weights, load_state, save_state, save_weights, unlike
from dlworkflow.runs import OVER_SAMPLES, Run, now

WRITE_SECONDS = 1.0
"""A state is written at most this often while training goes on, and always at its end."""

LOG_SECONDS = 0.2
"""Lines of the history wait at most this long: opening the file takes as long as an epoch of a small model."""

STATE_FORMAT = 1


@dataclass
class Learner:
    """All that changes while a run trains: model, optimizer, the loaders' own generators, and what else learns."""

    model: nn.Module
    optimizer: Optimizer
    generators: dict[str, torch.Generator] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else has a state (`state_dict`, `load_state_dict`): schedule, stopper, ..., by name."""
    averaged: nn.Module | None = None
    """What is scored and saved in place of the model, where that is an average; the model is then one of the parts."""

    @property
    def saved(self) -> nn.Module:
        """The model whose weights are `best` and `last`."""
        return self.model if self.averaged is None else self.averaged


@dataclass(frozen=True)
class Trained:
    """What training left in memory: a history row an epoch, weights `best` and `last`, the optimizer's own numbers.

    `moments` is what `state_dict()["state"]` of the optimizer holds, {index of a parameter: {name: tensor}}.
    """

    rows: list[dict[str, Any]]
    best_row: dict[str, Any] | None
    weights: dict[str, dict[str, Tensor]]
    moments: dict[int, dict[str, Tensor]]
    seconds: float


class Recorder:
    """Is told of every epoch, as `train`'s `on_epoch`, and writes the run; but not where another process `writes`."""

    def __init__(
        self,
        run: Run,
        learner: Learner,
        on_epoch: Callable[[Epoch], object] | None = None,
        *,
        writes: bool = True,
    ) -> None:
        self._run, self._learner, self._on_epoch, self._writes = run, learner, on_epoch, writes
        self._draws = GeneratorWatch(learner.generators)
        self.best: dict[str, Any] | None = None
        self.last: dict[str, Any] | None = None
        self._live: dict[str, Tensor] = {}
        self._weights: dict[str, dict[str, Tensor]] = {}
        self._state: dict[str, Any] = {}
        self._unwritten: set[str] = set()
        self._lines: list[dict[str, Any]] = []
        self._written_at = self._logged_at = self._started_at = time.monotonic()
        self._seconds_before = 0.0

    @property
    def epochs_done(self) -> int:
        """How many epochs have ended, in this session and before."""
        return int(self.last["epoch"]) if self.last else 0

    @property
    def weights(self) -> Mapping[str, Mapping[str, Tensor]]:
        """The weights `best` and `last`, on the model's device."""
        return self._weights

    def __call__(self, epoch: Epoch) -> None:
        row = history_row(epoch)
        split = "val" if epoch.val else "test"
        self.last = row
        self._lines.append(row)
        self._live = self._live or self._learner.saved.state_dict()  # a view of the weights as they change
        self._keep("last", weights := {name: tensor.clone() for name, tensor in self._live.items()})
        if self.best is None or row[f"{split}_loss"] < self.best[f"{split}_loss"]:
            self.best = row
            self._keep("best", weights)
        self._state = {
            "optimizer": _copied(self._learner.optimizer.state_dict()),
            "generators": self._draws.states(),
            "seconds": self._seconds(),
            "parts": {name: _copied(part.state_dict()) for name, part in self._learner.parts.items()},
        }
        now_at = time.monotonic()
        if now_at - self._written_at >= WRITE_SECONDS:
            self._write()
        elif now_at - self._logged_at >= LOG_SECONDS:
            self._log()
        if self._on_epoch is not None:
            self._on_epoch(epoch)

    def adopt(self, trained: Trained) -> None:
        """Take up all epochs that were trained elsewhere, again when there are more.

        `save` or `finish` writes them as if they had been told one by one.
        """
        if len(trained.rows) <= self.epochs_done:
            return
        self._run.log_epochs(trained.rows[self.epochs_done :])
        self.best, self.last = trained.best_row, trained.rows[-1]
        self._weights, self._unwritten = dict(trained.weights), {"best", "last"}
        self._learner.model.load_state_dict(trained.weights["last"])
        optimizer = self._learner.optimizer.state_dict() | {"state": trained.moments}
        self._seconds_before, self._started_at = trained.seconds, time.monotonic()
        self._state = {
            "optimizer": optimizer,
            "generators": self._draws.states(),
            "seconds": trained.seconds,
            "parts": {},
        }

    def resume(self) -> None:
        """Take up the run where its state was written: weights, optimizer, generators, best epoch, length of history.

        Raises RunError when there is no whole state.
        """
        state = load_state(self._run.state_path)
        if state.get("format") != STATE_FORMAT:
            raise RunError(f"{str(self._run.state_path)!r} is of format {state.get('format')}, not {STATE_FORMAT}")
        try:
            if fault := self._fault(state):
                raise RunError(f"{str(self._run.state_path)!r} is damaged: {fault}")
            self._take(state)
        except DlwError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
            raise RunError(f"{str(self._run.state_path)!r} is damaged: {first_line(error)}") from None

    def _fault(self, state: Mapping[str, Any]) -> str:
        """Say what a state holds that the learner could not have written after a whole epoch, or nothing."""
        optimizer, weights = self._learner.optimizer, self._learner.saved.state_dict()
        own: dict[str, Any] = {
            "epochs_done": 1,
            "seconds": 0.0,
            "optimizer": optimizer.state_dict() | {"state": {}},
            "last": weights,
            "best": weights,
        }
        if self._learner.parts:  # the state of an older version has none
            own["parts"] = {name: part.state_dict() for name, part in self._learner.parts.items()}
        if fault := unlike(state, own, "state"):
            return fault
        groups = zip(state["optimizer"]["param_groups"], own["optimizer"]["param_groups"], strict=True)
        if any(found["params"] != mine["params"] for found, mine in groups):
            return "state.optimizer has other parameters"
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for index, moments in state["optimizer"]["state"].items():
            if not isinstance(index, int) or not 0 <= index < len(parameters) or not isinstance(moments, dict):
                return f"state.optimizer has moments of {short(repr(index), 60)}"
            names = next((found for kind, found in _MOMENTS.items() if isinstance(optimizer, kind)), ())
            if lacking := [name for name in names if name not in moments]:
                return f"state.optimizer lacks {lacking[0]}"
            for name, moment in moments.items():
                like = parameters[index] if isinstance(moment, Tensor) and moment.ndim else torch.tensor(0.0)
                scalar = name == "step" and not isinstance(moment, Tensor)
                if moment is None and name not in names:  # SGD's momentum before its first step
                    continue
                if fault := unlike(moment, 0 if scalar else like, f"state.optimizer.{name}"):
                    return fault
        return _row_fault(state, self._run.history())

    def _take(self, state: Mapping[str, Any]) -> None:
        """Take up a state; whatever a damaged one lacks or holds in another form raises as Python or torch see fit."""
        weights = {which: state[which] for which in ("last", "best")}
        apply_weights(self._learner.saved, state["last"], source=repr(str(self._run.state_path)))
        self._learner.optimizer.load_state_dict(state["optimizer"])
        for name, part in self._learner.parts.items():
            part.load_state_dict(state["parts"][name])
        restore_generators(state["generators"], self._learner.generators)
        self._run.cut_history(state["epochs_done"])
        self._weights = weights
        self.best, self.last = state["best_row"], state["last_row"]
        self._seconds_before = state["seconds"]
        self._state = {key: state[key] for key in ("optimizer", "seconds")} | {"generators": self._draws.states()}
        self._state["parts"] = state.get("parts", {})
        self._unwritten = {"best", "last"}

    def save(self) -> None:
        """Write what is unwritten while training goes on."""
        self._write()

    def finish(self, status: str, **more: Any) -> None:
        """Write what is unwritten, and how the run ended, even where the weights cannot be written.

        `more` goes into the summary.
        """
        end = {"status": status, "finished": now(), "seconds": self._seconds(), **more}
        try:
            self._write(**end)
        except BaseException:
            self._run.update_summary(**end)
            raise

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started_at

    def _keep(self, which: str, weights: dict[str, Tensor]) -> None:
        self._weights[which] = weights
        self._unwritten.add(which)

    def _log(self) -> None:
        if self._lines and self._writes:
            self._run.log_epochs(self._lines)
        self._lines = []
        self._logged_at = time.monotonic()

    def _write(self, **more: Any) -> None:
        """Write what is unwritten; `more` goes into the summary."""
        self._log()
        if not self._writes:
            self._unwritten.clear()
        if self._unwritten:  # what a state counts on before it, and it before weights, which alone could not go on
            self._run.sync_history()
            state = {"format": STATE_FORMAT, "epochs_done": self.epochs_done, **self._weights, **self._state}
            state |= {"best_row": self.best, "last_row": self.last}
            state["generators"] = plain_states(self._state["generators"])
            save_state(state, self._run.state_path)
        for which in sorted(self._unwritten):
            save_weights(self._weights[which], self._run.weights_path(which))
        self._unwritten.clear()
        self._run.update_summary(best=self.best, last=self.last, **more)
        self._written_at = time.monotonic()


_MOMENTS: dict[type[Optimizer], tuple[str, ...]] = {  # without which a step fails
    torch.optim.Adam: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.RMSprop: ("step", "square_avg"),
}


def _row_fault(state: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """Say what is wrong with the rows of the best and the last epoch in a state, or nothing."""
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


def _copied(value: Any) -> Any:
    """Copy nested dictionaries and lists with the tensors in them."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def history_row(epoch: Epoch) -> dict[str, Any]:
    """Return an epoch as a line of the history."""
    row: dict[str, Any] = {"epoch": epoch.number, "lr": epoch.lr, "seconds": round(epoch.seconds, 6)}
    for split, scores in (("train", epoch.train), ("test", epoch.test), ("val", epoch.val)):
        if scores is not None:
            row |= {f"{split}_loss": scores.loss, f"{split}_acc": scores.acc}
    for split, scores in (epoch.over_samples or {}).items():
        row |= {f"{split}_loss{OVER_SAMPLES}": scores.loss, f"{split}_acc{OVER_SAMPLES}": scores.acc}
    return row
