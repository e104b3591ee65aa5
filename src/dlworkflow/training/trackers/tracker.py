"""What a tracker is: the methods that a run calls, all of which do nothing unless they are overridden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Tracked:
    """What a tracker reports on: a run or a sweep, with all it needs to know at the start."""

    name: str
    folder: Path
    """The run folder; a tracker may write into `folder / NAME`, where NAME is its own."""
    runs_dir: Path
    """The folder in which the runs are."""
    settings: Mapping[str, Any]
    """All settings by dotted key, then what the run knows of its data, model and device."""
    id: str | None = None
    """What `start` returned before, of a run that is resumed or evaluated."""
    epochs: int = -1
    """The last epoch that this tracker has, -1 for none."""
    is_training: bool = True
    """False for a finished run that is evaluated."""
    sweep: str | None = None
    """The name of the sweep that the run belongs to."""
    parent: str | None = None
    """What `start_sweep` returned for it."""


class Tracker:
    """Base class of trackers: `start`, then `log_epochs` and `log_scores` as they come, then `end`.

    A method that raises costs one warning; the tracker is then left out until the run is resumed or evaluated, which
    reports what it missed. Random numbers drawn within a method do not change training. The class is made anew for
    each session of a run, in the process that writes the run.
    """

    package: ClassVar[str] = ""
    """The module that has to be installed, and the extra of dlworkflow that it is in, where that has another name."""
    extra: ClassVar[str] = ""
    environment: ClassVar[Mapping[str, str]] = {}
    """Environment variables that are set within the methods."""
    silenced: ClassVar[Sequence[str]] = ()
    """Loggers that are silent within the methods."""

    def start(self, run: Tracked) -> str | None:
        """Begin to report on a run, or continue; what is returned, a text or None, is kept in the run as its `id`."""
        return run.id

    def log_epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Take epochs that have ended, rows of history.csv: epoch, lr, seconds, train_loss, ... in order.

        They come at most once a second, each once, and only when the run's state on disk has them.
        """

    def log_scores(self, scores: Mapping[str, float], *, epoch: int, figures: Sequence[Path] = ()) -> None:
        """Take results of the weights of an epoch by name: of the whole training, or of `dlw evaluate`."""

    def end(self, status: str | None, model: Path) -> None:
        """End the report. `status` is that of the run, None after an evaluation; `model` are its best weights."""

    def start_sweep(self, sweep: Tracked) -> str | None:
        """Begin to report on a sweep before its runs; what is returned, a text or None, is their `parent`."""
        return sweep.id

    def end_sweep(self, status: str) -> None:
        """End the report on a sweep."""
