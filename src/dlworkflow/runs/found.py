"""What a command found about a run, as a JSON document in its folder: one class a file. Knows no command.

A new kind is a subclass of `Found` with the stem of its file; `Run.write_found` writes it, `Run.found` reads it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from dlworkflow.errors import first_line
from dlworkflow.files.paths import read_small_text
from dlworkflow.files.text import csv_cell
from dlworkflow.runs.naming import of_split
from dlworkflow.runs.stored import Layout, Stored, as_json, damaged, read_object
from dlworkflow.runs.summary import Summary


@dataclass(frozen=True, kw_only=True)
class Found(Stored):
    """What a command found about one split with the weights of one epoch; a subclass names its file."""

    file: ClassVar[str]
    """The file's name without `.json`."""
    newest: ClassVar[int] = 1
    """The format of a file that is written now."""

    format: int = 1
    """0 in files of versions before this number."""
    run: str
    weights: str
    epoch: float | None
    """None where they are of several runs."""
    split: str

    def is_of(self, summary: Summary) -> bool:
        """Return whether these are the weights that a run has now: training that is resumed changes them."""
        return self.epoch == summary.row(self.weights).get("epoch")


F = TypeVar("F", bound=Found)


def read_found(folder: Path, kind: type[F], split: str) -> F | None:
    """Return what the run in a folder has of a kind about a split, None where there is no such file.

    Raises RunError that names the file and the key that is wrong, or that the run has a newer format.
    """
    file = folder / of_split(f"{kind.file}.json", split)
    try:
        text = read_small_text(file)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(repr(str(file)), first_line(error)) from None
    data = read_object(text, source=repr(str(file)), name=folder.name, newest=kind.newest)
    if fault := Layout(kind, {}, {}).fault(data):
        raise damaged(repr(str(file)), fault)
    return kind.from_data({"format": 0} | data)


def texts_of(found: Found, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, str]:
    """Return the texts of the files of what was found, by their names: the JSON first, then a CSV file per table."""
    texts = {f"{found.file}.json": as_json(found.to_data())}
    texts |= {f"{name}.csv": _as_csv(rows) for name, rows in tables.items()}
    return {of_split(name, found.split): text for name, text in texts.items()}


def _as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as the text of a CSV file, with the keys of the first as its head."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, row in enumerate(rows):
        if not number:
            writer.writerow(map(csv_cell, row))
        writer.writerow([csv_cell(value) for value in row.values()])
    return out.getvalue()
