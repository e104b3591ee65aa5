"""What a user gave to predict: files, folders, patterns, lists of files, or rows of numbers; reads no image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlworkflow.data.folders.listing import lists_images, look_into, read_list
from dlworkflow.data.folders.tables import as_number, read_lines
from dlworkflow.data.images.formats import IMAGE_EXTENSIONS, left_out
from dlworkflow.data.tables.reading import read_table
from dlworkflow.errors import ConfigError, DataError, DlwError, MissingDataError, few
from dlworkflow.files.paths import matching_paths, user_path
from dlworkflow.inference.rows import read_rows

if TYPE_CHECKING:
    from dlworkflow.data.columns import Columns
    from dlworkflow.runs import Summary

OnNote = Callable[[str], object]


@dataclass(frozen=True)
class Inputs:
    """What was given: `names` of files, folders and patterns, which may read as `numbers` instead (rows of them).

    Numbers that are arguments are one flat row, to be cut to a model's width.
    """

    names: tuple[str, ...]
    numbers: list[list[float]] | None = None

    def are_rows(self) -> bool:
        """Return whether these are rows of numbers, where no run decides it; looks into CSV files.

        Raises ConfigError for a number that is also the name of a file here.
        """
        if self.numbers is not None:
            if here := next(filter(_is_here, self.names), None):
                raise ConfigError(
                    f"{here!r} is a number and the name of a file here; write ./{here} for the file, or name a run "
                    "that takes numbers with --run RUN"
                )
            return True
        if not all(map(_is_csv, self.names)):
            return False
        return not all(lists_images(path) for name in self.names for path in matching_paths(name))

    def wanted_run(self) -> tuple[Callable[[Summary], bool], str]:
        """Return which runs take such inputs, as a test of a run's summary and in words."""
        if not self.are_rows():
            return lambda summary: bool(summary.best) and summary.kind == "image", "images"
        width = self._width()

        columns = self._columns()

        def fits(summary: Summary) -> bool:
            if summary.columns is not None and self.numbers is None:  # what it lacks is named later
                own = [column["name"] for column in summary.columns["inputs"]]
                return bool(summary.best) and 2 * len({*own} & {*columns}) >= len(own)
            takes = summary.in_shape[0] if summary.columns is None else len(summary.columns["inputs"])
            is_flat = self.numbers is not None and len(self.numbers) == 1
            fitting = width % takes == 0 if is_flat else width == takes
            return bool(summary.best) and summary.kind == "tabular" and fitting

        return fits, f"rows of numbers ({width} given)" if width else "rows of numbers"

    def _width(self) -> int:
        """Return how many numbers the first row has."""
        return len(self.numbers[0]) if self.numbers is not None else len(self._columns())

    def _columns(self) -> list[str]:
        """Return the cells of the first line of the first file."""
        lines = read_lines(matching_paths(self.names[0])[0])[:1] if self.numbers is None else []
        return lines[0].cells if lines else []

    def missing(self) -> list[str]:
        """Return the names of files and patterns for which there is nothing here."""
        return [name for name in self.names if self.numbers is None and not _finds(name)]

    def rows(self, width: int, *, owner: str, on_note: OnNote | None = None) -> list[list[float]]:
        """Return the rows for a model, called `owner`, that takes `width` numbers. Raises DlwError for other inputs."""
        if self.numbers is None:
            if other := [name for name in self.names if not _is_csv(name)]:
                raise DlwError(f"{owner} takes {width} number(s) a row, or a CSV of them, not {few(other, 3)}")
            files = [path for name in self.names for path in matching_paths(name)]
            return [row for path in files for row in read_rows(path, width, on_note=on_note)]
        flat = self.numbers[0]
        if len(self.numbers) > 1 or len(flat) % width:
            return self.numbers
        return [flat[start : start + width] for start in range(0, len(flat), width)]

    def records(
        self, columns: Columns, *, owner: str, on_note: OnNote | None = None
    ) -> tuple[list[str], list[dict[str, str]]]:
        """Return the rows of CSV files for a model, called `owner`, that takes these columns, and a name for each.

        Other columns are named to `on_note`. Raises DataError that names all that a file lacks.
        """
        if other := [name for name in self.names if not _is_csv(name)]:
            raise DlwError(f"{owner} takes a CSV file with the columns {few(columns.names)}, not {few(other, 3)}")
        sources: list[str] = []
        records: list[dict[str, str]] = []
        for path in (path for name in self.names for path in matching_paths(name)):
            table = read_table(path)
            if lacking := columns.lacking(table.columns):
                raise DataError(
                    f"{str(path)!r} lacks the column(s) {few(lacking, 20)} that {owner} takes; it has "
                    f"{few(table.columns, 20)}"
                )
            extra = [name for name in table.columns if name not in columns.names]
            if extra and on_note is not None:
                on_note(f"{str(path)!r}: column(s) not used: {few(extra, quoted=False)}")
            sources += [f"{path}:{line}" for line in table.lines]
            records += table.records()
        return sources, records

    def images(self, *, owner: str, on_left_out: OnNote | None = None) -> list[Path]:
        """Return the image files for a model, called `owner`. Raises DlwError for numbers."""
        if self.numbers is not None and not any(map(_is_here, self.names)):
            raise DlwError(f"{owner} takes images, not numbers")
        return expand_paths(self.names, on_left_out=on_left_out)


