"""TensorBoard: event files in the run folder, which `tensorboard --logdir runs` shows."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

from dlworkflow.training.trackers.tracker import Tracked, Tracker

SPLITS = ("train", "val", "test")
_threads: WeakSet[threading.Thread] = WeakSet()


class TensorBoard(Tracker):
    """Event files in RUN/tensorboard: curves, settings, results and figures."""

    package = "tensorboard"

    def start(self, run: Tracked) -> str | None:
        """Open a file of events; those of a run that was killed in the middle of a report are purged by it."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard"
        _wait_for_a_second_of_its_own(folder)
        before = {*threading.enumerate()}
        self._writer = SummaryWriter(str(folder), purge_step=run.epochs + 1 if run.is_training else None)
        _leave_without_traceback({*threading.enumerate()} - before)
        self._settings = {key: _plain(value) for key, value in run.settings.items() if value is not None}
        self._scores: dict[str, float] = {}
        if run.epochs < 0:
            self._writer.add_text("settings", _table(self._settings))
        return None

    def log_epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write a scalar for each number of each epoch."""
        for row in rows:
            for key, value in row.items():
                if key != "epoch":
                    self._writer.add_scalar(tag_of(key), value, int(row["epoch"]))
        self._writer.flush()

    def log_scores(self, scores: Mapping[str, float], *, epoch: int, figures: Sequence[Path] = ()) -> None:
        """Write a scalar for each score, and the figures as images."""
        import numpy as np

        from dlworkflow.data.images.decoding import load_image

        for key, value in scores.items():
            self._writer.add_scalar(key, value, epoch)
        for path in figures:
            image = np.asarray(load_image(path))
            self._writer.add_image(f"figures/{path.stem}", image, epoch, dataformats="HWC")
        self._scores.update(scores)
        self._writer.flush()

    def end(self, status: str | None, model: Path) -> None:  # noqa: ARG002 - event files hold no weights
        """Write the settings beside the result, for the page HPARAMS, and close the file."""
        from torch.utils.tensorboard.summary import hparams

        if status is not None:
            self._writer.add_text("status", status)
            for summary in hparams(self._settings, self._scores):
                self._writer.file_writer.add_summary(summary)  # type: ignore[attr-defined] # there until it is closed
        self._writer.close()


def _wait_for_a_second_of_its_own(folder: Path) -> None:
    """Wait until no file of events is of this second: TensorBoard reads them by the second in their names."""
    now = time.time()
    if any(folder.glob(f"events.out.tfevents.{int(now):010d}.*")):
        time.sleep(1 - now % 1)


def _leave_without_traceback(threads: Iterable[threading.Thread]) -> None:
    """Let threads of TensorBoard fail without a traceback on the terminal: the next call raises what failed, too."""
    _threads.update(threads)
    hook = threading.excepthook
    if getattr(hook, "knows_trackers", False):
        return

    def report(failed: threading.ExceptHookArgs) -> None:
        if failed.thread not in _threads:
            hook(failed)

    report.knows_trackers = True  # type: ignore[attr-defined] # functions take attributes
    threading.excepthook = report


def tag_of(column: str) -> str:
    """Return the tag of a column of the history, by which TensorBoard puts splits together: `loss/train`."""
    split, _, measure = column.partition("_")
    return f"{measure}/{split}" if split in SPLITS else column


def _plain(value: Any) -> str | float | bool:
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def _table(settings: Mapping[str, Any]) -> str:
    """Return settings as a table in Markdown."""
    rows = [f"| {key} | {str(value).replace('|', '&#124;')} |" for key, value in settings.items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])
