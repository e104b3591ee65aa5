"""Weights & Biases: a run of theirs for each run, offline unless somebody is logged in."""

from __future__ import annotations

import netrc
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dlworkflow.training.trackers.tracker import Tracked, Tracker

PROJECT = "dlworkflow"
OFFICIAL = "api.wandb.ai"
"""The name of W&B's own server under which keys are kept, whatever it is called by now."""
_QUIET: dict[str, Any] = {  # those that the installed version has
    **{"silent": True, "console": "off", "disable_git": True, "disable_code": True},
    **{"x_disable_meta": True, "x_disable_stats": True, "x_disable_machine_info": True},
    **{"init_timeout": 10, "finish_timeout": 60, "finish_timeout_raises": True},  # seconds
}


class WandB(Tracker):
    """Weights & Biases, offline in RUN/wandb unless WANDB_API_KEY, a netrc file or WANDB_MODE log in."""

    package = "wandb"
    environment = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}  # noqa: RUF012 - read only

    def __init__(self, project: str | None = None, entity: str | None = None, log_model: bool = False) -> None:
        self._project = project or os.environ.get("WANDB_PROJECT") or PROJECT
        self._entity, self._log_model = entity, log_model

    def start(self, run: Tracked) -> str | None:
        """Begin a run with the settings as its config, in the group of its sweep; or continue one."""
        import wandb

        wanted = {**_QUIET, "x_update_finish_state": run.is_training}
        quiet = wandb.Settings(**{key: value for key, value in wanted.items() if key in wandb.Settings.model_fields})
        url = str(wandb.setup(quiet).settings.base_url)
        hosts = [urlsplit(url).netloc, *([OFFICIAL] if url == quiet.base_url else [])]
        self._image = wandb.Image
        self._run = wandb.init(
            project=self._project,
            entity=self._entity,
            dir=str(run.folder),
            id=run.id,
            resume="allow" if run.id else None,
            name=run.name,
            group=run.sweep,
            config={key: value for key, value in run.settings.items() if value is not None},
            allow_val_change=True,
            mode=None if "WANDB_MODE" in os.environ else "online" if is_logged_in(hosts) else "offline",
            reinit="create_new",
            settings=quiet,
        )
        return str(self._run.id)

    def log_epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Log a step for each epoch, at once: one that waits for the next is lost with a process that is killed."""
        for row in rows:
            self._run.log(dict(row), step=int(row["epoch"]), commit=True)

    def log_scores(self, scores: Mapping[str, float], *, epoch: int, figures: Sequence[Path] = ()) -> None:  # noqa: ARG002 - the scores say it
        """Set scores in the summary of the run, and log figures as images."""
        self._run.summary.update(dict(scores))
        if figures:
            self._run.log({f"figures/{path.stem}": self._image(str(path)) for path in figures})

    def end(self, status: str | None, model: Path) -> None:
        """Save the weights where they are wanted, and end the run."""
        if status is not None:
            self._run.summary["status"] = status
            if self._log_model and model.is_file():
                self._run.save(str(model), base_path=str(model.parent), policy="now")
        self._run.finish(exit_code=0 if status in (None, "finished") else 1)


def is_logged_in(hosts: Iterable[str]) -> bool:
    """Return whether there is a key for W&B's server: in WANDB_API_KEY, or for one of its names in a netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        found = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(host in found.hosts for host in hosts)
