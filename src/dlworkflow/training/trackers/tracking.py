"""The trackers of a run: the handler of epochs that reports to them, and what `dlw evaluate` reports.

An epoch is reported once the run's state on disk has it, so that a run that is killed and resumed reports none twice.
How far each tracker is, and its id of the run, is in the run's summary: a tracker that failed gets what it missed when
the run is resumed or evaluated.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlworkflow.config.settings import trackers_in
from dlworkflow.errors import RunError
from dlworkflow.runs import EvaluationSummary, Run, Summary
from dlworkflow.training.trackers import Tracked, Tracker
from dlworkflow.training.trackers.calls import Calls, checked_id
from dlworkflow.training.trackers.scores import facts_of, results_of, scores_of

_log = logging.getLogger(__name__)

_lost: set[tuple[Path, str]] = set()
"""The folders of sweeps and their trackers that have failed in this process: their further runs leave them out."""


class Tracking:
    """The trackers of a run; with `on=False` there are none, as another process reports."""

    def __init__(self, run: Run, track: Any, *, on: bool = True) -> None:
        self._run, self._wanted = run, trackers_in(track) if on else {}
        self._calls = Calls(run.name, self._lose)
        self._kept: dict[str, dict[str, Any]] = {}
        """What the summary has of each tracker: `id`, and `epoch`, the last that was reported."""
        self._rows: list[dict[str, float]] = []
        self._is_in_sweep = False

    def start(self, *, is_training: bool = True) -> None:
        """Open the trackers and report the epochs of the history that they lack."""
        if not self._wanted:
            return
        summary = self._run.summary()
        self._is_in_sweep = summary.sweep is not None
        self._kept = {name: dict(kept) for name, kept in (summary.trackers or {}).items()}
        parents, folder = _parents(summary), self._run.path.resolve().parent
        for name, settings in self._wanted.items():
            if is_training and ((folder, name) in _lost or (parents is not None and name not in parents)):
                continue
            run = self._tracked(name, summary, (parents or {}).get(name), is_training=is_training)

            def start(tracker: Tracker, name: str = name, run: Tracked = run) -> None:
                self._kept[name] = {"id": checked_id(tracker.start(run)), "epoch": run.epochs}

            self._calls.make(name, settings, start)
        for row in self._run.history() if self._calls.open else ():
            self.note(row)
        self.report()

    def _tracked(self, name: str, summary: Summary, parent: str | None, *, is_training: bool) -> Tracked:
        kept, folder, sweep = self._kept.get(name, {}), self._run.path.resolve(), (summary.sweep or {}).get("name")
        return Tracked(
            name=self._run.name,
            folder=folder,
            runs_dir=folder.parent.parent if sweep else folder.parent,
            settings=facts_of(summary),
            id=kept.get("id"),
            epochs=int(kept.get("epoch", -1)),
            is_training=is_training,
            sweep=sweep,
            parent=parent,
        )

    def _lose(self, name: str) -> None:
        if self._is_in_sweep:
            _lost.add((self._run.path.resolve().parent, name))

    def note(self, row: Mapping[str, Any] | None) -> None:
        """Take an epoch that has ended, a row of the history, to be reported later."""
        if self._calls.open and row is not None:
            numbers = {key: float(value) for key, value in row.items() if math.isfinite(value)}
            self._rows.append(numbers | {"epoch": int(row["epoch"])})

    def report(self, until: float = math.inf) -> None:
        """Report the epochs up to number `until`, and keep how far each tracker is."""
        rows = [row for row in self._rows if row["epoch"] <= until]
        self._rows = self._rows[len(rows) :]
        for name in list(self._calls.open):
            new = [row for row in rows if row["epoch"] > self._kept[name]["epoch"]]
            if new and self._calls.call(name, lambda tracker, new=new: tracker.log_epochs(new)):  # type: ignore[misc]
                self._kept[name]["epoch"] = int(new[-1]["epoch"])
        with suppress(RunError):  # such as a full disk, which whoever writes the run reports
            if self._kept != (self._run.summary().trackers or {}):
                self._run.update_summary(trackers=self._kept)

    def end(self, until: float) -> None:
        """Report the epochs up to number `until`, the result of the training, and the status of the run."""
        if not self._calls.open:
            return
        self.report(until)
        try:
            summary = self._run.summary()
        except RunError:  # such as a folder that is gone, which whoever writes the run reports
            self.finish(None, {})
            return
        scores = results_of(summary) if summary.last else {}
        self.finish(summary.status, scores, epoch=int((summary.last or {"epoch": 0})["epoch"]))

    def finish(self, status: str | None, scores: Mapping[str, float], **of_scores: Any) -> None:
        """Report scores and close the trackers; `status` is None after an evaluation."""
        if scores:
            self._calls.call_all(lambda tracker: tracker.log_scores(scores, **of_scores))
        self._calls.call_all(lambda tracker: tracker.end(status, self._run.weights_path("best")))
        self._calls.open.clear()


def track_evaluation(run: Run, found: EvaluationSummary, figures: Sequence[Path] = ()) -> None:
    """Report an evaluation, with its figures, to the trackers of a run: to the tracker run that its training has.

    A warning is all where another process trains the run: both would report its epochs, and write its summary.
    """
    try:
        with run.locked():
            tracking = Tracking(run, run.summary().config.get("track"))
            tracking.start(is_training=False)
            tracking.finish(None, scores_of(found), epoch=int(found.epoch or 0), figures=figures)
    except RunError as error:
        _log.warning("warning this evaluation is not reported to the trackers of %s: %s", run.name, error)


def forget_lost(sweep: Path) -> None:
    """Let the runs of a sweep, in its folder, try all trackers again."""
    _lost.difference_update([lost for lost in _lost if lost[0] == sweep])


def _parents(summary: Summary) -> dict[str, str | None] | None:
    """Return what the trackers of a run's sweep returned for it; None where the run is in none that has trackers."""
    parents = (summary.sweep or {}).get("trackers")
    return parents if isinstance(parents, dict) else None