def read_inputs(given: Sequence[str], read_stdin: Callable[[], str]) -> Inputs:
    """Return what the arguments stand for; a `-` among them stands for the lines of standard input.

    Raises ConfigError for an empty argument and DlwError for none at all.
    """
    if not all(given):
        raise ConfigError("an input is empty; name an image, a folder or `.`")
    lines = [line for line in read_stdin().splitlines() if line.strip()] if "-" in given else []
    names = tuple(name for argument in given for name in (lines if argument == "-" else [argument]))
    if not names:
        raise DlwError("no files were named")
    rows = [line.replace(",", " ").split() for line in lines] if [*given] == ["-"] else [[*given]]
    are_numbers = all(is_number(cell) for row in rows for cell in row)
    return Inputs(names, [[float(cell) for cell in row] for row in rows] if are_numbers else None)


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    number = as_number(text)
    return number is not None and math.isfinite(number)


def _is_here(name: str) -> bool:
    return user_path(name).exists()


def _finds(name: str) -> bool:
    try:
        return any(path.exists() for path in matching_paths(name))
    except MissingDataError:
        return False


def _is_csv(name: str) -> bool:
    return name.casefold().endswith(".csv") and not user_path(name).is_dir()


def expand_paths(arguments: Iterable[str], *, on_left_out: OnNote | None = None) -> list[Path]:
    """Return the image files that a user means: files, all images in folders, patterns, the files that a CSV lists.

    A CSV is read by `data.folders.listing.read_list`. `on_left_out` gets a sentence about the other files of each
    folder: how many of which kind. A file that is not there is left to `predict_images`, which makes it a row; so is a
    folder or a pattern without images beside others. Raises MissingDataError for the first of these where there is
    nothing else.
    """
    paths: list[Path] = []
    missing: list[MissingDataError] = []
    for argument in arguments:
        try:
            paths += _expanded(argument, on_left_out)
        except MissingDataError as error:
            missing.append(error)
            paths.append(user_path(argument))
    if missing and len(missing) == len(paths):
        raise missing[0]
    return paths


def _expanded(argument: str, on_left_out: OnNote | None) -> list[Path]:
    named = matching_paths(argument)
    looks = {path: look_into(path) for path in named if path.is_dir()}
    found = [image for path in named for image in (sorted(looks[path].images) if path in looks else _files_of(path))]
    others = left_out(
        [path for look in looks.values() for path in look.others],
        [path for look in looks.values() for path in look.hidden],
    )
    if not found:
        there = f"; left out: {others}" if others else ""
        raise MissingDataError(f"no images in {argument!r}; known are {', '.join(IMAGE_EXTENSIONS)}{there}")
    if others and on_left_out is not None:
        on_left_out(f"left out of {argument!r}: {others}")
    return found


def _files_of(path: Path) -> list[Path]:
    return read_list(path) if path.suffix.casefold() == ".csv" else [path]
