"""MLflow: runs in an experiment of its own, on the server of MLFLOW_TRACKING_URI or in a file beside the runs."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dlworkflow.files.locking import locked_file
from dlworkflow.training.trackers.tracker import Tracked, Tracker

EXPERIMENT = "dlworkflow"
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # for the pages that MLflow opens with
_STATUS = {"finished": "FINISHED", "failed": "FAILED"}  # all others were ended before their time
_MOST_METRICS, _MOST_PARAMS, _LONGEST = 1000, 100, 6000  # in one call of MLflow's
_SECONDS = 60.0  # to wait for another process that makes the tables


class MLflow(Tracker):
    """The server of MLFLOW_TRACKING_URI, else the file mlflow.db in the folder of runs."""

    package = "mlflow"
    environment = {  # noqa: RUF012 - read only
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    }
    silenced = ("urllib3.connectionpool",)

    def __init__(self, experiment: str | None = None, log_model: bool = False) -> None:
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        self._log_model = log_model

    def start(self, run: Tracked) -> str | None:
        """Make a run with the settings as parameters, a child of its sweep's; or set one to running again."""
        self._connect(run)
        self._logged: int | None = -1 if run.id is None else None
        if run.id is None:
            self._id = self._create(run)
        else:
            self._id = run.id
            if run.is_training:
                self._client.update_run(self._id, status="RUNNING")
        return self._id

    def log_epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Log each number of each epoch, with the epoch as the step, but of epochs that are there already.

        The last call of a session may have arrived though it has failed. The learning rate is the last of each epoch.
        """
        if self._logged is None:
            self._logged = max((each.step for each in self._client.get_metric_history(self._id, "lr")), default=-1)
        new = [row for row in rows if row["epoch"] > self._logged]
        self._log([(key, row[key], int(row["epoch"])) for row in new for key in sorted(row, key="lr".__eq__)])

    def log_scores(self, scores: Mapping[str, float], *, epoch: int, figures: Sequence[Path] = ()) -> None:
        """Log scores as metrics, figures as artifacts."""
        self._log([(key, value, epoch) for key, value in scores.items()])
        for path in figures:
            self._client.log_artifact(self._id, str(path), "figures")

    def end(self, status: str | None, model: Path) -> None:
        """Log the weights where they are wanted, and the end of the run."""
        if status is None:
            return
        if self._log_model and model.is_file():
            self._client.log_artifact(self._id, str(model), "model")
        self._end(status)

    def start_sweep(self, sweep: Tracked) -> str | None:
        """Make the run that is the parent of the runs of a sweep."""
        return self.start(sweep)

    def end_sweep(self, status: str) -> None:
        """Log the end of the parent run."""
        self._end(status)

    def _connect(self, run: Tracked) -> None:
        """Find the experiment, or make it. One process at a time makes the tables of a file."""
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        uri, place = os.environ.get("MLFLOW_TRACKING_URI"), None
        local = not uri
        if local:
            uri, place = f"sqlite:///{run.runs_dir / 'mlflow.db'}", (run.runs_dir / "mlflow-artifacts").as_uri()
        with locked_file(run.runs_dir / ".mlflow.lock", _SECONDS) if local else nullcontext():
            if local:
                _check_database(run.runs_dir / "mlflow.db")
            self._client = MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(self._experiment)
            try:
                self._place = (
                    found.experiment_id if found else self._client.create_experiment(self._experiment, place, _KIND)
                )
            except MlflowException:  # another process was faster
                if (found := self._client.get_experiment_by_name(self._experiment)) is None:
                    raise
                self._place = found.experiment_id

    def _create(self, run: Tracked) -> str:
        from mlflow.entities import Param

        tags = {"mlflow.source.name": "dlworkflow"} | ({"mlflow.parentRunId": run.parent} if run.parent else {})
        made = str(self._client.create_run(self._place, tags=tags, run_name=run.name).info.run_id)
        params = [Param(key, _text(value)) for key, value in run.settings.items() if value is not None]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(made, params=params[start : start + _MOST_PARAMS])
        return made

    def _log(self, numbers: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_name(key), value, now, step) for key, value, step in numbers if key != "epoch"]
        for start in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + _MOST_METRICS])

    def _end(self, status: str) -> None:
        self._client.set_tag(self._id, "dlworkflow.status", status)
        self._client.set_terminated(self._id, _STATUS.get(status, "KILLED"))


def _check_database(file: Path) -> None:
    """Raise an error where a file cannot be the local database: MLflow tries to open it for 100 seconds.

    A path in which an address means something else, `%20` or `?`, cannot be passed to MLflow.
    """
    if "?" in str(file) or unquote(str(file)) != str(file):
        raise ValueError(f"MLflow cannot have its file in {str(file.parent)!r}, for the % or ? in it")
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA schema_version")


def _name(key: str) -> str:
    """Return a key with the letters that MLflow takes: the name of a user's metric or folder may have others."""
    return re.sub(r"[^\w./ -]", "_", key)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:_LONGEST]
