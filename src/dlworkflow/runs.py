"""A run folder: create, open, log an epoch, finish, list; the only place that knows its file names.

Reads JSON and CSV only, so that looking at a thousand runs imports neither torch nor YAML. The format:

    config.yaml        every setting, resolved; `dlw train --config` on it repeats the run
    environment.json   versions, machine, git commit, fingerprint of the data
    history.csv        one line an epoch
    summary.json       status, settings, class names, shapes, transform, best and last epoch; there before epoch 1
    best.pth last.pth  weights, plain state_dicts
    resume.pth         all that training needs to go on to the same bits
    .lock              held by the process that trains
    evaluation.json predictions.csv errors.csv confusion_matrix.csv   what `dlw evaluate` found on the test split
    plots/             figures
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dlworkflow.errors import RunError, first_line, nearest
from dlworkflow.text import csv_cell
from dlworkflow.writing import umask, write_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
_SUMMARY, _HISTORY, _CONFIG, _ENVIRONMENT = "summary.json", "history.csv", "config.yaml", "environment.json"
_LOCK = ".lock"
_LONGEST = 200  # bytes of a run's name without its number; file systems take 255
_NEW = ".new-"  # how the name of a run starts that has not all its first files yet
_NEEDED = (  # what a summary holds from the first moment on
    *("config", "status", "started", "data", "kind", "task", "classes", "in_shape", "n_outputs", "transform"),
    *("samples", "source", "parameters", "device", "threads", "chosen_on", "baseline"),
)
_WRITTEN = (_SUMMARY, _HISTORY, _CONFIG, _ENVIRONMENT, "best.pth", "last.pth", "resume.pth")  # while it trains
_KINDS_OF_VALUE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("status", "started", "data", "kind", "task", "source", "device", "chosen_on"), (str,)),
    **dict.fromkeys(("classes", "in_shape"), (list,)),
    **dict.fromkeys(("n_outputs", "parameters", "threads"), (int,)),
    **dict.fromkeys(("samples", "baseline"), (dict,)),
    **dict.fromkeys(("best", "last"), (dict, type(None))),
    "seconds": (int, float, type(None)),
}
COLUMNS = ("epoch", "lr", "seconds", "train_loss", "train_acc", "test_loss", "test_acc")
VAL_COLUMNS = ("val_loss", "val_acc")


def runs_folder(runs_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where runs are kept: as given, else DLW_RUNS_DIR, else `runs` in the working folder."""
    return Path(runs_dir or os.environ.get("DLW_RUNS_DIR") or "runs").expanduser()


