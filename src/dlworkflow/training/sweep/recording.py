"""Writes the runs of models that train as a stack, as training each alone would have left them. Trains nothing."""

from __future__ import annotations

from contextlib import ExitStack

from dlworkflow.engine.random_state import set_seeds
from dlworkflow.errors import DivergedError, RunError, reason_of
from dlworkflow.training.assembly import new_state
from dlworkflow.training.job import Job
from dlworkflow.training.provenance import best_on_test, create_run
from dlworkflow.training.recorder import Recorder
from dlworkflow.training.sweep.folder import FAILED, FINISHED, INTERRUPTED, Plan, Point, Sweep
from dlworkflow.training.sweep.vectorized import Trained
from dlworkflow.training.trackers.tracking import Tracking


class StackedRun:
    """The run of one point of a stack of `n_models`; its folder is created when there is something to write.

    It is locked until `close`. Only for training that draws no random number within its loop.
    """

    def __init__(self, sweep: Sweep, plan: Plan, point: Point, job: Job, n_models: int) -> None:
        self._sweep, self._plan, self._point, self._job, self._n_models = sweep, plan, point, job, n_models
        self._made: tuple[Recorder, Tracking] | None = None
        self._lock = ExitStack()

    def write(self, trained: Trained, status: str) -> None:
        """Write all that was trained so far; `status` is `running` while there is more to come."""
        recorder, tracking = self._made = self._made or self._create()
        set_seeds(self._job.config.seed)
        new = trained.rows[recorder.epochs_done :]
        recorder.adopt(trained.rows, trained.state)
        for row in new:
            tracking.note(row)
        if status == "running":
            recorder.save()
            tracking.report(recorder.written)
            return
        recorder.finish(
            status, **(best_on_test(self._job, recorder.best, recorder.weights) if status == FINISHED else {})
        )
        tracking.end(recorder.written)

    def end(self, trained: Trained, diverged: DivergedError | None) -> None:
        """Write the end of the run and note it in the point; a run that cannot be written has failed."""
        whole = len(trained.rows) == self._job.config.epochs
        self._point.status = FAILED if diverged else FINISHED if whole else INTERRUPTED
        self._point.reason = str(diverged) if diverged else None
        try:
            self.write(trained, self._point.status)
        except RunError as error:
            self._point.status, self._point.reason = FAILED, reason_of(error)

    def close(self) -> None:
        """Unlock the run."""
        self._lock.close()

    def _create(self) -> tuple[Recorder, Tracking]:
        state = new_state(self._job)
        more = {"sweep": self._sweep.membership(self._point, self._plan), "vectorized": self._n_models}
        run = create_run(self._job, self._sweep.path, self._sweep.name, **more)
        self._point.run = run.name
        self._lock.enter_context(run.locked())
        tracking = Tracking(run, self._job.config.track)
        tracking.start()
        return Recorder(run, state), tracking
