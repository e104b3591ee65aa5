"""What a cluster runs: a task, and where tasks come from and go. Knows no Dask."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from dlworkflow.training.sweep.queue import Stop


class Task(Protocol):
    """What a process of a worker does in a folder."""

    name: str
    folder: Path

    def content(self) -> dict[str, Any]:
        """Return what the worker needs to know, as JSON takes it; see `worker.run`."""

    def files(self) -> bytes:
        """Return the files that a worker needs that does not see the folder, as an archive; empty for none."""

    def is_unfinished(self) -> bool:
        """Return whether its process was stopped before its end."""

    def fail(self, reason: str) -> None:
        """Take the reason why there is no result."""

    def is_hopeless(self, *report: Any) -> bool:
        """Take what its process reports; return whether to prune it."""


class Tasks(Protocol):
    """Where tasks come from, and where they go once they have ended."""

    stop: Stop

    def is_late(self) -> bool:
        """Return whether the time is up."""

    def next_task(self) -> Task | None:
        """Return the next task; None when there is none."""

    def keep(self, task: Any) -> None:
        """Record the outcome of a task."""

    def leave(self, task: Any) -> None:
        """Take back a task whose process may still be at work."""
