"""Which images a folder or a CSV file holds, of which class and split; opens no image and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dlworkflow.data.folders.tables import as_number, first_lines, read_lines, read_records
from dlworkflow.data.images.formats import IMAGE_EXTENSIONS, is_hidden, is_image
from dlworkflow.errors import DataError, MissingDataError, few, system_reason

SPLIT_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation"),
}
"""Names of folders and cells for each split, in upper or lower case."""


def find_classes(directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
    """Return the class folders in `directory`, sorted, and {class: label}; hidden folders are none.

    Raises MissingDataError (a FileNotFoundError) when there are none.
    """
    classes = [folder.name for folder in classes_in(Path(directory))]
    return classes, {name: label for label, name in enumerate(classes)}


def classes_in(folder: Path) -> list[Path]:
    """Return the class folders in a folder, sorted by name. Raises MissingDataError where there are none."""
    if not folder.is_dir():
        raise MissingDataError(f"no folder {str(folder)!r}")
    if not (found := folders_of(folder)):
        raise MissingDataError(f"no class folders in {str(folder)!r}; images are expected in <class>/<image>")
    return found


def folders_of(root: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden ones."""
    return [entry for entry in entries_of(root) if entry.is_dir() and not is_hidden(entry)]


@dataclass(frozen=True)
class ClassFolder:
    """What is in a class folder: images in torchvision's order, and what is no image of the class.

    `others` are no images by their names, `hidden` begin with a dot or are the system's, `empty` are folders with
    nothing in them, `closed` are folders that cannot be listed, with the reason.
    """

    images: list[Path]
    others: list[Path]
    hidden: list[Path]
    empty: list[Path]
    closed: list[tuple[Path, str]]


def look_into(top: Path) -> ClassFolder:
    """List `top/**/<image>`, following links; a folder that links lead to twice is listed once."""
    found = ClassFolder([], [], [], [], [])
    seen: set[str] = set()  # a link may lead back to its own folder
    layers: list[tuple[str, list[str]]] = []

    def note(error: OSError) -> None:
        found.closed.append((Path(error.filename), system_reason(error)))

    for folder, folders, files in os.walk(top, followlinks=True, onerror=note):
        found.hidden.extend(Path(folder, name) for name in folders if is_hidden(Path(name)))
        if Path(folder) != top and not folders and not files:
            found.empty.append(Path(folder))
        folders[:] = [name for name in sorted(folders) if not is_hidden(Path(name))]
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
        else:
            seen.add(real)
            layers.append((folder, files))
    for folder, files in sorted(layers):
        for file in sorted(files):
            path = Path(folder, file)
            if is_hidden(path):
                found.hidden.append(path)
            else:
                (found.images if is_image(file) else found.others).append(path)
    return found


class Listed(NamedTuple):
    """The images of some class folders in torchvision's order, the class of each, and what else is there."""

    paths: list[Path]
    names: list[str]
    empty: list[str]
    others: list[Path]
    hidden: list[Path]


def list_images(folders: Mapping[str, Path]) -> Listed:
    """List `<class>/**/<image>` of {class: folder}. Raises DataError for a folder that cannot be listed."""
    looks = {name: look_into(folder) for name, folder in folders.items()}
    if closed := [f"{path} ({reason})" for look in looks.values() for path, reason in look.closed]:
        raise DataError(f"cannot list folder(s) {few(closed)}")
    return Listed(
        [path for look in looks.values() for path in look.images],
        [name for name, look in looks.items() for _ in look.images],
        [name for name, look in looks.items() if not look.images],
        [path for look in looks.values() for path in look.others],
        [path for look in looks.values() for path in look.hidden],
    )


def none_empty(listed: Listed, root: Path) -> None:
    """Raise DataError for classes without images."""
    if listed.empty:
        raise DataError(
            f"no images in class folder(s) {few(listed.empty)} of {str(root)!r}; known are "
            f"{', '.join(IMAGE_EXTENSIONS)}"
        )