@dataclass(frozen=True)
class Run:
    """One run folder; the folder is the state, this only knows the way in it."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    @classmethod
    def create(
        cls, runs_dir: Path, stem: str, *, summary: Mapping[str, Any], config: str, environment: Mapping[str, Any]
    ) -> Run:
        """Make a new folder `stem-001`, `stem-002`, ... with its first files; two at once get two numbers.

        Raises RunError when it cannot be written.
        """
        stem = _safe(stem)
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            new = cls(Path(tempfile.mkdtemp(prefix=_NEW, dir=runs_dir)))
            try:
                new.path.chmod(0o777 & ~umask())
                new._write(_CONFIG, config)
                new._write(_ENVIRONMENT, _json(environment))
                new.write_summary({"format": FORMAT, "status": "running", "started": now(), **summary})
                run = cls(_number_folder(new.path, stem))
            except BaseException:
                shutil.rmtree(new.path, ignore_errors=True)
                raise
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
        with self._lock_file() as held:
            if held is False:
                raise RunError(f"{self.name} is being trained by another process")
            yield

    def is_being_trained(self) -> bool:
        """Tell whether a process trains this run now; where that cannot be told, believe the summary."""
        if not (self.path / _LOCK).exists():
            return False
        with self._lock_file() as held:
            return held is not True

    @contextmanager
    def _lock_file(self) -> Iterator[bool | None]:
        """Try to lock; give True or False, or None where that cannot be told."""
        if fcntl is None:
            yield None
            return
        try:
            stream = (self.path / _LOCK).open("a")
        except OSError:
            yield None  # a read-only folder: nobody trains there
            return
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            except OSError:
                yield None
            else:
                yield True

    def sweep(self) -> None:
        """Remove the unfinished files of a process that was killed as it wrote; only for whoever holds the lock."""
        for name in _WRITTEN:
            for leftover in self.path.glob(f".{name}-*"):
                leftover.unlink(missing_ok=True)

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
        lines = file.read_text(encoding="utf-8").split("\n")
        self._write(_HISTORY, "\n".join(lines[: epochs + 1]) + "\n")

    def write_config(self, config: str) -> None:
        """Write the settings anew: a run that goes on may have more epochs."""
        self._write(_CONFIG, config)

    def log_epoch(self, row: Mapping[str, float | None]) -> None:
        """Append one line to the history; columns are fixed by the first."""
        self.log_epochs([row])

    def log_epochs(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Append lines to the history; columns are fixed by the first."""
        file = self.path / _HISTORY
        try:
            new = not file.exists()
            with file.open("a", newline="", encoding="utf-8") as stream:
                if new:
                    stream.write(",".join(rows[0]) + "\n")
                stream.writelines(",".join(_cell(value) for value in row.values()) + "\n" for row in rows)
        except OSError as error:
            raise RunError(f"cannot write {str(file)!r}: {first_line(error)}") from None

    def history(self) -> list[dict[str, float]]:
        """Return the history, one dictionary an epoch; an empty cell is nan, a torn last line is left out."""
        file = self.path / _HISTORY
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"cannot read {str(file)!r}: {first_line(error)}") from None
        if not text.endswith("\n"):
            text = text[: text.rfind("\n") + 1]
        try:
            rows = [
                {key: float(cell) if cell else math.nan for key, cell in row.items()}
                for row in csv.DictReader(io.StringIO(text), strict=True)
            ]
        except (ValueError, TypeError, csv.Error, AttributeError) as error:
            raise RunError(f"{str(file)!r} is damaged: {first_line(error)}") from None
        if rows and (missing := [column for column in COLUMNS if column not in rows[0]]):
            raise RunError(f"{str(file)!r} is damaged: it lacks {', '.join(missing)}")
        if not all(math.isfinite(row["epoch"]) for row in rows):
            raise RunError(f"{str(file)!r} is damaged: an epoch has no number")
        return rows

    def summary(self) -> dict[str, Any]:
        """Return what the run says of itself. Raises RunError when that is missing or damaged."""
        file = self.path / _SUMMARY
        try:
            summary = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{str(self.path)!r} is no run folder: it has no {_SUMMARY}") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{str(file)!r} is damaged: {first_line(error)}") from None
        if not isinstance(summary, dict):
            raise RunError(f"{str(file)!r} is damaged: it holds no settings")
        if not isinstance(summary.get("format", 0), int):
            raise RunError(f"{str(file)!r} is damaged: its format is {summary['format']!r}")
        if summary.get("format", 0) > FORMAT:
            raise RunError(
                f"{self.name} was written by a newer dlworkflow (format {summary['format']}); update to read it"
            )
        missing = [key for key in _NEEDED if key not in summary]
        config = summary.get("config")
        if not missing and isinstance(config, dict):
            missing = [key for key in ("model", "data") if not isinstance(config.get(key), dict)]
        missing += [
            key for key, kinds in _KINDS_OF_VALUE.items() if key in summary and not isinstance(summary[key], kinds)
        ]
        if missing or not isinstance(config, dict):
            raise RunError(f"{str(file)!r} is damaged: it lacks {', '.join(missing or ['config'])}")
        if not isinstance(summary["threads"], int) or summary["threads"] < 1:
            raise RunError(f"{str(file)!r} is damaged: threads is {summary['threads']!r}")
        return summary

    def environment(self) -> dict[str, Any]:
        """Return the versions and the machine that the run was made with; empty when that is not there."""
        try:
            found = json.loads((self.path / _ENVIRONMENT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_evaluation(
        self, split: str, report: Mapping[str, Any], tables: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> list[Path]:
        """Write `evaluation.json` and a CSV file a table; those of another split than test bear its name.

        Return their paths, the report first.
        """
        tail = "" if split == "test" else f"-{_safe(split)}"
        self._write(f"evaluation{tail}.json", _json(report))
        written = [self.path / f"evaluation{tail}.json"]
        for name, rows in tables.items():
            out = io.StringIO()
            writer = csv.writer(out, lineterminator="\n")
            if rows:
                writer.writerow(rows[0])
            writer.writerows([csv_cell(value) for value in row.values()] for row in rows)
            self._write(f"{name}{tail}.csv", out.getvalue())
            written.append(self.path / f"{name}{tail}.csv")
        return written

    def plot_path(self, name: str) -> Path:
        """Return where a figure of the run lies, in a folder that is there. Raises RunError when it cannot be."""
        folder = self.path / "plots"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot write {str(folder)!r}: {first_line(error)}") from None
        return folder / f"{name}.png"

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write what the run says of itself, whole or not at all."""
        self._write(_SUMMARY, _json(summary))

    def update_summary(self, **changes: Any) -> None:
        """Change some of what the run says of itself."""
        self.write_summary(self.summary() | changes)

    def _write(self, name: str, text: str) -> None:
        write_text(self.path / name, text)


def find_run(
    given: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    *,
    fits: Callable[[Mapping[str, Any]], bool] | None = None,
    what: str = "run",
) -> Run:
    """Return the run that `given` means: a path, a name, a unique prefix, `last` or `best`; None is `last`.

    `last` and `best` look among runs whose summary `fits`, called `what` in the error; `best` is the lowest loss among
    those with the data and the loss function of the last. Raises RunError that says what there is.
    """
    folder = runs_folder(runs_dir)
    if given is None or given in ("last", "best"):
        return _last_or_best(folder, given or "last", fits, what)
    as_path = Path(given).expanduser()
    if (as_path / _SUMMARY).is_file():
        return Run(as_path.resolve() if as_path.name in ("", "..") else as_path)
    if as_path.is_dir() and as_path.name != given:
        raise RunError(f"{given!r} is no run folder: it has no {_SUMMARY}")
    if (folder / given / _SUMMARY).is_file():  # also SWEEP/RUN
        return Run(folder / given)
    names = [run.name for run in list_runs(folder)]
    if given in names:
        return Run(folder / given)
    matching = [name for name in names if name.startswith(given)]
    if len(matching) == 1:
        return Run(folder / matching[0])
    if matching:
        raise RunError(f"{given!r} fits several runs: {_some(matching)}; write more of the name")
    raise RunError(f"no run {given!r} in {str(folder)!r}; {_there_is(given, names)}")


def list_runs(runs_dir: str | os.PathLike[str] | None = None) -> list[Run]:
    """Return the runs in a folder, oldest first; a damaged one is among them, a folder that never was a run is not."""
    folder = runs_folder(runs_dir)
    if not folder.is_dir():
        return []
    found = [
        Run(path)
        for path in folder.iterdir()
        if not path.name.startswith(_NEW) and ((path / _SUMMARY).is_file() or (path / _CONFIG).is_file())
    ]
    return sorted(found, key=_age)


def best_epoch(history: Sequence[Mapping[str, float]]) -> Mapping[str, float] | None:
    """Return the epoch with the lowest validation loss, else test loss; the first of equals; None without any."""
    split = "val_loss" if history and "val_loss" in history[0] else "test_loss"
    finite = [row for row in history if math.isfinite(row[split])]
    return min(finite, key=lambda row: row[split], default=None)


def now() -> str:
    """Return the time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _last_or_best(folder: Path, which: str, fits: Callable[[Mapping[str, Any]], bool] | None, what: str) -> Run:
    summaries = []
    for run in list_runs(folder):
        try:
            summary = run.summary()
        except RunError:
            continue  # a damaged run is no candidate; `dlw runs` and `dlw compare` name it
        if fits is None or fits(summary):
            summaries.append((run, summary))
    if not summaries:
        raise RunError(f"no {what} in {str(folder)!r} yet; make one with `dlw train MODEL`")
    run, last = summaries[-1]
    if which == "last":
        return run
    scored = [
        (summary["best"][f"{summary['chosen_on']}_loss"], run)
        for run, summary in summaries
        if summary.get("best") and all(_of_a_kind(summary, last))
    ]
    if not scored:
        raise RunError(f"no run on {last.get('data')!r} has finished an epoch yet")
    return min(scored, key=lambda pair: pair[0])[1]


def _of_a_kind(summary: Mapping[str, Any], last: Mapping[str, Any]) -> Iterator[bool]:
    """Tell whether two runs' losses can be ranked: of the same data and the same loss function, and numbers."""
    yield summary.get("data") == last.get("data")
    yield summary["config"].get("loss") == last["config"].get("loss")
    yield summary["best"].get(f"{summary['chosen_on']}_loss") is not None


def _age(run: Run) -> tuple[str, str]:
    try:
        return str(run.summary().get("started", "")), run.name
    except RunError:
        return "", run.name


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


def _safe(stem: str) -> str:
    """Make a name that is a single folder on every system, whatever a data set is called."""
    name = re.sub(r"[^\w.+-]+", "_", stem).strip("._-")
    while len(name.encode()) > _LONGEST:
        name = name[:-1]
    return name or "run"


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(value)


def _json(value: Any) -> str:
    return json.dumps(without_nan(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def without_nan(value: Any) -> Any:
    """JSON knows no nan and no infinity: they become null."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _there_is(given: str, names: Sequence[str]) -> str:
    if not names:
        return "there are none yet; make one with `dlw train MODEL`"
    if guess := nearest(given, names):
        return f"did you mean {guess!r}?"
    return f"there are {_some(names)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[-5:]) + more
