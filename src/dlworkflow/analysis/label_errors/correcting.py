"""Suspects as a CSV file, and the data as a CSV file with other labels. Never inside the data, which stays as it is."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dlworkflow.data.folders.listing import absolute
from dlworkflow.data.folders.tables import read_records
from dlworkflow.data.protocol import files_of, groups_of, labels_of
from dlworkflow.data.splits import Splits
from dlworkflow.data.tables.loading import roles_of
from dlworkflow.errors import DataError, MissingDataError, unknown
from dlworkflow.files.outside import check_outside
from dlworkflow.files.paths import user_path
from dlworkflow.files.text import LABEL_SEPARATOR, csv_cell, text_of_cell
from dlworkflow.files.writing import write_output
from dlworkflow.metrics.multilabel import NO_LABELS
from dlworkflow.runs.labels import PREDICTED, Suspect, is_for

Place = tuple[str, int]
"""A sample: its split, its index there."""


class Corrected(NamedTuple):
    """The data with other labels: its file, how many labels are others, and how many samples are left out."""

    file: Path
    changed: int
    left_out: int


def csv_rows(suspects: Iterable[Suspect]) -> list[dict[str, Any]]:
    """Return suspects as a CSV file has them: file (where there are any), label, suggested, score, reason, place.

    A sample of several labels that has none of them is `(none)`: an empty cell says that nothing else is suggested.
    """
    keys = ("label", "suggested", "score", "reason", "split", "index")
    every = [*suspects]
    with_files = any(row["file"] is not None for row in every)
    shown: list[dict[str, Any]] = [
        {key: NO_LABELS if value == "" else value for key, value in row.items()} for row in every
    ]
    return [({"file": row["file"]} if with_files else {}) | {key: row[key] for key in keys} for row in shown]


def write_suspects(
    suspects: Sequence[Suspect], path: str | os.PathLike[str], *, data: Iterable[Path] = (), overwrite: bool = False
) -> Path:
    """Write suspects as CSV. Raises as `check_outside` does."""
    file = check_outside(path, data, option="--csv", overwrite=overwrite)
    rows = csv_rows(suspects)
    header = [*rows[0]] if rows else ["file", "label", "suggested", "score", "reason", "split", "index"]
    text = _as_csv([header, *(map(csv_cell, row.values()) for row in rows)])
    return write_output(file, lambda stream: stream.write(text), overwrite=overwrite)


def write_corrected(
    splits: Splits,
    suspects: Sequence[Suspect],
    path: str | os.PathLike[str],
    *,
    config: Mapping[str, Any],
    accept: str | os.PathLike[str] | None = None,
    data: Iterable[Path] = (),
    overwrite: bool = False,
) -> Corrected:
    """Write the data as a CSV file that `dlw train --data` reads, with other labels.

    Images become rows of path, label and split; of a table, whose settings are `config`, the target's cells change. The
    labels that are predicted otherwise become those suggested; with `accept`, a file as `write_suspects` writes it, the
    rows in it alone, with what its column `suggested` says; where that is empty, the sample is left out. No labels are
    suggested unasked where empty cells of labels are an error. Raises DataError for data without files, and as
    `check_outside` does.
    """
    check_correctable(splits, config)
    file = check_outside(path, data, option="--out", overwrite=overwrite)
    if accept is None:
        changes: dict[Place, str | None] = {
            (row["split"], row["index"]): row["suggested"]
            for row in suspects
            if is_for(row, PREDICTED) and (row["suggested"] or config.get("empty_labels") == "none")
        }
    else:
        changes = _accepted(user_path(accept), splits, suspects)
    rows_of = _rows_of_images if splits.columns is None else _rows_of_table
    text = _as_csv(rows_of(splits, config, changes))
    write_output(file, lambda stream: stream.write(text), overwrite=overwrite)
    left_out = sum(label is None for label in changes.values())
    return Corrected(file, len(changes) - left_out, left_out)


def check_correctable(splits: Splits, config: Mapping[str, Any]) -> None:
    """Raise DataError where the data cannot be written as a CSV file with other labels."""
    if files_of(splits.train) is None and splits.columns is None:
        raise DataError(f"--out: data {splits.name!r} has no files to be listed; --csv writes the suspects alone")
    if config.get("limit") is not None:
        raise DataError("--out: some samples alone were checked (data.limit); check all of them, without --limit")


def _as_csv(rows: Iterable[Iterable[Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode(errors="surrogateescape")


def _rows_of_images(
    splits: Splits, config: Mapping[str, Any], changes: Mapping[Place, str | None]
) -> Iterator[Sequence[str]]:
    """Yield path, label, split and group of every image, below a header as `dlw train` reads it."""
    group = config.get("group")
    yield ["path", "labels" if splits.task == "multilabel" else "label", "split", *([group] if group else [])]
    for split, part in splits.parts().items():
        files, labels, groups = files_of(part), labels_of(part), groups_of(part)
        assert files is not None
        assert labels is not None
        for index, (file, label) in enumerate(zip(files, labels, strict=True)):
            text = changes.get((split, index), splits.label_text(label))
            if text is not None:
                yield [absolute(file), text, split, *([str(groups[index])] if group and groups else [])]


def _rows_of_table(
    splits: Splits, config: Mapping[str, Any], changes: Mapping[Place, str | None]
) -> Iterator[Sequence[str]]:
    """Yield the rows of a table, with a column `split` where it has none that names the split of each."""
    roles = roles_of(**{key: value for key, value in config.items() if key != "name"})
    records, indices = roles.table.records(), splits.indices or {}
    split_of = {row: split for split, rows in indices.items() for row in rows}
    new = {indices[split][index]: text for (split, index), text in changes.items()}
    added = ["split"] if roles.split is None else []
    yield [*roles.table.columns, *added]
    for row, record in enumerate(records):
        label = new.get(row, record[roles.target_name])
        if label is not None:
            cells = record | {roles.target_name: label}
            yield [*cells.values(), *(split_of[row] for _ in added)]


def accepted_rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Read a file as `write_suspects` writes it. Raises DataError for one that is not there, or lacks a column."""
    if not file.exists():
        raise MissingDataError(f"--accept: no file {str(file)!r}")
    optional = ["file", "label"]
    return read_records(file, ["suggested", "split", "index"], optional, may_be_empty=["suggested", *optional])


