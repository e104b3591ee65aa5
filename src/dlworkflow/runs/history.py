"""`history.csv`: one line per epoch, read as rows of numbers. Knows no other file of a run."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlworkflow.errors import RunError, first_line, system_reason
from dlworkflow.files.paths import read_small_text
from dlworkflow.runs.stored import damaged

COLUMNS = ("epoch", "lr", "seconds", "train_loss", "train_acc", "test_loss", "test_acc")
VAL_COLUMNS = ("val_loss", "val_acc")
Row = dict[str, float]


def read_history(file: Path, *, last: bool = False) -> list[Row]:
    """Return the epochs, or only the `last` one; an empty cell is nan, a torn last line is left out.

    Raises RunError where the file is damaged. No file is no epoch.
    """
    source = repr(str(file))
    text = _whole_lines(file)
    if last:
        head, line = text[: text.find("\n") + 1], text[text.rfind("\n", 0, -1) + 1 :]
        text = head + (line if line != head else "")
    try:
        rows = [
            {key: float(cell) if cell else math.nan for key, cell in row.items()}
            for row in csv.DictReader(io.StringIO(text), strict=True)
        ]
    except (ValueError, TypeError, csv.Error, AttributeError) as error:
        raise damaged(source, first_line(error)) from None
    if rows and (missing := [column for column in COLUMNS if column not in rows[0]]):
        raise damaged(source, f"it lacks {', '.join(missing)}")
    if not all(math.isfinite(row["epoch"]) for row in rows):
        raise damaged(source, "an epoch has no number")
    return rows


def append_history(file: Path, rows: Sequence[Mapping[str, float | None]]) -> None:
    """Append epochs; the columns are those of the file, or of the first row of a new one."""
    try:
        with file.open("a+", newline="", encoding="utf-8") as stream:
            stream.seek(0)
            head = stream.readline().rstrip("\r\n")
            columns = head.split(",") if head else list(rows[0])
            if not head:
                stream.write(",".join(columns) + "\n")
            stream.writelines(",".join(_cell(row.get(key)) for key in columns) + "\n" for row in rows)
    except OSError as error:
        raise RunError(f"cannot write {str(file)!r}: {system_reason(error)}") from None


def sync_history(file: Path) -> None:
    """Wait until the disk has every epoch: a state that counts on them is written next."""
    try:
        with file.open("a", encoding="utf-8") as stream:
            os.fsync(stream.fileno())
    except OSError as error:
        raise RunError(f"cannot write {str(file)!r}: {system_reason(error)}") from None


def first_epochs(file: Path, epochs: int) -> str:
    """Return the text of the file with its first epochs only. Raises RunError when there are fewer."""
    if (there := len(read_history(file))) < epochs:
        raise RunError(f"{str(file)!r} has {there} epochs, the state of training {epochs}: it was cut short")
    return "\n".join(_whole_lines(file).split("\n")[: epochs + 1]) + "\n"


def best_epoch(history: Sequence[Mapping[str, float]]) -> Mapping[str, float] | None:
    """Return the epoch with the lowest validation loss, else test loss; the first of equals; None without any."""
    split = "val_loss" if history and "val_loss" in history[0] else "test_loss"
    finite = [row for row in history if math.isfinite(row[split])]
    return min(finite, key=lambda row: row[split], default=None)


def trained_epochs(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the epochs of training: a run of 0 epochs has only epoch 0, its untrained model."""
    return [row for row in history if row["epoch"]]


def _whole_lines(file: Path) -> str:
    """Return the complete lines of the file, nothing where there is none."""
    try:
        text = read_small_text(file)
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read {str(file)!r}: {system_reason(error)}") from None
    return text[: text.rfind("\n") + 1]


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(value)
