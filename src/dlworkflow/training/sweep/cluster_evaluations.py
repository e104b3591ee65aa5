"""Evaluations of runs as tasks of a cluster. Scores nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dlworkflow.runs import EvaluationSummary, Run
from dlworkflow.training.sweep.parcel import MARK, pack
from dlworkflow.training.sweep.queue import Stop


class EvaluationTask:
    """A run that a process of a worker evaluates: `dlw evaluate RUN` with more `words`, on so many `threads`."""

    def __init__(self, run: Run, words: Sequence[str], weights: str, threads: int) -> None:
        self.run, self.folder, self.name = run, run.path, run.name
        self._words, self._threads = list(words), threads
        self._left_out = {run.state_path, run.weights_path("last" if weights == "best" else "best")}
        self._before = self._stamps()
        self.reason = ""

    def content(self) -> dict[str, Any]:
        return {"kind": "evaluate", "words": self._words, "threads": self._threads}

    def files(self) -> bytes:
        """Return what scoring needs of the run: no figures, no other weights, no state to resume from."""
        return pack(
            self.folder, (path for path in self.folder.iterdir() if path.is_file() and path not in self._left_out)
        )

    def is_unfinished(self) -> bool:
        return self._stamps() == self._before

    def fail(self, reason: str) -> None:
        self.reason = reason

    def is_hopeless(self, *report: Any) -> bool:  # noqa: ARG002 - an evaluation reports nothing
        return False

    def found(self) -> EvaluationSummary | None:
        """Return what was written, None where nothing was."""
        new = dict(self._stamps() - self._before)
        if not new:
            return None
        name = max(new, key=lambda name: new[name])
        return self.run.found(EvaluationSummary, name.removeprefix("evaluation").removeprefix("-") or "test")

    def _stamps(self) -> set[tuple[str, int]]:
        return {(path.stem, path.stat().st_mtime_ns) for path in self.folder.glob(f"{EvaluationSummary.file}*.json")}


class EvaluationTasks:
    """Evaluations that a cluster has still to make; `on_end` is called with each task that has ended."""

    def __init__(self, tasks: Iterable[EvaluationTask], on_end: Callable[[EvaluationTask], object]) -> None:
        self._tasks, self._on_end = iter(tasks), on_end
        self.stop: Stop = ""

    def is_late(self) -> bool:
        return False

    def next_task(self) -> EvaluationTask | None:
        return next(self._tasks, None)

    def keep(self, task: EvaluationTask) -> None:
        self.leave(task)
        if not self.stop:
            self._on_end(task)

    def leave(self, task: EvaluationTask) -> None:
        (task.folder / MARK).unlink(missing_ok=True)