def _accepted(file: Path, splits: Splits, suspects: Sequence[Suspect]) -> dict[Place, str | None]:
    """Return the labels that a user accepted, None for a sample to be left out.

    Raises DataError for a row that is no suspect, or is of another file or label than that, or an unknown class.
    """
    known = {(row["split"], row["index"]): row for row in suspects}
    classes = {str(csv_cell(name)): name for name in splits.classes} | {name: name for name in splits.classes}
    several = splits.task == "multilabel"
    found: dict[Place, str | None] = {}
    for number, row in accepted_rows(file):
        where, text = f"--accept: {str(file)!r} line {number}", row["suggested"]
        place = (row["split"], int(row["index"]) if row["index"].isdecimal() else -1)
        if place not in known:
            raise DataError(f"{where}: {row['split']} sample {row['index']} is no suspect of this check")
        if not _is_of(row, known[place]):
            raise DataError(
                f"{where}: {row['split']} sample {row['index']} is not what this line says: the data has changed "
                "since; write its suspects anew with --csv"
            )
        names = [text] if not several else [] if text == NO_LABELS else text.split(LABEL_SEPARATOR)
        if wrong := [name for name in names if name and name not in classes]:
            raise DataError(f"{where}: {unknown('class', wrong[0], splits.classes)}")
        label = LABEL_SEPARATOR.join(classes[name] for name in names) if text else None
        if label != known[place]["label"]:
            found[place] = label
    return found


def _is_of(row: Mapping[str, str], suspect: Suspect) -> bool:
    """Return whether a line that a user accepted has the file's name and the label of a suspect, where it has any."""
    [given] = csv_rows([suspect])
    label, name = text_of_cell(row.get("label", "")), Path(text_of_cell(row.get("file", ""))).name
    return label in ("", given["label"]) and name in ("", Path(given.get("file", "")).name)
