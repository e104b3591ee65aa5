"""One run folder: create it, log epochs, read it. Knows the names of its files, and not how training fills them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dlworkflow.errors import RunError, first_line, system_reason
from dlworkflow.files.locking import is_locked, locked_file
from dlworkflow.files.notebook import HEADLINE, Shown, named
from dlworkflow.files.paths import read_json, read_small_text
from dlworkflow.files.writing import clear_leftovers, unfinished_folder, write_text
from dlworkflow.runs.answers import Answers, evaluate_command, read_answers
from dlworkflow.runs.evaluation import EvaluationSummary
from dlworkflow.runs.found import Found, read_found, texts_of
from dlworkflow.runs.history import append_history, first_epochs, read_history, sync_history
from dlworkflow.runs.naming import number_folder, of_split, safe_name
from dlworkflow.runs.notes import Notes, change_notes, read_notes
from dlworkflow.runs.stored import Size, as_json, check_of, damaged
from dlworkflow.runs.summary import Summary, read_summary

SUMMARY, HISTORY, CONFIG = "summary.json", "history.csv", "config.yaml"
_ENVIRONMENT, _SPLITS, LOCK = "environment.json", "splits.json", ".lock"
_PLOTS = "plots"
_NEW = "new"  # the name of a run until it has all its first files
_FIRST = r"(summary|environment|splits)\.json|config\.yaml"
F = TypeVar("F", bound=Found)
_is_split_indices = check_of(dict[str, list[Size]])


@dataclass(frozen=True)
class Run(Shown):
    """One run folder. The state is in its files; an object of this class only knows their places."""

    path: Path
    _known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The summary as last read, with the state of its file: listing runs reads each summary several times."""

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    def __repr__(self) -> str:
        try:
            summary, status = self.summary(), self.status()
        except RunError:
            return f"Run({str(self.path)!r}: no run, or damaged)"
        best = summary.best or {}
        found = f"; best epoch {best['epoch']:g} with {named(best, HEADLINE)}" if best else ""
        return f"Run({str(self.path)!r}: {status}{found})"

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return what a notebook shows: the history; none of a run that cannot be read."""
        try:
            return [{**row, "epoch": int(row["epoch"])} for row in self.history()]
        except RunError:
            return []

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
        """Make a new folder `stem-001`, `stem-002`, ... with its first files; two processes at once get two numbers.

        `summary` has the values of `Summary` but status and start. Raises RunError when the folder cannot be written.
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
                new.write_summary(Summary.from_data({"status": "running", "started": now(), **summary}))
                run = cls(number_folder(folder, stem))
        except OSError as error:
            raise RunError(
                f"cannot write into {str(runs_dir)!r}: {system_reason(error)}; name another folder with --runs-dir"
            ) from None
        return run

    def weights_path(self, which: str = "best") -> Path:
        """Return the path of the weights `best` or `last`, whether or not they exist."""
        return self.path / f"{which}.pth"

    def export_path(self, suffix: str = "onnx") -> Path:
        """Return the path of the exported model with this suffix (`onnx`, `pt2`, `safetensors`), existing or not."""
        return self.path / f"model.{suffix}"

    def features_path(self, which: str = "best") -> Path:
        """Return the path of the features of the training data, existing or not; they can be computed again."""
        return self.path / f"features-train{'-last' if which == 'last' else ''}.npz"

    @property
    def state_path(self) -> Path:
        """The path of the state from which training resumes, whether or not it exists."""
        return self.path / "resume.pth"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run within the block; the lock ends with the process.

        Raises RunError when another process trains it. On a file system without locks nothing is locked.
        """
        with locked_file(self.path / LOCK) as held:
            if held is False:
                raise RunError(f"{self.name} is being trained by another process")
            yield

    def is_being_trained(self) -> bool:
        """Return whether a process trains this run now; True, as the summary has it, where locks do not tell."""
        return is_locked(self.path / LOCK) is not False

    def status(self) -> str:
        """Return the status: `killed` for a run that was not ended and that no process trains."""
        status = self.summary().status
        return "killed" if status == "running" and not self.is_being_trained() else status

    def notes(self) -> Notes:
        """Return the tags and the note that a user gave the run. Raises RunError when they are damaged."""
        return read_notes(self.path)

    def tag(self, *tags: str) -> Notes:
        """Give the run these tags, and return its notes. Raises ConfigError for what is no tag."""
        return change_notes(self.path, lambda notes: notes.with_tags(*tags))

    def untag(self, *tags: str) -> Notes:
        """Take these tags from the run, and return its notes. Raises ConfigError for one that it does not have."""
        return change_notes(self.path, lambda notes: notes.without_tags(*tags))

    def write_note(self, text: str) -> Notes:
        """Replace the note of the run, one line; an empty text removes it."""
        return change_notes(self.path, lambda notes: notes.with_note(text))

    def size(self) -> int:
        """Return how many bytes the files of the run have; a link counts as itself."""
        return size_of(self.path)

    def sweep(self) -> None:
        """Remove the unfinished files of processes that were killed while writing."""
        clear_leftovers(self.path)
        clear_leftovers(self.path / _PLOTS)

    def cut_history(self, epochs: int) -> None:
        """Keep the first `epochs` epochs, those in the state of training. Raises RunError when there are fewer."""
        self._write(HISTORY, first_epochs(self.path / HISTORY, epochs))

    def clear_epochs(self) -> None:
        """Remove what is there of epochs before training starts anew: those without a state, or an untrained model."""
        self.update_summary(best=None, last=None)
        for file in (self.path / HISTORY, self.weights_path("best"), self.weights_path("last")):
            file.unlink(missing_ok=True)

    def write_config(self, config: str) -> None:
        """Replace the settings: a resumed run may have more epochs."""
        self._write(CONFIG, config)

    def log_epochs(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Append a line per epoch to the history; the first epoch, of whatever version, fixes the columns."""
        append_history(self.path / HISTORY, rows)

    def sync_history(self) -> None:
        """Wait until the disk has every epoch logged so far: a state that counts on them is written next."""
        sync_history(self.path / HISTORY)

    def history(self) -> list[dict[str, float]]:
        """Return the history, one dictionary per epoch; an empty cell is nan, a torn last line is left out."""
        return read_history(self.path / HISTORY)

    def epochs_done(self) -> int:
        """Return the number of the last epoch in the history, 0 before the first; only that line is parsed."""
        rows = read_history(self.path / HISTORY, last=True)
        return int(rows[-1]["epoch"]) if rows else 0

    def summary(self) -> Summary:
        """Return what the run says about itself. Raises RunError when that is missing or damaged."""
        file = self.path / SUMMARY
        try:
            found = file.stat()
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._known.get("state") == state:
                return self._known["summary"]
            text = read_small_text(file)
        except FileNotFoundError:
            raise RunError(f"{str(self.path)!r} is no run folder: it has no {SUMMARY}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise damaged(repr(str(file)), first_line(error)) from None
        summary = read_summary(text, source=repr(str(file)), name=self.name)
        self._known.update(state=state, summary=summary)
        return summary

    def split_indices(self) -> dict[str, list[int]] | None:
        """Return the samples of each split where the library cut the data, else None.

        Raises RunError when the file is damaged.
        """
        file = self.path / _SPLITS
        try:
            found: dict[str, list[int]] = read_json(file)
        except FileNotFoundError:
            return self.summary().others.get("split_indices")
        except (OSError, ValueError) as error:
            raise damaged(repr(str(file)), first_line(error)) from None
        if not _is_split_indices(found):
            raise damaged(repr(str(file)), "it holds no lists of samples")
        return found

    def environment(self) -> dict[str, Any]:
        """Return the versions and the machine of the run; empty when they are not known."""
        try:
            found = read_json(self.path / _ENVIRONMENT)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def data_fingerprints(self) -> dict[str, str]:
        """Return the digest of each split that the run was trained on; empty where it is not known."""
        found = self.environment().get("data_fingerprint")
        return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}

    def add_fingerprints(self, found: Mapping[str, str]) -> None:
        """Add the digests of splits that were not known when the run started."""
        environment = self.environment()
        self._write(_ENVIRONMENT, as_json(environment | {"data_fingerprint": self.data_fingerprints() | dict(found)}))

    def found(self, kind: type[F], split: str = "test") -> F | None:
        """Return what a command found about a split, as an object of its class, None before.

        Raises RunError when it is damaged.
        """
        return read_found(self.path, kind, split)

    def write_found(self, found: Found, tables: Mapping[str, Iterable[Mapping[str, Any]]] | None = None) -> list[Path]:
        """Write what a command found as JSON, and a CSV file per table; a split other than test is in their names.

        Returns their paths, the JSON first.
        """
        self.sweep()
        texts = texts_of(found, tables or {})
        for name, text in texts.items():
            self._write(name, text)
        return [self.path / name for name in texts]

    def remove_found(self, kind: type[Found], split: str = "test") -> bool:
        """Remove what a command found about a split, damaged or not; return whether there was any."""
        file = self.path / of_split(f"{kind.file}.json", split)
        try:
            file.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RunError(f"cannot remove {str(file)!r}: {error.strerror}") from None
        return True

    def evaluation(self, split: str = "test") -> EvaluationSummary | None:
        """Return what `dlw evaluate` wrote about a split, None before. Raises RunError when it is damaged."""
        return self.found(EvaluationSummary, split)

    def answers(self, split: str = "test", *, probabilities: bool = True) -> Answers:
        """Return what the run answered for each sample of an evaluation, see `read_answers`.

        Raises RunError with the command that makes it where there is none, where it is of an epoch whose weights the
        run no longer has, and where it is damaged.
        """
        again = evaluate_command(self.path, split)
        evaluation = self.evaluation(split)
        if evaluation is None:
            raise RunError(f"{self.name} has no stored answers of the {split} split; store them with: {again}")
        if evaluation.epoch is not None and not evaluation.is_of(self.summary()):
            raise RunError(
                f"the stored answers of {self.name} are of epoch {evaluation.epoch:g}, not of its {evaluation.weights} "
                f"weights of today; store new ones with: {again}"
            )
        file = self.path / of_split("predictions.csv", split)
        return read_answers(file, evaluation, again=again, probabilities=probabilities)

    def plot_path(self, name: str) -> Path:
        """Return the path of a figure of the run, in a folder that exists. Raises RunError when it cannot be made."""
        folder = self.path / _PLOTS
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot write {str(folder)!r}: {system_reason(error)}") from None
        return folder / f"{name}.png"

    def write_summary(self, summary: Summary) -> None:
        """Replace the summary, as a whole or not at all."""
        self._write(SUMMARY, as_json(summary.to_data()))

    def update_summary(self, **changes: Any) -> None:
        """Change fields of the summary."""
        self.write_summary(replace(self.summary(), **changes))

    def _write(self, name: str, text: str) -> None:
        write_text(self.path / name, text)


def now() -> str:
    """Return the time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def size_of(folder: str | Path) -> int:
    """Return how many bytes the files of a folder have; those that are gone meanwhile count nothing."""
    total = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
                total += size_of(entry.path) if is_folder else entry.stat(follow_symlinks=False).st_size
            except OSError:
                continue
    return total
