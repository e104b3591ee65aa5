"""One run folder: create, log an epoch, read, finish; knows the names of its files."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dlworkflow.errors import RunError, first_line
from dlworkflow.files.locking import is_locked, locked_file
from dlworkflow.files.paths import read_json, read_small_text
from dlworkflow.files.text import csv_cell
from dlworkflow.files.writing import clear_leftovers, unfinished_folder, write_text
from dlworkflow.runs.summary import FORMAT, are_split_indices, as_json, read_summary

SUMMARY, CONFIG = "summary.json", "config.yaml"
_HISTORY, _ENVIRONMENT, _SPLITS, _LOCK = "history.csv", "environment.json", "splits.json", ".lock"
_PLOTS = "plots"
_LONGEST = 200  # bytes of a run's name without its number; file systems take 255
_NEW = "new"  # what a run is called that has not all its first files yet
_FIRST = r"(summary|environment|splits)\.json|config\.yaml"
COLUMNS = ("epoch", "lr", "seconds", "train_loss", "train_acc", "test_loss", "test_acc")
VAL_COLUMNS = ("val_loss", "val_acc")


@dataclass(frozen=True)
class Run:
    """One run folder; the folder is the state, this only knows the way in it."""

    path: Path
    _known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The summary as last read, with the state of its file: a thousand runs are sorted, then compared."""

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    @classmethod
    def create(
        cls,
        runs_dir: Path,
        stem: str,
        *,
        summary: Mapping[str, Any],
        config: str,
        environment: Mapping[str, Any],
        split_indices: Mapping[str, Sequence[int]] | None = None,
    ) -> Run:
        """Make a new folder `stem-001`, `stem-002`, ... with its first files; two at once get two numbers.

        Raises RunError when it cannot be written.
        """
        stem = safe_name(stem)
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            clear_leftovers(runs_dir, _NEW, _FIRST)
            with unfinished_folder(runs_dir / _NEW) as folder:
                new = cls(folder)
                new._write(CONFIG, config)
                new._write(_ENVIRONMENT, as_json(environment))
                if split_indices is not None:
                    new._write(_SPLITS, json.dumps(split_indices) + "\n")
                new.write_summary({"format": FORMAT, "status": "running", "started": now(), **summary})
                run = cls(_number_folder(folder, stem))
        except OSError as error:
            raise RunError(
                f"cannot write into {str(runs_dir)!r}: {first_line(error)}; name another folder with --runs-dir"
            ) from None
        return run

    def weights_path(self, which: str = "best") -> Path:
        """Return where the weights `best` or `last` lie, whether or not they are there."""
        return self.path / f"{which}.pth"

    @property
    def state_path(self) -> Path:
        """Where the state lies from which training goes on, whether or not it is there."""
        return self.path / "resume.pth"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run within the block; the lock ends with the process.

        Raises RunError when another process trains it. On a system without file locks nothing is kept.
        """
        with locked_file(self.path / _LOCK) as held:
            if held is False:
                raise RunError(f"{self.name} is being trained by another process")
            yield

    def is_being_trained(self) -> bool:
        """Tell whether a process trains this run now; where that cannot be told, believe the summary."""
        return is_locked(self.path / _LOCK) is not False

    def status(self, summary: Mapping[str, Any]) -> str:
        """Return how the run stands; one that says `running` without a process that trains it was killed."""
        said = str(summary["status"])
        return "killed" if said == "running" and not self.is_being_trained() else said

    def sweep(self) -> None:
        """Remove the unfinished files of processes that were killed as they wrote."""
        clear_leftovers(self.path)
        clear_leftovers(self.path / _PLOTS)

    def cut_history(self, epochs: int) -> None:
        """Drop the epochs after the first `epochs` from the history: those that no state was written for.

        Raises RunError when there are fewer.
        """
        file = self.path / _HISTORY
        rows = self.history()
        if not epochs:
            file.unlink(missing_ok=True)
            return
        if len(rows) < epochs:
            raise RunError(f"{str(file)!r} has {len(rows)} epochs, the state of training {epochs}: it was cut short")
        lines = read_small_text(file).split("\n")
        self._write(_HISTORY, "\n".join(lines[: epochs + 1]) + "\n")

    def write_config(self, config: str) -> None:
        """Write the settings anew: a run that goes on may have more epochs."""
        self._write(CONFIG, config)

    def log_epochs(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Append a line an epoch to the history; columns are fixed by the first, maybe one of an older version."""
        file = self.path / _HISTORY
        try:
            with file.open("a+", newline="", encoding="utf-8") as stream:
                stream.seek(0)
                head = stream.readline().rstrip("\r\n")
                columns = head.split(",") if head else list(rows[0])
                if not head:
                    stream.write(",".join(columns) + "\n")
                stream.writelines(",".join(_cell(row.get(key)) for key in columns) + "\n" for row in rows)
        except OSError as error:
            raise RunError(f"cannot write {str(file)!r}: {first_line(error)}") from None

    def sync_history(self) -> None:
        """Have the disk hold every epoch logged so far, before a state is written that counts on them."""
        file = self.path / _HISTORY
        try:
            with file.open("a", encoding="utf-8") as stream:
                os.fsync(stream.fileno())
        except OSError as error:
            raise RunError(f"cannot write {str(file)!r}: {first_line(error)}") from None

    def history(self) -> list[dict[str, float]]:
        """Return the history, one dictionary an epoch; an empty cell is nan, a torn last line is left out."""
        return self._rows(self._history_text())

    def epochs_done(self) -> int:
        """Return the number of the last epoch in the history, 0 before the first; only that line is read."""
        text = self._history_text()
        head, last = text[: text.find("\n") + 1], text[text.rfind("\n", 0, -1) + 1 :]
        rows = self._rows(head + last) if last != head else []
        return int(rows[-1]["epoch"]) if rows else 0

    def _history_text(self) -> str:
        """Return the whole lines of the history, nothing where there is none."""
        file = self.path / _HISTORY
        try:
            text = read_small_text(file)
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"cannot read {str(file)!r}: {first_line(error)}") from None
        return text[: text.rfind("\n") + 1]

    def _rows(self, text: str) -> list[dict[str, float]]:
        source = repr(str(self.path / _HISTORY))
        try:
            rows = [
                {key: float(cell) if cell else math.nan for key, cell in row.items()}
                for row in csv.DictReader(io.StringIO(text), strict=True)
            ]
        except (ValueError, TypeError, csv.Error, AttributeError) as error:
            raise RunError(f"{source} is damaged: {first_line(error)}") from None
        if rows and (missing := [column for column in COLUMNS if column not in rows[0]]):
            raise RunError(f"{source} is damaged: it lacks {', '.join(missing)}")
        if not all(math.isfinite(row["epoch"]) for row in rows):
            raise RunError(f"{source} is damaged: an epoch has no number")
        return rows

    def summary(self) -> dict[str, Any]:
        """Return what the run says of itself. Raises RunError when that is missing or damaged."""
        file = self.path / SUMMARY
        try:
            found = file.stat()
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._known.get("state") == state:
                return dict(self._known["summary"])
            text = read_small_text(file)
        except FileNotFoundError:
            raise RunError(f"{str(self.path)!r} is no run folder: it has no {SUMMARY}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{str(file)!r} is damaged: {first_line(error)}") from None
        summary = read_summary(text, source=repr(str(file)), name=self.name)
        self._known.update(state=state, summary=summary)
        return dict(summary)

    def split_indices(self) -> dict[str, list[int]] | None:
        """Return the samples of each split where the library cut the data, else None.

        Raises RunError when the file is damaged.
        """
        file = self.path / _SPLITS
        try:
            found: dict[str, list[int]] = read_json(file)
        except FileNotFoundError:
            return self.summary().get("split_indices")
        except (OSError, ValueError) as error:
            raise RunError(f"{str(file)!r} is damaged: {first_line(error)}") from None
        if not are_split_indices(found):
            raise RunError(f"{str(file)!r} is damaged: it holds no lists of samples")
        return found

    def environment(self) -> dict[str, Any]:
        """Return the versions and the machine that the run was made with; empty when that is not there."""
        try:
            found = read_json(self.path / _ENVIRONMENT)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def data_fingerprints(self) -> dict[str, str]:
        """Return the digest of each split of the data as it was trained on; empty where that is not known."""
        found = self.environment().get("data_fingerprint")
        return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}

    def add_fingerprints(self, found: Mapping[str, str]) -> None:
        """Keep the digests of splits that were not known as the run began."""
        environment = self.environment()
        self._write(_ENVIRONMENT, as_json(environment | {"data_fingerprint": self.data_fingerprints() | dict(found)}))

    def write_evaluation(
        self, split: str, report: Mapping[str, Any], tables: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> list[Path]:
        """Write `evaluation.json` and a CSV file a table; those of another split than test bear its name.

        Return their paths, the report first.
        """
        self.sweep()
        tail = "" if split == "test" else f"-{safe_name(split)}"
        self._write(f"evaluation{tail}.json", as_json(report))
        written = [self.path / f"evaluation{tail}.json"]
        for name, rows in tables.items():
            out = io.StringIO()
            writer = csv.writer(out, lineterminator="\n")
            if rows:
                writer.writerow(map(csv_cell, rows[0]))
            writer.writerows([csv_cell(value) for value in row.values()] for row in rows)
            self._write(f"{name}{tail}.csv", out.getvalue())
            written.append(self.path / f"{name}{tail}.csv")
        return written

    def plot_path(self, name: str) -> Path:
        """Return where a figure of the run lies, in a folder that is there. Raises RunError when it cannot be."""
        folder = self.path / _PLOTS
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot write {str(folder)!r}: {first_line(error)}") from None
        return folder / f"{name}.png"

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write what the run says of itself, whole or not at all."""
        self._write(SUMMARY, as_json(summary))

    def update_summary(self, **changes: Any) -> None:
        """Change some of what the run says of itself."""
        self.write_summary(self.summary() | changes)

    def _write(self, name: str, text: str) -> None:
        write_text(self.path / name, text)


def best_epoch(history: Sequence[Mapping[str, float]]) -> Mapping[str, float] | None:
    """Return the epoch with the lowest validation loss, else test loss; the first of equals; None without any."""
    split = "val_loss" if history and "val_loss" in history[0] else "test_loss"
    finite = [row for row in history if math.isfinite(row[split])]
    return min(finite, key=lambda row: row[split], default=None)


def now() -> str:
    """Return the time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _number_folder(new: Path, stem: str) -> Path:
    """Move a folder that is whole to the next free `stem-NNN` beside it; a run appears at once or not at all."""
    pattern = re.compile(re.escape(stem) + r"-(\d+)")
    taken = [int(found[1]) for path in new.parent.iterdir() if (found := pattern.fullmatch(path.name))]
    number = max(taken, default=0) + 1
    while True:
        path = new.with_name(f"{stem}-{number:03d}")
        try:
            return new.rename(path)
        except OSError as error:  # another process was faster
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES) or not path.exists():
                raise
            number += 1


def safe_name(stem: str) -> str:
    """Make a name that is a single folder on every system, whatever a data set is called."""
    name = re.sub(r"[^\w.+-]+", "_", stem).strip("._-")
    while len(name.encode()) > _LONGEST:
        name = name[:-1]
    return name or "run"


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(value)
