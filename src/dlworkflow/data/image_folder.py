"""Pictures in folders (`train/<class>/`, `test/<class>/`, or `<class>/` alone) or listed in a CSV file.

The training split decides the classes; other splits are matched to them by name. Nothing in a folder is changed.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import Dataset

from dlworkflow.data.images import ImageData, ImageFiles
from dlworkflow.data.splits import Splits, stratified_split
from dlworkflow.data.transforms import Pipeline, Spec, parse
from dlworkflow.errors import DataError, MissingDataError
from dlworkflow.signatures import Fraction, Seed

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation"),
}


def find_classes(directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
    """Return the class folders in `directory`, sorted, and {class: label}; hidden folders are none.

    Raises MissingDataError (a FileNotFoundError) when there are none.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise MissingDataError(f"no folder {str(directory)!r}")
    classes = sorted(entry.name for entry in directory.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise MissingDataError(f"no class folders in {str(directory)!r}; pictures are expected in <class>/<picture>")
    return classes, {name: label for label, name in enumerate(classes)}


class ImageFolderCustom(Dataset[Any]):
    """What torchvision's `ImageFolder` does, built from nothing: `targ_dir/<class>/<picture>` with labels by name.

    A sample is (transform(picture), label), or (picture, label) without a transform; pictures are RGB, the way up
    that their EXIF data says. Raises DataError for an empty class.
    """

    def __init__(self, targ_dir: str | os.PathLike[str], transform: Callable[[Any], Any] | None = None) -> None:
        self.classes, self.class_to_idx = find_classes(targ_dir)
        self.paths, self.targets, _ = _list_pictures(Path(targ_dir), self.classes)
        self.transform = transform

    def use_classes(self, classes: Sequence[str]) -> None:
        """Take the labels from the classes of another split, by name."""
        labels = {name: label for label, name in enumerate(classes)}
        self.targets = [labels[self.classes[target]] for target in self.targets]
        self.classes, self.class_to_idx = list(classes), labels

    def load_image(self, index: int) -> Any:
        """Return one picture, RGB, untransformed."""
        from dlworkflow.data.images import load_image

        return load_image(self.paths[index])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture = self.load_image(index)
        return (self.transform(picture) if self.transform else picture), self.targets[index]


def match_classes(
    train: Sequence[str], other: Sequence[str], train_dir: str | os.PathLike[str], other_dir: str | os.PathLike[str]
) -> None:
    """Raise DataError with both lists when the other split has a class that the training split lacks."""
    extra = [name for name in other if name not in train]
    if extra:
        raise DataError(
            f"classes only in {str(other_dir)!r}: {_listed(extra)}; "
            f"{str(train_dir)!r} has {_listed(train)}, the other {_listed(other)}"
        )


def load_image_folder(
    *,
    path: str,
    image_size: int | list[int] = 64,
    transform: Spec = None,
    channels: Literal[1, 3] = 3,
    test_fraction: Fraction = 0.2,
    random_state: Seed = 42,
) -> Splits:
    """Load `path/train/<class>/`, `path/test/<class>/` (and `val`), or `path/<class>/` cut by a seeded split."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise MissingDataError(f"data.path: no folder {path!r}")
    pipeline = parse(transform, image_size=image_size, channels=channels)
    folders = {split: found for split in _SPLIT_NAMES if (found := _split_folder(root, split))}
    if not folders:
        return _load_single_folder(root, pipeline, channels, test_fraction, random_state)
    if "train" not in folders:
        raise DataError(f"{path!r} has {_listed(p.name for p in folders.values())} but no folder 'train'")
    notes = []
    if "test" not in folders:
        if "val" not in folders:
            raise DataError(f"{path!r} has a folder 'train' but no 'test'; add one, or give the class folders alone")
        folders["test"] = folders.pop("val")
        notes.append(f"no folder 'test' in {path!r}: {folders['test'].name!r} is used as the test split")
    classes, _ = find_classes(folders["train"])
    listed = {}
    for split, folder in folders.items():
        own, _ = find_classes(folder)
        match_classes(classes, own, folders["train"], folder)
        listed[split], more = _list_split(folder, own, classes)
        notes += more
        if missing := [name for name in classes if name not in own]:
            notes.append(f"split {split!r} has no pictures of {_listed(missing)}")
    return _splits(root, classes, listed, pipeline, channels, notes=notes)


def load_image_csv(
    *,
    path: str,
    image_size: int | list[int] = 64,
    transform: Spec = None,
    channels: Literal[1, 3] = 3,
    test_fraction: Fraction = 0.2,
    random_state: Seed = 42,
) -> Splits:
    """Load pictures listed in a CSV file with columns `path`, `label` and, where it is there, `split`.

    Paths are relative to the file. Without a `split` column, a seeded, stratified split is made.
    """
    file = Path(path).expanduser()
    rows = _read_rows(file)
    pipeline = parse(transform, image_size=image_size, channels=channels)
    given: dict[str, list[tuple[Path, str]]] = {}
    for number, row in rows:
        split = _split_name(row["split"], file, number) if "split" in row else "all"
        given.setdefault(split, []).append((file.parent / row["path"], row["label"]))
    missing = [str(picture) for rows_of in given.values() for picture, _ in rows_of if not picture.is_file()]
    if missing:
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise MissingDataError(f"{path!r} lists files that are not there: {_listed(missing[:10])}{more}")
    deciding = given.get("train", given.get("all", []))
    for split in ("train", "test"):
        if "all" not in given and split not in given:
            raise DataError(f"{path!r}: column 'split' names no row {split!r}")
    classes = sorted({label for _, label in deciding})
    labels = {name: label for label, name in enumerate(classes)}
    for split, listed in given.items():
        match_classes(classes, sorted({label for _, label in listed}), f"{path} (train)", f"{path} ({split})")
    numbered = {
        split: ([picture for picture, _ in listed], [labels[label] for _, label in listed])
        for split, listed in given.items()
    }
    if "all" in numbered:
        numbered, indices = _cut(*numbered["all"], classes, test_fraction, random_state)
        return _splits(file, classes, numbered, pipeline, channels, indices=indices)
    return _splits(file, classes, numbered, pipeline, channels)


def load_labelled(
    path: str,
    classes: Sequence[str],
    pipeline: Pipeline,
    channels: int,
    *,
    split: str = "test",
    ignore_extra: bool = False,
) -> ImageData:
    """Load pictures to score a trained model on: labels by name among `classes`, the model's own.

    `path` is a folder with the split's folder in it, or class folders alone, or a CSV of path,label[,split]. Raises
    DataError with both lists for a class that the model does not know, unless `ignore_extra` leaves its pictures out.
    """
    root = Path(path).expanduser()
    if root.is_file():
        rows = [row for number, row in _read_rows(root) if _split_name(row.get("split", split), root, number) == split]
        listed = [(root.parent / row["path"], row["label"]) for row in rows]
    elif root.is_dir():
        folder = _split_folder(root, split) or root
        if folder == root and (there := [name for name in _SPLIT_NAMES if _split_folder(root, name)]):
            raise DataError(f"{path!r} has no split {split!r}; it has {', '.join(there)}")
        own, _ = find_classes(folder)
        paths, labels, _ = _list_pictures(folder, own)
        listed = [(picture, own[label]) for picture, label in zip(paths, labels, strict=True)]
    else:
        raise MissingDataError(f"--data: no such folder or file: {path!r}")
    found = sorted({label for _, label in listed})
    extra = [name for name in found if name not in classes]
    if extra and not ignore_extra:
        raise DataError(
            f"{path!r} has classes that the model does not know: {_listed(extra)}; it has {_listed(found)}, "
            f"the model {_listed(classes)} (--ignore-extra leaves the others out)"
        )
    known = [(picture, classes.index(label)) for picture, label in listed if label in classes]
    if not known:
        raise DataError(f"{path!r} has no {split} pictures of the model's classes {_listed(classes)}")
    way = pipeline.for_evaluation()
    chosen = [picture for picture, _ in known]
    return ImageData(ImageFiles(chosen, way, channels), torch.tensor([label for _, label in known]), way, paths=chosen)


_Listed = tuple[list[Path], list[int]]


def _load_single_folder(
    root: Path, pipeline: Pipeline, channels: int, test_fraction: float, random_state: int
) -> Splits:
    classes, _ = find_classes(root)
    paths, labels, notes = _list_pictures(root, classes)
    numbered, indices = _cut(paths, labels, classes, test_fraction, random_state)
    return _splits(root, classes, numbered, pipeline, channels, notes=notes, indices=indices)


def _cut(
    paths: list[Path], labels: list[int], classes: Sequence[str], test_fraction: float, random_state: int
) -> tuple[dict[str, _Listed], dict[str, list[int]]]:
    train, test = stratified_split(labels, test_fraction=test_fraction, random_state=random_state, names=classes)
    indices = {"train": train, "test": test}
    return {
        split: ([paths[i] for i in chosen], [labels[i] for i in chosen]) for split, chosen in indices.items()
    }, indices


def _splits(
    root: Path,
    classes: Sequence[str],
    listed: dict[str, _Listed],
    pipeline: Pipeline,
    channels: int,
    *,
    notes: Iterable[str] = (),
    indices: dict[str, list[int]] | None = None,
) -> Splits:
    if len(classes) < 2:
        raise DataError(f"{str(root)!r} has one class, {classes[0]!r}; a model needs two or more to tell apart")
    data = {}
    for split, (paths, labels) in listed.items():
        way = pipeline if split == "train" else pipeline.for_evaluation()
        data[split] = ImageData(ImageFiles(paths, way, channels), torch.tensor(labels), way, paths=paths)
    return Splits(
        name=root.stem if root.is_file() else root.resolve().name,
        task="multiclass",
        train=data["train"],
        test=data["test"],
        val=data.get("val"),
        in_shape=(channels, *pipeline.size),
        classes=tuple(classes),
        transform=pipeline.for_evaluation(),
        indices=indices,
        source=str(root.resolve()),
        notes=tuple(notes),
    )


def _split_folder(root: Path, split: str) -> Path | None:
    entries = {entry.name.casefold(): entry for entry in root.iterdir() if entry.is_dir()}
    return next((entries[name] for name in _SPLIT_NAMES[split] if name in entries), None)


def _split_name(given: str, file: Path, number: int) -> str:
    for split, names in _SPLIT_NAMES.items():
        if given.strip().casefold() in names:
            return split
    raise DataError(f"{str(file)!r} line {number}: split {given!r} is none of train, test, val")


def _list_split(folder: Path, own: Sequence[str], classes: Sequence[str]) -> tuple[_Listed, list[str]]:
    """List a split's pictures with labels of the training split."""
    paths, targets, notes = _list_pictures(folder, own)
    labels = [classes.index(name) for name in own]
    return (paths, [labels[target] for target in targets]), notes


def _list_pictures(root: Path, classes: Sequence[str]) -> tuple[list[Path], list[int], list[str]]:
    """List `root/<class>/**/<picture>` in torchvision's order: (paths, labels, what was left out).

    Raises DataError for a class without pictures.
    """
    paths: list[Path] = []
    labels: list[int] = []
    others: list[str] = []
    empty: list[str] = []
    for label, name in enumerate(classes):
        before = len(paths)
        for folder, files in walk_visible(root / name):
            for file in sorted(files):
                if file.startswith("."):
                    continue
                if file.lower().endswith(IMAGE_EXTENSIONS):
                    paths.append(Path(folder, file))
                    labels.append(label)
                else:
                    others.append(str(Path(folder, file)))
        if len(paths) == before:
            empty.append(name)
    if empty:
        raise DataError(
            f"no pictures in class folder(s) {_listed(empty)} of {str(root)!r}; known are {', '.join(IMAGE_EXTENSIONS)}"
        )
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    notes = [f"{len(others)} file(s) left out that are no pictures: {_listed(others[:3])}{more}"] if others else []
    return paths, labels, notes


def walk_visible(top: Path) -> list[tuple[str, list[str]]]:
    """Return (folder, its files) of a folder and all below it, by name, hidden ones left out, links followed once."""
    found = []
    seen: set[str] = set()  # a link may lead back to where it stands
    for folder, below, files in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = [name for name in below if not name.startswith(".")]
        found.append((folder, files))
    return sorted(found)


def _read_rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file's rows with their line numbers. Raises DataError naming a missing column or value."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            missing = [name for name in ("path", "label") if name not in columns]
            if missing:
                found = f"it has {_listed(columns)}" if columns else "it is empty"
                raise DataError(f"{str(file)!r} lacks the column(s) {_listed(missing)}; {found}")
            rows = [
                (reader.line_num, {key: (cell or "").strip() for key, cell in row.items() if key}) for row in reader
            ]
    except FileNotFoundError:
        raise MissingDataError(f"data.path: no file {str(file)!r}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {str(file)!r}: {error}") from None
    if not rows:
        raise DataError(f"{str(file)!r} lists no pictures")
    for number, row in rows:
        if not row["path"] or not row["label"] or ("split" in columns and not row["split"]):
            raise DataError(f"{str(file)!r} line {number}: path, label or split is empty")
    return rows


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