def read_groups(file: Path, column: str, paths: str = "path") -> dict[Path, str]:
    """Read what each image of a CSV file belongs to, from a column of it: {image: group}.

    Raises DataError naming a missing column or value, and an image that has two groups.
    """
    groups: dict[Path, str] = {}
    for number, row in read_records(file, (paths, column)):
        if (other := groups.setdefault(file.parent / row[paths], row[column])) != row[column]:
            raise DataError(
                f"{str(file)!r} line {number}: {row[paths]!r} is of {column} {row[column]!r}, and of {other!r} in "
                "another line"
            )
    return groups


def read_list(file: Path) -> list[Path]:
    """Read a CSV file's column `path`, or its only one, as images; paths are relative to the file.

    Raises DataError where there is no such column.
    """
    lines = read_lines(file)
    columns = lines[0].cells if lines else []
    if "path" in columns:
        cells = [row["path"] for _, row in read_records(file, ("path",))]
    elif len(columns) == 1:
        is_header = not is_image(columns[0]) and not is_there(file.parent / columns[0])
        cells = [line.cells[0] for line in (lines[1:] if is_header else lines)]
    else:
        found = f"it has {few(columns)}" if columns else "it is empty"
        raise DataError(f"{str(file)!r} needs a column 'path', or one column alone, to be a list of images; {found}")
    if not cells:
        raise DataError(f"{str(file)!r} lists no images")
    return [file.parent / cell for cell in cells]


def lists_images(file: Path) -> bool:
    """Return whether a CSV file lists images, not numbers: it has a column `path`, or one column without a number."""
    lines = read_lines(file)
    if not lines or "path" in lines[0].cells:
        return bool(lines)
    return len(lines[0].cells) == 1 and all(as_number(line.cells[0]) is None for line in lines)


def has_image_column(file: Path) -> tuple[bool, bool]:
    """Return whether a CSV file is one of images, not a table of numbers, and whether that is clear.

    It is where a column has names of image files in the first row, or is called `path`; the latter alone is not clear
    beside more than a label and a split. Reads the first two lines.
    """
    header, *rows = first_lines(file) or [[]]
    if any(map(is_image, rows[0] if rows else header)):
        return True, True
    if "path" not in header:
        return False, True
    return True, len(header) <= 3


def not_there(paths: Iterable[Path]) -> str:
    """Name files that a CSV file lists and that are not there, with what may be the reason."""
    missing = list(paths)
    names = few(missing, 10)
    return names + ("; write / between folders, not \\" if any("\\" in str(path) for path in missing) else "")


def csv_faults(splits: Collection[str]) -> list[str]:
    """Return which splits a CSV file's column `split` must name and does not; val is used for test."""
    if "all" in splits:
        return []
    lacking = [
        split for split in ("train", "test") if split not in splits and not (split == "test" and "val" in splits)
    ]
    return [f"column 'split' names no row {split!r}" for split in lacking]


def in_several_splits(given: Mapping[str, Iterable[Path]]) -> list[str]:
    """Return a note on files that are in more than one split, or none; takes {split: images}."""
    places: dict[str, dict[str, None]] = {}
    for split, images in given.items():
        for image in images:
            places.setdefault(absolute(image), {})[split] = None
    shared = {path: splits for path, splits in places.items() if len(splits) > 1}
    if not shared:
        return []
    path, splits = next(iter(shared.items()))
    return [
        f"{len(shared)} file(s) are in several splits, such as {path!r} in {' and '.join(splits)}: "
        "a model has seen them before, its score is too good"
    ]


def absolute(path: Path) -> str:
    """Return the absolute path of a file, by which the same file is recognised."""
    return os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links, and Path.absolute keeps `..`


def entries_of(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted by name. Raises DataError when it cannot be listed."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"cannot list folder {str(folder)!r}: {system_reason(error)}") from None


def is_there(path: Path) -> bool:
    """Return whether a file is there; a name that no file can have is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def split_named(given: str) -> str | None:
    """Return the split that a name of a folder or a cell means, None where it means none."""
    return next((split for split, names in SPLIT_NAMES.items() if given.strip().casefold() in names), None)
