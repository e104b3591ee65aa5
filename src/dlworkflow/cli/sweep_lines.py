"""What is printed of a sweep as it runs: what is trained, each run as it ends, and how to resume."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dlworkflow.cli.cluster import cluster_words
from dlworkflow.cli.expected_time import WORTH_SAYING, duration
from dlworkflow.cli.options import say
from dlworkflow.files.numbers import loss, percent
from dlworkflow.files.text import shell_command
from dlworkflow.registry.user_code import named_files

if TYPE_CHECKING:
    from dlworkflow.config import SweepSettings
    from dlworkflow.runs import Summary
    from dlworkflow.training.sweep.cluster import Cluster
    from dlworkflow.training.sweep.folder import Plan, Point, Sweep
    from dlworkflow.training.sweep.queue import Stop

_STOPPED = {
    "": "another process still trains",
    "time": "the time of --max-minutes is up",
    "runs": "the runs of --max-runs are made",
}


class SweepLines:
    """Trains a sweep and prints what is trained, each run as it ends, and how to resume."""

    command, heading = "sweep", "sweep"

    def __init__(self, found: Sweep, settings: SweepSettings, resumed: bool, cluster: Cluster | None = None) -> None:
        self._sweep, self._settings, self._resumed, self._cluster = found, settings, resumed, cluster
        self._total, self._ended = 0, 0
        self._began, self._before = 0.0, 0

    def run(self, *, retry_failed: bool) -> tuple[Plan, Stop]:
        """Train what is left of the sweep, see `run_sweep`."""
        from dlworkflow.training.sweep.running import run_sweep

        try:
            return run_sweep(
                self._sweep,
                self._settings,
                cluster=self._cluster,
                retry_failed=retry_failed,
                on_start=self.start,
                on_end=self.ended,
            )
        except (KeyboardInterrupt, SystemExit):
            say(f"stopped; resume with: {self.to_resume()}")
            raise

    def say_what_is_left(self, plan: Plan, stop: Stop) -> None:
        """Print how many runs are left, if any, and how to resume."""
        if left := len(plan.waiting()):
            runs = f"{left} run{'s are' if left != 1 else ' is'} left"
            say(f"{_STOPPED[stop]}: {runs}; resume with: {self.to_resume()}")

    def to_resume(self, *more: str) -> str:
        """Return the command that resumes the sweep."""
        code = [word for file in named_files() for word in ("--code", file)]
        return shell_command(
            ["dlw", self.command, "--resume", str(self._sweep.path), *more, *cluster_words(self._cluster), *code]
        )

    def start(self, plan: Plan, jobs: int) -> None:
        """Print what is trained."""
        self._total = max(len(plan.points), (self._settings.random or 0) * self._settings.seeds * self._searches())
        self._ended = self._before = len(plan.points) - len(plan.waiting())
        self._began = time.monotonic()
        done = f", {self._ended} of them done" if self._resumed else ""
        what = counted(self._total, self._settings.seeds)
        say(f"{self.heading:<8}{self._sweep.path}: {what}{done}, {jobs} at once")

    def ended(self, point: Point, plan: Plan) -> None:
        """Print the outcome of a run."""
        self._ended += 1
        place = f"{self._ended:>{len(str(self._total))}}/{self._total}"
        say(f"{place}  {self._called(point, plan)}: {self._outcome(point)}{self._left()}")

    def _left(self) -> str:
        """Return how long the runs that are left will take, as those of this call did; empty for a few seconds."""
        each = (time.monotonic() - self._began) / (self._ended - self._before)
        seconds = each * (self._total - self._ended)
        return f", about {duration(seconds)} left" if seconds >= WORTH_SAYING else ""

    def _called(self, point: Point, _: Plan) -> str:
        values = " ".join(f"{key}={_text(value)}" for key, value in point.values.items())
        return " ".join(part for part in (values, f"seed={point.seed}") if part)

    def _outcome(self, point: Point) -> str:
        if point.status != "finished" or point.run is None:
            return f"{point.status}: {point.reason}"
        from dlworkflow.runs import over_samples

        summary = self._sweep.run(point.run).summary()
        at, split = self._scored(summary)
        scores, _ = over_samples(summary, summary.row(at))
        acc = percent(scores.get(f"{split}_acc"))
        return f"{split} loss {loss(scores[f'{split}_loss'])}" + (f" acc {acc}" if acc else "") + f"  {point.run}"

    def _scored(self, summary: Summary) -> tuple[str, str]:
        """Return which epoch of a run is shown, and of which split."""
        return self._settings.at, summary.chosen_on

    def _searches(self) -> bool:
        return self._settings.sampler == "tpe"


def counted(runs: int, seeds: int) -> str:
    """Return the number of runs in words, with that of combinations where each has several seeds."""
    combinations = runs // seeds
    text = f"{runs:,} run{'s' if runs != 1 else ''}"
    if seeds == 1:
        return text
    return f"{text} ({combinations:,} combination{'s' if combinations != 1 else ''}, {seeds:,} seeds each)"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
