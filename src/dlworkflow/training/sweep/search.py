"""Optuna's search: new combinations near those that did well, and pruning of hopeless runs. An optional extra.

The study is in this process and is built from the sweep's folder when a sweep resumes.
"""

from __future__ import annotations

import math
from typing import Any

from dlworkflow.config import SweepSettings
from dlworkflow.errors import ConfigError, not_installed
from dlworkflow.runs import epochs_over_samples
from dlworkflow.runs.comparison import compare_runs, higher_is_better
from dlworkflow.training.sweep.folder import ENDED, FINISHED, PRUNED, Plan, Point, Sweep
from dlworkflow.training.sweep.plan import config_of, first_seed
from dlworkflow.training.sweep.points import Range, read_choices
from dlworkflow.training.sweep.queue import Work

try:
    import optuna
except ImportError:
    raise ConfigError(not_installed("--sampler tpe", "Optuna", "sweep")) from None

TRIALS_BEFORE_PRUNING = 5


class Search:
    """A source of tasks that takes combinations from Optuna and reports their results to it; see `Source`."""

    def __init__(self, sweep: Sweep, plan: Plan, settings: SweepSettings) -> None:
        self._sweep, self._plan, self._settings = sweep, plan, settings
        self._values, _ = read_choices(settings.grid, settings.variants, label="--grid", ranges=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        rises = settings.by is not None and higher_is_better(settings.by)
        self._study = optuna.create_study(
            direction="maximize" if rises else "minimize",
            sampler=optuna.samplers.TPESampler(seed=settings.sampling_seed + len(plan.points)),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING),
        )
        self._lists = {key: found for key, found in self._values.items() if isinstance(found, list)}
        self._space = {key: self._distribution(found) for key, found in self._values.items()}
        self._trials: dict[int, Any] = {}
        self._unfinished = []
        for i in range(0, len(plan.points), settings.seeds):
            points = plan.points[i : i + settings.seeds]
            if all(point.status in ENDED for point in points):
                self._remember(points)
            else:
                self._unfinished.append(points)
        self.left = (settings.random or 0) - len(plan.points) // settings.seeds + len(self._unfinished)

    def take(self) -> Work | None:
        """Return the runs of an unfinished combination, else of a new one, until there are as many as wanted."""
        if self._unfinished:
            points = self._unfinished.pop(0)  # not reported to Optuna in this call: its values were chosen before
            return Work([point for point in points if point.status not in ENDED], watched=True)
        if len(self._plan.points) >= (self._settings.random or 0) * self._settings.seeds:
            return None
        trial = self._study.ask(self._space)
        values = {key: self._lists[key][value] if key in self._lists else value for key, value in trial.params.items()}
        seed, number = first_seed(self._plan.base), len(self._plan.points) + 1
        points = [Point(number + i, values, seed + i) for i in range(self._settings.seeds)]
        self._plan.points.extend(points)
        self._trials[number] = trial
        return Work(points, watched=True)

    def hopeless(self, point: Point, number: int, loss: float) -> bool:
        """Report an epoch's loss of a combination's first run; the first seed decides for all."""
        trial = self._trials.get(point.number)
        if trial is None or not math.isfinite(loss):
            return False
        trial.report(-loss if self._study.direction.name == "MAXIMIZE" else loss, number)
        return number > self._unjudged(point) and bool(trial.should_prune())

    def _unjudged(self, point: Point) -> int:
        """Return the number of first epochs not to prune by: a schedule warms up, and first losses are noisy."""
        return config_of(self._plan, point).epochs // 3

    def ended(self, task: Work) -> None:
        """Report the result of a combination to Optuna: the mean over its seeds, pruned, or failed."""
        trial = self._trials.pop(task.points[0].number, None)
        if trial is None or not all(point.status in ENDED for point in task.points):
            return
        score = self._score(task.points)
        if score is not None:
            self._study.tell(trial, score)
        else:
            self._study.tell(trial, state=self._state(task.points))

    def _remember(self, points: list[Point]) -> None:
        """Add a combination of an earlier call to the study, with its losses by epoch."""
        params = {
            key: self._lists[key].index(value) if key in self._lists else value
            for key, value in points[0].values.items()
        }
        score = self._score(points)
        losses: dict[int, float] = {}
        if points[0].run is not None:
            run = self._sweep.run(points[0].run)
            history, _ = epochs_over_samples(run.summary(), run.history())
            column = "val_loss" if history and "val_loss" in history[0] else "test_loss"
            sign = -1 if self._study.direction.name == "MAXIMIZE" else 1
            losses = {int(row["epoch"]): sign * row[column] for row in history}
        self._study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions=self._space,
                value=score,
                state=optuna.trial.TrialState.COMPLETE if score is not None else self._state(points),
                intermediate_values=losses,
            )
        )

    def _state(self, points: list[Point]) -> Any:
        pruned = any(point.status == PRUNED for point in points)
        return optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.FAIL

    def _score(self, points: list[Point]) -> float | None:
        """Return the mean of the metric over the seeds, None unless all have finished with a number."""
        if not all(point.status == FINISHED and point.run for point in points):
            return None
        runs = [self._sweep.run(str(point.run)) for point in points]
        rows = compare_runs(runs, by=self._settings.by, at=self._settings.at)
        scores = [row.get(self._settings.by or ("val_loss" if "val_loss" in row else "test_loss")) for row in rows]
        known = [score for score in scores if score is not None]
        return sum(known) / len(known) if len(known) == len(scores) else None

    @staticmethod
    def _distribution(found: list[Any] | Range) -> Any:
        if isinstance(found, list):  # by place, since Optuna's choices are no lists
            return optuna.distributions.CategoricalDistribution(range(len(found)))
        if found.whole:
            return optuna.distributions.IntDistribution(int(found.low), int(found.high))
        return optuna.distributions.FloatDistribution(found.low, found.high, log=found.logarithmic)
