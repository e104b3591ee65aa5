"""All that changes while a run trains, as one object with one `state_dict`. Knows no settings and no run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dlworkflow.engine.early_stopping import EarlyStopping
from dlworkflow.engine.ema import WeightAverage
from dlworkflow.engine.loop import Epoch
from dlworkflow.engine.random_state import Generators
from dlworkflow.engine.schedules import Schedule
from dlworkflow.engine.update import Update
from dlworkflow.errors import short
from dlworkflow.models.weights.checkpoint import apply_weights, unlike


@dataclass
class TrainState:
    """The model, what updates it, and everything else that a resumed run must find as it was.

    `update` has no state between epochs; it is here because it holds the optimizer, the schedule and the average.
    """

    model: nn.Module
    optimizer: Optimizer
    update: Update
    generators: Generators
    schedule: Schedule | None = None
    early_stopping: EarlyStopping | None = None
    average: WeightAverage | None = None
    scaler: Any = None
    _live: dict[str, Tensor] = field(default_factory=dict, init=False)

    @property
    def saved(self) -> nn.Module:
        """The model that is evaluated and whose weights are saved: the averaged one where there is an average."""
        return self.model if self.average is None else self.average.averaged

    @property
    def _parts(self) -> dict[str, Any]:
        parts = {
            "schedule": self.schedule,
            "stopper": self.early_stopping,
            "average": self.average,
            "scaler": self.scaler,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def end_epoch(self, epoch: Epoch) -> None:
        """Pass the monitored loss to the schedule, then to early stopping."""
        for part in (self.schedule, self.early_stopping):
            if part is not None:
                part.end_epoch(epoch.monitored_loss)

    def should_stop(self) -> bool:
        """Return whether early stopping ends training here."""
        return self.early_stopping is not None and self.early_stopping.should_stop()

    def state_dict(self) -> dict[str, Any]:
        """Return copies: the weights `last`, `optimizer`, `generators`, and `parts` with all else that has a state."""
        self._live = self._live or self.saved.state_dict()  # views of the weights, which change in place
        return {
            "last": {name: tensor.clone() for name, tensor in self._live.items()},
            "optimizer": _copied(self.optimizer.state_dict()),
            "generators": self.generators.state_dict(),
            "parts": {name: _copied(part.state_dict()) for name, part in self._parts.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any], *, source: str = "the state") -> None:
        """Continue from what `state_dict` returned.

        Raises ModelError, which names `source`, for the weights of another model, and for anything else that is
        missing or malformed what Python or torch raise; `fault` finds most of that before.
        """
        apply_weights(self.saved, state["last"], source=source)
        self.optimizer.load_state_dict(state["optimizer"])
        for name, part in self._parts.items():
            part.load_state_dict(state["parts"][name])
        self.generators.load_state_dict(state["generators"])

    def fault(self, state: Mapping[str, Any]) -> str:
        """Return what in `state`, or in its weights `best`, `state_dict` cannot have written here; empty if nothing."""
        weights, optimizer = self.saved.state_dict(), self.optimizer.state_dict() | {"state": {}}
        own: dict[str, Any] = {"optimizer": optimizer, "last": weights, "best": weights}
        if self._parts:  # version 0.1 wrote none
            own["parts"] = {name: part.state_dict() for name, part in self._parts.items()}
        if fault := unlike(state, own, "state"):
            return fault
        groups = zip(state["optimizer"]["param_groups"], optimizer["param_groups"], strict=True)
        if any(found["params"] != mine["params"] for found, mine in groups):
            return "state.optimizer has other parameters"
        return _moments_fault(state["optimizer"]["state"], self.optimizer)


_MOMENTS: dict[type[Optimizer], tuple[str, ...]] = {  # without which a step fails
    torch.optim.Adam: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.RMSprop: ("step", "square_avg"),
}


def _moments_fault(found: Mapping[Any, Any], optimizer: Optimizer) -> str:
    """Return what is wrong with an optimizer's own numbers, {index of a parameter: {name: value}}; empty if nothing."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = next((names for kind, names in _MOMENTS.items() if isinstance(optimizer, kind)), ())
    for index, moments in found.items():
        if not isinstance(index, int) or not 0 <= index < len(parameters) or not isinstance(moments, dict):
            return f"state.optimizer has moments of {short(repr(index), 60)}"
        if lacking := [name for name in names if name not in moments]:
            return f"state.optimizer lacks {lacking[0]}"
        for name, moment in moments.items():
            like = parameters[index] if isinstance(moment, Tensor) and moment.ndim else torch.tensor(0.0)
            scalar = name == "step" and not isinstance(moment, Tensor)
            if isinstance(moment, Tensor) and not isinstance(optimizer, (torch.optim.SGD, *_MOMENTS)):
                continue  # of any shape: Adafactor keeps sums of rows and columns
            if moment is None and name not in names:  # SGD's momentum before its first step
                continue
            if fault := unlike(moment, 0 if scalar else like, f"state.optimizer.{name}"):
                return fault
    return ""


def _copied(value: Any) -> Any:
    """Copy nested dictionaries and lists with the tensors in them."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value
