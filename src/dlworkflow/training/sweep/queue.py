"""What a sweep still has to train, task by task, and its progress. Trains nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dlworkflow.training.sweep.folder import ENDED, Plan, Point, Sweep

Stop = Literal["", "signal", "time", "runs"]


@dataclass(frozen=True)
class Work:
    """Points that one process trains: one after another, or `together` as one stack of models."""

    points: list[Point]
    together: bool = False
    watched: bool = False
    """Whether each epoch is reported to the source, which may prune the point."""


class Source(Protocol):
    """Where tasks come from: a list, or a search that learns from those that ended."""

    def take(self) -> Work | None:
        """Return the next task, None when there is none."""

    def hopeless(self, point: Point, number: int, loss: float) -> bool:
        """Take the loss of an epoch of a watched task; return whether to prune the point."""

    def ended(self, task: Work) -> None:
        """Take a task whose points have all ended."""


class Listed:
    """Tasks that are known from the start."""

    def __init__(self, tasks: Iterable[Work]) -> None:
        self._tasks = iter(list(tasks))

    def take(self) -> Work | None:
        return next(self._tasks, None)

    def hopeless(self, point: Point, number: int, loss: float) -> bool:  # noqa: ARG002 - a list gives up nothing
        return False

    def ended(self, task: Work) -> None:
        pass


@dataclass
class SweepProgress:
    """The limits of a sweep in this call and its progress."""

    sweep: Sweep
    plan: Plan
    source: Source
    max_runs: int | None = None
    deadline: float | None = None
    on_end: Callable[[Point, Plan], object] | None = None
    started: int = 0
    stop: Stop = ""
    returned: list[Work] = field(default_factory=list)

    def next_task(self) -> Work | None:
        """Return the next task, cut to the budget of runs; None when there is none or the sweep stops."""
        if not self.stop and self.max_runs is not None and self.started >= self.max_runs:
            self.stop = "runs"
        if self.stop or self.is_late():
            return None
        task = self.returned.pop() if self.returned else self.source.take()
        if task is None:
            return None
        if self.max_runs is not None and not task.watched:
            task = Work(task.points[: self.max_runs - self.started], task.together)
        self.started += len(task.points)
        return task

    def give_back(self, task: Work) -> None:
        """Take back a task that nobody has begun: it is the next."""
        self.started -= len(task.points)
        self.returned.append(task)

    def is_late(self) -> bool:
        """Return whether the time is up, and record it."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.stop = self.stop or "time"
        return self.stop == "time"

    def keep(self, task: Work, outcomes: Sequence[Point]) -> None:
        """Write the outcome of a task's points, and call `on_end` for each that has ended."""
        for outcome in outcomes:
            self.plan.points[outcome.number - 1] = outcome
        self.sweep.write(self.plan)
        for outcome in outcomes:
            if self.on_end is not None and outcome.status in ENDED:
                self.on_end(outcome, self.plan)
        self.source.ended(Work(list(outcomes), task.together, task.watched))
